"""Test text with characters and names that SentencePiece reserves: it is learned, and decoded unchanged."""

from __future__ import annotations

import io
import random
import sys
import unicodedata
from typing import Any

import pytest
import sentencepiece

from nmt.config.data import TokenizerConfig
from nmt.data.characters import find_foreign
from nmt.data.reserved import inside, normaliser, outside
from nmt.data.sampling import SubwordSampling
from nmt.data.tokenizer import EOS, UNK, Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import NmtError
from nmt.inference.lines import LineReader

ALGORITHMS = ["unigram", "bpe", "char", "word"]
NAMES = ["<s>", "</s>", "<unk>", "<pad>", "<0x41>", "<0x0A>", "<tag 2fr>", "<tag▁2fr>"]
PLAIN = [f"{word} {other}" for word in ("the", "a", "no") for other in ("man", "dog", "hat", "house")]


def train(lines: list[str], tags: tuple[str, ...] = (), **settings: Any) -> Tokenizer:
    return train_tokenizer(TokenizerConfig(**settings), lines, lines, tags=tags)


def every_character() -> list[str]:
    """Return all characters of Unicode's plane 0 that text may contain, but only every 50th ideograph and syllable."""
    found = []
    for code in range(0x21, 0x10000):
        character = chr(code)
        many = unicodedata.name(character, "").startswith(("CJK UNIFIED", "CJK COMPAT", "HANGUL SYLL"))
        assigned = unicodedata.category(character) not in ("Cn", "Cs", "Co")
        if assigned and not find_foreign(character) and not (many and code % 50):
            found.append(character)
    return [*found, "\ue000", "\U0001f600", "\U0001d11e", "\U0010fffd"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_character_of_the_training_text_comes_back(algorithm: str) -> None:
    characters = every_character()
    assert {"▁", "▅", "⁇", "\u00a0", "\u200b", "\ufffd", "\ufeff"} <= set(characters) and len(characters) > 10_000
    lines = [
        " ".join(f"a{char}b" for char in characters[start : start + 50]) for start in range(0, len(characters), 50)
    ]
    room = {"unigram": 6, "bpe": 100, "char": 7, "word": 4}[algorithm]
    tokenizer = train(lines, algorithm=algorithm, vocab_size=len(characters) + room)
    encoded = tokenizer.encode_target(lines)
    assert [line for line, ids in zip(lines, encoded, strict=True) if UNK in ids] == []
    assert [tokenizer.decode_target(ids) for ids in encoded] == lines
    assert tokenizer.encode_source(lines) == encoded


@pytest.mark.parametrize("byte_fallback", [False, True])
@pytest.mark.parametrize("algorithm", ["unigram", "bpe", "char"])
def test_lines_with_names_of_symbols_are_learnt_whole(algorithm: str, byte_fallback: bool) -> None:
    lines = [f"the{chr(0x4E00 + place)}{name}{chr(0x5E00 + place)} man {name}" for place, name in enumerate(NAMES)] * 10
    size = {"unigram": 54, "bpe": 90, "char": 62}[algorithm]
    settings: dict[str, Any] = {"algorithm": algorithm, "vocab_size": size + 256 * byte_fallback}
    tokenizer = train(lines + PLAIN * 10, tags=("2fr",), byte_fallback=byte_fallback, **settings)
    encoded = tokenizer.encode_source(lines)
    assert [tokenizer.decode_target(ids) for ids in encoded] == lines
    spelled = {UNK, *tokenizer.tags.values(), *tokenizer.source.byte_ids}
    assert not any(spelled.intersection(ids) for ids in encoded), "every character has been counted"
    assert all(ids.index(EOS) == len(ids) - 1 for ids in encoded)
    assert len(set(tokenizer.source.names)) == tokenizer.source_size, "no piece has the name of a symbol"


def test_a_name_that_normalisation_makes_is_learnt_too() -> None:
    lines = [f"the ＜s＞{chr(0x4E00 + place)} man ½" for place in range(9)] * 5
    tokenizer = train(lines + PLAIN, algorithm="bpe", vocab_size=60, normalization="nfkc")
    assert [tokenizer.decode_target(ids) for ids in tokenizer.encode_target(lines[:2])] == [
        "the <s>一 man 1⁄2",
        "the <s>丁 man 1⁄2",
    ]


def test_named_characters_are_known_as_normalisation_writes_them() -> None:
    config = TokenizerConfig(algorithm="bpe", vocab_size=50, normalization="nfkc")
    tokenizer = train_tokenizer(config, PLAIN, PLAIN, ({"½", "▁"}, {"▅", "Ａ"}))
    assert UNK not in tokenizer.encode_target(["½▁▅Ａ"])[0]


def test_a_line_of_any_length_is_learnt() -> None:
    tokenizer = train([*PLAIN, "a" * 300_000 + "ж" + "a" * 2_000_000 + "ф"], algorithm="char", vocab_size=20)
    assert UNK not in tokenizer.encode_target(["жф"])[0]


def test_unknown_reserved_characters_do_not_vanish() -> None:
    tokenizer = train(PLAIN, algorithm="bpe", vocab_size=40)
    assert tokenizer.decode_target(tokenizer.encode_target(["the▁man"])[0]) == "the ⁇ man"
    bytewise = train(PLAIN, algorithm="bpe", vocab_size=300, byte_fallback=True)
    for line in ("the▁man ▁ ▅", "▁", "▁▁ the"):
        assert bytewise.decode_target(bytewise.encode_target([line])[0]) == line


def test_what_is_inside_is_told_from_what_was_given() -> None:
    for text in ("plain", "a▁b▅c ä", "日本"):
        assert outside(inside(text)) == text and len(inside(text)) == len(text)
        assert not set(inside(text)) & {"▁", "▅"}
    for rule in ("nfkc", "nmt_nfkc"):
        every = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code <= 0xDFFF)
        assert not set(normaliser(rule)("a".join(every))) & {"▁", "▅"}


