"""Tests of prefixes: every hypothesis begins with the tokens of its prefix, and its score includes them."""

from __future__ import annotations

import importlib.util
import random

import pytest

from nmt.config.data import TokenizerConfig
from nmt.data.characters import find_foreign
from nmt.data.cleaning import normalise_whitespace
from nmt.data.tokenizer import EOS
from nmt.data.vocabulary import train_tokenizer
from nmt.inference.hypotheses import text_of
from nmt.inference.pieces import pieces_of
from nmt.inference.scoring import force
from tests.inference.test_scoring import LONG, make_ensemble
from tests.inference.test_translator import LINES, make
from tests.models.variants import REPRESENTATIVES
from tests.toy_run import made_up_lines

ODD = [
    "ba",
    "de",
    "ki",
    "lomu",
    "Ω",
    "☃",
    "½",
    "…",
    "ﬁ",
    "▁",
    "\u0301",
    "\u200b",
    "\u00a0",
    "⁇",
    "<s>",
    " ",
    " ",
    "  ",
    "\t",
]
PREFIXES = [*made_up_lines(4, seed=31, longest=2), "", "ba", "  loki ", "de" * 9, "Ω", "ba", "", "mu", ""]


@pytest.mark.parametrize("variant", [*REPRESENTATIVES, "ensemble"])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_every_hypothesis_begins_with_the_prefix(variant: str, beam_size: int) -> None:
    translator = make_ensemble(beam_size=beam_size) if variant == "ensemble" else make(variant, beam_size=beam_size)
    lines, prefixes = [*LINES[:9], LONG], [*PREFIXES[:9], "ba de"]
    encoded = [ids[:-1] for ids in translator.tokenizer.encode_target([prefix.strip() for prefix in prefixes])]
    assert min(map(len, encoded)) == 0 and max(map(len, encoded)) > 6
    nbest = translator.nbest(lines, n_best=beam_size, prefixes=prefixes)
    for ids, prefix, one in zip(encoded, prefixes, nbest, strict=True):
        assert all(each.text.startswith(prefix) for each in one.hypotheses)
        assert 1 <= len(one.hypotheses) <= beam_size
        assert all(each.tokens[: len(ids)] == ids for each in one.hypotheses)
    chosen = [(segment, each) for one in nbest[:-1] for each in one.hypotheses for segment in each.segments]
    forced = force(
        translator.engine, [one.source_ids for one, _ in chosen], [one.target_ids for one, _ in chosen],
        translator.search,
    )  # fmt: skip
    for (_, hypothesis), worth in zip(chosen, forced, strict=True):
        assert hypothesis.log_prob == pytest.approx(worth.log_prob, abs=2e-4, rel=1e-4)
    for ids, prefix, one in zip(encoded, prefixes, translator.sample(lines, 3, prefixes=prefixes), strict=True):
        assert all(each.tokens[: len(ids)] == ids for each in one.hypotheses)
        assert all(each.text.startswith(prefix) for each in one.hypotheses)


def test_an_empty_prefix_asks_for_nothing() -> None:
    translator = make("transformer-pre")
    found = translator.nbest(LINES, prefixes=["", " \t"] + ["ba"] * 2 + [""] * (len(LINES) - 4))
    free = translator.nbest(LINES)
    assert [one.text for one in found[:2] + found[4:]] == [one.text for one in free[:2] + free[4:]]
    assert [one.text for one in found[2:4]] != [one.text for one in free[2:4]]


def test_only_the_first_segment_of_a_long_line_begins_with_the_prefix() -> None:
    translator = make("rnnsearch")
    (found,), (free,) = (translator.nbest([LONG], prefixes=prefixes) for prefixes in (["muki"], None))
    first, *others = found.hypotheses[0].segments
    assert first.text.startswith("muki") and not free.text.startswith("muki")
    assert others == free.hypotheses[0].segments[1:]


def odd_prefixes(count: int, seed: int) -> list[str]:
    """Draw random prefixes of known characters, unknown characters and white space; some are empty."""
    draw = random.Random(seed)
    return ["".join(draw.choices(ODD, k=draw.randint(0, 6))) for _ in range(count)]


