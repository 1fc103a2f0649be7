"""nmt-heads --prune: a smaller run, which the other commands load, evaluate, resume and fine-tune."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import nmt
from nmt.cli import align
from nmt.cli.heads import main
from nmt.config.heads import Head
from nmt.config.load import load_config
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.schema import OptimizerConfig
from nmt.errors import NmtError
from nmt.evaluation.heads import HeadMeasures
from nmt.models.attention_heads import heads_of
from nmt.runs.checkpoints import WEIGHTS, find_checkpoint
from nmt.runs.environment import read_environment
from nmt.runs.run import load_run
from nmt.runs.weights import load_weights
from nmt.training.average import average_checkpoints, take_average
from nmt.training.checkpoint import load_training_state
from nmt.training.optim import MuonAndAdamW, build_optimizer
from nmt.training.prune import least_important, prune_run
from nmt.training.train import train
from tests.models.variants import TRANSFORMER
from tests.training.tiny import assert_equal, events, tiny_config

REMOVED = [Head(Place("encoder_self", 0), 0), Head(Place("decoder_cross", 0), 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run whose weights have a moving average."""
    folder = tmp_path_factory.mktemp("prune")
    train(tiny_config(folder, training__ema_decay=0.9, training__keep_last=2))
    return folder


@pytest.fixture(scope="module")
def pruned(folder: Path) -> Path:
    prune_run(load_run(folder / "run"), REMOVED, folder / "pruned")
    return folder / "pruned"


def further(run: Path, *overrides: str) -> Path:
    return nmt.train(load_config(str(run / "config.yaml"), overrides))


def test_the_pruned_run_is_smaller_and_translates_and_is_evaluated(folder: Path, pruned: Path) -> None:
    run = load_run(pruned)
    assert {place.key: heads.numbers for place, heads in heads_of(run.model).items()} == {
        "encoder_self": [1],
        "decoder_self": [0, 1],
        "decoder_cross": [0],
    }
    size, smaller = ((find_checkpoint(each).path / WEIGHTS).stat().st_size for each in (folder / "run", pruned))
    assert smaller < size
    assert [find_checkpoint(pruned, name).step for name in ("best", "last")] == [6, 6]
    told = read_environment(pruned)
    assert told["parameters"] == sum(parameter.numel() for parameter in run.model.parameters())
    assert told["pruned_from"] == {"run": str(folder / "run"), "checkpoint": "step-0000000006", "step": 6}
    (evaluation,) = nmt.evaluate(pruned, source=folder / "text" / "val.aa", reference=folder / "text" / "val.bb")
    assert len(evaluation.hypotheses) == 9


