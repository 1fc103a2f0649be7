"""Test the vocabulary of bytes: exact UTF-8 in both directions, broken sequences, spans, and whole runs with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nmt
from nmt.config.byte_vocabulary import BYTE_VOCABULARY
from nmt.config.data import TokenizerConfig
from nmt.config.load import config_from_dict, config_to_dict, save_config
from nmt.config.schema import Config
from nmt.data.characters import as_line
from nmt.data.cleaning import normalise_whitespace
from nmt.data.given_tokenizer import adopt, given_tokenizer
from nmt.data.tokenizer import EOS, SPECIAL, Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.data.words import units_of
from nmt.errors import ConfigError
from nmt.runs.run import load_run
from nmt.study.cost import sizes_from
from tests.training.tiny import tiny_config

FIRST = len(SPECIAL)  # the id of the byte 0
LINE = st.text(st.characters(exclude_categories=["Cs"])).map(as_line)  # all text but surrogates, which no UTF-8 has
BYTES = train_tokenizer(TokenizerConfig(algorithm="byte"), [], [])
ODD = [
    "",
    " ",
    "  two  spaces ",
    "▁ ▅ \ufffd ⁇",
    "<s> </s> <unk> <0x41>",
    "Ä\u0308 ﬁ ½ \u200b\u00a0",
    "😀👩‍👩‍👧 日本語",
    "a\tb",
]


@given(LINE)
def test_every_line_is_its_utf8_bytes_and_comes_back(line: str) -> None:
    (ids,) = BYTES.encode_target([line])
    assert ids == [*(FIRST + byte for byte in line.encode()), EOS]
    assert BYTES.decode_target(ids) == line
    (source,) = BYTES.encode_source([line])
    assert source == [*(FIRST + byte for byte in normalise_whitespace(line).encode()), EOS]


@pytest.mark.parametrize("line", ODD)
def test_odd_lines_come_back(line: str) -> None:
    assert BYTES.decode_target(BYTES.encode_target([line, line])[1]) == line
    assert BYTES.encode_target([line]) == [[*(FIRST + byte for byte in line.encode()), EOS]]


def replaced(given: bytes) -> str:
    """Return the characters that bytes spell, with U+FFFD for each byte that belongs to none."""
    found, place = "", 0
    while place < len(given):
        for length in (1, 2, 3, 4):
            try:
                found += given[place : place + length].decode("utf-8")
            except UnicodeDecodeError:
                continue
            place += length
            break
        else:
            found, place = f"{found}\ufffd", place + 1
    return found


BROKEN = [
    b"\xe2\x96",
    b"\x80a",
    b"\xed\xa0\x80",
    b"\xc0\xaf",
    b"\xf4\x90\x80\x80",
    b"\xc3\xa9\xc3",
    b"\xff",
    b"\n\x00\x85",
]


@given(st.binary())
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_sequence_becomes_replacement_characters(broken: bytes, after: bytes) -> None:
    given = broken + after
    assert BYTES.decode_target([FIRST + byte for byte in given]) == as_line(replaced(given))


@given(LINE)
def test_the_last_byte_of_a_character_has_its_span(line: str) -> None:
    expected = []
    for place, character in enumerate(line):
        *others, _ = character.encode()
        expected += [(place, place)] * len(others) + [(place, place + 1)]
    located = BYTES.locate_target(line)
    assert located.spans == expected
    assert located.ids == BYTES.encode_target([line])[0]


def test_bytes_belong_to_the_words_of_their_characters() -> None:
    line = "Äpfel für 日本 é"
    words, units = units_of(line, BYTES.locate_target(line).spans, "de", punctuation_apart=False)
    assert words == line.split()
    expected = []
    for number, word in enumerate(words):
        expected += [range(number, number + 1)] * len((" " * (number > 0) + word).encode())  # with the space before it
    assert units == expected


def test_sizes_tags_and_files(tmp_path: Path) -> None:
    tagged = train_tokenizer(TokenizerConfig(algorithm="byte", joint=False), [], [], tags=["2en", "2fr"])
    assert (tagged.source_size, tagged.target_size) == (BYTE_VOCABULARY + 2, BYTE_VOCABULARY)
    assert list(tagged.tags) == ["2en", "2fr"]
    tagged.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert loaded.fingerprint == tagged.fingerprint
    assert loaded.encode_source(["ä 2en"]) == [[*(FIRST + 2 + byte for byte in "ä 2en".encode()), EOS]]
    assert adopt(BYTES.models[0]) == BYTES.models[0]
    assert Tokenizer(adopt(BYTES.models[0], ["2en"])).source_size == BYTE_VOCABULARY + 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"byte_fallback": True}, "tokenizer.byte_fallback has no use with tokenizer.algorithm=byte"),
        ({"character_coverage": 0.99}, "tokenizer.character_coverage has no use"),
        ({"normalization": "nfkc"}, "tokenizer.normalization cannot be combined"),
        ({"symbols": ["<date>"]}, "tokenizer.symbols cannot be combined"),
        ({"vocab_size": 300}, "tokenizer.vocab_size=300 cannot be combined .* has 260 tokens: set it to auto"),
    ],
    ids=str,
)
def test_keys_without_meaning_are_refused(settings: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=sentence):
        byte_config(tmp_path, **settings)


def test_one_segmentation_cannot_be_sampled(tmp_path: Path) -> None:
    values = config_to_dict(byte_config(tmp_path))
    values["training"]["subword_sampling"] = 0.1
    with pytest.raises(ConfigError, match=r"tokenizer\.algorithm=byte, which has only one segmentation"):
        config_from_dict(values)


def byte_config(folder: Path, **settings: Any) -> Config:
    return tiny_config(folder, tokenizer={"algorithm": "byte", **settings}, training__tokens_per_update=500)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a tiny model on bytes and return its directory."""
    folder = tmp_path_factory.mktemp("bytes")
    config = byte_config(folder)
    save_config(config, folder / "config.yaml")
    return nmt.train(folder / "config.yaml")


