"""Test weights of corpora: exact counts, even use of all rows, and an unchanged order without weights."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmt.config.data import CorpusConfig, DataConfig
from nmt.data.batching import Updates, cut
from nmt.data.mixture import Mixture, Part, tempered
from nmt.data.store import Store
from nmt.data.store_writer import StoreWriter
from nmt.data.tokenizer import EOS
from nmt.errors import ConfigError, NmtError
from tests.data.test_batching import same, take

SIZES = [100, 37, 260]


def make_store(folder: Path, sizes: list[int]) -> Store:
    """Write a store of corpora of these sizes; the first id of a pair is 10 + its row, and lengths are random."""
    folder.mkdir()
    rng, row = np.random.default_rng(3), 0
    with StoreWriter(folder, 60_000, 60_000, len(sizes)) as writer:
        for corpus, size in enumerate(sizes):
            for _ in range(size):
                lengths = rng.integers(1, 9, 2)
                writer.add([10 + row] * lengths[0] + [EOS], [10 + row] * lengths[1] + [EOS], "", "", corpus)
                row += 1
    return Store(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_store(tmp_path_factory.mktemp("mixture") / "store", SIZES)


def config(weights: list[float], **changes: Any) -> DataConfig:
    train = [CorpusConfig(prefix=f"text/{place}", weight=weight) for place, weight in enumerate(weights)]
    return DataConfig(source_language="de", target_language="en", train=train, val=CorpusConfig(prefix="v"), **changes)


def counts(rows: Any, sizes: list[int] = SIZES) -> list[Counter[int]]:
    """Count, for each corpus, how often each of its rows is among `rows`."""
    ends = np.cumsum([0, *sizes])
    return [Counter(int(row) for row in rows if first <= row < end) for first, end in pairwise(ends)]


def old_order(updates: Updates, number: int) -> list[list[int]]:
    """Compute the order of an epoch as it was before weights existed."""
    rng = np.random.Generator(np.random.PCG64([updates.seed % 2**64, number]))
    order = rng.permutation(len(updates.store)).astype(np.int32)
    turn, longer = updates._sort_keys()
    order = order[np.lexsort((turn[order], longer[order]))]
    pieces = np.split(order, cut(longer[order], updates.tokens_per_update))
    return [pieces[index].tolist() for index in rng.permutation(len(pieces))]


@pytest.mark.parametrize("seed", [1, 2, -3])
def test_without_weights_the_order_is_what_it_was(store: Store, seed: int) -> None:
    for mixture in (None, Mixture.of(config([1, 1, 1]), store)):
        updates = Updates(store, 60, seed=seed, mixture=mixture)
        for epoch in (0, 1, 5):
            assert [rows.tolist() for rows in updates.epoch(epoch)] == old_order(updates, epoch)


def test_each_epoch_has_its_weight_of_each_corpus_and_every_row_its_turn(store: Store) -> None:
    mixture = Mixture.of(config([2, 0.5, 0.7]), store)
    seen = [Counter[int]() for _ in SIZES]
    for epoch in range(10):
        updates = Updates(store, 60, seed=4, mixture=mixture)
        rows = np.concatenate(updates.epoch(epoch))
        found = counts(rows)
        assert set(found[0].values()) == {2} and len(found[0]) == 100, "twice each"
        assert found[1].total() == [18, 19][epoch % 2], "half of 37, in turn"
        assert found[2].total() == 182, "0.7 of 260, exactly"
        for place, counter in enumerate(found):
            seen[place] += counter
            full = [seen[place][row] for row in range(sum(SIZES[:place]), sum(SIZES[: place + 1]))]
            assert max(full) - min(full) <= 1, "no row comes again before all others have come as often"
    assert [counter.total() for counter in seen] == [2000, 185, 1820]


def test_another_part_is_drawn_each_time_by_seed_and_epoch_alone(store: Store) -> None:
    mixture = Mixture.of(config([1, 1, 0.25]), store)
    parts = [set(mixture.rows(1, epoch).tolist()) for epoch in range(8)]
    assert set().union(*parts[:4]) == set().union(*parts[4:]) == set(range(sum(SIZES)))
    assert parts[0] != parts[4], "each turn has an order of its own"
    assert parts[3] == set(Mixture.of(config([1, 1, 0.25]), store).rows(1, 3).tolist())
    assert parts[0] != set(mixture.rows(2, 0).tolist())


def test_it_goes_on_anywhere_and_in_processes(store: Store) -> None:
    mixture = Mixture.of(config([0.3, 3, 1]), store)
    through = take(Updates(store, 100, 50, mixture=mixture), 60)
    for workers in (0, 2):
        updates = Updates(store, 100, 50, mixture=mixture, workers=workers)
        for start in (0, 17, 45):
            first = through[start]
            rest = take(updates, 10, first.epoch, first.position)
            assert all(same(*pair) for pair in zip(rest, through[start:], strict=False))
    assert through[-1].epoch > 0


@pytest.mark.parametrize(("temperature", "share"), [(1.0, 1 / 11), (5.0, 1 / (1 + 10**0.2)), (1e9, 0.5)])
def test_a_temperature_draws_the_smaller_corpus_more_often(tmp_path: Path, temperature: float, share: float) -> None:
    sizes = [100, 1000]
    store = make_store(tmp_path / "store", sizes)
    mixture = Mixture.of(config([1, 1], temperature=temperature), store)
    for epoch in range(3):
        found = counts(mixture.rows(1, epoch), sizes)
        assert sum(counter.total() for counter in found) == 1100, "an epoch keeps its size"
        assert abs(found[0].total() - 1100 * share) < 1
    assert np.concatenate(Updates(store, 60, mixture=mixture).epoch(0)).dtype == np.int32


def test_tempered_rows_add_up_whatever_the_sizes() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        pairs = rng.integers(0, 1000, rng.integers(1, 8)).tolist()
        pairs[0] += 1
        weights = tempered(pairs, float(rng.uniform(0.5, 20)))
        rows = [weight * count for weight, count in zip(weights, pairs, strict=True)]
        assert all(row.denominator == 1 for row in rows)
        assert sum(rows) == sum(pairs)


def test_an_empty_corpus_and_ends_of_epochs_without_a_row_are_no_matter() -> None:
    mixture = Mixture([Part("none", 0, Fraction(2)), Part("few", 3, Fraction(1, 10)), Part("all", 5, Fraction(1))])
    epochs = [mixture.rows(1, epoch).tolist() for epoch in range(10)]
    assert sorted(row for rows in epochs for row in rows if row < 3) == [0, 1, 2]
    assert all([row for row in rows if row >= 3] == [3, 4, 5, 6, 7] for rows in epochs)


def test_the_log_counts_each_corpus(store: Store) -> None:
    data = config([2, 0.5, 1])
    data.train[0].name = "real"
    said: list[str] = []
    Mixture.of(data, store).tell(said.append)
    assert said[0] == "an epoch has 478 pairs of 3 corpora:"
    assert said[1] == "  real: 100 pairs, weight 2, 200 in an epoch, 41.8%"
    assert said[2].startswith("  1: 37 pairs, weight 0.5, 18 in an epoch")
    Mixture.whole(store).tell(lambda line: pytest.fail("there is nothing to tell of one corpus"))


def test_a_store_from_before_is_read_but_not_weighted(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", SIZES)
    path = store.folder / "store.json"
    description = json.loads(path.read_text("utf-8"))
    assert description.pop("corpora") == SIZES
    path.write_text(json.dumps(description), encoding="utf-8")
    old = Store(store.folder)
    updates = Updates(old, 60, mixture=Mixture.of(config([1, 1, 1]), old))
    assert [rows.tolist() for rows in updates.epoch(1)] == old_order(updates, 1)
    with pytest.raises(NmtError, match="remove it, so that it is prepared again"):
        Mixture.of(config([1, 2, 1]), old)


def test_impossible_weights_are_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="so small that an epoch may have no pair"):
        Mixture.of(config([0.001, 0.001, 0.001]), store)
    for data, sentence in (
        (config([1, 2], temperature=5.0), "leave out weight"),
        (config([1], path="text", temperature=2.0), "leave data.path out"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            data.check()
    data = config([1])
    data.val = CorpusConfig(prefix="v", weight=2)
    with pytest.raises(ConfigError, match=r"data\.val: only corpora of data\.train"):
        data.check()
