"""Test existing tokenizers: models trained by SentencePiece itself, and tokenizers of other runs."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
import sentencepiece

from nmt.cli.prepare import main as prepare_command
from nmt.config.data import TokenizerConfig
from nmt.config.load import config_from_dict, config_to_dict, load_config, read_config, save_config
from nmt.config.schema import Config
from nmt.data.given_tokenizer import adopt
from nmt.data.prepare import prepare
from nmt.data.sampling import SubwordSampling
from nmt.data.sentencepiece_model import parse, serialise
from nmt.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import ConfigError
from nmt.resources import embedded_corpus
from nmt.runs.run import load_run
from nmt.training.fine_tune import inherit
from nmt.training.train import train
from tests.toy_run import made_up_lines
from tests.training.tiny import tiny_config

FORMS: dict[str, dict[str, Any]] = {
    "default": {},
    "t5": {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "user_defined_symbols": ["<mask>", "<pad2>"]},
    "named": {"model_type": "bpe", "pad_id": 3, "pad_piece": "[PAD]", "unk_piece": "[UNK]", "bos_piece": "[CLS]"},
    "bytes": {"model_type": "bpe", "byte_fallback": True, "vocab_size": 700, "user_defined_symbols": ["<pad>"]},
    "words": {"model_type": "word", "vocab_size": 200},
    "characters": {"model_type": "char", "vocab_size": 50, "bos_id": -1, "eos_id": -1, "unk_id": 0},
}


def lines_of(language: str, count: int = 800) -> list[str]:
    return (embedded_corpus() / f"train.{language}").read_text("utf-8").split("\n")[:count]


def foreign(lines: list[str] | None = None, **settings: Any) -> bytes:
    """Train a model with SentencePiece's own trainer and return it serialised."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines or lines_of("en")), model_writer=model, minloglevel=5,
        **{"vocab_size": 300, "hard_vocab_limit": False, **settings},
    )  # fmt: skip
    return model.getvalue()


@pytest.mark.parametrize("form", FORMS)
def test_text_is_cut_as_before_and_ids_are_ours(form: str) -> None:
    original = foreign(**FORMS[form])
    theirs = sentencepiece.SentencePieceProcessor(model_proto=original)
    tokenizer = Tokenizer(adopt(original, ["2en"]))
    names = tokenizer.source.names
    assert (names[PAD], names[BOS], names[EOS]) == ("<pad>", "<s>", "</s>") and names[UNK].endswith("<unk>")
    assert tokenizer.tags == {"2en": 4}
    lines = [*lines_of("en", 100), "a <mask> of ☃ <pad> ½", ""]
    for line in lines:
        ids = tokenizer.encode_target([line])[0]
        assert ids[-1] == EOS and not {PAD, BOS, EOS, 4}.intersection(ids[:-1])
        pieces = [theirs.id_to_piece(id) for id in theirs.encode(line)]
        unknown = theirs.id_to_piece(theirs.unk_id())
        ours = [unknown if id == UNK else tokenizer.target.names[id] for id in ids[:-1]]
        if form != "bytes":  # in that model <pad> was a piece of text, which it is not after adoption
            assert ours == pieces
            assert tokenizer.decode_target(ids) == theirs.decode(theirs.encode(line))
        assert tokenizer.locate_target(line).ids == ids
    assert len(set(tokenizer.source.names)) == tokenizer.source_size


def test_a_model_of_this_toolkit_stays_as_it_is_to_the_byte() -> None:
    config = TokenizerConfig(algorithm="bpe", vocab_size=60, symbols=["<b>"])
    own = train_tokenizer(config, made_up_lines(200, 1), made_up_lines(200, 2), tags=["2fr"]).models[0]
    assert adopt(own) is own and adopt(own, ["2fr"]) is own
    more = Tokenizer(adopt(own, ["2fr", "2es"]))
    assert set(more.tags) == {"2fr", "2es"} and more.source_size == Tokenizer(own).source_size + 1
    assert more.encode_target(["ba deki."]) != [] and UNK not in more.encode_target(["ba deki."])[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a SentencePiece model"),
        (b"{}", "is not a SentencePiece model"),
        (b"\n\x00", "is not a SentencePiece model"),
        (lambda: foreign().replace(b"the", b"\xff\xfee"), "is not a SentencePiece model"),
        (lambda: of_kind(9), "has a model_type that SentencePiece does not define"),
        (lambda: foreign(treat_whitespace_as_suffix=True), "does not mark the beginning of words"),
        (lambda: with_text_named_as_a_symbol(), "has </s> as a piece of text"),
    ],
)
def test_what_cannot_be_taken_is_refused(content: Any, told: str) -> None:
    serialised = content if isinstance(content, bytes) else content()
    with pytest.raises(ConfigError, match=f"x.model {told}"):
        adopt(serialised, name="x.model")


