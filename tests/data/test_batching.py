"""Test batches and updates: their tensors, budgets, and an order that depends on seed, epoch and position only."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from nmt.data.batch import Batch, collate
from nmt.data.batching import Update, Updates, cut
from nmt.data.prefetch import in_thread
from nmt.data.store import Store
from nmt.data.store_writer import StoreWriter
from nmt.data.tokenizer import BOS, EOS, PAD
from nmt.errors import ConfigError

pytestmark = pytest.mark.usefixtures("no_server")

REAL = Path(os.environ.get("NMT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data")) / "multi30k"


def make_store(folder: Path, lengths: list[tuple[int, int]]) -> Store:
    """Write a store of sentences with the given numbers of tokens; the first id of each source is unique."""
    folder.mkdir()
    with StoreWriter(folder, 60_000, 60_000) as writer:
        for row, (source, target) in enumerate(lengths):
            writer.add([10 + row] * (source - 1) + [EOS], [10 + row] * (target - 1) + [EOS], "", "")
    return Store(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    rng = np.random.default_rng(0)
    source = rng.gamma(4, 4, 1000).astype(int) + 2
    target = np.maximum(source + rng.normal(0, 2, 1000).astype(int), 2)
    lengths = list(zip(source.tolist(), target.tolist(), strict=True))
    return make_store(tmp_path_factory.mktemp("batching") / "store", lengths)


def take(updates: Updates, count: int, epoch: int = 0, position: int = 0) -> list[Update]:
    iterator = updates.iterate(epoch, position)
    try:
        return list(islice(iterator, count))
    finally:
        iterator.close()


def same(one: Update, other: Update) -> bool:
    return one._replace(batches=[]) == other._replace(batches=[]) and all(
        a is b is None or torch.equal(a, b)
        for left, right in zip(one.batches, other.batches, strict=True)
        for a, b in zip(left, right, strict=True)
    )


def rows_of(batches: list[Batch]) -> list[int]:
    """Return the rows of `make_store` that are in some batches, identified by their first id."""
    return [int(id) - 10 for batch in batches for id in batch.src[:, 0]]


# -- batches ------------------------------------------------------------------------------------------------------


def test_collate() -> None:
    batch = collate([[5, 6, EOS], [EOS]], [np.array([7, EOS], dtype=np.uint16), [8, 9, 9, EOS]])
    assert batch.src.tolist() == [[5, 6, EOS], [EOS, PAD, PAD]]
    assert batch.src_mask.tolist() == [[True] * 3, [True, False, False]]
    assert batch.tgt_in.tolist() == [[BOS, 7, PAD, PAD], [BOS, 8, 9, 9]]
    assert batch.tgt_out.tolist() == [[7, EOS, PAD, PAD], [8, 9, 9, EOS]]
    assert batch.src_lengths.tolist() == [3, 1]
    assert [tensor.dtype for tensor in batch[:5]] == [torch.int64, torch.bool, torch.int64, torch.int64, torch.int64]
    assert batch.links is None
    elsewhere = batch.to("meta")
    assert elsewhere.tgt_in.is_meta and elsewhere.src_lengths.is_cpu


def test_collate_to_a_multiple() -> None:
    batch = collate([[5] * 8 + [EOS]], [[7] * 7 + [EOS]], multiple=8)
    assert [tensor.shape[1] for tensor in batch[:4]] == [16, 16, 8, 8]
    assert batch.src_mask.sum() == 9 == batch.src_lengths.sum()


# -- an epoch -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("budget", [120, 500, 4096, 10**6])
def test_an_epoch_has_every_pair_once_within_the_budget(store: Store, budget: int, multiple: int) -> None:
    epoch = Updates(store, budget, multiple=multiple).epoch(0)
    assert sorted(np.concatenate(epoch).tolist()) == list(range(len(store)))
    for rows in epoch:
        batch = collate([store.source(row) for row in rows], [store.target(row) for row in rows], multiple)
        assert len(rows) * max(batch.src.shape[1], batch.tgt_out.shape[1]) <= budget


def test_cut_is_as_late_as_the_budget_allows() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        lengths = rng.integers(1, 20, rng.integers(1, 40))
        cuts = cut(lengths, 30)
        starts, ends = [0, *cuts], [*cuts, len(lengths)]
        for start, end in zip(starts, ends, strict=True):
            assert (end - start) * lengths[start:end].max() <= 30
            assert end == len(lengths) or (end + 1 - start) * lengths[start : end + 1].max() > 30


def test_the_order_is_of_seed_and_epoch(store: Store) -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        return [rows.tolist() for rows in Updates(store, 500, seed=seed).epoch(epoch)]

    assert order(1, 0) == order(1, 0)
    different = [order(1, 0), order(1, 1), order(2, 0), order(2, 1), order(0, 1), order(-1, 0)]
    assert len({str(epoch) for epoch in different}) == len(different)
    lengths = [int(store.target_lengths[rows].max()) for rows in order(1, 0)]
    assert lengths != sorted(lengths)
    together = [{frozenset(rows) for rows in epoch} for epoch in different]
    assert len(together[0] & together[1]) < len(together[0]) / 2, "which pairs meet changes too"


@pytest.mark.parametrize(("budget", "key"), [((30, None), "tokens_per_update"), ((100, 30), "tokens_per_device")])
def test_a_pair_beyond_a_budget_is_refused(tmp_path: Path, budget: tuple[int, int | None], key: str) -> None:
    store = make_store(tmp_path / "store", [(5, 5), (5, 31)])
    with pytest.raises(ConfigError, match=rf"training\.{key}=30 is less than the longest training sentence, 31 tokens"):
        Updates(store, *budget)
    assert len(Updates(store, 31, 31).epoch(0)) == 2
    with pytest.raises(ConfigError, match="no training pairs"):
        Updates(make_store(tmp_path / "empty", []), 100)


@pytest.fixture(scope="module")
def real_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    if not REAL.is_dir():
        pytest.skip("no real text: set NMT_TEST_DATA")
    sides = [(REAL / f"train.{language}").read_text("utf-8").splitlines() for language in ("de", "en")]
    lengths = [(len(de.split()) + 1, len(en.split()) + 1) for de, en in zip(*sides, strict=True)]
    return make_store(tmp_path_factory.mktemp("real") / "store", lengths)


@pytest.mark.parametrize("budget", [1024, 2048, 4096])
def test_little_padding_on_real_text(real_store: Store, budget: int) -> None:
    updates = Updates(real_store, budget)
    found = take(updates, len(updates.epoch(0)))
    assert sum(update.sentences for update in found) == len(real_store)
    padded = sum(update.padded_tokens for update in found)
    assert 1 - sum(update.source_tokens + update.target_tokens for update in found) / padded < 0.05


# -- iteration ----------------------------------------------------------------------------------------------------


def test_updates_follow_the_epochs_and_resume_anywhere(store: Store) -> None:
    updates = Updates(store, 2000)
    sizes = [len(updates.epoch(number)) for number in (0, 1)]
    through = take(updates, sum(sizes) + 2)
    places = [(update.epoch, update.position) for update in through]
    assert places == [(e, p) for e in (0, 1) for p in range(sizes[e])] + [(2, 0), (2, 1)]
    assert [rows_of(update.batches) for update in through[: sizes[0]]] == [rows.tolist() for rows in updates.epoch(0)]
    for start in (1, sizes[0] - 1, sizes[0], sizes[0] + 3):
        for one, other in zip(take(updates, 3, *places[start]), through[start:], strict=False):
            assert same(one, other)
    assert same(take(updates, 1, 0, sizes[0])[0], through[sizes[0]]), (
        "the place after an epoch's last is the next's first"
    )


def test_counts_are_those_of_the_tensors(store: Store) -> None:
    for update in take(Updates(store, 2000, 300, multiple=8), 20):
        batches = update.batches
        assert update.sentences == sum(len(batch.src) for batch in batches)
        assert update.source_tokens == sum(int(batch.src_mask.sum()) for batch in batches)
        assert update.target_tokens == sum(int((batch.tgt_out != PAD).sum()) for batch in batches)
        assert update.padded_tokens == sum(batch.src.numel() + batch.tgt_out.numel() for batch in batches)


@pytest.mark.parametrize(("world_size", "tokens_per_device"), [(1, 300), (2, None), (2, 300), (3, 120)])
def test_a_split_changes_nothing_about_the_update(store: Store, world_size: int, tokens_per_device: int | None) -> None:
    whole = take(Updates(store, 2000), 15)
    parts = [
        take(Updates(store, 2000, tokens_per_device, rank=rank, world_size=world_size), 15)
        for rank in range(world_size)
    ]  # fmt: skip
    for update, *shares in zip(whole, *parts, strict=True):
        assert sorted(rows_of(update.batches)) == sorted(row for share in shares for row in rows_of(share.batches))
        for share in shares:
            assert share[:2] == update[:2]
            assert (share.source_tokens, share.target_tokens) == (update.source_tokens, update.target_tokens)
            sizes = [len(batch.src) * max(batch.src.shape[1], batch.tgt_out.shape[1]) for batch in share.batches]
            assert max(sizes, default=0) <= (tokens_per_device or 2000)
        rows = [len(batch.src) for share in shares for batch in share.batches]
        assert max(rows) - min(rows) <= 1
        counts = {len(share.batches) for share in shares}
        assert len(counts) == 1 or max(rows) == 1, "as many batches for each process, where there are sentences for it"


def test_more_processes_than_sentences(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", [(9, 9), (9, 9)])
    shares = [take(Updates(store, 20, rank=rank, world_size=3), 1)[0] for rank in range(3)]
    assert sorted(rows_of([batch for share in shares for batch in share.batches])) == [0, 1]
    assert [len(share.batches) for share in shares] == [1, 1, 0]
    assert {share.target_tokens for share in shares} == {18}


@pytest.mark.parametrize("workers", [1, 2])
def test_worker_processes_build_the_same_in_order_and_end(store: Store, workers: int) -> None:
    expected = take(Updates(store, 500, 200), 60, 0, 5)
    before = torch.get_rng_state()
    found = take(Updates(store, 500, 200, workers=workers), 60, 0, 5)
    assert all(same(one, other) for one, other in zip(found, expected, strict=True))
    assert torch.equal(before, torch.get_rng_state()), "training's random numbers are left alone"
    assert not multiprocessing.active_children()


def test_worker_processes_leave_signals_to_the_parent(store: Store) -> None:
    iterator = Updates(store, 500, workers=1).iterate()
    found = [next(iterator)]
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
        found += islice(iterator, 10)
    assert all(same(one, other) for one, other in zip(found, take(Updates(store, 500), 21), strict=True))
    iterator.close()
    assert not multiprocessing.active_children()


def test_the_thread_ends_with_the_iterator(store: Store) -> None:
    iterator = Updates(store, 500).iterate()
    next(iterator)
    assert "prefetch" in {thread.name for thread in threading.enumerate()}
    iterator.close()
    assert "prefetch" not in {thread.name for thread in threading.enumerate()}


def test_the_thread_works_ahead_and_hands_on_errors() -> None:
    built: list[int] = []

    def items(last: int, fail: bool) -> Iterator[int]:
        for number in range(last):
            built.append(number)
            yield number
        if fail:
            raise ConfigError("broken")

    assert list(in_thread(items(20, fail=False))) == list(range(20))
    iterator = in_thread(items(10**6, fail=False))
    built.clear()
    next(iterator)
    wait_until(lambda: len(built) >= 5)
    iterator.close()
    assert len(built) < 50, "not without bound"
    taken = []
    with pytest.raises(ConfigError, match="broken"):
        for number in in_thread(items(3, fail=True)):
            taken.append(number)
    assert taken == [0, 1, 2]


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)
