"""Source lengths are part of a batch and stay on the CPU, where cuDNN's RNNs need them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.config.schema import SearchConfig
from nmt.data.batch import Batch, collate
from nmt.data.batching import Updates
from nmt.inference.engines import native
from nmt.models.ensemble import Ensemble
from nmt.models.seq2seq import Seq2Seq
from nmt.search.distribution import Sampling
from nmt.training.loss import batch_loss
from tests.data.test_batching import make_store
from tests.models.variants import tiny_model

SOURCES = [[5, 6, 3], [7, 3], [5, 6, 7, 8, 3]]
TARGETS = [[8, 3], [9, 9, 3], [6, 3]]
LENGTHS = [3, 2, 5]


def batch() -> Batch:
    return collate(SOURCES, TARGETS, multiple=8)


def check(lengths: Tensor, expected: list[int] = LENGTHS) -> None:
    assert lengths.device.type == "cpu" and lengths.dtype == torch.int64 and lengths.tolist() == expected


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The source lengths that encoders received."""
    given: list[Tensor] = []
    call = nn.Module.__call__

    def note(module: nn.Module, *arguments: Any, **options: Any) -> Any:
        if type(module).__name__ == "RnnEncoder":
            given.append(arguments[2] if len(arguments) > 2 else options["lengths"])
        return call(module, *arguments, **options)

    monkeypatch.setattr(nn.Module, "__call__", note)
    return given


def test_they_count_tokens_and_no_padding() -> None:
    check(batch().src_lengths)
    assert batch().src.size(1) == 8 and batch().src_mask.sum(1).tolist() == LENGTHS


def test_to_a_device_go_all_the_others() -> None:
    there = batch().to("meta")
    check(there.src_lengths)
    assert all(tensor.is_meta for tensor in there[:4])


def test_pinned_memory_holds_them_too(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[Tensor] = []
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: pinned.append(tensor.clone()) or pinned[-1])
    moved = batch().pin_memory()
    check(moved.src_lengths)
    assert all(one is other for one, other in zip(moved[:5], pinned, strict=True))


def test_they_pass_from_one_process_to_another() -> None:
    check(pickle.loads(pickle.dumps(batch())).src_lengths)


@pytest.mark.parametrize("workers", [0, 1])
def test_updates_bring_them(tmp_path: Path, workers: int) -> None:
    updates = Updates(make_store(tmp_path / "store", [(3, 5), (9, 4), (2, 2), (7, 8)]), 30, multiple=8, workers=workers)
    stream = updates.iterate()
    found = [batch for _ in range(4) for batch in next(stream).batches]
    stream.close()  # type: ignore[attr-defined]
    for one in [*found, *updates.largest(None)]:
        check(one.src_lengths, one.src_mask.sum(1).tolist())
    assert any(len(set(one.src_lengths.tolist())) > 1 for one in found)


@pytest.mark.parametrize(("rdrop", "expected"), [(None, LENGTHS), (1.0, LENGTHS * 2)])
def test_the_encoder_has_them_in_training(given: list[Tensor], rdrop: float | None, expected: list[int]) -> None:
    batch_loss(tiny_model("rnnsearch").train(), batch(), torch.device("cpu"), 0.1, rdrop)
    (lengths,) = given
    check(lengths, expected)


@pytest.mark.parametrize(("models", "device"), [(1, "cpu"), (2, "cpu"), (1, "meta")])
def test_the_encoder_has_them_in_search_and_where_targets_are_forced(
    given: list[Tensor], models: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the meta device the search itself fails, but only after the encoder was called."""
    monkeypatch.setattr(native, "autocast", lambda *given: nullcontext())
    members: list[Seq2Seq] = [tiny_model("rnnsearch").to(device), tiny_model("luong-dot").to(device)][:models]
    engine = native.NativeEngine(members[0] if models == 1 else Ensemble(members))
    calls: list[Callable[[], object]] = [
        lambda: engine.search(SOURCES, SearchConfig(beam_size=1), 1),
        lambda: engine.search(SOURCES, SearchConfig(beam_size=3), 1),
        lambda: engine.sample(SOURCES, SearchConfig(), Sampling(seed=1), 2, [[0], [1], [2]]),
        lambda: engine.score(SOURCES, TARGETS, SearchConfig()),
    ]
    for call in calls:
        given.clear()
        with nullcontext() if device == "cpu" else pytest.raises((RuntimeError, NotImplementedError)):
            call()
        assert len(given) == models
        for lengths in given:
            check(lengths)
