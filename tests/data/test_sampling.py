"""Test sampled segmentations: their probabilities, their dependence on seed and position, and updates built of them."""

from __future__ import annotations

import math
import multiprocessing
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import chain, combinations
from random import Random
from typing import Any, Literal

import numpy as np
import pytest
import sentencepiece

from nmt.config.data import TokenizerConfig
from nmt.config.load import load_config
from nmt.data.batch import Batch
from nmt.data.batching import Updates
from nmt.data.sampling import SubwordSampling
from nmt.data.store import Store
from nmt.data.store_writer import StoreWriter
from nmt.data.tokenizer import EOS, PAD, UNK, Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import ConfigError
from nmt.resources import embedded_corpus
from tests.data.test_batching import same, take

LONGEST = 40  # tokens of stored sentences
Algorithm = Literal["unigram", "bpe"]


@cache
def lines(language: str) -> list[str]:
    return (embedded_corpus() / f"train.{language}").read_text("utf-8").split("\n")[:1500]


@cache
def tokenizer(algorithm: Algorithm, joint: bool = True) -> Tokenizer:
    config = TokenizerConfig(algorithm=algorithm, joint=joint, vocab_size=400)
    return train_tokenizer(config, lines("de"), lines("en"))


def sampling(algorithm: Algorithm, alpha: float = 0.3, joint: bool = True, **settings: Any) -> SubwordSampling:
    how = {"sides": "both", "max_tokens": 100, **settings}
    return SubwordSampling(tokenizer(algorithm, joint), algorithm, alpha, **how)


def ids_of(algorithm: Algorithm, text: Sequence[str], alpha: float, seed: int = 1, **how: Any) -> list[list[int]]:
    lines = sampling(algorithm, alpha, **how).target
    assert lines is not None
    return lines.draw(text, Random(seed))


def frequencies(algorithm: Algorithm, line: str, alpha: float, count: int = 20_000) -> Counter[tuple[str, ...]]:
    drawn = ids_of(algorithm, [line] * count, alpha)
    return Counter(tuple(tokenizer(algorithm).target_pieces(ids[:-1])) for ids in drawn)


# -- the distribution -----------------------------------------------------------------------------------------------


def scores_of(algorithm: Algorithm) -> dict[str, float]:
    """Return the scores of all pieces, read directly from SentencePiece."""
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(tokenizer(algorithm).models[0])
    return {processor.id_to_piece(id): processor.get_score(id) for id in range(EOS + 1, processor.get_piece_size())}


def segmentations(text: str, scores: dict[str, float]) -> dict[tuple[str, ...], float]:
    """Return every segmentation of `text` into pieces, with its log-probability."""
    if not text:
        return {(): 0.0}
    return {
        (text[:end], *rest): scores[text[:end]] + score
        for end in range(1, len(text) + 1)
        if text[:end] in scores
        for rest, score in segmentations(text[end:], scores).items()
    }


def after_dropout(pieces: tuple[str, ...], scores: dict[str, float], p: float) -> Counter[tuple[str, ...]]:
    """Compute the distribution of Provilkov et al.'s Algorithm 1 by enumerating the merges kept in each step."""
    merges = [left for left in range(len(pieces) - 1) if pieces[left] + pieces[left + 1] in scores]
    found: Counter[tuple[str, ...]] = Counter()
    for kept in chain.from_iterable(combinations(merges, size) for size in range(len(merges) + 1)):
        probability = (1 - p) ** len(kept) * p ** (len(merges) - len(kept))
        if not kept:
            found[pieces] += probability  # type: ignore[assignment]
            continue
        best = max(kept, key=lambda left: (scores[pieces[left] + pieces[left + 1]], -left))
        merged = (*pieces[:best], pieces[best] + pieces[best + 1], *pieces[best + 2 :])
        for outcome, later in after_dropout(merged, scores, p).items():
            found[outcome] += probability * later  # type: ignore[assignment]
    return found


