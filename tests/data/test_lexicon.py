"""Test IBM model 1 against the paper's equations, for any size of blocks, and on a text with a known lexicon."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from nmt.data import lexicon
from nmt.data.lexicon import IdPair, Lexicon, learn_lexicon, pairs_to_learn_from, target_counts
from nmt.data.store import Store
from nmt.data.store_writer import StoreWriter


def ids(*sentences: str) -> list[IdPair]:
    """Return pairs of ids, given as text such as "4 5 - 6"."""
    sides = ([np.array(side.split(), dtype=np.uint16) for side in sentence.split("-")] for sentence in sentences)
    return [(source, target) for source, target in sides]


def random_pairs(count: int, seed: int, vocabulary: int = 9) -> list[IdPair]:
    source = random.Random(seed)
    return [
        tuple(np.array(source.choices(range(vocabulary), k=source.randint(1, 6)), dtype="<u2") for _ in range(2))
        for _ in range(count)
    ]


def by_the_paper(pairs: list[IdPair], iterations: int) -> dict[tuple[int, int], float]:
    """Compute t(target | source) by the EM algorithm of Brown et al. 1993, section 4.1, one pair at a time."""
    t: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(iterations):
        counts: dict[tuple[int, int], float] = defaultdict(float)
        totals: dict[int, float] = defaultdict(float)
        for source, target in pairs:
            for f in target.tolist():
                among = sum(t[e, f] for e in source.tolist())
                for e in source.tolist():
                    counts[e, f] += t[e, f] / among
                    totals[e] += t[e, f] / among
        t.update({(e, f): count / totals[e] for (e, f), count in counts.items()})
    return dict(t)


@pytest.mark.parametrize("at_once", [1, 40, 10**6])
@pytest.mark.parametrize("iterations", [1, 4])
def test_the_algorithm_is_the_papers(at_once: int, iterations: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "_LINKS_AT_ONCE", at_once)
    pairs = random_pairs(60, seed=iterations)
    found = learn_lexicon(pairs, iterations)
    expected = by_the_paper(pairs, iterations)
    keys = list(zip(found.sources.tolist(), found.targets.tolist(), strict=True))
    assert keys == sorted(expected)
    np.testing.assert_allclose(found.probabilities, [expected[key] for key in keys], rtol=1e-9)
    np.testing.assert_allclose(np.bincount(found.sources, found.probabilities), np.ones(9))


def test_one_step_by_hand() -> None:
    # das Haus - the house, das Buch - the book; das=4 Haus=5 Buch=6, the=4 house=5 book=6
    found = learn_lexicon(ids("4 5-4 5", "4 6-4 6"), 1)
    table = dict(
        zip(zip(found.sources.tolist(), found.targets.tolist(), strict=True), found.probabilities, strict=True)
    )
    assert table == pytest.approx({(4, 4): 1 / 2, (4, 5): 1 / 4, (4, 6): 1 / 4, (5, 4): 1 / 2, (5, 5): 1 / 2,
                                   (6, 4): 1 / 2, (6, 6): 1 / 2})  # fmt: skip


def test_words_find_their_translations() -> None:
    source = random.Random(3)
    pairs = []
    for _ in range(400):  # word n is translated as 20 - n, in random order, and every sentence ends with 3 (EOS)
        words = source.sample(range(4, 17), k=source.randint(2, 7))
        shuffled = source.sample(words, k=len(words))
        pairs.append((np.array([*words, 3]), np.array([*(20 - word for word in shuffled), 3])))
    best = learn_lexicon(pairs, 10).best(2, 17, filler=0)
    assert best[4:, 0].tolist() == [20 - word for word in range(4, 17)]
    assert best[3, 0] == 3
    assert not best[:3].any()


def test_the_best_are_ordered_and_filled_up() -> None:
    sources, targets = np.array([1, 1, 1, 3, 3, 3]), np.array([2, 4, 7, 1, 5, 9])
    probabilities = np.array([0.25, 0.5, 0.25, 0.2, 0.2, 0.6])
    best = Lexicon(sources, targets, probabilities).best(2, 5, filler=0)
    assert best.tolist() == [[0, 0], [4, 2], [0, 0], [9, 1], [0, 0]]
    assert Lexicon(sources, targets, probabilities).best(4, 5, filler=0)[1].tolist() == [4, 2, 7, 0]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    with StoreWriter(tmp_path, 9, 9) as writer:
        for source, target in random_pairs(50, seed=7):
            writer.add(source.tolist(), target.tolist(), "text", "text")
    return Store(tmp_path)


def test_a_large_store_is_sampled_evenly_and_that_is_said(store: Store) -> None:
    said: list[str] = []
    everything = pairs_to_learn_from(store, said.append)
    links = sum(len(source) * len(target) for source, target in everything)
    assert len(everything) == 50
    assert said == ["learning from all of 50 pairs"]
    some = pairs_to_learn_from(store, said.append, links // 3)
    assert said[1:] == ["learning from 1 in 4 of 50 pairs"]
    for (source, target), row in zip(some, range(0, 50, 4), strict=True):
        assert (source.tolist(), target.tolist()) == (store.source(row).tolist(), store.target(row).tolist())


def test_targets_are_counted(store: Store) -> None:
    targets = [id for row in range(50) for id in store.target(row).tolist()]
    assert target_counts(store, 12).tolist() == [targets.count(id) for id in range(12)]
