"""The commands as Python functions (`import nmt`), on the same configurations and run directories."""

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
    from nmt.evaluation.sets import EvaluationSet

PathLike = str | os.PathLike[str]


load = Translator.load


def prepare(config: Config | PathLike, overrides: Sequence[str] = (), *, log: Callable[[str], None] = tell) -> Prepared:
    """Prepare the data of a configuration, as nmt-prepare does: clean, train the tokenizer, store the ids.

    `config` is a YAML file or preset, with overrides such as "seed=2", or what `load_config` gave. `log` is given what
    there is to say.
    """
    from nmt.data.corpora import check_test_sets
    from nmt.data.prepare import prepare as prepare_data
    from nmt.training.fine_tune import inherit

    asked, tokenizer = inherit(_config(config, overrides))
    check_test_sets(asked.data)
    return prepare_data(asked, log, tokenizer, live=on_terminal())


def train(config: Config | PathLike, overrides: Sequence[str] = ()) -> Path:
    """Train what a configuration describes, as nmt-train does, and return the run directory.

    `config` is a YAML file or preset, with overrides such as "seed=2", or what `load_config` gave. The same call again
    goes on from the last checkpoint. What there is to say goes to stderr. Ctrl-C, or a notebook's stop button, saves a
    checkpoint and raises KeyboardInterrupt. torch's random numbers and, with training.threads, its threads are those
    of the training afterwards.
    """
    from nmt.training.train import train as train_run

    asked = _config(config, overrides)
    try:
        train_run(asked)
    except SystemExit as stopped:  # the command's way to end at a signal
        if stopped.code != 130:
            raise
        raise KeyboardInterrupt(f"{asked.run_dir}: the same call goes on from the checkpoint") from None
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
    log: Callable[[str], None] = tell,
) -> list[Evaluation]:
    """Translate and score test sets, as nmt-evaluate does, and keep both in RUN_DIR/evaluations/NAME/.

    The sets are those of the run's configuration, or the named ones of them and of sacreBLEU's, or a file of `source`
    lines and one of their references, or several. What is kept there already is used again while nothing has changed.
    """
    from nmt.evaluation.evaluate import Settings
    from nmt.evaluation.evaluate import evaluate as evaluate_run
    from nmt.evaluation.sets import set_from_files
    from nmt.runs.run import load_run

    if (source is None) != (reference is None):
        raise UsageError("source and reference go together")
    if source is not None and test_sets is not None:
        raise UsageError("give either source and reference or the names of test sets")
    sets: str | Sequence[str] | EvaluationSet | None = test_sets
    if source is not None and reference is not None:
        files = [reference] if isinstance(reference, str | os.PathLike) else reference
        sets = set_from_files(Path(source), list(map(Path, files)))
    found = sets_to_evaluate(run_dir, sets, checkpoint, device, log)
    run = load_run(run_dir, checkpoint)
    settings = Settings(beam_size, length_penalty, device)
    return [evaluate_run(run, test_set.tagged(tag), settings, log) for test_set in found]


def sets_to_evaluate(
    run_dir: PathLike,
    wanted: str | Sequence[str] | EvaluationSet | None = None,
    checkpoint: str | int | None = None,
    device: str = "auto",
    log: Callable[[str], None] = tell,
) -> list[EvaluationSet]:
    """Return the sets to evaluate a run on: those of its configuration, those named, or the one that is given.

    No weights are read. Raises NmtError for a run, a checkpoint, a set or a device that is not there.
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
    """The checked configuration, with run_dir."""
    if isinstance(config, str | os.PathLike):
        return load_config(os.fspath(config), [overrides] if isinstance(overrides, str) else overrides)
    if not isinstance(config, Config):
        raise UsageError(f"a configuration is a YAML file, a preset or a Config, not of type {type(config).__name__}")
    if overrides:
        raise UsageError("overrides go with a file or preset: give them to load_config, which gave this configuration")
    if not config.run_dir:
        raise UsageError("this configuration has no run_dir: set it, or let load_config fill it in")
    return config_from_dict(config_to_dict(config))  # it may have been changed since it was checked
