"""Test that lines too long to be text are skipped in bounded memory, and dropped and counted by cleaning."""

from __future__ import annotations

import gzip
import lzma
import random
import tracemalloc
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from nmt.config.data import CleaningConfig, CorpusConfig, TokenizerConfig
from nmt.data import long_lines
from nmt.data.cleaning import Cleaner, Rules
from nmt.data.compression import lines, read_lines
from nmt.data.extent import Extent
from nmt.data.sources import source, source_of
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import NmtError

WRITERS: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}
LONGEST = 20
HUGE = {
    "one too many": b"x" * 21,
    "as many bytes as are read": b"x" * 84,
    "one byte more": b"x" * 85,
    "many": b"x" * 5000,
    "four bytes each": "😀".encode() * 21,
    "a character is cut": b"xxx" + "😀".encode() * 30,
    "no UTF-8": b"\xff\xfe" * 300,
    "spaces": b"x" + b" " * 200 + b"y",
    "ends of lines": b"x" + b"\r" * 200 + b"y",
    "NULs": bytes(200),
}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the longest line have 20 characters."""
    monkeypatch.setattr(long_lines, "LONGEST_LINE", LONGEST)
    monkeypatch.setattr(long_lines, "_CHUNK", 7)


def write(path: Path, text: list[bytes], last_end: bytes = b"\n") -> Path:
    with WRITERS[path.suffix if path.suffix in WRITERS else ""](path, "wb") as file:
        file.write(b"\n".join(text) + last_end)
    return path


def cleaned(pairs: list[tuple[str, str]]) -> tuple[list[str], Cleaner]:
    """Return the source lines that cleaning keeps, and the cleaner."""
    config = CleaningConfig(control_characters=False, max_ratio=None, max_tokens=1_000_000)
    rules, cleaner = Rules(config, ("de", "en")), Cleaner(config)
    return [pair.source for pair in map(rules.examine, pairs) if cleaner.keeps(pair)], cleaner


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("huge", HUGE.values(), ids=HUGE)
def test_the_lines_around_a_huge_one_keep_their_places(tmp_path: Path, huge: bytes, suffix: str) -> None:
    fine = [b"one", "😀".encode() * LONGEST, b"", b"four"]
    for place, end in ((0, b"\n"), (2, b"\r\n"), (4, b"\n"), (4, b"")):
        path = write(tmp_path / f"text{suffix}", [*fine[:place], huge, *fine[place:]], end)
        read = list(lines(path, cut=True))
        cut = read.pop(place)
        assert read == [line.decode() for line in fine]
        assert len(cut) > LONGEST
        assert huge.decode(errors="replace").startswith(cut.strip("\r\n")[:LONGEST])
        with pytest.raises(NmtError, match=f"text{suffix}, line {place + 1} has more than 20 characters"):
            read_lines(path)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize("huge", HUGE.values(), ids=HUGE)
def test_pairs_with_a_huge_side_are_dropped_and_counted(tmp_path: Path, huge: bytes) -> None:
    write(tmp_path / "text.de.gz", [b"eins", huge, b"drei", huge, b"vier"])
    write(tmp_path / "text.en", [b"one", b"two", huge, huge, b"four"])
    read = source_of(CorpusConfig(prefix=str(tmp_path / "text")), "de", "en")
    (pairs, _), *_ = read.blocks(None, print, Extent())
    kept, cleaner = cleaned(pairs)
    assert kept == ["eins", "vier"]
    assert cleaner.dropped == {"too_long": 3}
    assert max(map(len, chain.from_iterable(cleaner.examples["too_long"]))) <= 200
    with pytest.raises(NmtError, match=r"text\.(de\.gz, line 2|en, line 3) has more than 20 characters"):
        list(read.pairs(print))


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    "huge", [b"a\tb" + b"x" * 100, b"a" * 100 + b"\tb", b"\t" * 100, b"x" * 15 + b"\t" + b"y" * 15]
)
def test_a_huge_row_is_dropped_and_the_next_is_named_rightly(tmp_path: Path, huge: bytes) -> None:
    path = write(tmp_path / "text.tsv", [huge, b"eins\tone", huge, b"zwei\ttwo"])
    read = source_of(CorpusConfig(tsv=str(path)), "de", "en")
    kept, cleaner = cleaned([pair for pairs, _ in read.blocks(None, print, Extent()) for pair in pairs])
    assert kept == ["eins", "zwei"]
    assert cleaner.dropped == {"too_long": 2}
    write(path, [huge, b"eins\tone", huge, b"zwei"])
    with pytest.raises(NmtError, match=r"text\.tsv, line 4: 1 columns where 2 are expected"):
        list(read.blocks(None, print, Extent()))
    with pytest.raises(NmtError, match=r"text\.tsv, line 1 has more than 20 characters"):
        list(read.pairs(print))


def test_blocks_of_long_lines_have_fewer_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_CHARACTERS", 100)
    monkeypatch.setattr(source.Source, "block", 4)
    sides = [[b"x" * length for length in (1, 80, 15, 200, 1, 1, 1, 1, 1)], [b"y" * 10] * 9]
    for language, text in zip(("de", "en"), sides, strict=True):
        write(tmp_path / f"text.{language}", text)
    read = source_of(CorpusConfig(prefix=str(tmp_path / "text")), "de", "en")
    blocks = list(read.blocks(None, print, Extent()))
    assert [len(pairs) for pairs, _ in blocks] == [2, 2, 4, 1]
    for number, (_, place) in enumerate(blocks):
        assert list(read.blocks(place, print, Extent())) == blocks[number + 1 :], "reading resumes after any of them"


@pytest.mark.parametrize("suffix", WRITERS)
def test_memory_does_not_grow_with_a_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    with WRITERS[suffix](path, "wb", **({"preset": 0} if suffix == ".xz" else {})) as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
        file.write(b"\nfine\n")
    tracemalloc.start()
    try:
        lengths = [len(line) for line in lines(path, cut=True)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lengths == [long_lines.most_bytes(), 4]
    assert peak < 24 << 20, "of 64 MB"


def test_a_word_of_many_letters_does_not_stop_the_tokenizer() -> None:
    """The unigram trainer would fail with an internal error, because its probabilities of such a word overflow."""
    letters = random.Random(1)
    word = "".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=140_000))
    text = [word, *(word[start : start + 40] for start in range(0, 40_000, 40))]
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=500), text, text[1:])
    assert tokenizer.decode_target(tokenizer.encode_target([word])[0]) == word
