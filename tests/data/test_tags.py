"""Test tags: symbols in front of the source that no text can spell, and that stay when ids are sampled again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Literal, cast

import numpy as np
import pytest

from nmt.config.data import CorpusConfig, DataConfig, TokenizerConfig
from nmt.config.schema import Config
from nmt.config.typed import from_dict
from nmt.data.prepare import prepare
from nmt.data.sampling import SubwordSampling
from nmt.data.tags import tags_of_lines
from nmt.data.tokenizer import EOS, Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import ConfigError, NmtError
from tests.toy_run import made_up_lines
from tests.training.tiny import tiny_config

SPELLED = ["<tag▁bt>", "<tag bt>", "<tag:bt> ba", "ba <tag▁bt> ki", "▁<tag▁bt>", "</s><tag▁bt>", "<tag▁2de>"]
HOSTILE = [*made_up_lines(300, seed=1), *(SPELLED * 50)]
SIZES = {"unigram": 45, "bpe": 60, "char": 32, "word": 55}


@pytest.fixture(scope="module", params=SIZES)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    config = TokenizerConfig(algorithm=request.param, vocab_size=SIZES[request.param])
    return train_tokenizer(config, HOSTILE, HOSTILE, tags=["bt", "2de"])


def test_text_never_spells_a_tag(tokenizer: Tokenizer) -> None:
    assert tokenizer.tags == {"bt": 4, "2de": 5}
    ids = tokenizer.encode_source([*SPELLED, *HOSTILE]) + tokenizer.encode_target(SPELLED)
    assert not {4, 5}.intersection(id for line in ids for id in line)
    assert (tokenizer.tag_ids("2de"), tokenizer.tag_ids(None)) == ([5], [])
    assert [tokenizer.tag_of(id) for id in (4, 5, EOS, 9)] == ["bt", "2de", None, None]


def test_a_tag_is_no_piece_of_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    assert not {"<tag▁bt>", "<tag▁2de>"}.intersection(tokenizer.source.scores)
    assert tokenizer.decode_target([4, *tokenizer.encode_target(["ba ki."])[0]]) == "ba ki."
    assert tokenizer.source_pieces([4]) == ["<tag▁bt>"]
    tokenizer.save(tmp_path)
    assert Tokenizer.load(tmp_path).tags == tokenizer.tags


def test_only_the_source_has_tags_where_vocabularies_are_apart() -> None:
    config = TokenizerConfig(algorithm="bpe", vocab_size=60, joint=False)
    apart = train_tokenizer(config, HOSTILE, HOSTILE, tags=["bt"])
    assert (apart.source.tags, apart.target.tags) == ({"bt": 4}, {})


def test_a_vocabulary_without_tags_is_what_it_was() -> None:
    lines = made_up_lines(300, seed=1)
    config = TokenizerConfig(algorithm="unigram", vocab_size=40)
    plain, empty = (train_tokenizer(config, lines, lines, **more) for more in ({}, {"tags": []}))  # type: ignore[arg-type]
    assert plain.fingerprint == empty.fingerprint
    assert plain.tags == {}


def test_lines_get_one_tag_or_each_their_own(tokenizer: Tokenizer) -> None:
    assert tags_of_lines("bt", 2, tokenizer, True) == ["bt", "bt"]
    assert tags_of_lines(["bt", None], 2, tokenizer, False) == ["bt", None]
    assert tags_of_lines(None, 1, tokenizer, False) == [None]
    with pytest.raises(NmtError, match="does not know the tag 'fr': its tags are bt, 2de"):
        tags_of_lines("fr", 1, tokenizer, False)
    with pytest.raises(NmtError, match="give one of bt, 2de"):
        tags_of_lines(["bt", None], 2, tokenizer, True)
    with pytest.raises(NmtError, match="3 tags were given for 2 lines"):
        tags_of_lines(["bt"] * 3, 2, tokenizer, False)


# -- prepared -----------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a configuration with 120 pairs without a tag, and 120 other pairs with one; validation has both kinds."""
    plain = tiny_config(tmp_path)
    text = tmp_path / "text"
    (text / "back.bb").write_text("".join(f"{line}\n" for line in made_up_lines(120, seed=7)), encoding="utf-8")
    (text / "back.cc").write_text("".join(f"{line}\n" for line in made_up_lines(120, seed=8)), encoding="utf-8")
    back = CorpusConfig(prefix=str(text / "back"), source_language="cc", tag="bt")
    val = CorpusConfig(prefix=str(text / "val"))
    plain.data = DataConfig(
        source_language="aa",
        target_language="bb",
        train=[CorpusConfig(prefix=str(text / "train")), back],
        val=[val, CorpusConfig(prefix=str(text / "val"), tag="bt")],
        cache=str(tmp_path / "cache"),
    )
    plain.data.cleaning.max_ratio, plain.data.cleaning.deduplicate = None, False
    return plain