def of_kind(kind: int) -> bytes:
    model = parse(foreign())
    model.trainer_spec.model_type = kind
    return serialise(model)


def with_text_named_as_a_symbol() -> bytes:
    model = parse(foreign(eos_piece="<end>"))
    model.pieces[-1].piece = "</s>"
    return serialise(model)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Return a tiny training with a given tokenizer, whose vocabulary has more than the training text needs."""
    lines = made_up_lines(300, seed=3)
    (tmp_path / "their.model").write_bytes(foreign([*lines, *(f"zu{line}" for line in lines)], vocab_size=70))
    config = tiny_config(tmp_path, training__max_steps=2, training__validate_every=2)
    config.tokenizer.path = str(tmp_path / "their.model")
    return config


def with_path(config: Config, path: Path | str, **changes: Any) -> Config:
    values = config_to_dict(config)
    values["tokenizer"]["path"] = str(path)
    return config_from_dict(values | changes)


def test_a_run_has_its_own_copy_and_says_what_it_is(config: Config, tmp_path: Path, capsys: Any) -> None:
    train(config)
    size = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "their.model")).get_piece_size() + 1
    assert f"their.model: {size} pieces for both languages, by unigram" in capsys.readouterr().err
    run = Path(str(config.run_dir))
    recorded = read_config(run / "config.yaml").tokenizer
    assert (recorded.algorithm, recorded.vocab_size, recorded.normalization) == ("unigram", size, "nmt_nfkc")
    (tmp_path / "their.model").rename(tmp_path / "elsewhere.model")
    assert load_run(run).tokenizer.source_size == size
    config.training.max_steps = 4
    train(config)  # resumes with its copy of the tokenizer
    assert "continuing" in capsys.readouterr().err
    other = with_path(config, run, run_dir=str(tmp_path / "other"))
    _, tokenizer = inherit(other)
    assert tokenizer is not None and tokenizer.fingerprint == load_run(run).tokenizer.fingerprint


def test_a_changed_file_is_not_taken_silently(config: Config, tmp_path: Path) -> None:
    keys = [prepare(*_asked(config)).folder]
    train(config)
    (tmp_path / "their.model").write_bytes(foreign(made_up_lines(300, seed=4), vocab_size=60))
    with pytest.raises(ConfigError, match=r"their.model is not the tokenizer that the run was started with"):
        train(config)
    shutil.rmtree(str(config.run_dir))
    keys.append(prepare(*_asked(config)).folder)
    assert keys[0] != keys[1], "the content of the file is part of the key"


def test_without_a_checkpoint_the_file_is_taken_whatever_a_killed_run_has_left(config: Config) -> None:
    left = Path(str(config.run_dir)) / "tokenizer"
    left.mkdir(parents=True)
    (left / "source.model").write_bytes(b"half of")
    assert inherit(config)[1] is not None


def test_a_run_answers_for_its_own_path_only(config: Config) -> None:
    train(config)
    with pytest.raises(ConfigError, match=r"tokenizer.path=their\.modle: there is no such file or folder"):
        inherit(with_path(config, "their.modle"))
    Path(str(config.tokenizer.path)).unlink()
    assert inherit(config)[1] is not None


def test_a_new_tag_is_named_where_a_run_goes_on(config: Config, tmp_path: Path) -> None:
    text = {"source": str(tmp_path / "text" / "train.aa"), "target": str(tmp_path / "text" / "train.bb")}
    values = config_to_dict(config)
    values["data"] |= {"path": None, "train": [text | {"tag": "old"}], "val": text | {"tag": "old"}}
    train(config_from_dict(values))
    values["data"]["train"].append(text | {"tag": "new"})
    with pytest.raises(ConfigError, match=r"^data\.train has the tag new, which is not in .*tokenizer"):
        inherit(config_from_dict(values))


def _asked(config: Config) -> tuple[Config, Any, Tokenizer | None]:
    asked, tokenizer = inherit(config)
    return asked, lambda line: None, tokenizer


def test_two_models_are_one_for_each_language(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "pair"
    folder.mkdir()
    for side, seed in (("source", 5), ("target", 6)):
        (folder / f"{side}.model").write_bytes(foreign(made_up_lines(300, seed), vocab_size=50 + seed))
    with pytest.raises(ConfigError, match=r"model\.share_embeddings needs one vocabulary .*share_embeddings=false"):
        inherit(with_path(config, folder))
    given = {"tokenizer.algorithm": "char", "training.subword_sampling": "0.1", "model.share_embeddings": "false"}
    load_config("embedded", [f"tokenizer.path={folder}", *(f"{key}={value}" for key, value in given.items())])
    model = config_to_dict(config)["model"] | {"share_embeddings": False}
    asked, tokenizer = inherit(with_path(config, folder, model=model))
    assert tokenizer is not None and not tokenizer.joint and not asked.tokenizer.joint
    assert tokenizer.source.names != tokenizer.target.names
    assert asked.tokenizer.vocab_size == max(tokenizer.source.size, tokenizer.target.size)


def test_pieces_across_words_are_not_drawn_from(config: Config, tmp_path: Path) -> None:
    across = foreign(made_up_lines(300, seed=3), vocab_size=70, split_by_whitespace=False)
    (tmp_path / "their.model").write_bytes(across)
    inherit(config)
    train(config)
    config.training.subword_sampling = 0.1
    with pytest.raises(ConfigError, match="subword_sampling samples the pieces of one word at a time"):
        inherit(with_path(config, str(config.tokenizer.path), run_dir=str(tmp_path / "other")))
    values = config_to_dict(config) | {"fine_tune": {"run": str(config.run_dir)}, "run_dir": str(tmp_path / "tuned")}
    del values["tokenizer"]
    with pytest.raises(ConfigError, match=r"but the vocabulary of fine_tune\.run=.* has pieces that cross from one"):
        inherit(config_from_dict(values))
    values |= {"tokenizer": {"path": config.tokenizer.path}}  # the same, but the file may be another by now
    with pytest.raises(ConfigError, match=r"tokenizer\.path cannot be combined with fine_tune\.run="):
        inherit(config_from_dict(values))


def test_words_are_whole_without_a_mark_before_the_first() -> None:
    settings = {"add_dummy_prefix": False, "normalization_rule_name": "identity", "remove_extra_whitespaces": False}
    model = Tokenizer(adopt(foreign(["hund katze haus"] * 9, vocab_size=14, **settings))).source
    assert model.words(["hund katze  haus", "", " a"]) == [["hund", "▁katze", "▁", "▁haus"], [], ["▁a"]]


def test_control_symbols_are_not_drawn_as_text() -> None:
    original = foreign(made_up_lines(300, seed=3), vocab_size=70, control_symbols=["ba", "<ctl>"])
    tokenizer = Tokenizer(adopt(original, ["2en"]))
    sampling = SubwordSampling(tokenizer, "unigram", 0.3, "both", 100)
    assert sampling.target is not None
    control = {tokenizer.target.names.index(name) for name in ("ba", "<ctl>")}
    for ids in sampling.target.draw(["ba baba <ctl>", *made_up_lines(50, seed=3)], Random(1)):
        assert not control.intersection(ids)
    assert not {"ba", "<ctl>"}.intersection(tokenizer.target.scores)


def test_commands_answer_a_wrong_path_with_a_sentence(config: Config, tmp_path: Path, capsys: Any) -> None:
    save_config(config, tmp_path / "my.yaml")
    (tmp_path / "empty").mkdir()
    for path, told in (("nowhere", "there is no such file or folder"), ("empty", "is a folder without joint.model")):
        assert prepare_command([str(tmp_path / "my.yaml"), f"tokenizer.path={tmp_path / path}"]) == 1
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1
    assert prepare_command([str(tmp_path / "my.yaml"), "tokenizer.symbols=[x]"]) == 1
    assert "leave one of them out" in capsys.readouterr().err
