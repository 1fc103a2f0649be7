"""Compare the counts of a store with counts in plain Python, for any size of blocks."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from nmt.config.data import TokenizerConfig
from nmt.data.statistics import RATIO_EDGES, Overlap, TextCounts, count_lines, count_store, quantile, summary
from nmt.data.store import SIDES, Store
from nmt.data.store_writer import StoreWriter
from nmt.data.tokenizer import EOS, Model, Tokenizer
from nmt.data.vocabulary import train_tokenizer

PAIRS = [
    ("ein Hund", "a dog"),
    ("Größe 😀 ja", "size yes, size yes"),
    ("x", "a much longer line than its source"),
    ("zwei Wörter", "two\u00a0words"),
    ("ein Hund", "one dog"),
] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    sides = [[pair[side] for pair in PAIRS] for side in range(2)]
    return train_tokenizer(TokenizerConfig(algorithm="char", vocab_size=40, joint=True), *sides, tags=["web"])


@pytest.fixture(scope="module")
def store(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Write a store of all pairs, every other one with a tag."""
    folder = tmp_path_factory.mktemp("store")
    with StoreWriter(folder, tokenizer.source_size, tokenizer.target_size) as writer:
        for number, (source, target) in enumerate(PAIRS):
            ids = tokenizer.tag_ids("web" if number % 2 else None) + tokenizer.encode_source([source])[0]
            writer.add(ids, tokenizer.encode_target([target])[0], source, target)
    return Store(folder)


def models(tokenizer: Tokenizer) -> tuple[Model, Model]:
    return tokenizer.source, tokenizer.target


def check(counts: TextCounts, pairs: list[tuple[str, str]], tokenizer: Tokenizer) -> None:
    """Compare counts with those of plain Python."""
    assert counts.pairs == len(pairs)
    for number, side in enumerate(SIDES):
        lines, found = [pair[number] for pair in pairs], getattr(counts, side)
        ids = [id for row in tokenizer.source.encode(lines) for id in row if id != EOS]
        for histogram, values in (
            (found.words, [len(line.split()) for line in lines]),
            (found.characters, map(len, lines)),
            (found.tokens, [len(row) - 1 for row in tokenizer.source.encode(lines)]),
            (found.ids, ids),
            (found.code_points, map(ord, "".join(lines))),
        ):
            assert {int(value): int(histogram[value]) for value in np.flatnonzero(histogram)} == Counter(values)
    ratios = [math.log2(len(target) / len(source)) for source, target in pairs if source and target]
    expected = np.histogram(np.clip(ratios, -3, 3), RATIO_EDGES)[0]
    assert counts.ratios.tolist() == expected.tolist() and counts.ratios.sum() == len(ratios)


def test_a_store_is_counted_whole_and_tags_are_no_tokens(store: Store, tokenizer: Tokenizer) -> None:
    check(count_store(store, models(tokenizer), Overlap([])), PAIRS, tokenizer)


def test_blocks_are_all_rows_once(store: Store, monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer) -> None:
    for size in (1, 40, 1 << 20):
        blocks = list(store.blocks(size))
        assert [row for block in blocks for row in block] == list(range(len(PAIRS)))
        assert (len(blocks) == len(PAIRS)) == (size == 1) and (len(blocks) == 1) == (size == 1 << 20)
    blocks = Store.blocks
    monkeypatch.setattr(Store, "blocks", lambda store: blocks(store, 60))
    check(count_store(store, models(tokenizer), Overlap([])), PAIRS, tokenizer)


def test_lines_are_counted_with_empty_ones(tokenizer: Tokenizer) -> None:
    pairs = [("", "a dog"), *PAIRS[:3], ("ja", "")]
    check(count_lines(pairs, models(tokenizer)), pairs, tokenizer)


def test_overlap_is_of_whole_lines_and_of_pairs_in_one_row(store: Store, tokenizer: Tokenizer) -> None:
    pairs = [
        ("ein Hund", "a dog"),  # a pair of the store
        ("ein Hund", "size yes, size yes"),  # both sides occur, but in different rows
        ("ein", "dog"),  # only parts of lines
        ("neu", "one dog"),
        ("", ""),
        ("ein Hund", "neu"),
    ]
    overlap = Overlap(pairs)
    count_store(store, models(tokenizer), overlap)
    assert overlap.of(pairs) == {"source": [0, 1, 5], "target": [0, 1, 3], "pair": [0]}


def test_summaries_are_those_of_the_lengths() -> None:
    lengths = [1, 2, 2, 3, 10]
    assert summary(np.bincount(lengths)) == {"total": 18, "mean": 3.6, "median": 2, "p95": 10, "p99": 10, "max": 10}
    for share in (0.2, 0.5, 0.8):
        expected = np.quantile(lengths, share, method="inverted_cdf")
        assert quantile(np.bincount(lengths), share) == expected
    assert summary(np.zeros(0, dtype=np.int64))["mean"] is None