def test_a_corpus_with_a_tag_and_languages_of_its_own(config: Config) -> None:
    config.check()
    prepared = prepare(config, lambda line: None)
    assert prepared.train.corpora == [120, 120]
    bt = prepared.tokenizer.tags["bt"]
    lines = made_up_lines(120, seed=8)
    assert prepared.train.source_text(120) == lines[0]
    for row in range(240):
        ids = prepared.train.source(row).tolist()
        text = prepared.tokenizer.encode_source([prepared.train.source_text(row)])[0]
        assert ids == ([bt] if row >= 120 else []) + text
        assert bt not in prepared.train.target(row)
    assert prepared.val.corpora == [9, 9]
    assert prepared.val.source(9).tolist() == [bt, *prepared.val.source(0).tolist()]


def test_the_longest_length_counts_the_tag(config: Config) -> None:
    prepared = prepare(config, lambda line: None)
    config.data.cleaning.max_tokens = most = int(prepared.train.source_lengths[120:].max())
    assert prepare(config, lambda line: None).train.corpora == [120, 120]
    config.data.cleaning.max_tokens = most - 1
    fewer = prepare(config, lambda line: None)
    assert fewer.train.corpora is not None and fewer.train.corpora[1] < 120
    assert sum(fewer.train.corpora) == len(fewer.train) == fewer.report["cleaning"]["kept"]


def test_tags_are_part_of_what_is_prepared_and_weights_are_not(config: Config) -> None:
    folder = prepare(config, lambda line: None).folder
    config.data.train[1].weight, config.data.train[1].name = 3, "back"
    assert prepare(config, lambda line: None).folder == folder
    assert isinstance(config.data.val, list)
    config.data.train[1].tag = config.data.val[1].tag = "2bb"
    assert prepare(config, lambda line: None).folder != folder


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
def test_sampled_segmentations_keep_the_tag(config: Config, algorithm: Literal["bpe", "unigram"]) -> None:
    config.tokenizer.algorithm, config.tokenizer.vocab_size = algorithm, 40
    prepared = prepare(config, lambda line: None)
    bt = prepared.tokenizer.tags["bt"]
    alpha = {"bpe": 0.5, "unigram": 0.01}[algorithm]  # strong enough that many words are segmented in unusual ways
    sampling = SubwordSampling(prepared.tokenizer, algorithm, alpha, "both", 256)
    rows = np.arange(0, 240, 3)
    drawn = sampling.draw(prepared.train, rows, seed=1, epoch=0, position=0)
    assert {int(drawn.source(index)[0]) == bt for index in range(40)} == {False}
    for index, row in enumerate(rows):
        ids = [int(id) for id in drawn.source(index)]
        assert ids.count(bt) == (row >= 120)
        assert prepared.tokenizer.source.decode(ids) == prepared.train.source_text(row)
    assert any(len(drawn.source(index)) != prepared.train.source_lengths[row] for index, row in enumerate(rows))


# -- configured ---------------------------------------------------------------------------------------------------


def test_one_corpus_or_a_list_to_validate_and_test_on() -> None:
    values = {
        "source_language": "en",
        "target_language": "mul",
        "train": [{"prefix": "a", "tag": "2de"}, {"prefix": "b", "tag": "2fr", "target_language": "fr"}],
        "val": [{"prefix": "v", "tag": "2de"}],
        "test": {"one": {"prefix": "t", "tag": "2fr"}, "both": [{"prefix": "t", "tag": "2fr"}]},
    }
    data = from_dict(DataConfig, values)
    data.check()
    data.check_tags()
    assert from_dict(DataConfig, asdict(data)) == data
    assert data.held_out()["data.test.both"] == data.held_out()["data.test.one"] == [data.test["one"]]
    assert (data.tags, data.always_tagged) == (["2de", "2fr"], True)
    assert [data.target_language_of(tag) for tag in ("2de", "2fr", None)] == ["mul", "fr", "mul"]
    with pytest.raises(ConfigError, match=r"data\.val\[0\]\.prefx is not a key"):
        from_dict(DataConfig, {**values, "val": [{"prefx": "v"}]}, "data")
    with pytest.raises(ConfigError, match=r"data\.val=v: expected keys and values"):
        from_dict(DataConfig, {**values, "val": "v"}, "data")


def test_tags_that_cannot_be_meant_are_refused(config: Config) -> None:
    val = cast(list[CorpusConfig], config.data.val)
    val[1].tag = "BT"
    with pytest.raises(ConfigError, match=r"data\.val\.tag=BT is no tag of data\.train, which has bt"):
        config.check()
    config.data.train[0].tag = "bt"
    val[1].tag = "bt"
    with pytest.raises(ConfigError, match=r"data\.val\.tag is missing: all of data\.train has a tag \(bt\)"):
        config.check()
    config.data.train[0].tag = "two words"
    with pytest.raises(ConfigError, match=r"data\.train\[0\]\.tag=two words: a tag has"):
        config.check()
