"""Tests of loading run directories, and of the one-sentence errors for damaged ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from nmt.config.load import config_from_dict, config_to_dict
from nmt.errors import NmtError
from nmt.inference.engines.native import NativeEngine
from nmt.inference.translator import Translator
from nmt.runs.checkpoints import set_pointer
from nmt.runs.run import load_run, run_fingerprint
from nmt.training.checkpoint import save_checkpoint
from tests.models.variants import REPRESENTATIVES, VARIANTS
from tests.toy_run import made_up_lines, make_run, toy_config, toy_model, toy_tokenizer

# with weights that belong to several modules, and with buffers
SAVED = [*REPRESENTATIVES, *(f"transformer-{kind}" for kind in ("shared-layers", "performer", "lsh", "removed-heads"))]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_every_configuration_of_a_model_is_read_back() -> None:
    for variant in VARIANTS:
        assert config_from_dict(config_to_dict(toy_config(variant))) == toy_config(variant)


@pytest.mark.parametrize("variant", SAVED)
def test_a_run_loads_back_to_what_was_saved(tmp_path: Path, variant: str) -> None:
    run = load_run(make_run(tmp_path / "run", variant))
    assert run.config == toy_config(variant)
    assert run.checkpoint.step == 12
    assert not run.model.training
    expected = toy_model(variant).state_dict()
    assert run.model.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in run.model.state_dict().items())


def test_a_copied_run_translates_as_the_original_model(run: Path, tmp_path: Path) -> None:
    shutil.move(run, tmp_path / "elsewhere")
    lines = made_up_lines(5, seed=2)
    config = toy_config("transformer-post")
    translator = Translator(NativeEngine(toy_model("transformer-post")), toy_tokenizer(), config.search, 24)
    loaded = Translator.load(tmp_path / "elsewhere", device="cpu")
    assert loaded.translate(lines) == translator.translate(lines)
    assert loaded.language == "aa"


def test_the_checkpoint_is_chosen_by_name(run: Path) -> None:
    save_checkpoint(run, 20, toy_model("transformer-post", seed=6), {})
    assert load_run(run).checkpoint.step == 12
    assert load_run(run, "last").checkpoint.step == load_run(run, "20").checkpoint.step == 20
    set_pointer(run, "averaged", 20)
    assert load_run(run).checkpoint.step == 20
    assert torch.equal(
        load_run(run, 20).model.projection.weight, toy_model("transformer-post", seed=6).projection.weight
    )


def test_the_fingerprint_is_that_of_what_translates(run: Path) -> None:
    before = run_fingerprint(run)
    assert run_fingerprint(run, 12) == before
    (run / "metrics.jsonl").write_text("{}\n")
    save_checkpoint(run, 20, toy_model("transformer-post", seed=6), {})
    assert run_fingerprint(run) == before
    assert run_fingerprint(run, "last") != before
    pieces = run / "tokenizer" / "joint.model"
    for path, other in (
        (run / "config.yaml", (run / "config.yaml").read_bytes().replace(b"beam_size: 3", b"beam_size: 4")),
        (pieces, pieces.read_bytes() + b" "),
    ):
        content = path.read_bytes()
        path.write_bytes(other)
        assert run_fingerprint(run) != before
        path.write_bytes(content)
    assert run_fingerprint(run) == before


def test_a_run_of_an_earlier_version_has_the_fingerprint_of_todays_rules(run: Path) -> None:
    """Check that the fingerprint covers the settings as they are read now, not as an older version wrote them.

    Otherwise a translation that was begun under old rules could be resumed under new ones.
    """
    path = run / "config.yaml"
    before, text = run_fingerprint(run), path.read_text("utf-8")
    path.write_text(text.replace("schema: 3\n", "").replace("stop: full", "stop: exact"), encoding="utf-8")
    assert run_fingerprint(run) == before
    path.write_text(text.replace("stop: full", "stop: exact"), encoding="utf-8")
    assert run_fingerprint(run) != before


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (shutil.rmtree, "does not exist"),
        (lambda run: (shutil.rmtree(run), run.write_text("")), "is a file"),
        (lambda run: (run / "config.yaml").unlink(), "no config.yaml"),
        (lambda run: shutil.rmtree(run / "tokenizer"), "has no tokenizer"),
        (lambda run: (run / "tokenizer" / "joint.model").write_bytes(b"no"), "damaged"),
        (lambda run: shutil.rmtree(run / "checkpoints"), "no checkpoint yet"),
        (lambda run: damage(next(run.glob("checkpoints/*/model.safetensors"))), r"model\.safetensors is damaged"),
        (
            lambda run: next(run.glob("checkpoints/*/model.safetensors")).write_bytes(b""),
            r"model\.safetensors is damaged",
        ),
        (
            lambda run: (save_checkpoint(run, 13, toy_model("rnnsearch"), {}), set_pointer(run, "best", 13)),
            "do not fit",
        ),
    ],
)
def test_what_is_wrong_is_one_sentence(run: Path, spoil: object, sentence: str) -> None:
    spoil(run)
    with pytest.raises(NmtError, match=sentence) as error:
        load_run(run)
    assert "run" in str(error.value)
    assert "\n" not in str(error.value)
