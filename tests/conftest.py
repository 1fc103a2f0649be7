"""Settings for all tests, and a fixture that several of them use."""

from __future__ import annotations

import os
from collections.abc import Iterator

import nmt.cli  # noqa: F401 (sets how long idle threads spin; has to come before torch)  # isort: skip
import pytest
import torch

from nmt.training import validation

torch.set_num_threads(1)  # the tests run in two processes on two cores, and their models are tiny

# With MKL, CTranslate2 computes int8 products exactly on every x86 processor. On processors that are not Intel's it
# would by default choose another library, which without VNNI adds them up in 16 bits. CTranslate2 reads this variable
# when it is imported.
os.environ.setdefault("CT2_USE_MKL", "1")


@pytest.fixture(scope="module")
def translated_from_the_start() -> Iterator[None]:
    """Make every validation translate, even if the model has learned too little after its few updates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "unigram_entropy", lambda val, vocabulary: 99.0)
        yield
