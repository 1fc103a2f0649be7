"""Settings for all tests, their order, and a fixture that several of them use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import nmt.cli  # noqa: F401 (sets how long idle threads spin; has to come before torch)  # isort: skip
import pytest
import torch

from nmt.training import validation

torch.set_num_threads(1)  # the tests run in several processes, and their models are tiny

# With MKL, CTranslate2 computes int8 products exactly on every x86 processor. On processors that are not Intel's it
# would by default choose another library, which without VNNI adds them up in 16 bits. CTranslate2 reads this variable
# when it is imported.
os.environ.setdefault("CT2_USE_MKL", "1")

TESTS = Path(__file__).parent
# The files that take longest. They come first, so that no worker is left alone with one of them at the end.
LONGEST = (
    "training/test_distributed.py",
    "docs/test_howto.py",
    "torture/test_in_a_process.py",
    "study/test_conduct.py",
    "models/test_waits.py",
    "study/test_jobs.py",
    "e2e/test_faults.py",
    "training/test_relations.py",
    "cli/translate/test_workers.py",
    "study/test_plan.py",
    "cli/translate/test_command.py",
    "cli/test_export.py",
    "e2e/test_install.py",
    "data/test_sampling.py",
    "data/test_stages.py",
    "cli/test_circumstances.py",
    "training/test_resume.py",
    "scripts/test_train_side_by_side.py",
    "e2e/test_pipeline.py",
    "config/test_untrusted.py",
    "study/test_ensembles.py",
    "config/test_presets.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the others keep their order."""
    ranks = {TESTS / name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Undo a number of threads that the training of an earlier test has set: threads without work spin."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def translated_from_the_start() -> Iterator[None]:
    """Make every validation translate, even if the model has learned too little after its few updates."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validation, "unigram_entropy", lambda val, vocabulary: 99.0)
        yield


@pytest.fixture(scope="module")
def no_server() -> None:
    """End the process that forks commands, so that tests which count the children of this process do not find it."""
    from tests.forked import end_server

    end_server()
