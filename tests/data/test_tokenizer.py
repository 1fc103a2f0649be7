"""Test tokenizers: decoding inverts encoding, training is deterministic, and invalid settings are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nmt.config.data import TokenizerConfig
from nmt.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import ConfigError, NmtError
from nmt.resources import embedded_corpus

ALGORITHMS = ["unigram", "bpe", "char", "word"]


def lines_of(language: str, count: int = 1500) -> list[str]:
    return (embedded_corpus() / f"train.{language}").read_text("utf-8").split("\n")[:count]


def train(source: list[str] | None = None, target: list[str] | None = None, **settings: Any) -> Tokenizer:
    config = TokenizerConfig(**{"vocab_size": 400, **settings})
    return train_tokenizer(config, source or lines_of("de"), target or lines_of("en"))


@pytest.fixture(scope="module")
def unigram() -> Tokenizer:
    return train()


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_line_of_known_text_survives(algorithm: str, joint: bool, tmp_path: Path) -> None:
    tokenizer = train(algorithm=algorithm, joint=joint, vocab_size=2000 if algorithm == "word" else 400)
    assert tokenizer.joint is joint
    lines = lines_of("en")
    if algorithm == "word":  # only lines that consist of the most frequent words
        lines = [line for line in lines if UNK not in tokenizer.encode_target([line])[0]]
    encoded = tokenizer.encode_target(lines)
    assert len(lines) > 100
    assert [tokenizer.decode_target(ids) for ids in encoded] == lines
    assert all(ids[-1] == EOS and not {PAD, BOS, EOS}.intersection(ids[:-1]) for ids in encoded)
    assert max(map(max, encoded)) < tokenizer.target_size
    tokenizer.save(tmp_path)
    loaded = Tokenizer.load(tmp_path)
    assert sorted(path.stem for path in tmp_path.glob("*.model")) == (["joint"] if joint else ["source", "target"])
    assert loaded.encode_target(lines) == encoded
    assert (loaded.joint, loaded.source_size, loaded.target_size) == (
        joint,
        tokenizer.source_size,
        tokenizer.target_size,
    )
    assert loaded.fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_training_is_a_function_of_the_text(algorithm: str) -> None:
    size = {"algorithm": algorithm, "vocab_size": 300}
    assert train(**size).fingerprint == train(**size).fingerprint
    assert train(**size).fingerprint != train(source=lines_of("de", 1000), **size).fingerprint


@pytest.mark.parametrize("first", [True, False])
def test_a_tokenizer_takes_the_place_of_another_one_in_its_folder(first: bool, tmp_path: Path) -> None:
    train(joint=first).save(tmp_path)
    later = train(joint=not first)
    later.save(tmp_path)
    assert Tokenizer.load(tmp_path).fingerprint == later.fingerprint


def test_joint_means_one_vocabulary() -> None:
    joint, separate = train(joint=True), train(joint=False)
    line = ["der Hund"]
    assert joint.encode_source(line) == joint.encode_target(line)
    assert separate.encode_source(line) != separate.encode_target(line)


def test_targets_keep_their_white_space_and_sources_are_normalised(unigram: Tokenizer) -> None:
    for line in ["the  man sees ", " the man", "", " "]:
        assert unigram.decode_target(unigram.encode_target([line])[0]) == line
    assert unigram.encode_source(["  der\tHund \n"]) == unigram.encode_source(["der Hund"])
    assert unigram.encode_source(["", " "]) == [[EOS], [EOS]]


def test_text_is_not_altered_by_normalisation_unless_asked() -> None:
    lines = [*lines_of("en"), "ﬁne ½ ① Ａ e\u0301 \u00a0 …"] * 2
    decoded = {}
    for normalization in ("identity", "nfkc"):
        tokenizer = train(target=lines, normalization=normalization)
        decoded[normalization] = tokenizer.decode_target(tokenizer.encode_target([lines[-1]])[0])
    assert decoded["identity"] == lines[-1]
    assert decoded["nfkc"].startswith("fine 1⁄2 1 A é")


def test_special_ids_have_no_text_but_unk_shows(unigram: Tokenizer) -> None:
    ids = unigram.encode_target(["the man"])[0]
    assert unigram.decode_target([BOS, *ids, PAD, PAD]) == "the man"
    assert "⁇" in unigram.decode_target([*ids[:-1], UNK])
    assert unigram.source_pieces([PAD, UNK, BOS, EOS]) == ["<pad>", "<unk>", "<s>", "</s>"]


def test_unknown_characters_are_unk_or_bytes(unigram: Tokenizer) -> None:
    line = "the ☃ man"
    assert UNK in unigram.encode_target([line])[0]
    bytewise = train(byte_fallback=True, vocab_size=700)
    ids = bytewise.encode_target([line])[0]
    assert UNK not in ids
    assert bytewise.decode_target(ids) == line


def test_pieces_spell_the_line_and_mark_where_words_begin(unigram: Tokenizer) -> None:
    line = "der kleine Hund"
    ids = unigram.encode_source([line])[0]
    pieces = unigram.source_pieces(ids)
    assert "".join(pieces[:-1]).replace("▁", " ") == f" {line}"
    assert pieces[-1] == "</s>"


def test_an_unknown_word_is_one_piece_that_begins_a_word() -> None:
    tokenizer = train(algorithm="word")
    pieces = tokenizer.source_pieces(tokenizer.encode_source(["der Quastenflosser der"])[0])
    assert pieces == ["▁der", "▁<unk>", "▁der", "</s>"]


def test_long_lines_are_learnt_from() -> None:
    long_line = "ф" + " und weiter" * 1000  # SentencePiece skips lines over 4192 bytes unless told otherwise
    tokenizer = train(source=[*lines_of("de"), long_line])
    assert UNK not in tokenizer.encode_source(["ф"])[0]


def test_characters_named_are_known() -> None:
    config = TokenizerConfig(vocab_size=400)
    tokenizer = train_tokenizer(config, lines_of("de"), lines_of("en"), ({"☃", " "}, {",", "="}))
    assert tokenizer.decode_target(tokenizer.encode_target(["☃ =,"])[0]) == "☃ =,"


@pytest.mark.parametrize("algorithm", ["unigram", "bpe", "word"])
def test_a_vocabulary_beyond_the_text_is_refused_with_the_largest_possible(algorithm: str) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size=90000 is more than .* at most (\d+) ") as raised:
        train(algorithm=algorithm, vocab_size=90000)
    largest = int(str(raised.value).split("at most ")[1].split()[0])
    assert train(algorithm=algorithm, vocab_size=largest).source_size == largest
    with pytest.raises(ConfigError, match="of the source language"):
        train(algorithm=algorithm, vocab_size=90000, joint=False)


def test_a_vocabulary_without_room_for_the_characters_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size=20 is too small .* at least (\d+)") as raised:
        train(vocab_size=20)
    least = int(str(raised.value).split("at least ")[1].split(",")[0])
    assert train(vocab_size=least).source_size == least


def test_a_missing_or_damaged_tokenizer_is_one_sentence(tmp_path: Path, unigram: Tokenizer) -> None:
    with pytest.raises(NmtError, match="has no tokenizer"):
        Tokenizer.load(tmp_path / "nowhere")
    unigram.save(tmp_path)
    model = tmp_path / "joint.model"
    model.rename(tmp_path / "source.model")
    with pytest.raises(NmtError, match="has no tokenizer"):
        Tokenizer.load(tmp_path)
    for content in (b"", b"no model", unigram.models[0][:5000]):
        model.write_bytes(content)
        with pytest.raises(NmtError, match=r"joint\.model is damaged"):
            Tokenizer.load(tmp_path)
