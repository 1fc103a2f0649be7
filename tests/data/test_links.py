"""Test word alignments of training text: which pieces a link joins, and that links stay with their pairs."""

from __future__ import annotations

import dataclasses
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from nmt.config.data import CorpusConfig, DataConfig, TokenizerConfig
from nmt.config.load import config_from_dict
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config, TrainingConfig
from nmt.data import long_lines, stages
from nmt.data.alignments import parse_links
from nmt.data.batch import collate
from nmt.data.cleaning import normalise_whitespace
from nmt.data.links import LinkLines, link_pieces, piece_ranges
from nmt.data.prepare import Prepared, prepare
from nmt.data.sampling import SubwordSampling
from nmt.data.sources.source import Source
from nmt.data.store import Store
from nmt.data.store_writer import StoreWriter
from nmt.data.tokenizer import Span, Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import ConfigError, Damaged, NmtError
from tests.data.test_prepare import VAL, embedded, write
from tests.data.test_stages import content, drive, the_only

Pairs = list[tuple[str, str]]

# -- words and pieces -----------------------------------------------------------------------------------------------

KINDS = {
    "bpe": TokenizerConfig(algorithm="bpe", vocab_size=300),
    "unigram": TokenizerConfig(algorithm="unigram", vocab_size=300),
    "word": TokenizerConfig(algorithm="word", vocab_size=300),
    "char": TokenizerConfig(algorithm="char", vocab_size=200),
    "bytes": TokenizerConfig(algorithm="bpe", vocab_size=600, byte_fallback=True),
    "nfkc": TokenizerConfig(algorithm="bpe", vocab_size=300, normalization="nmt_nfkc"),
    "symbols": TokenizerConfig(algorithm="bpe", vocab_size=300, symbols=["<date>", "ei"]),
}
LINES = [
    "Der Hund\u00a0schläft \u00bbnie\u00ab .",
    "☃☃ ☃ zwei  Ωmega ein\u00a0\u00a0Wort",
    "½ ´Apostroph ﬁnden <date>ein a<date>",
    "▁ ▅ x▁y",
    "",
    "eins",
]


@cache
def tokenizer(kind: str) -> Tokenizer:
    sides = zip(*embedded("train", 400), strict=True)
    return train_tokenizer(KINDS[kind], *map(list, sides), tags=["web"])


def covered(line: str, spans: list[Span]) -> set[tuple[int, int]]:
    """Return every (word, piece) where the piece covers a character of the word, by looking at each character."""
    owner: list[int | None] = []
    word, inside = -1, False
    for character in line:
        word += not inside and not character.isspace()
        inside = not character.isspace()
        owner.append(word if inside else None)
    found = set()
    for piece, (start, end) in enumerate(spans):
        words = {owner[place] for place in range(start, end)} - {None}
        if (
            not words
        ):  # a lone space, or one of several bytes of a character: it belongs to what comes next, if anything
            after = [one for one in owner[start:] if one is not None]
            words = {after[0] if after else word}
        found |= {(one, piece) for one in words if one is not None}
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_word_has_every_piece_that_covers_one_of_its_characters(kind: str) -> None:
    random = Random(1)
    letters = "eins Hund\u00a0☃Ω½´<date>▁\u2009"
    lines = [*LINES, *("".join(random.choices(letters, k=random.randrange(20))) for _ in range(300))]
    several = 0
    for line in [*lines, *(pair[0] for pair in embedded("dev", 50))]:
        spans = tokenizer(kind).locate_target(line).spans
        ranges = piece_ranges(line, spans, first=1)
        found = {(word, piece - 1) for word, (start, end) in enumerate(ranges) for piece in range(start, end)}
        assert len(ranges) == len(line.split())
        assert not line.split() or found == covered(line, spans), line
        several += len({piece for _, piece in found}) < len(found)
    assert several or kind != "word", "an unknown token of several words belongs to each of them"


SAMPLED = [kind for kind in KINDS if kind not in ("word", "char")]


def sampling(kind: str, sides: Any = "both") -> SubwordSampling:
    algorithm = KINDS[kind].algorithm
    assert algorithm in ("unigram", "bpe")
    return SubwordSampling(tokenizer(kind), algorithm, 0.3, sides, max_tokens=200)


@pytest.mark.parametrize("kind", SAMPLED)
def test_sampled_segmentations_locate_words_as_the_usual_one_does(kind: str) -> None:
    """The usual segmentation is one of them, and its spans are known from SentencePiece."""
    random = Random(2)
    lines = ["".join(random.choices("eins Hund\u00a0☃Ω½´<date>▁", k=random.randrange(20))) for _ in range(300)]
    drawn = sampling(kind).target
    assert drawn is not None
    for line in [*map(normalise_whitespace, [*LINES, *lines]), *(pair[0] for pair in embedded("dev", 50))]:
        ids, spans = tokenizer(kind).locate_target(line)
        found = drawn.spans(line, ids[:-1])
        assert len(found) == len(ids) - 1
        assert piece_ranges(line, found).tolist() == piece_ranges(line, spans).tolist(), line


