"""The commands as Python functions (`import nmt`), with the same configurations and run directories."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.config.load import config_from_dict, config_to_dict, load_config
from nmt.config.schema import Config
from nmt.errors import UsageError
from nmt.inference.translator import Translator
from nmt.messages import on_terminal, tell

if TYPE_CHECKING:
    from nmt.data.prepare import Prepared
    from nmt.evaluation.evaluate import Evaluation
    from nmt.evaluation.metrics import Metric
    from nmt.evaluation.sets import EvaluationSet

PathLike = str | os.PathLike[str]


load = Translator.load


def prepare(config: Config | PathLike, overrides: Sequence[str] = (), *, log: Callable[[str], None] = tell) -> Prepared:
    """Prepare the data of a configuration, as nmt-prepare does: clean the text, train the tokenizer, store the ids.

    `config` is a YAML file or the name of a preset, with overrides such as "seed=2", or a Config from `load_config`.
    `log` is called with each message.
    """
    from nmt.data.corpora import check_test_sets
    from nmt.data.prepare import prepare as prepare_data
    from nmt.training.fine_tune import inherit

    asked, tokenizer = inherit(_config(config, overrides))
    check_test_sets(asked.data)
    return prepare_data(asked, log, tokenizer, live=on_terminal())


def train(config: Config | PathLike, overrides: Sequence[str] = ()) -> Path:
    """Train the model that a configuration describes, as nmt-train does, and return the run directory.

    `config` is a YAML file or the name of a preset, with overrides such as "seed=2", or a Config from `load_config`.
    Making the same call again resumes from the last checkpoint. Messages go to stderr. Ctrl-C, or a notebook's stop
    button, saves a checkpoint and raises KeyboardInterrupt. Training changes torch's random state and, if
    training.threads is set, its number of threads; neither is restored.
    """
    from nmt.training.train import train as train_run

    asked = _config(config, overrides)
    try:
        train_run(asked)
    except SystemExit as stopped:  # how the command ends on a signal
        if stopped.code != 130:
            raise
        raise KeyboardInterrupt(f"{asked.run_dir}: make the same call again to resume from the checkpoint") from None
    assert asked.run_dir, "load_config fills it in"
    return Path(asked.run_dir)


def evaluate(
    run_dir: PathLike,
    test_sets: str | Sequence[str] | None = None,
    *,
    source: PathLike | None = None,
    reference: PathLike | Sequence[PathLike] | None = None,
    checkpoint: str | int | None = None,
    beam_size: int | None = None,
    length_penalty: float | None = None,
    tag: str | None = None,
    device: str = "auto",
    metrics: Metric | Sequence[Metric] | None = None,
    log: Callable[[str], None] = tell,
) -> list[Evaluation]:
    """Translate and score test sets, as nmt-evaluate does, and keep the results in RUN_DIR/evaluations/NAME/.

    The sets are all those of the run's configuration, or the ones that `test_sets` names (from the configuration or
    from sacreBLEU), or a file of `source` lines with one or more reference files. `metrics` are those to compute (None:
    BLEU, chrF and TER). Results that are there already are used again if nothing that they depend on has changed.
    """
    from nmt.evaluation.evaluate import Settings
    from nmt.evaluation.evaluate import evaluate as evaluate_run
    from nmt.evaluation.metrics import metrics_in_order
    from nmt.evaluation.sets import set_from_files
    from nmt.runs.run import load_run

    if (source is None) != (reference is None):
        raise UsageError("source and reference have to be given together")
    if source is not None and test_sets is not None:
        raise UsageError("give either source and reference or the names of test sets")
    sets: str | Sequence[str] | EvaluationSet | None = test_sets
    if source is not None and reference is not None:
        files = [reference] if isinstance(reference, str | os.PathLike) else reference
        sets = set_from_files(Path(source), list(map(Path, files)))
    found = sets_to_evaluate(run_dir, sets, checkpoint, device, log)
    settings = Settings(beam_size, length_penalty, device, metrics_in_order(metrics))
    run = load_run(run_dir, checkpoint)
    return [evaluate_run(run, test_set.tagged(tag), settings, log) for test_set in found]


def sets_to_evaluate(
    run_dir: PathLike,
    wanted: str | Sequence[str] | EvaluationSet | None = None,
    checkpoint: str | int | None = None,
    device: str = "auto",
    log: Callable[[str], None] = tell,
) -> list[EvaluationSet]:
    """Return the test sets to evaluate a run on: all those of its configuration, the ones `wanted` names, or `wanted`.

    No weights are read. Raises NmtError if the run, the checkpoint, a test set or the device does not exist.
    """
    from nmt.device import choose_device
    from nmt.evaluation.sets import EvaluationSet, sets_of
    from nmt.runs.run import check_run

    config = check_run(run_dir, checkpoint)
    choose_device(device)
    if isinstance(wanted, EvaluationSet):
        return [wanted]
    return sets_of(config, [wanted] if isinstance(wanted, str) else wanted, log)


def _config(config: Config | PathLike, overrides: Sequence[str]) -> Config:
    """Return the configuration, checked and with its run_dir set."""
    if isinstance(config, str | os.PathLike):
        return load_config(os.fspath(config), [overrides] if isinstance(overrides, str) else overrides)
    if not isinstance(config, Config):
        raise UsageError(
            f"a configuration has to be a YAML file, a preset or a Config, not a value of type {type(config).__name__}"
        )
    if overrides:
        raise UsageError("overrides need a file or preset: give them to load_config when you make this configuration")
    if not config.run_dir:
        raise UsageError("this configuration has no run_dir: set it, or let load_config fill it in")
    return config_from_dict(config_to_dict(config))  # it may have been changed since it was checked