def misfit(found: Counter[tuple[str, ...]], expected: Mapping[tuple[str, ...], float]) -> float:
    """Return Pearson's chi-squared, in standard deviations from its mean; rare outcomes are put together."""
    assert set(found) <= set(expected)
    assert sum(expected.values()) == pytest.approx(1)
    count = found.total()
    common = {outcome for outcome, probability in expected.items() if probability * count >= 5}
    cells = [(found[outcome], expected[outcome] * count) for outcome in common]
    rest = count - sum(cell[1] for cell in cells)
    if rest >= 5:
        cells.append((count - sum(cell[0] for cell in cells), rest))
    chi_squared = sum((seen - wanted) ** 2 / wanted for seen, wanted in cells)
    return (chi_squared - (len(cells) - 1)) / math.sqrt(2 * (len(cells) - 1))


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_a_unigram_segmentation_has_its_probability_to_the_power_of_alpha(alpha: float) -> None:
    """The distribution over whole lines is the same although words are sampled one by one."""
    log_probs = segmentations("▁the▁interpreter", scores_of("unigram"))
    assert len(log_probs) > 100

    def expected(power: float) -> dict[tuple[str, ...], float]:
        weights = {outcome: math.exp(power * score) for outcome, score in log_probs.items()}
        return {outcome: weight / sum(weights.values()) for outcome, weight in weights.items()}

    found = frequencies("unigram", "the interpreter", alpha)
    assert misfit(found, expected(alpha)) < 4
    assert misfit(found, expected(alpha + 0.1)) > 8, "the test tells powers apart"


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_bpe_dropout_has_the_distribution_of_its_algorithm(p: float) -> None:
    found, scores = frequencies("bpe", "describes", p), scores_of("bpe")
    assert len(found) > 10
    assert misfit(found, after_dropout(tuple("▁describes"), scores, p)) < 4
    assert misfit(found, after_dropout(tuple("▁describes"), scores, p + 0.05)) > 8, "the test tells rates apart"


@pytest.mark.parametrize("settings", [{}, {"byte_fallback": True, "vocab_size": 700}, {"normalization": "nfkc"}])
@pytest.mark.parametrize(("algorithm", "alpha"), [("unigram", 1e4), ("bpe", 0.0)])
def test_without_chance_it_is_what_sentencepiece_encodes(
    algorithm: Algorithm, alpha: float, settings: dict[str, Any]
) -> None:
    """With a large alpha only the most probable segmentation is sampled; ties between segmentations are rare."""
    config = TokenizerConfig(**{"algorithm": algorithm, "vocab_size": 400, "character_coverage": 0.99, **settings})
    trained = train_tokenizer(config, lines("de"), lines("en"))
    text = [*lines("en"), "", " ", "  the  ☃☃ man☃ ", "ﬁne ½ ① Ａ e\u0301 \u00a0 …"]
    sides = SubwordSampling(trained, algorithm, alpha, "target", 100)
    assert sides.source is None and sides.target is not None
    drawn, encoded = sides.target.draw(text, Random(1)), trained.encode_target(text)
    assert sum(map(list.__eq__, drawn, encoded)) >= 0.99 * len(text)
    assert drawn[-4:] == encoded[-4:]
    assert [trained.decode_target(ids) for ids in drawn] == [trained.decode_target(ids) for ids in encoded]


def test_bpe_goes_from_the_stored_segmentation_to_characters() -> None:
    bpe = tokenizer("bpe")
    stored = bpe.encode_target(lines("en"))
    nearly = ids_of("bpe", lines("en"), 1e-3)
    assert 0.9 < sum(map(list.__eq__, stored, nearly)) / len(stored) < 1
    for line, ids in zip(lines("en"), ids_of("bpe", lines("en"), 1.0), strict=True):
        assert bpe.target_pieces(ids[:-1]) == list(f" {line}".replace(" ", "▁"))


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
def test_whatever_is_drawn_spells_the_line(algorithm: Algorithm, joint: bool) -> None:
    both = tokenizer(algorithm, joint)
    for seed, alpha in enumerate((0.05, 0.3, 0.9)):
        drawn = ids_of(algorithm, lines("en"), alpha, seed, joint=joint)
        assert drawn != both.encode_target(lines("en"))
        assert [both.decode_target(ids) for ids in drawn] == lines("en")
        assert all(ids[-1] == EOS and not {PAD, UNK, EOS}.intersection(ids[:-1]) for ids in drawn)


def test_a_word_of_a_hundred_thousand_characters() -> None:
    """The number of its segmentations is beyond a float's range, and its length beyond any recursion."""
    line = "the" * 33_000
    for algorithm in ("unigram", "bpe"):
        ids = ids_of(algorithm, [line], 0.2)[0]  # type: ignore[arg-type]
        assert tokenizer(algorithm).decode_target(ids) == line  # type: ignore[arg-type]