@pytest.mark.parametrize("sides", ["both", "source", "target"])
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_links_follow_the_sampled_pieces(kind: str, sides: str, tmp_path: Path) -> None:
    """Here a piece covers as many characters as it has, with one for the space before a word."""
    pairs = embedded("dev", 40)
    lines = [" ".join(f"{i}-{j}" for i, j in of_pair) for of_pair in links_for(pairs, 5)]
    tokens, samples = tokenizer(kind), sampling(kind, sides)
    tag = tokens.tag_ids("web")
    with StoreWriter(tmp_path, tokens.source_size, tokens.target_size, links=True) as writer:
        for (source, target), line in zip(pairs, lines, strict=True):
            links = link_pieces(tokens, line, source, target, first=1)
            ids = [*tag, *tokens.encode_source([source])[0]], tokens.encode_target([target])[0]
            writer.add(*ids, source, target, links=links)
    store, rows = Store(tmp_path), np.arange(len(pairs))
    drawn = samples.draw(store, rows, seed=1, epoch=2, position=3, links=True)
    plain = samples.draw(store, rows, seed=1, epoch=2, position=3)
    differing = 0
    for row, (pair, line) in enumerate(zip(pairs, lines, strict=True)):
        ids = list(drawn.source(row)), list(drawn.target(row))
        assert ids == (list(plain.source(row)), list(plain.target(row))), "links change no draw"
        assert ids[0][:1] == tag
        units = []
        spelled = tokens.source_pieces(ids[0][1:-1]), tokens.target_pieces(ids[1][:-1])
        for text, pieces in zip(pair, spelled, strict=True):
            ends = [max(end - 1, 0) for end in accumulate(map(len, pieces), initial=0)]
            units.append(covered(text, list(pairwise(ends))))
        expected = {
            (target, source + 1)
            for i, j in parse_links(line).possible
            for word, source in units[0]
            for other, target in units[1]
            if (word, other) == (i, j)
        }
        batch = collate([ids[0]], [ids[1]], links=[drawn.links(row)])
        assert batch.links is not None
        assert {(int(i), int(j)) for _, i, j in batch.links.nonzero()} == expected
        stored = collate([store.source(row)], [store.target(row)], links=[store.links(row)]).links
        assert stored is not None
        differing += not torch.equal(batch.links, stored)
    assert differing > 20


# -- lines of a file ------------------------------------------------------------------------------------------------


def checked(line: str, source: str, target: str) -> str:
    return LinkLines(Path("text.align"), 7, [line]).checked([(source, target)])[0]


@pytest.mark.parametrize(
    ("line", "source", "target", "expected"),
    [
        ("1-0 0-1 2?1", "a b c", "d e", "0-1 1-0 2-1"),
        ("0-0 0-0", "a", "b", "0-0"),
        (" 1-1 ", " a\u00a0b\t", "c  d", "1-1"),
        ("", "", "", ""),
        ("0-0 1-1", "a\x07b c", "d e", "0-0 1-0 2-1"),  # the control character becomes a space, and the word two
        ("0-0 1-0 2-1", "a \x07 b", "c d\x00e", "0-0 1-1 1-2"),
        ("0-0 1-1", "a\u2028b", "c\x85d", "0-0 1-1"),
    ],
)
def test_links_have_the_indices_of_the_cleaned_words(line: str, source: str, target: str, expected: str) -> None:
    assert checked(line, source, target) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0-0 1:1", r"text\.align, line 7: '1:1' is not a link such as 3-4"),
        ("0-0 2-1", r"text\.align, line 7: the link 2-1 names source word 2, but that sentence has 2 words"),
        ("1-2", r"text\.align, line 7: the link 1-2 names target word 2, but that sentence has 2 words"),
    ],
)
def test_a_line_that_cannot_be_is_named(line: str, message: str) -> None:
    with pytest.raises(NmtError, match=message):
        checked(line, "a b", "c d")


def test_the_words_of_a_line_too_long_to_be_read_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_lines, "LONGEST_LINE", 10)
    assert checked("5-0", "x" * 11, "y") == ""
    with pytest.raises(NmtError, match="is not a link"):
        checked("5", "x" * 11, "y")


# -- preparation ----------------------------------------------------------------------------------------------------

