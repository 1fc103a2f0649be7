"""Averages of checkpoints: their arithmetic, and their files in a run directory."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import nn

from nmt.config.load import save_config
from nmt.errors import NmtError
from nmt.inference.engines.native import NativeEngine
from nmt.inference.translator import Translator
from nmt.runs.checkpoints import find_checkpoint, set_pointer
from nmt.runs.run import load_run
from nmt.runs.weights import load_weights
from nmt.training import average
from nmt.training.average import (
    average_checkpoints,
    delete_average,
    kept_steps,
    take_average,
)
from nmt.training.checkpoint import delete_others, load_training_state, save_checkpoint
from tests.models.variants import REPRESENTATIVES
from tests.toy_run import made_up_lines, make_run, toy_config, toy_model, toy_tokenizer


class Mixed(nn.Module):
    """A module with tied matrices, a half-precision weight and a counter."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(7, 4)
        self.projection = nn.Linear(4, 7)
        self.projection.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.randn(50).to(torch.bfloat16))
        self.register_buffer("count", torch.tensor(seed))


STEPS = [3, 20, 100]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    for step in STEPS:
        save_checkpoint(tmp_path, step, Mixed(step), {})
    return tmp_path


def checkpoints(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def write_average(run: Path, steps: list[int]) -> Path:
    return take_average(run, average_checkpoints(run, steps), steps)


def test_an_average_is_the_mean_of_each_weight_in_its_own_type(run: Path) -> None:
    weights = average_checkpoints(run, STEPS)
    models = [Mixed(step).state_dict() for step in STEPS]
    assert weights.keys() == models[0].keys()
    for name in ("embedding.weight", "projection.bias", "scale"):
        mean = np.mean([model[name].double().numpy() for model in models], axis=0)
        assert weights[name].dtype == models[0][name].dtype
        assert torch.equal(weights[name], torch.from_numpy(mean).to(weights[name].dtype)), name
    assert weights["count"] == 100, "the newest has the last word on what has no mean"


def test_order_and_repetition_change_nothing_and_the_mean_of_equals_is_each(run: Path) -> None:
    one, other = average_checkpoints(run, STEPS), average_checkpoints(run, [100, 3, 20, 3])
    assert all(torch.equal(one[name], other[name]) for name in one)
    for step in (4, 5, 6):
        save_checkpoint(run, step, Mixed(100), {})
    same, model = average_checkpoints(run, [4, 5, 6, 100]), Mixed(100).state_dict()
    assert all(torch.equal(same[name], model[name]) for name in model)


def test_tied_weights_stay_tied(run: Path) -> None:
    weights = average_checkpoints(run, STEPS)
    assert weights["projection.weight"] is weights["embedding.weight"]
    path = write_average(run, STEPS)
    with safe_open(path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == {"embedding.weight", "projection.bias", "scale", "count"}
    loaded, _ = load_weights(run, "averaged")
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("projection.bias", lambda model: setattr(model.projection, "bias", nn.Parameter(torch.zeros(8)))),
        ("projection.bias", lambda model: setattr(model.projection, "bias", None)),
        ("projection.weight", lambda model: setattr(model.projection, "weight", nn.Parameter(torch.zeros(7, 4)))),
        ("scale", lambda model: setattr(model, "scale", nn.Parameter(torch.zeros(50)))),
    ],
    ids=["shape", "name", "tie", "type"],
)
def test_checkpoints_of_different_models_are_refused_by_name(run: Path, name: str, spoil: Any) -> None:
    model = Mixed(1)
    spoil(model)
    save_checkpoint(run, 50, model, {})
    with pytest.raises(NmtError, match=rf"steps 50 and 100 belong to different models \({name} differs\)"):
        average_checkpoints(run, [3, 50, 100])


