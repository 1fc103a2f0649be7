"""Average checkpoints after training, and keep the average if it validates better than what the run has."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from nmt.data.prepare import hold_out
from nmt.data.sources.source import Say
from nmt.device import choose_device
from nmt.errors import NmtError
from nmt.runs.checkpoints import find_checkpoint, has_pointer
from nmt.runs.environment import read_environment
from nmt.runs.run import LoadedRun, load_run
from nmt.runs.weights import load_weights
from nmt.training.average import average_checkpoints, delete_average, is_average_of, take_average
from nmt.training.limits import Signals
from nmt.training.monitor import summary
from nmt.training.validation import Validation, Validator


def try_average(
    run_dir: str | os.PathLike[str], steps: list[int], say: Say, check: Callable[[], None], device: str = "auto"
) -> bool:
    """Average the checkpoints of `steps`, and make the average the run's averaged checkpoint if it validates better.

    The average has to rank above the best checkpoint and above the run's existing average, if there is one: the highest
    rank decides what the other commands use from then on. All candidates are validated here, on one device; `say`
    receives the scores of each and the outcome, and `check` is called before something is written (`own_directory`).
    Returns whether the average was taken.
    """
    run = load_run(run_dir, "best" if has_pointer(run_dir, "best") else "last")
    average = average_checkpoints(run_dir, steps)
    candidates = {run.checkpoint.name: run.model.state_dict(), "the average": average}
    if has_pointer(run_dir, "averaged") and not is_average_of(find_checkpoint(run_dir, "averaged"), steps):
        candidates["the average there already"], _ = load_weights(run_dir, "averaged")
    found = _validate(run, candidates, say, device)
    check()
    ours = found.pop("the average")
    rival = max(found, key=lambda name: found[name].rank)  # on a tie the checkpoint, which comes first
    if ours.rank > found[rival].rank:
        take_average(run_dir, average, steps)
        say("the average is better and is taken (--undo takes it back)")
        return True
    say(f"the average is not taken: {rival} is {'as good' if ours.rank == found[rival].rank else 'better'}")
    if rival == run.checkpoint.name and delete_average(run_dir):
        say(f"the run's existing averaged checkpoint is deleted, because it is not better than {rival}")
    return False


def _validate(
    run: LoadedRun, candidates: Mapping[str, Mapping[str, Tensor]], say: Say, device_name: str
) -> dict[str, Validation]:
    """Validate the run's model with each set of weights in `candidates`, in the same way as in training."""
    training, device = run.config.training, choose_device(device_name)
    if training.threads is not None:
        torch.set_num_threads(training.threads)
    tokens = None if training.tokens_per_device == "auto" else training.tokens_per_device
    ratio = read_environment(run.path).get("length_ratio")  # older runs: None
    found = {}
    with TemporaryDirectory() as folder:
        try:
            held_out = hold_out(run.config.data, run.tokenizer, Path(folder), say)
        except NmtError as error:
            raise NmtError(
                f"the validation set of {run.path} cannot be read ({error}): put it back where it was, or use --force "
                "to take the average without validation"
            ) from error
        validator = Validator(run.config, held_out, run.model.to(device), device, tokens, say=say, length_ratio=ratio)
        for name, weights in candidates.items():  # the first are the model's own weights, overwritten by the others
            run.model.load_state_dict(weights)
            found[name] = validator.validate(Signals(), always=True)
            say(f"{name}: {summary(found[name])}")
    return found