PAIRS = embedded("train", 700)
FIRST: Pairs = [
    *PAIRS[:300],
    ("", "empty"),
    ("viel zu kurz " * 8, "short"),
    ("bell\x07", "bell\x07"),
    *PAIRS[40:60],
    ("  doppelte  Räume ", "double\u2028spaces"),
    *PAIRS[300:350],
]
SECOND: Pairs = [*PAIRS[340:500], *PAIRS[10:20]]
THIRD: Pairs = PAIRS[490:]


def links_for(pairs: Pairs, seed: int) -> list[set[tuple[int, int]]]:
    """Return random links between the words of each pair; some pairs have none."""
    random = Random(seed)
    found = []
    for source, target in pairs:
        counts = len(source.split()), len(target.split())
        number = random.randrange(6) if all(counts) else 0
        found.append({(random.randrange(counts[0]), random.randrange(counts[1])) for _ in range(number)})
    return found


def write_links(path: Path, links: list[set[tuple[int, int]]]) -> Path:
    path.write_text("".join(" ".join(f"{i}-{j}" for i, j in of_pair) + "\n" for of_pair in links), "utf-8")
    return path


LINKS = {"first": links_for(FIRST, 1), "third": links_for(THIRD, 3)}  # the second corpus has none


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """Return a configuration with three corpora in blocks of 64 pairs; the first and the third have alignments."""
    monkeypatch.setattr(Source, "block", 64)
    monkeypatch.setattr(stages, "_COMMIT", 3)
    text = tmp_path / "text"
    for name, pairs in (("first", FIRST), ("second", SECOND), ("third", THIRD), ("val", VAL)):
        write(text, name, pairs)
    for name, links in LINKS.items():
        write_links(text / f"{name}.align", links)
    (text / "third.tsv").write_text("de\ten\n" + "".join(f"{de}\t{en}\n" for de, en in THIRD), "utf-8")
    train = [
        CorpusConfig(prefix=str(text / "first"), alignments=str(text / "first.align")),
        CorpusConfig(source=str(text / "second.de"), target=str(text / "second.en"), tag="web"),
        CorpusConfig(tsv=str(text / "third.tsv"), alignments=str(text / "third.align"), tag="web"),
    ]
    data = DataConfig(
        source_language="de",
        target_language="en",
        train=train,
        val=CorpusConfig(prefix=str(text / "val")),
        cache=str(tmp_path / "cache"),
        workers=1,
    )
    data.cleaning.max_tokens = 60
    return Config(
        model=TransformerConfig(share_embeddings=False),
        data=data,
        tokenizer=TokenizerConfig(algorithm="bpe", vocab_size=300, joint=False),
        training=TrainingConfig(max_steps=1),
    )


def run(config: Config, cache: Path, **data: Any) -> Prepared:
    data = {"cache": str(cache), **data}
    return prepare(dataclasses.replace(config, data=dataclasses.replace(config.data, **data)), lambda line: None)


def without_links(config: Config) -> Config:
    train = [dataclasses.replace(corpus, alignments=None) for corpus in config.data.train]
    return dataclasses.replace(config, data=dataclasses.replace(config.data, train=train))


def test_every_kept_pair_has_its_own_links(config: Config, tmp_path: Path) -> None:
    prepared = run(config, tmp_path / "cache")
    train, tokenizer = prepared.train, prepared.tokenizer
    dropped = prepared.report["cleaning"]["dropped"]
    assert all(dropped[rule] for rule in ("empty", "ratio", "control_character", "duplicate", "too_many_tokens"))
    expected: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for pairs, links in ((FIRST, LINKS["first"]), (SECOND, [set()] * len(SECOND)), (THIRD, LINKS["third"])):
        for pair, of_pair in zip(pairs, links, strict=True):
            expected.setdefault((" ".join(pair[0].split()), " ".join(pair[1].split())), of_pair)
    tags, linked = set(tokenizer.tags.values()), 0
    for row in range(len(train)):
        source, target, found = train.source_text(row), train.target_text(row), train.links(row)
        assert {(int(i), int(j)) for i, j in found.words} == expected[source, target]
        first = int(train.source(row)[0] in tags)
        assert first == (row >= train.corpora[0])
        pieces_of = [
            covered(source, tokenizer.locate_source(source).spans),
            covered(target, tokenizer.locate_target(target).spans),
        ]
        for (i, j), (start, end, other, last) in zip(found.words, found.pieces, strict=True):
            assert {piece + first for word, piece in pieces_of[0] if word == i} == set(range(start, end))
            assert {piece for word, piece in pieces_of[1] if word == j} == set(range(other, last))
            linked += 1
    assert linked and prepared.report["alignments"] == {
        "links": linked,
        "pairs": sum(bool(len(train.links(row).words)) for row in range(len(train))),
    }
    assert train.count_links()[0] == linked
    assert not any(len(train.links(row).words) for row in range(train.corpora[0], sum(train.corpora[:2])))


