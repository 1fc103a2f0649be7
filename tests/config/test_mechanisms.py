"""Test names of attention mechanisms: one name for all layers, or a list with one name per layer."""

from __future__ import annotations

from typing import Any

import pytest

from nmt.config import mechanisms
from nmt.config.load import config_from_dict
from nmt.config.models import TransformerConfig
from nmt.errors import ConfigError


def model(**keys: Any) -> TransformerConfig:
    """Return a checked Transformer configuration with three encoder and two decoder layers and these keys."""
    data = {"source_language": "de", "target_language": "en", "path": "corpus"}
    sizes = {"family": "transformer", "encoder_layers": 3, "decoder_layers": 2}
    found = config_from_dict({"model": sizes | keys, "data": data, "training": {"max_steps": 10}}).model
    assert isinstance(found, TransformerConfig)
    return found


def refusal(**keys: Any) -> str:
    """Return the error message for a Transformer with these keys."""
    with pytest.raises(ConfigError) as caught:
        model(**keys)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_one_name_is_that_of_all_layers_and_a_list_has_each_layer_s() -> None:
    assert model(decoder_self="softmax").decoder_self == "softmax"
    assert model(encoder_self=["softmax"] * 3).encoder_self == ["softmax"] * 3
    assert [mechanisms.of_layer("a", layer) for layer in (0, 1)] == ["a", "a"]
    assert [mechanisms.of_layer(["a", "b"], layer) for layer in (0, 1)] == ["a", "b"]


@pytest.mark.parametrize(
    ("key", "layers"), [("encoder_self", 3), ("decoder_self", 2), ("decoder_cross", 2)], ids=lambda value: str(value)
)
@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_list_has_one_name_for_each_layer(key: str, layers: int, length: int) -> None:
    names = ["softmax"] * length
    assert refusal(**{key: names}) == (
        f"model.{key}=[{','.join(names)}]: expected one name for all layers, or a list of {layers}, one for each"
    )


@pytest.mark.parametrize("key", ["encoder_self", "decoder_self", "decoder_cross"])
def test_an_unknown_name_is_refused_with_the_nearest(key: str) -> None:
    one = refusal(**{key: "sofmax"})
    assert one.startswith(f"model.{key}=sofmax: expected one of ") and "softmax" in one.partition(";")[0]
    assert one.partition(";")[0].endswith(", or a list of them") and one.endswith("; nearest: softmax")
    listed = refusal(**{key: ["softmax", "sofmax"]})
    assert listed.startswith(f"model.{key}[1]=sofmax: expected one of ") and listed.endswith("; nearest: softmax")
    assert "nearest" not in refusal(**{key: "qqq"})


@pytest.mark.parametrize("value", [None, 3, True, {"softmax": 2}])
def test_what_is_neither_a_name_nor_a_list_is_refused(value: Any) -> None:
    assert ": expected one of softmax" in refusal(decoder_self=value)
    assert refusal(decoder_self=["softmax", value]).startswith("model.decoder_self[1]=")


def test_a_name_that_cannot_stand_in_a_stack_is_refused_with_the_reason() -> None:
    assert refusal(encoder_self="ssru").startswith("model.encoder_self=ssru: an SSRU reads from left to right")
    listed = refusal(encoder_self=["softmax", "ssru", "softmax"])
    assert listed.startswith("model.encoder_self[1]=ssru: an SSRU reads from left to right")
    assert model(decoder_self="ssru").decoder_self == "ssru"


def test_an_option_of_heads_that_nothing_takes_is_refused() -> None:
    everywhere = {"encoder_self": "linear", "decoder_self": "retention"}
    alone = {"places": ["encoder_self", "decoder_self"], "qk_norm": "rms"}
    assert refusal(**everywhere, heads=alone) == (
        "model.heads.qk_norm has no effect, since no mechanism at model.heads.places=[encoder_self,decoder_self] "
        "(linear, retention) takes it: leave it out, or name another place"
    )
    assert refusal(heads={"talking": True, "places": []}).startswith("model.heads.talking has no effect")
    for accepted in (
        {**everywhere, "heads": {"qk_norm": "rms"}},  # attention to the source takes it
        {"encoder_self": ["softmax", "linear", "linear"], "heads": alone},
        {**everywhere, "heads": {"places": ["encoder_self"]}},  # no option is set
    ):
        model(**accepted)


@pytest.mark.parametrize(
    ("keys", "start"),
    [
        (
            {"decoder_self": "average", "activation": "relu2"},
            "model.decoder_self=average has a network with ReLU or GELU, not with model.activation=relu2",
        ),
        (
            {"decoder_self": "hard_coded", "hard_coded": {"decoder_offsets": [-1, 5]}},
            "model.decoder_self=hard_coded looks at positions that are not yet there",
        ),
        ({"encoder_self": "linformer", "positions": "rotary"}, "model.encoder_self=linformer attends to mixtures"),
    ],
)
def test_options_that_would_do_nothing_are_refused(keys: dict[str, Any], start: str) -> None:
    assert refusal(**keys).startswith(start)


def test_what_is_added_to_embeddings_goes_with_all_mixers() -> None:
    for name in ("linformer", "nystroem", "lsh"):
        assert model(encoder_self=name, positions="learned").positions == "learned"
