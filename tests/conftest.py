"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import nmt.cli  # noqa: F401 (it says how threads wait, before torch is there)  # isort: skip
import pytest
import torch

from nmt.training import validation

torch.set_num_threads(1)  # the tests run in two processes on two cores, and their models are tiny

# CTranslate2's integers are exact by MKL on every x86 processor; what it takes where the maker is not Intel adds in 16
# bits without VNNI. To be set before it is imported.
os.environ.setdefault("CT2_USE_MKL", "1")


@pytest.fixture(scope="module")
def translated_from_the_start() -> Iterator[None]:
    """Let validations translate however little a model knows, for trainings of a few updates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "unigram_entropy", lambda val, vocabulary: 99.0)
        yield