def test_every_answer_begins_with_the_prefix_as_it_was_given() -> None:
    translator = make("rnnsearch", beam_size=2)
    prefixes = [*odd_prefixes(60, seed=1), "Świątek ", " Świątek", "☃", "ba☃", "ba ☃ de"]
    lines = [*made_up_lines(len(prefixes) - 1, seed=2), LONG]
    answers = [translator.nbest(lines, 2, prefixes=prefixes), translator.sample(lines, 2, prefixes=prefixes)]
    if importlib.util.find_spec("fastchrf"):
        answers.append(translator.translate_mbr(lines, 2, prefixes=prefixes))
    for found in answers:
        for prefix, translation in zip(prefixes, found, strict=True):
            for one in translation.hypotheses:
                assert one.text.startswith(prefix if prefix.strip(" \t") else ""), (prefix, one.text)
                assert find_foreign(one.text) is None
    added = [one.text[len(prefix) :] for prefix, one in zip(prefixes, answers[0], strict=True)]
    assert sum(map(bool, added)) > 40 and len(set(added)) > 20, "the search adds text to most prefixes"


SETTINGS: list[dict[str, object]] = [
    {"algorithm": "bpe", "vocab_size": 60},
    {"algorithm": "bpe", "vocab_size": 320, "byte_fallback": True},
    {"algorithm": "unigram", "vocab_size": 36, "normalization": "nmt_nfkc"},
    {"algorithm": "word", "vocab_size": 40},
    {"algorithm": "char", "vocab_size": 30},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_what_is_added_is_read_behind_the_prefix(settings: dict[str, object]) -> None:
    """Check for every tokenizer that the text begins with the given prefix, followed by the decoded continuation."""
    text = [*made_up_lines(200, seed=1), *["ba … de"] * 9]
    tokenizer = train_tokenizer(TokenizerConfig(**settings), text, text)  # type: ignore[arg-type]
    draw = random.Random(3)
    known = made_up_lines(20, seed=1)
    for prefix in [*odd_prefixes(300, seed=4), *known, *(f"{one} " for one in known)]:
        (piece,) = pieces_of(["ba."], tokenizer, 24, "en", pytest.fail, prefixes=[prefix])
        new = draw.choices(range(EOS + 1, tokenizer.target_size), k=draw.randint(0, 5))
        answer, whole = text_of([*piece.prefix, *new], piece, tokenizer), tokenizer.decode_target([*piece.prefix, *new])
        if not normalise_whitespace(prefix):
            assert answer == whole and piece.prefix == []
            continue
        assert answer.startswith(prefix)
        head = tokenizer.decode_target(piece.prefix)
        assert whole.startswith(head)
        added = whole[len(head) :]
        assert answer == prefix + (added.removeprefix(" ") if prefix[-1] in " \t" else added)
        if prefix == head:
            assert answer == whole


def test_between_a_prefix_and_a_new_word_there_is_one_space() -> None:
    tokenizer = train_tokenizer(TokenizerConfig(algorithm="char", vocab_size=20), LINES, LINES)
    new_word = tokenizer.encode_target(["ki"])[0][:-1]
    assert tokenizer.target_pieces(new_word) == ["▁", "k", "i"]
    cases = [
        ("☃", "☃ ki", "☃ki"),
        ("☃ ", "☃ ki", "☃ ki"),
        (" ☃\t", " ☃\tki", " ☃\tki"),
        ("ba  Świą", "ba  Świą ki", "ba  Świąki"),
        ("", "ki", "ki"),
    ]
    for prefix, as_new_word, within_word in cases:
        (piece,) = pieces_of(["ba."], tokenizer, 24, "en", pytest.fail, prefixes=[prefix])
        assert text_of([*piece.prefix, *new_word], piece, tokenizer) == as_new_word
        assert text_of([*piece.prefix, *new_word[1:]], piece, tokenizer) == within_word