def test_blocks_and_workers_change_nothing(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = content(run(config, tmp_path / "one").folder)
    assert content(run(config, tmp_path / "two", workers=2).folder) == one
    monkeypatch.setattr(Source, "block", 10_000)
    assert content(run(config, tmp_path / "whole").folder) == one


@pytest.mark.parametrize("kills", [["Blocks write 4 after", "Blocks write 3 after"], ["StoreWriter extend 4 after"]])
def test_killed_anywhere_and_run_again(config: Config, tmp_path: Path, kills: list[str]) -> None:
    expected = content(run(config, tmp_path / "expected").folder)
    for kill in kills:
        assert drive(config, *kill.split()).status == -9
    done = drive(config)
    assert done.status == 0 and "resuming after" in done.err
    assert the_only(tmp_path / "cache") == expected


def test_links_change_nothing_else(config: Config, tmp_path: Path) -> None:
    with_links, none = run(config, tmp_path / "with"), run(without_links(config), tmp_path / "none")
    one, other = content(with_links.folder), content(none.folder)
    added = {f"train/links.{what}{end}" for what in ("words", "pieces") for end in ("", ".offsets")}
    described = {"train/store.json", "train/checksums.json", "report.json"}
    assert one.keys() - other.keys() == added and other.keys() <= one.keys()
    assert {name for name in other if one[name] != other[name]} == described
    assert not none.train.has_links and "alignments" not in none.report
    assert with_links.fingerprints.pop("train") != none.fingerprints.pop("train")
    assert with_links.fingerprints == none.fingerprints


def test_other_links_are_prepared_anew(config: Config, tmp_path: Path) -> None:
    path = tmp_path / "text" / "first.align"
    prepared = [run(config, tmp_path / "cache")]
    path.rename(moved := path.with_name("moved.align"))
    config.data.train[0].alignments = str(moved)
    assert run(config, tmp_path / "cache").folder == prepared[0].folder, "the key is of content, not of place"
    write_links(moved, [set(), *LINKS["first"][1:-1], {(0, 0), (1, 1)}])
    prepared.append(run(config, tmp_path / "cache"))
    config.data.train[2].alignments = None
    prepared.append(run(config, tmp_path / "cache"))
    assert len({each.folder for each in prepared}) == len({each.fingerprints["train"] for each in prepared}) == 3


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:100], r"third\.align, line 101: the file ends before this line, but third\.tsv has more"),
        (
            lambda lines: [*lines, "0-0"],
            rf"third\.align, line {len(THIRD) + 1}: third\.tsv has only {len(THIRD)} pairs",
        ),
        (lambda lines: [*lines[:70], "0-0 x", *lines[71:]], r"third\.align, line 71: 'x' is not a link such as"),
        (lambda lines: [*lines[:70], "900-0", *lines[71:]], r"third\.align, line 71: the link 900-0 names source word"),
        (None, r"third\.align is missing"),
    ],
)
def test_a_file_that_does_not_fit_is_one_sentence(
    config: Config, tmp_path: Path, workers: int, change: Any, message: str
) -> None:
    path = tmp_path / "text" / "third.align"
    lines = path.read_text("utf-8").splitlines()
    path.unlink()
    if change is not None:
        path.write_text("".join(f"{line}\n" for line in change(lines)), "utf-8")
    with pytest.raises(NmtError, match=message):
        run(config, tmp_path / "cache", workers=workers)


def test_a_flipped_bit_in_the_links_is_found(config: Config, tmp_path: Path) -> None:
    train = run(config, tmp_path / "cache").train
    for name in ("links.words", "links.pieces", "links.pieces.offsets"):
        path = train.folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(Damaged, match=r"links\.\w+(\.offsets)?\b.* (damaged|incomplete)"):
            Store(train.folder).verify(300, 300)
        path.write_bytes(whole)
    Store(train.folder).verify(300, 300)


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        ({"hub": "wmt14"}, r"data\.train\[0\]\.alignments .* rows of a data set \(hub\) are not lines of a file"),
        ({"hub": "wmt14", "streaming": True}, r"data\.train\[0\]\.alignments .* \(hub\)"),
    ],
)
def test_where_alignments_make_no_sense_they_are_refused(corpus: dict[str, Any], message: str) -> None:
    data = {"source_language": "de", "target_language": "en", "val": {"prefix": "val"}}
    values = {"model": {"family": "transformer"}, "training": {"max_steps": 1}}
    with pytest.raises(ConfigError, match=message):
        config_from_dict({**values, "data": {**data, "train": [{**corpus, "alignments": "a"}]}})
    val = {"prefix": "val", "alignments": "a"}
    with pytest.raises(ConfigError, match=r"data\.val\.alignments: only corpora of data\.train"):
        config_from_dict({**values, "data": {**data, "val": val, "train": [{"prefix": "train"}]}})
