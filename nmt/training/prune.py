"""Prune a run: write a new one whose model is without the attention heads that matter least (Michel et al. 2019)."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nmt.config.heads import Head, inseparable
from nmt.config.load import save_config
from nmt.config.models import TransformerConfig
from nmt.config.schema import Config
from nmt.errors import NmtError
from nmt.evaluation.heads import HeadMeasures
from nmt.files import atomic_directory, follow
from nmt.models.attention_heads import without_heads
from nmt.models.build import build_model
from nmt.models.seq2seq import Seq2Seq
from nmt.runs.checkpoints import set_pointer
from nmt.runs.environment import read_environment, write_environment
from nmt.runs.run import DICTIONARY, SHORTLIST, LoadedRun
from nmt.training.average import take_average
from nmt.training.checkpoint import load_training_state, save_checkpoint
from nmt.training.distributed import World
from nmt.training.fine_tune import freeze
from nmt.training.health import Health
from nmt.training.limits import Rank, TrainingProgress
from nmt.training.optim import build_optimizer, states


def least_important(measured: Sequence[HeadMeasures], count: int, model: TransformerConfig) -> list[Head]:
    """Return the heads with the least normalised importance, at least one of each attention excepted.

    Heads that cannot be removed by themselves are left out. Raises NmtError if there are not enough others.
    """
    left = Counter(each.head.place for each in measured)
    reasons = {place: inseparable(model, place) for place in left}
    chosen: list[Head] = []
    for each in sorted(measured, key=lambda each: each.normalised or 0.0):
        place = each.head.place
        if len(chosen) < count and left[place] > 1 and reasons[place] is None:
            chosen.append(each.head)
            left[place] -= 1
    if len(chosen) < count:
        because = next((f": {reason}" for reason in reasons.values() if reason), ", because each attention keeps one")
        raise NmtError(f"at most {len(chosen)} of the {len(measured)} heads can be removed{because}")
    return [each.head for each in measured if each.head in chosen]


def check_new(path: Path) -> None:
    """Raise NmtError if there is something at the path of a new run."""
    place = follow(path)
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise NmtError(f"{path} exists already: name a folder that does not exist yet, or delete it")


def prune_run(run: LoadedRun, removed: Collection[Head], path: Path) -> Seq2Seq:
    """Write the run without these heads to a new run directory, and return its model.

    The new run has one checkpoint, from which training goes on unless it is an average. What depends on how good the
    model was starts anew: ranks of checkpoints, patience, and the level of the loss that counts as diverged.
    """
    check_new(path)
    config = _config(run.config, removed, path)
    weights = without_heads(run.model, run.model.state_dict(), removed)
    model = build_model(config.model, run.tokenizer.source_size, run.tokenizer.target_size)
    model.load_state_dict(weights)
    checkpoint = run.checkpoint
    environment = read_environment(run.path) | {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "pruned_from": {"run": str(run.path), "checkpoint": checkpoint.name, "step": checkpoint.step},
    }
    with atomic_directory(path) as folder:
        save_config(config, folder / "config.yaml")
        run.tokenizer.save(folder / "tokenizer")
        write_environment(folder, environment)
        for name in (SHORTLIST, DICTIONARY):  # they depend on the text and the vocabulary alone
            if (run.path / name).is_file():
                shutil.copyfile(run.path / name, folder / name)
        if checkpoint.averaged:
            take_average(folder, model.state_dict(keep_vars=True), [checkpoint.step])
        else:
            save_checkpoint(folder, checkpoint.step, model, _pruned_state(run, removed))
            set_pointer(folder, "best", checkpoint.step)
    return model


def _config(config: Config, removed: Collection[Head], path: Path) -> Config:
    """Return the configuration of the pruned run. Raises ConfigError if its model cannot be without these heads."""
    assert isinstance(config.model, TransformerConfig), "other models have no heads"
    names = [*config.model.heads.removed, *map(str, removed)]
    heads = replace(config.model.heads, removed=names)
    pruned = replace(config, model=replace(config.model, heads=heads), run_dir=str(path))
    pruned.check()
    return pruned


def _pruned_state(run: LoadedRun, removed: Collection[Head]) -> dict[str, Any]:
    """Return the training state of the run's checkpoint for the model without these heads."""
    state = load_training_state(run.checkpoint)
    model = run.model
    freeze(model, run.config.fine_tune.freeze)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    if "optimizer" in state:
        for groups, kept in states(build_optimizer(run.config.training.optimizer, model), state["optimizer"]):
            order = [names[id(parameter)] for group in groups for parameter in group["params"]]
            moments = {order[number]: values for number, values in kept.items()}
            for key in {key for values in moments.values() for key, value in values.items() if value.ndim}:
                pruned = without_heads(model, {name: values[key] for name, values in moments.items()}, removed)
                for name, values in moments.items():
                    values[key] = pruned[name]
    if state.get("average", {}).get("trained"):
        trained = [names[id(parameter)] for parameter in model.parameters() if parameter.requires_grad]
        weights = dict(zip(trained, state["average"]["trained"], strict=True))
        state["average"] = {"trained": list(without_heads(model, weights, removed).values())}
    if "health" in state:
        state["health"] = Health(torch.device("cpu"), World()).state_dict()
    if "progress" in state:
        state["progress"] = _begun_anew(TrainingProgress.from_state_dict(state["progress"])).state_dict()
    return state


def _begun_anew(progress: TrainingProgress) -> TrainingProgress:
    """Return the progress of the pruned run, whose model has not been validated: any validation ranks above it."""
    best = [(Rank(-math.inf, -math.inf), progress.step)]
    return replace(progress, best=best, validated_step=0, stale=0, ended=False, ran_out=0.0)