# -- seeds and positions --------------------------------------------------------------------------------------------


def drawn(algorithm: Algorithm, seed: int) -> list[list[int]]:
    return ids_of(algorithm, lines("en")[:50], 0.3, seed)


@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
def test_a_draw_follows_from_its_seed_in_any_process(algorithm: Algorithm) -> None:
    first = drawn(algorithm, 7)
    assert drawn(algorithm, 8) != first
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other_process:
        assert other_process.submit(drawn, algorithm, 8).result() != first
        assert other_process.submit(drawn, algorithm, 7).result() == first


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def algorithm(request: pytest.FixtureRequest) -> Algorithm:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, algorithm: Algorithm) -> Store:
    folder = tmp_path_factory.mktemp("sampling") / "store"
    folder.mkdir()
    used = tokenizer(algorithm)
    ids = [used.encode_source(lines("de")), used.encode_target(lines("en"))]
    pairs = [pair for pair in zip(*ids, lines("de"), lines("en"), strict=True) if max(map(len, pair[:2])) <= LONGEST]
    assert len(pairs) > 300
    with StoreWriter(folder, used.source_size, used.target_size) as writer:
        for pair in pairs:
            writer.add(*pair)
    return Store(folder)


def updates(store: Store, algorithm: Algorithm, tokens_per_device: int | None = None, **settings: Any) -> Updates:
    how = settings.pop("how", {})
    return Updates(store, 500, tokens_per_device, sampling=sampling(algorithm, **how), **settings)


def sentences(batches: list[Batch], side: str) -> list[list[int]]:
    return [[id for id in row if id != PAD] for batch in batches for row in getattr(batch, side).tolist()]


def test_updates_hold_the_same_pairs_drawn_anew_in_each_epoch(store: Store, algorithm: Algorithm) -> None:
    decode = tokenizer(algorithm).decode_target
    seen: dict[str, set[tuple[int, ...]]] = {}
    for epoch in range(3):
        count = len(Updates(store, 500).epoch(epoch))
        ours, theirs = (take(each, count, epoch) for each in (updates(store, algorithm), Updates(store, 500)))
        for one, other in zip(ours, theirs, strict=True):
            found, stored = sentences(one.batches, "tgt_out"), sentences(other.batches, "tgt_out")
            assert sorted(map(decode, found)) == sorted(map(decode, stored))
            for ids in found:
                seen.setdefault(decode(ids), set()).add(tuple(ids))
    assert sum(len(ways) == 3 for ways in seen.values()) > len(seen) / 2


def test_another_seed_draws_otherwise(store: Store, algorithm: Algorithm) -> None:
    rows = np.arange(len(store))
    places = [(1, 0, 0), (2, 0, 0), (-1, 0, 0), (1, 1, 0), (1, 0, 1), (2**70, 0, 0), (1, 0, 0)]
    found = [
        [list(each.target(row)) for row in rows]
        for each in (sampling(algorithm).draw(store, rows, *place) for place in places)
    ]
    assert found[0] == found[-1]
    assert len({str(each) for each in found}) == len(places) - 1


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_updates_are_the_same_from_any_place_on_in_any_process(
    store: Store, algorithm: Algorithm, workers: int
) -> None:
    through = take(updates(store, algorithm), 30)
    for start in (0, 5, 17):
        place = through[start][:2]
        found = take(updates(store, algorithm, workers=workers), 4, *place)
        assert all(same(one, other) for one, other in zip(found, through[start:], strict=False))


def test_updates_travel_to_other_processes(store: Store, algorithm: Algorithm) -> None:
    here = updates(store, algorithm)
    there = pickle.loads(pickle.dumps(here))
    place = (1, 2, here.epoch(1)[2])
    assert same(here.build(place), there.build(place))


@pytest.mark.parametrize(("world_size", "tokens_per_device"), [(1, 100), (2, None), (2, 150), (3, 100)])
def test_a_split_changes_nothing_about_the_draw_and_keeps_to_the_budget(
    store: Store, algorithm: Algorithm, world_size: int, tokens_per_device: int | None
) -> None:
    whole = take(updates(store, algorithm), 20)
    parts = [
        take(updates(store, algorithm, tokens_per_device, rank=rank, world_size=world_size), 20)
        for rank in range(world_size)
    ]
    for update, *shares in zip(whole, *parts, strict=True):
        batches = [batch for share in shares for batch in share.batches]
        for side in ("src", "tgt_out"):
            assert sentences(batches, side) == sentences(update.batches, side)
        assert {share[3:5] for share in shares} == {update[3:5]}
        if tokens_per_device is not None:
            sizes = [len(batch.src) * max(batch.src.shape[1], batch.tgt_out.shape[1]) for batch in batches]
            assert max(sizes) <= tokens_per_device


