"""Continuations by n-grams: as their formula has it, counted one by one."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import numpy as np
import pytest

from nmt.data import continuations
from nmt.data.continuations import ORDER, learn_continuations, pack

BOS, EOS = 2, 3
Context = tuple[int, ...]


def made_up(count: int, seed: int, vocabulary: int = 6) -> list[np.ndarray]:
    source = random.Random(seed)
    sentences = [[*source.choices(range(4, 4 + vocabulary), k=source.randint(0, 7)), EOS] for _ in range(count)]
    return [np.array(sentence, dtype="<u2") for sentence in sentences]


def one_by_one(targets: list[np.ndarray], best: int, least: dict[int, int]) -> dict[Context, list[tuple[int, float]]]:
    counts: dict[Context, Counter[int]] = defaultdict(Counter)
    for target in targets:
        stream = [BOS] * ORDER + target.tolist()
        for place in range(ORDER, len(stream)):
            for order in range(1, ORDER + 1):
                counts[tuple(stream[place - order : place])][stream[place]] += 1
    tables: dict[Context, list[tuple[int, float]]] = {}
    for context, seen in sorted(counts.items(), key=lambda item: len(item[0])):
        total = seen.total()
        if total < least[len(context)]:
            continue
        trust = 0.0 if len(context) == 1 else 3.0
        shares: dict[int, float] = defaultdict(float)
        for token, count in seen.items():
            shares[token] += count / (total + trust)
        for token, share in tables[context[1:]] if trust else []:
            shares[token] += trust / (total + trust) * share
        tables[context] = sorted(shares.items(), key=lambda item: (-item[1], item[0]))[:best]
    return tables


def check(targets: list[np.ndarray], best: int, least: dict[int, int]) -> None:
    found = learn_continuations(targets, best, BOS)
    expected = one_by_one(targets, best, least)
    assert sorted(found.contexts.tolist()) == sorted(map(pack, expected))
    rows = {context: row for row, context in enumerate(found.contexts.tolist())}
    for context, continued in expected.items():
        row = rows[pack(context)]
        shares = found.probabilities[row]
        np.testing.assert_allclose(shares[: len(continued)], [share for _, share in continued], rtol=1e-9)
        assert not shares[len(continued) :].any()
        given = dict(zip(found.tokens[row].tolist(), shares.tolist(), strict=True))
        for token, share in continued[:-1] if len(continued) == best else continued:  # of equals at the cut, either
            assert given[token] == pytest.approx(share)


@pytest.mark.parametrize("best", [2, 5, 20])
def test_the_formula_is_kept(best: int) -> None:
    check(made_up(80, seed=best), best, {1: 1, 2: 2, 3: 2})


def test_only_frequent_contexts_are_kept_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = made_up(200, seed=1)
    seen: dict[int, Counter[Context]] = {order: Counter() for order in (1, 2, 3)}
    for target in targets:
        stream = [BOS] * ORDER + target.tolist()
        for place in range(ORDER, len(stream)):
            for order, of_order in seen.items():
                of_order[tuple(stream[place - order : place])] += 1
    monkeypatch.setattr(continuations, "_MOST_CONTEXTS", 20)
    least = {1: 1}
    for order in (2, 3):
        rank = sorted(seen[order].values(), reverse=True)
        least[order] = max(least[order - 1], rank[20] + 1)
        assert 0 < sum(count >= least[order] for count in rank) <= 20
    check(targets, 5, least)


def test_one_sentence_by_hand() -> None:
    found = learn_continuations([np.array([7, 8, EOS]), np.array([7, 9, EOS])], 2, BOS)
    rows = dict(
        zip(found.contexts.tolist(), zip(found.tokens.tolist(), found.probabilities.tolist(), strict=True), strict=True)
    )
    assert rows[pack([BOS])] == ([7, 0], [1.0, 0.0])
    assert rows[pack([7])] == ([8, 9], [0.5, 0.5])
    assert rows[pack([8])] == ([EOS, 0], [1.0, 0.0])
    assert rows[pack([BOS, BOS, BOS])] == ([7, 0], [1.0, 0.0])
    assert pack([8, EOS]) not in rows and pack([7, 8]) not in rows, "seen once"


def test_nothing_to_learn_from() -> None:
    assert len(learn_continuations([], 3, BOS).contexts) == 0


def test_ids_that_do_not_fit_are_refused() -> None:
    with pytest.raises(AssertionError, match="ids have more than 20 bits"):
        learn_continuations([np.array([1 << 20])], 3, BOS)
