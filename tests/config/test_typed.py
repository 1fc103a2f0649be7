"""Test the conversion of dicts to dataclasses and back: accepted values, refused values and the error messages."""

from dataclasses import asdict
from typing import Any

import pytest

from nmt.config.data import CorpusConfig
from nmt.config.load import config_from_dict, config_to_dict
from nmt.config.models import LuongConfig, TransformerConfig
from nmt.config.typed import keys, nearest
from nmt.errors import ConfigError


def values(**changes: Any) -> dict[str, Any]:
    """Return a small valid configuration as a dict."""
    return {
        "model": {"family": "transformer"},
        "data": {"source_language": "de", "target_language": "en", "path": "corpus"},
        "training": {"max_steps": 10},
    } | changes


def training(**changes: Any) -> dict[str, Any]:
    return values(training={"max_steps": 10} | changes)


def refusal(given: dict[str, Any]) -> str:
    """Return the error message for a configuration."""
    with pytest.raises(ConfigError) as caught:
        config_from_dict(given)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_round_trip_keeps_every_kind_of_value() -> None:
    corpus = {"tsv": "a.tsv", "columns": ["de", "en"]}
    data = {"source_language": "de", "target_language": "en", "train": [corpus, {"prefix": "b"}],
            "val": {"source": "x", "target": "y"}, "test": {"one": {"hub": "h", "config": "de-en"}}}  # fmt: skip
    config = config_from_dict(values(data=data, model={"family": "luong", "layers": 2}, seed=7))
    assert isinstance(config.model, LuongConfig) and config.model.layers == 2
    assert config.data.train == [CorpusConfig(tsv="a.tsv", columns=["de", "en"]), CorpusConfig(prefix="b")]
    assert config.data.test == {"one": CorpusConfig(hub="h", config="de-en")}
    assert config_to_dict(config) == asdict(config)
    assert config_from_dict(config_to_dict(config)) == config
    assert list(config_to_dict(config))[:3] == ["model", "data", "tokenizer"]


def test_family_chooses_the_dataclass() -> None:
    assert config_from_dict(values()).model == TransformerConfig()
    assert refusal(values(model={"family": "transformers"})) == (
        "model.family=transformers: expected one of rnn_encdec, rnnsearch, luong, transformer; nearest: transformer"
    )
    assert refusal(values(model={"dropout": 0.1})).startswith("model.family is missing")


def test_numbers() -> None:
    config = config_from_dict(training(max_steps=1e5, max_minutes=30, clip_norm=None))
    assert config.training.max_steps == 100000 and isinstance(config.training.max_steps, int)
    assert config.training.max_minutes == 30.0 and isinstance(config.training.max_minutes, float)
    assert config.training.clip_norm is None
    for value in ("auto", 2048, 2e3, None):
        assert config_from_dict(training(tokens_per_device=value)).training.tokens_per_device == value


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("max_steps", "abc", "training.max_steps=abc: expected a whole number or null"),
        ("max_steps", 1.5, "training.max_steps=1.5: expected a whole number or null"),
        ("max_steps", True, "training.max_steps=true: expected a whole number or null"),
        ("log_every", None, "training.log_every=null: expected a whole number"),
        ("learning_rate", "fast", "training.learning_rate=fast: expected auto or a number"),
        ("learning_rate", float("nan"), "training.learning_rate=nan: expected auto or a number"),
        ("compile", 1, "training.compile=1: expected true or false"),
        ("tokens_per_device", "all", "training.tokens_per_device=all: expected auto or a whole number or null"),
        ("tokens_per_device", 0.5, "training.tokens_per_device=0.5: expected auto or a whole number or null"),
        ("precision", "fp16", "training.precision=fp16: expected one of auto, fp32, bf16, native; nearest: bf16"),
        ("optimizer", {"betas": 0.9}, "training.optimizer.betas=0.9: expected a list"),
        ("optimizer", {"betas": [0.9, "x"]}, "training.optimizer.betas[1]=x: expected a number"),
    ],
)
def test_wrong_type_names_key_value_and_expectation(key: str, value: Any, sentence: str) -> None:
    assert refusal(training(**{key: value})) == sentence


def test_text_that_yaml_takes_for_something_else() -> None:
    data = {"source_language": False, "target_language": "en", "path": "corpus"}  # how YAML reads `no`
    assert refusal(values(data=data)) == "data.source_language=false: expected text (in quotes)"


@pytest.mark.parametrize("given", [None, 3, "embedded", [1]])
def test_section_must_have_keys(given: Any) -> None:
    assert refusal(values(data=given)).endswith("train, val, test, temperature, cleaning, cache, workers)")
    assert refusal(values(model=given)).startswith("model=")


@pytest.mark.parametrize(
    ("given", "key", "suggestion"),
    [
        (training(max_step=5), "training.max_step", "training.max_steps"),
        (training(lr=5), "training.lr", "training.learning_rate"),
        (values(beam_size=5), "beam_size", "search.beam_size"),
        (values(modle={}), "modle", "model"),
        (values(search={"tokens_per_update": 5}), "search.tokens_per_update", "training.tokens_per_update"),
    ],
)
def test_unknown_key_is_named_with_the_nearest(given: dict[str, Any], key: str, suggestion: str) -> None:
    sentence = refusal(given)
    assert sentence.startswith(f"{key} is not a key of the configuration; nearest: {suggestion}")


def test_key_of_another_family_is_unknown() -> None:
    sentence = refusal(values(model={"family": "transformer", "hidden_dim": 8}))
    assert sentence.startswith("model.hidden_dim is not a key of model.family=transformer; nearest: model.model_dim")
    assert "model.hidden_dim" not in sentence.partition("nearest")[2]


def test_unknown_key_within_lists_and_names() -> None:
    data = values()["data"] | {"train": [{"prefix": "a"}, {"prefx": "a"}]}
    assert refusal(values(data=data)).startswith(
        "data.train[1].prefx is not a key of the configuration; nearest: data.train[1].prefix"
    )
    data = values()["data"] | {"test": {"mine": {"hubb": "a"}}}
    assert "nearest: data.test.mine.hub" in refusal(values(data=data))


def test_missing_required_key_is_named() -> None:
    assert refusal(values(data={"source_language": "de"})) == "data.target_language is missing: it has no default"
    assert refusal({"model": {"family": "luong"}}) == "data is missing: it has no default"


def test_impossible_combination_is_refused() -> None:
    assert "tokenizer.joint=true" in refusal(values(tokenizer={"joint": False}))
    assert "training.schedule.horizon" in refusal(values(training={"max_minutes": 5, "schedule": {"name": "cosine"}}))


def test_nearest_prefers_likeness_and_keeps_names_once() -> None:
    names = ["luong", "rnnsearch", "rnn_search_2", "rnnsearch"]
    assert nearest("rnnserch", names, 2) == ["rnnsearch", "rnn_search_2"]
    assert nearest("rnnserch", names, 1) == ["rnnsearch"]


def test_nothing_is_suggested_that_is_not_near() -> None:
    assert nearest("foo", ["stop", "ffn_dropout"]) == []
    assert nearest("lr", ["learning_rate", "lower"]) == ["learning_rate"]
    assert nearest("steps", ["max_steps", "seed"]) == ["max_steps"]
    assert refusal(training(foo=1)).startswith("training.foo is not a key of the configuration: training has max_steps")


def test_keys_lists_sections_and_every_family() -> None:
    found = keys(CorpusConfig, "data.val")
    assert found[:2] == ["data.val.prefix", "data.val.source"]
    assert len(found) == len(asdict(CorpusConfig()))