def test_one_checkpoint_is_in_memory_at_a_time(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before: list[weakref.ref[torch.Tensor]] = []

    def load(run_dir: Path, step: int) -> Any:
        assert not any(tensor() is not None for tensor in before)
        weights, info = load_weights(run_dir, step)
        before.append(weakref.ref(weights["embedding.weight"]))
        return weights, info

    monkeypatch.setattr(average, "load_weights", load)
    average_checkpoints(run, STEPS)
    assert len(before) == 3


def test_an_average_has_its_own_pointer_and_training_does_not_resume_from_it(run: Path) -> None:
    path = write_average(run, [20, 3])
    assert path == run / "checkpoints" / "averaged-0000000020"
    assert json.loads((path / "averaged.json").read_text("utf-8")) == {"steps": [3, 20]}
    for info in (find_checkpoint(run), find_checkpoint(run, "averaged")):
        assert (info.name, info.path, info.step, info.averaged) == ("averaged-0000000020", path, 20, True)
    assert find_checkpoint(run, 20).name == "step-0000000020"
    with pytest.raises(NmtError, match=r"averaged-0000000020 is an average.*choose best, last or a step"):
        load_training_state(find_checkpoint(run, "averaged"))


def test_an_average_takes_the_place_of_the_one_before_it(run: Path) -> None:
    write_average(run, [3, 20])
    assert find_checkpoint(run, "averaged").step == 20
    write_average(run, STEPS)
    delete_others(run, [100])
    assert checkpoints(run) == ["averaged", "averaged-0000000100", "last", "step-0000000100"]
    delete_average(run)
    assert checkpoints(run) == ["last", "step-0000000100"]
    delete_average(run)
    assert find_checkpoint(run).step == 100


def test_a_crash_while_an_average_is_replaced_leaves_no_pointer_to_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_average(run, STEPS)

    replace = Path.replace

    def crash(path: Path, target: Path) -> Path:
        if path.is_dir():  # the folder of the average is about to take its place
            raise KeyboardInterrupt
        return replace(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "replace", crash)
        write_average(run, [20, 100])
    assert load_weights(run)[1].name == "step-0000000100"


def test_a_full_disk_is_one_sentence_and_the_average_before_still_loads(run: Path) -> None:
    write_average(run, [3, 20])
    script = """
        import resource, sys
        from nmt.errors import NmtError
        from nmt.training.average import average_checkpoints, take_average
        weights = average_checkpoints(sys.argv[1], [3, 100])
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            take_average(sys.argv[1], weights, [3, 100])
        except NmtError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(run)], capture_output=True, text=True, check=True
    )
    assert "averaged-0000000100 could not be written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert load_weights(run)[1].name == "averaged-0000000020"
    assert [path.name for path in (run / "checkpoints").glob(".*")] == []


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A run that has kept its two best checkpoints (steps 10 and 30) and its last three."""
    config = toy_config("transformer-post")
    config.training.keep_last = 3
    save_config(config, tmp_path / "config.yaml")
    toy_tokenizer().save(tmp_path / "tokenizer")
    for step in (10, 30, 40, 50, 60):
        progress = {"best": [[21.5, 10], [20.0, 30], [19.0, 20]]}
        save_checkpoint(tmp_path, step, toy_model("transformer-post", seed=step), {"progress": progress})
    set_pointer(tmp_path, "best", 10)
    return tmp_path


def test_which_checkpoints_are_averaged(kept: Path) -> None:
    assert kept_steps(kept, "best") == [10, 30], "that of step 20 is there no more"
    assert kept_steps(kept, "last") == [60, 50, 40], "training.keep_last"
    assert kept_steps(kept, "last", 2) == [60, 50]
    with pytest.raises(NmtError, match=r"kept 3 of its last .* average of 4: train with training\.keep_last=4"):
        kept_steps(kept, "last", 4)  # does not count step 30, which is kept only as one of the best
    with pytest.raises(NmtError, match=r"kept 2 of its best .* average of 3: train with training\.keep_best=3"):
        kept_steps(kept, "best", 3)
    delete_others(kept, [10, 60])
    with pytest.raises(NmtError, match=r"kept 1 of its best .*training\.keep_best=2.* average its last ones"):
        kept_steps(kept, "best")
    delete_others(kept, [60])
    with pytest.raises(NmtError, match=r"kept 1 of its last .*training\.keep_last=2.* average its best ones"):
        kept_steps(kept, "last")


def test_translation_takes_the_average_by_default(kept: Path) -> None:
    write_average(kept, [10, 30])
    run, models = load_run(kept), [toy_model("transformer-post", seed=seed) for seed in (10, 30)]
    assert run.checkpoint.name == "averaged-0000000030"
    with torch.no_grad():
        for ours, one, other in zip(*(model.parameters() for model in (run.model, *models)), strict=True):
            torch.testing.assert_close(ours, (one + other) / 2)
    lines = made_up_lines(5, seed=2)
    by_hand = Translator(NativeEngine(run.model), toy_tokenizer(), run.config.search, 24)
    assert Translator.load(kept, device="cpu").translate(lines) == by_hand.translate(lines)
    assert load_run(kept, "best").checkpoint.name == "step-0000000010"


@pytest.mark.parametrize("variant", REPRESENTATIVES)
def test_every_model_loads_its_average(tmp_path: Path, variant: str) -> None:
    run = make_run(tmp_path, variant)
    save_checkpoint(run, 20, toy_model(variant, seed=6), {})
    write_average(run, [12, 20])
    names = dict(toy_model(variant).named_parameters(remove_duplicate=False))
    loaded = dict(load_run(run, "averaged").model.named_parameters(remove_duplicate=False))
    assert loaded.keys() == names.keys()
    others = dict(toy_model(variant, seed=6).named_parameters(remove_duplicate=False))
    for name, weight in loaded.items():
        torch.testing.assert_close(weight, (names[name] + others[name]) / 2, msg=name)
