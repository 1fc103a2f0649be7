"""What holds for every test."""

from __future__ import annotations

import os

import torch

torch.set_num_threads(1)  # the tests run in two processes on two cores, and their models are tiny

# CTranslate2's integers are exact by MKL on every x86 processor; what it takes where the maker is not Intel adds in 16
# bits without VNNI. To be set before it is imported.
os.environ.setdefault("CT2_USE_MKL", "1")
