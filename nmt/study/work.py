"""The tasks of the processes of a study: measure a speed, count tokens, train and score a run, score an ensemble."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from nmt.config.load import save_config
from nmt.config.schema import Config
from nmt.data.alignments import read_gold
from nmt.data.mixture import Mixture
from nmt.data.prepare import Prepared, prepare
from nmt.device import choose_device
from nmt.errors import NmtError
from nmt.evaluation.alignment_error import alignment_scores, check_gold
from nmt.evaluation.evaluate import Settings, all_scores, evaluate
from nmt.evaluation.metrics import METRICS, Metric
from nmt.evaluation.sets import EvaluationSet, sets_of
from nmt.files import in_turn
from nmt.inference.translator import Translator
from nmt.inference.word_attention import Selection, word_attention
from nmt.messages import tell
from nmt.report.systems import read_history
from nmt.runs.checkpoints import has_checkpoint
from nmt.runs.environment import read_environment
from nmt.runs.metrics import METRICS as EVENTS
from nmt.runs.metrics import read_events
from nmt.runs.run import LoadedRun, load_run, read_run_config
from nmt.study.cost import Sizes
from nmt.training.fine_tune import inherit
from nmt.training.health import DivergedForGood
from nmt.training.train import train

_LOGGED = 2  # updates between two measurements of speed
_NO_SCORES: dict[str, float | None] = {"loss": None, "bleu": None}
_RECORDED = ("nmt", "torch", "hardware", "cpu_threads", "device", "parameters")  # of environment.json


def vocabulary(config: Config) -> Sizes:
    """Prepare the data of a configuration and return the sizes of its vocabularies."""
    tokenizer = _prepare(config).tokenizer
    return tokenizer.source_size, tokenizer.target_size


def fingerprint(config: Config) -> str:
    """Prepare the data of a configuration and return a hash of its vocabularies."""
    return _prepare(config).tokenizer.fingerprint


def _prepare(config: Config) -> Prepared:
    """Prepare the data of a configuration as a training does, with the tokenizer that it names or inherits."""
    inherited, tokenizer = inherit(config)
    return prepare(inherited, tell, tokenizer)


def tokens_per_update(config: Config) -> dict[str, Any]:
    """Prepare the data of a configuration and return a row with the mean number of target tokens in an update."""
    from nmt.data.batching import Updates

    prepared = _prepare(config)
    size = config.training.tokens_per_update
    assert size != "auto", "nmt.study.plan has checked it"
    epoch = Updates(prepared.train, size, seed=config.seed, mixture=Mixture.of(config.data, prepared.train)).epoch(0)
    tokens = sum(int(prepared.train.target_lengths[rows].sum()) for rows in epoch)
    return {"target_tokens_per_update": tokens / len(epoch)}


def updates_per_minute(config: Config, seconds: float) -> dict[str, Any]:
    """Train a configuration for some seconds in its run_dir, remove that, and return a row with the updates a minute.

    The row also says on which machine. The figure is the median over short stretches, without validations. With one
    thread on a CPU, minutes are those of the process's CPU time, which other processes on the machine hardly change;
    otherwise they are minutes of the clock.
    """
    assert config.run_dir
    folder = Path(config.run_dir)
    shutil.rmtree(folder, ignore_errors=True)  # of a measurement that was interrupted
    never = 10**9
    training = replace(
        config.training, max_steps=never, max_minutes=seconds / 60, validate_every=never, log_every=_LOGGED
    )
    train(replace(config, training=training))
    events, _ = read_events(folder / EVENTS)
    logged = [event.entry for event in events if event.entry["event"] == "train"]
    if len(logged) < 3:
        raise NmtError(f"{seconds:g} seconds are too few to measure a speed: raise budget.measured_seconds")
    environment = read_environment(folder)
    shutil.rmtree(folder, ignore_errors=True)
    of_cpu = training.threads == 1 and choose_device(training.device).type == "cpu"
    speed = median(
        (two["step"] - one["step"]) / (two["cpu_seconds"] / 60 if of_cpu else two["minutes"] - one["minutes"])
        for one, two in pairwise(logged)
    )
    return {"updates_per_minute": speed, "measured_seconds": seconds, "machine": machine_of(environment)}


def machine_of(environment: Mapping[str, Any]) -> str:
    """Return on what a run was trained, in words, from its environment.json."""
    return f"{environment['hardware']}, torch {environment['torch']}, nmt {environment['nmt']}"


def train_and_score(
    config: Config,
    test_sets: Sequence[str] | None,
    gold: Mapping[str, str],
    metrics: Sequence[Metric] = METRICS,
) -> dict[str, Any]:
    """Train a run, or continue it, score it on test sets (None: all of its own), and return its figures.

    The figures hold the translations, so that systems can be compared when the run directory is gone. A run without
    test sets, which tries a value, has a result also if its training diverges: no scores. Raises NmtError if the run
    was started with another number of updates, since what `auto` stands for depends on it.
    """
    assert config.run_dir
    folder = Path(config.run_dir)
    save_config(config, folder.parents[1] / "configs" / f"{folder.name}.yaml")
    with in_turn(folder.with_name(f".{folder.name}.lock")):  # a process of a study that was killed may be saving
        _check_budget(folder, config)
        try:
            train(config)
        except DivergedForGood as error:
            if test_sets != []:
                raise
            return {"updates": config.training.max_steps, "validation": _NO_SCORES, "diverged": str(error), "test": {}}
    history = read_history(folder / EVENTS)
    environment = read_environment(folder)
    if not history.validations:
        raise NmtError(f"{folder} has no validation: lower training.validate_every")
    scores = [entry["bleu"] for entry in history.validations if entry.get("bleu") is not None]
    figures: dict[str, Any] = {
        "updates": history.updates,
        "minutes": history.minutes,
        "validation": {
            "loss": min(entry["loss"] for entry in history.validations),
            "bleu": max(scores, default=None),
        },
        "environment": {name: environment.get(name) for name in _RECORDED},
        "test": {},
    }
    if test_sets is not None and not test_sets:
        return figures
    run = load_run(folder)
    device = config.training.device
    for test_set in sets_of(config, test_sets, tell):
        evaluation = evaluate(run, test_set, Settings(device=device, metrics=metrics), tell)
        figures["test"][test_set.name] = {name: evaluation.record[name] for name in metrics} | {
            "hypotheses": evaluation.hypotheses,
            "aer": _alignment_error([run], test_set, gold.get(test_set.name)),
        }
    return figures


def _check_budget(folder: Path, config: Config) -> None:
    """Raise NmtError if a folder holds a run that was started with another number of updates."""
    if has_checkpoint(folder):
        before, now = read_run_config(folder).training.max_steps, config.training.max_steps
        if before != now:
            raise NmtError(
                f"{folder} was started with {before:,} updates, and now has a budget of {now:,}: delete it, or choose "
                "another folder with -o"
            )


def score_ensemble(
    members: Sequence[Config],
    test_sets: Sequence[str] | None,
    gold: Mapping[str, str],
    metrics: Sequence[Metric] = METRICS,
) -> dict[str, Any]:
    """Score trained runs, which translate together, on test sets (None: all of the first's own); return the figures.

    The search settings are those of the first run.
    """
    folders = [Path(config.run_dir or "") for config in members]
    first = members[0]
    translator = Translator.load(folders, device=first.training.device)
    environments = [read_environment(folder) for folder in folders]
    recorded = {name: environments[0].get(name) for name in _RECORDED}
    figures: dict[str, Any] = {
        "updates": None,
        "validation": None,
        "environment": {**recorded, "parameters": sum(each["parameters"] for each in environments)},
        "test": {},
    }
    for test_set in sets_of(first, test_sets, tell):
        translations = translator.nbest(test_set.sources, tags=test_set.tags)
        hypotheses = [translation.text for translation in translations]
        scores = all_scores(hypotheses, test_set, first.data, metrics)
        figures["test"][test_set.name] = {name: scores[name] for name in metrics} | {
            "hypotheses": hypotheses,
            "aer": _alignment_error([load_run(folder) for folder in folders], test_set, gold.get(test_set.name)),
        }
    return figures


def _alignment_error(runs: Sequence[LoadedRun], test_set: EvaluationSet, gold: str | None) -> float | None:
    """Return the error rate of the alignments by the mean attention of runs.

    It is None without gold links, and if a run has no attention.
    """
    run = runs[0]
    if gold is None or not all(each.model.attends for each in runs):
        return None
    links = read_gold(gold)
    texts = test_set.sources, test_set.references
    tags = test_set.tags or [None] * len(test_set.sources)
    languages = [run.config.data.languages_of(tag) for tag in tags]
    with torch.no_grad():
        found = [
            word_attention(each.model, each.tokenizer, *texts, Selection(None, "mean"), languages, tags)
            for each in runs
        ]
    check_gold(links, [(len(one.source_words), len(one.target_words)) for one in found[0]], gold)
    means = (replace(same[0], weights=np.mean([one.weights for one in same], 0)) for same in zip(*found, strict=True))
    return alignment_scores([mean.links for mean in means], links).aer