def test_a_run_prepares_trains_and_translates(run: Path) -> None:
    loaded = load_run(run)
    assert (loaded.tokenizer.source_size, loaded.config.tokenizer.vocab_size) == (BYTE_VOCABULARY, BYTE_VOCABULARY)
    assert sizes_from(loaded.config) == (BYTE_VOCABULARY, BYTE_VOCABULARY)
    assert loaded.tokenizer.fingerprint == BYTES.fingerprint
    assert nmt.train(run / "config.yaml") == run, "the configuration that a run has recorded is valid"
    translator = nmt.load(run, device="cpu")
    lines = ["ba de", "日本 ☃", "x"]
    assert all(find == as_line(find) for find in translator.translate(lines))
    begun = [one.text for one in translator.nbest(lines, prefixes=["Ä", "", "▁ 日"])]
    assert begun[0].startswith("Ä") and begun[2].startswith("▁ 日")
    assert [len(links) <= 2 for links in translator.align(lines, ["é x", "ß", "y"])] == [True] * 3


def test_ctranslate2_translates_bytes_in_the_same_way(run: Path) -> None:
    pytest.importorskip("ctranslate2")
    lines = ["ba de", "日本 ☃", "lomu ki ki", "ö"]
    native = nmt.load(run, device="cpu", precision="fp32")
    fast = nmt.load(run, device="cpu", precision="fp32", engine="ctranslate2")
    assert fast.translate(lines) == native.translate(lines)


def test_the_vocabulary_of_a_run_can_be_used_again(run: Path, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, tokenizer={"path": str(run)})
    described, tokenizer = given_tokenizer(config)
    assert tokenizer is not None and tokenizer.fingerprint == BYTES.fingerprint
    settings = described.tokenizer
    assert (settings.algorithm, settings.byte_fallback, settings.vocab_size) == ("byte", False, BYTE_VOCABULARY)
    assert settings.normalization == "identity"