def test_an_older_vocabulary_with_control_characters_answers_lines_of_text() -> None:
    """The model is trained as in older versions, on raw text; the text that it decodes has to be valid input."""
    odd = "".join(
        chr(code) for code in [*range(1, 9), 0x0B, 0x0C, *range(0x0E, 0x1F), 0x7F, 0x85, 0x92, 0x2028, 0x2029]
    )
    lines = [f"the{character}man {character}" for character in odd for _ in range(9)] + PLAIN
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="bpe", vocab_size=360, character_coverage=1.0,
        normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True,
        pad_id=0, unk_id=1, bos_id=2, eos_id=3, minloglevel=5,
    )  # fmt: skip
    tokenizer = Tokenizer(model.getvalue())
    assert any(find_foreign(name) for name in tokenizer.target.names)
    reader, draw = LineReader("in"), random.Random(5)
    texts = [tokenizer.decode_target([id]) for id in range(tokenizer.target_size)]
    texts += [tokenizer.decode_target(draw.choices(range(tokenizer.target_size), k=12)) for _ in range(500)]
    texts += tokenizer.target_pieces(range(tokenizer.target_size))
    for text in texts:
        assert reader.line(f"{text}\n".encode(), 2).text == text
    with pytest.raises(NmtError):
        reader.line("\x85\n".encode(), 2)


def test_segmentations_that_are_drawn_spell_reserved_characters_too() -> None:
    lines = [f"a▁b {name} ▅ man" for name in NAMES]
    tokenizer = train(lines * 5 + PLAIN, algorithm="bpe", vocab_size=80)
    sampling = SubwordSampling(tokenizer, "bpe", 0.5, "both", 100)
    assert sampling.source is not None
    drawn = [sampling.source.draw(lines, random.Random(seed)) for seed in range(5)]
    assert [[tokenizer.decode_target(ids) for ids in each] for each in drawn] == [lines] * 5
    assert len({tuple(map(tuple, each)) for each in drawn}) == 5, "they are drawn"