def test_a_removed_head_cannot_be_read(folder: Path, pruned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [
        "--source",
        str(folder / "text" / "val.aa"),
        "--target",
        str(folder / "text" / "val.bb"),
        "--device",
        "cpu",
    ]
    assert align.main([str(pruned), *texts, "--head", "1"]) == 0
    assert align.main([str(pruned), *texts, "--head", "2"]) == 2
    assert "--head 2: it has been removed from layer 1" in capsys.readouterr().err


def test_training_goes_on_where_it_was(folder: Path, pruned: Path) -> None:
    whole, less = (find_checkpoint(run) for run in (folder / "run", pruned))
    before, after = load_training_state(whole), load_training_state(less)
    models = [load_run(run).model for run in (folder / "run", pruned)]
    moments = []
    for state, model in zip((before, after), models, strict=True):
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        groups = build_optimizer(nmt.load_config(str(pruned / "config.yaml")).training.optimizer, model).param_groups
        order = [names[id(parameter)] for group in groups for parameter in group["params"]]
        moments.append({order[number]: values for number, values in state["optimizer"]["state"].items()})
    kept = {
        "encoder.layers.0.mixer.qkv_projection.weight": [*range(8, 16), *range(24, 32), *range(40, 48)],
        "decoder.layers.0.cross_attention.query_projection.bias": [*range(8)],
    }
    for name, rows in kept.items():
        for key in ("exp_avg", "exp_avg_sq"):
            assert moments[0][name][key].any()
            assert torch.equal(moments[1][name][key], moments[0][name][key][rows]), (name, key)
    name = "decoder.layers.0.cross_attention.output_projection.weight"
    assert torch.equal(moments[1][name]["exp_avg"], moments[0][name]["exp_avg"][:, :8])
    for name, values in moments[1].items():
        assert values["exp_avg"].shape == models[1].get_parameter(name).shape
        if values["exp_avg"].shape == moments[0][name]["exp_avg"].shape:
            assert_equal(values, moments[0][name], name)
    trained = [parameter.shape for parameter in models[1].parameters()]
    assert [weight.shape for weight in after["average"]["trained"]] == trained
    for key in ("schedule", "window", "random"):
        assert_equal(after[key], before[key], key)
    assert after["progress"]["step"] == 6 and not after["progress"]["ended"]


def test_training_with_muon_goes_on_where_it_was(tmp_path: Path) -> None:
    train(tiny_config(tmp_path, training__optimizer={"name": "muon"}))
    model = prune_run(load_run(tmp_path / "run"), REMOVED, tmp_path / "pruned")
    before, after = (
        load_training_state(find_checkpoint(run))["optimizer"]["muon"]
        for run in (tmp_path / "run", tmp_path / "pruned")
    )
    optimizer = build_optimizer(OptimizerConfig(name="muon"), model)
    assert isinstance(optimizer, MuonAndAdamW)
    (group,) = optimizer.muon.param_groups
    shapes = [parameter.shape for parameter in group["params"]]
    momenta = [values["momentum_buffer"] for _, values in sorted(after["state"].items())]
    assert [momentum.shape for momentum in momenta] == shapes
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    number = [names[id(parameter)] for parameter in group["params"]].index(
        "encoder.layers.0.mixer.qkv_projection.weight"
    )
    rows = [*range(8, 16), *range(24, 32), *range(40, 48)]
    assert torch.equal(momenta[number], before["state"][number]["momentum_buffer"][rows])
    further(tmp_path / "pruned", "training.max_steps=7")


def test_a_pruned_run_is_resumed_and_fine_tuned(
    pruned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    prune_run(load_run(pruned.parent / "run"), REMOVED, copy)
    further(copy, "training.max_steps=9")
    assert "from step 6" in capsys.readouterr().err
    told = events(copy, "validation")
    assert [event["step"] for event in told] == [6, 9] and told[0]["best"]
    assert find_checkpoint(copy, "last").step == 9
    assert read_environment(copy)["pruned_from"]["step"] == 6
    tuned = further(pruned, f"fine_tune.run={pruned}", f"run_dir={tmp_path / 'tuned'}", "training.max_steps=1")
    assert find_checkpoint(tuned).step == 1
    assert len(load_run(tuned).config.model.heads.removed) == 2  # type: ignore[union-attr]


def test_an_average_becomes_an_average(folder: Path, tmp_path: Path) -> None:
    run = folder / "run"
    take_average(run, average_checkpoints(run, [3, 6]), [3, 6])
    try:
        prune_run(load_run(run), REMOVED, tmp_path / "new")
    finally:
        (run / "checkpoints" / "averaged").unlink()
    assert find_checkpoint(tmp_path / "new").averaged
    weights, _ = load_weights(tmp_path / "new")
    assert weights["projection.weight"] is weights["decoder.embedding.embedding.weight"]
    with pytest.raises(NmtError) as caught:
        further(tmp_path / "new", "training.max_steps=9")
    assert "fine_tune.run" in str(caught.value)


def measures(values: dict[str, float]) -> list[HeadMeasures]:
    found = []
    for name, value in values.items():
        key, layer, head = name.split(".")
        found.append(HeadMeasures(Head(Place(key, int(layer)), int(head)), 0, 0, 0, value))  # type: ignore[arg-type]
    return found


def test_the_least_important_heads_are_chosen_but_none_that_is_the_last() -> None:
    model = TransformerConfig(**TRANSFORMER, normaliser="softmax", decoder_self=["ssru", "softmax"])
    measured = measures(
        {"encoder_self.0.0": 0.1, "encoder_self.0.1": 0.2, "decoder_cross.1.0": 0.9, "decoder_cross.1.1": 0.3}
    )
    assert [str(head) for head in least_important(measured, 2, model)] == ["encoder_self.0.0", "decoder_cross.1.1"]
    with pytest.raises(NmtError) as caught:
        least_important(measured, 3, model)
    assert str(caught.value) == "at most 2 of the 4 heads can be removed, because each attention keeps one"
    entmax = TransformerConfig(**TRANSFORMER, normaliser="entmax")
    with pytest.raises(NmtError) as caught:
        least_important(measured, 1, entmax)
    assert str(caught.value).startswith("at most 0 of the 4 heads can be removed: model.normaliser=entmax")


def call(folder: Path, *options: Any) -> int:
    files = [
        f"--{side}={folder / 'text' / f'val.{language}'}" for side, language in (("source", "aa"), ("target", "bb"))
    ]
    return main([str(folder / "run"), *files, "--device", "cpu", *map(str, options)])


def test_the_command_removes_what_the_table_marks(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    assert call(folder, "--prune", 2, "--json", "-o", new) == 0
    output = capsys.readouterr()
    entries = json.loads(output.out)
    removed = [entry["head"] for entry in entries if entry["removed"]]
    assert load_run(new).config.model.heads.removed == removed  # type: ignore[union-attr]
    assert len(removed) == 2 and "2 of 6 heads removed" in output.err
    assert call(folder, "--prune", 2, "-o", new) == 1
    assert "exists already" in capsys.readouterr().err
    assert call(folder, "--prune", 2) == 2
    assert "name its folder" in capsys.readouterr().err
    assert call(folder, "--prune", 9, "-o", tmp_path / "none") == 1
    assert "at most 3 of the 6 heads can be removed" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