def test_counts_are_those_of_what_was_drawn(store: Store, algorithm: Algorithm) -> None:
    for update in take(updates(store, algorithm, 200, multiple=8), 10):
        batches = update.batches
        assert update.sentences == sum(len(batch.src) for batch in batches)
        assert update.source_tokens == sum(int(batch.src_mask.sum()) for batch in batches)
        assert update.target_tokens == sum(int((batch.tgt_out != PAD).sum()) for batch in batches)
        assert update.padded_tokens == sum(batch.src.numel() + batch.tgt_out.numel() for batch in batches)


@pytest.mark.parametrize("side", ["source", "target"])
def test_one_side_alone(store: Store, algorithm: Algorithm, side: str) -> None:
    both, one = (take(updates(store, algorithm, how={"sides": sides}), 8) for sides in ("both", side))
    drawn, kept = ("src", "tgt_out") if side == "source" else ("tgt_out", "src")
    for of_both, of_one, stored in zip(both, one, take(Updates(store, 500), 8), strict=True):
        for field, like in ((drawn, of_both), (kept, stored)):
            found, wanted = (sorted(sentences(update.batches, field)) for update in (of_one, like))
            assert found == wanted


def test_what_is_drawn_too_long_keeps_its_stored_ids(store: Store, algorithm: Algorithm) -> None:
    rows = np.arange(len(store))
    free, bound = (
        sampling(algorithm, max_tokens=max_tokens).draw(store, rows, 1, 0, 0) for max_tokens in (10**6, LONGEST)
    )
    assert free.target_lengths.max() > LONGEST
    for row in rows:
        wanted = free.target(row) if len(free.target(row)) <= LONGEST else store.target(row)
        assert list(bound.target(row)) == list(wanted)
    assert max(bound.source_lengths.max(), bound.target_lengths.max()) <= LONGEST


# -- errors ---------------------------------------------------------------------------------------------------------


def test_a_budget_that_a_drawn_sentence_may_exceed_is_refused(store: Store, algorithm: Algorithm) -> None:
    with pytest.raises(ConfigError, match=r"tokens_per_device=99 is less than .*subword_sampling may draw, 100 tokens"):
        updates(store, algorithm, 99)
    with pytest.raises(ConfigError, match=r"tokens_per_device=103 is less than .* may draw, 104 tokens"):
        updates(store, algorithm, 103, multiple=8)


@pytest.mark.parametrize("value", ["0", "-0.1", "1.1"])
def test_probabilities_out_of_range_are_refused(value: str) -> None:
    with pytest.raises(ConfigError, match=r"training\.subword_sampling=.*: expected a number above 0 and at most 1"):
        load_config("embedded", [f"training.subword_sampling={value}"])


@pytest.mark.parametrize("algorithm", ["char", "word"])
def test_tokenizers_with_one_segmentation_are_refused(algorithm: str) -> None:
    settings = [f"tokenizer.algorithm={algorithm}", "training.subword_sampling=0.1"]
    with pytest.raises(ConfigError, match=rf"cannot be combined with tokenizer\.algorithm={algorithm}"):
        load_config("embedded", settings)


def test_a_configuration_asks_for_it_or_not(store: Store) -> None:
    config = load_config("embedded")
    assert SubwordSampling.of(config, tokenizer("unigram")) is None
    config.training.subword_sampling = 0.2
    config.training.subword_sampling_sides = "source"
    config.data.cleaning.max_tokens = 9
    asked = SubwordSampling.of(config, tokenizer("unigram"))
    assert asked is not None
    assert (asked.source is None, asked.target is None, asked.max_tokens) == (False, True, 9)
    config.tokenizer.algorithm = "bpe"
    config.training.subword_sampling = 1.0
    config.training.subword_sampling_sides = "target"
    other = SubwordSampling.of(config, tokenizer("bpe"))
    assert other is not None and other.target is not None
    assert tokenizer("bpe").target_pieces(other.target.draw(["the"], Random(1))[0]) == ["▁", "t", "h", "e", "</s>"]
