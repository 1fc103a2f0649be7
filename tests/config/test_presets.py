"""Test that every preset loads with every model, and that models have the sizes given in their papers."""

from pathlib import Path

import pytest
import torch

from nmt.config.load import load_config, read_config, save_config
from nmt.models.build import build_model
from nmt.resources import presets

EXPERIMENTS = sorted(path.stem for path in presets().glob("*.yaml"))
FAMILIES = {"gnmt": "luong"}  # of presets whose names do not begin with their family
MODELS = sorted(path.stem for path in (presets() / "model").glob("*.yaml"))
OTHER_GROUPS = sorted(
    (group, path.stem) for group in ("data", "training", "search") for path in (presets() / group).glob("*.yaml")
)


def parameters(preset: str, overrides: list[str], vocabulary: int) -> int:
    """Return the number of parameters of the model; a shared matrix counts once."""
    with torch.device("meta"):
        model = build_model(load_config(preset, overrides).model, vocabulary, vocabulary)
    return sum(parameter.numel() for parameter in model.parameters())


def test_groups_and_presets_are_there() -> None:
    assert {"embedded", "multi30k_de_en", "wmt14_de_en", "wmt14_fr_en"} <= set(EXPERIMENTS)
    assert {"rnn_encdec", "rnnsearch", "luong"} | {
        f"transformer_{size}" for size in ("tiny", "small", "base", "big", "deep_shallow", "deep_shallow_6_1")
    } <= {*MODELS}
    assert {name for group, name in OTHER_GROUPS if group == "data"} >= {
        "embedded", "multi30k_de_en", "wmt14_de_en", "wmt14_fr_en", "files",
    }  # fmt: skip


@pytest.mark.parametrize("preset", EXPERIMENTS)
def test_preset_survives_its_file(preset: str, tmp_path: Path) -> None:
    config = load_config(preset)
    save_config(config, tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml") == config
    assert load_config(str(tmp_path / "config.yaml")) == config


# every preset with the two most different families, and every model with one preset
PAIRS = [(preset, model) for preset in EXPERIMENTS for model in ("rnn_encdec", "transformer_tiny")]
PAIRS += [("example", model) for model in MODELS if ("example", model) not in PAIRS]


@pytest.mark.parametrize(("preset", "model"), PAIRS)
def test_preset_takes_every_model(preset: str, model: str) -> None:
    config = load_config(preset, [f"model={model}"])
    assert FAMILIES.get(model, model).startswith(config.model.family)
    with torch.device("meta"):
        built = build_model(config.model, 1000, 1000)
    assert built.attends == (config.model.family != "rnn_encdec")


@pytest.mark.parametrize(("group", "name"), OTHER_GROUPS)
def test_preset_takes_every_option(group: str, name: str) -> None:
    more = {"data": ["data.path=corpus"], "training": ["training.max_steps=9", "training.max_minutes=null"]}
    overrides = [f"{group}={name}", *more.get(group, [])]
    replaced = getattr(load_config("embedded", overrides), group)
    assert replaced == getattr(load_config("wmt14_de_en", overrides), group), "the whole group is replaced"


def test_direction_is_two_keys() -> None:
    config = load_config("wmt14_de_en", ["data.source_language=en", "data.target_language=de"])
    assert (config.data.source_language, config.data.target_language) == ("en", "de")
    assert config.data.train[0].config == "de-en"


def test_transformers_have_the_papers_sizes() -> None:
    # Vaswani et al. 2017, table 3: 65M and 213M, with a joint vocabulary of about 37,000
    assert 60e6 < parameters("wmt14_de_en", ["model=transformer_base"], 37000) < 66e6
    assert 205e6 < parameters("wmt14_de_en", ["model=transformer_big"], 37000) < 215e6


@pytest.mark.parametrize(("preset", "encoder"), [("", 12), ("_6_1", 6)])
def test_deep_encoders_with_a_shallow_decoder_have_the_papers_sizes(preset: str, encoder: int) -> None:
    d, ffn, vocabulary = 512, 2048, 37000  # Kasai et al. 2021: sizes of the base model, layers 12-1 and 6-1
    attention = 4 * d * d
    paper = vocabulary * d + encoder * (attention + 2 * d * ffn) + 2 * attention + 2 * d * ffn
    assert parameters("wmt14_de_en", [f"model=transformer_deep_shallow{preset}"], vocabulary) == pytest.approx(
        paper, rel=0.002
    )  # biases and norms


def test_rnnsearch_has_the_papers_sizes() -> None:
    n, m, align, maxout, vocabulary = 1000, 620, 1000, 500, 30000  # Bahdanau et al. 2015, appendix A.2.3
    encoder = 2 * 3 * (n * m + n * n)
    decoder = 3 * (n * m + n * n + n * 2 * n) + n * n  # the last term: the initial state
    attention = align * n + align * 2 * n + align
    output = 2 * maxout * (n + m + 2 * n) + vocabulary * maxout
    paper = 2 * vocabulary * m + encoder + decoder + attention + output
    assert parameters("wmt14_fr_en", ["model=rnnsearch_paper"], vocabulary) == pytest.approx(paper, rel=0.002)  # biases


def test_luong_has_the_papers_sizes() -> None:
    n, layers, vocabulary = 1000, 4, 50000  # Luong et al. 2015, section 4.1
    lstm = 4 * 2 * n * n
    paper = 3 * vocabulary * n + 2 * layers * lstm + 4 * n * n + n * n + 2 * n * n  # input feeding, general score, W_c
    assert parameters("wmt14_de_en", ["model=luong_paper"], vocabulary) == pytest.approx(paper, rel=0.002)
