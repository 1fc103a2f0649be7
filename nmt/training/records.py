"""Write the records of a run, and decide from them whether to start it, resume it or refuse it.

The records are config.yaml, environment.json and tokenizer/ in the run directory. They say with which configuration,
data and vocabulary its checkpoints were trained.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

import nmt
from nmt.config.load import config_to_flat, read_to_continue, save_config
from nmt.config.schema import Config
from nmt.data.prepare import Prepared
from nmt.device import describe_hardware
from nmt.errors import NmtError
from nmt.files import kept_if_filled, locked
from nmt.models.seq2seq import Seq2Seq
from nmt.resources import PACKAGE
from nmt.runs.checkpoints import CheckpointInfo, has_checkpoint, refuse_strangers
from nmt.runs.environment import ENVIRONMENT, read_environment, write_environment
from nmt.training import auto
from nmt.training.checkpoint import Newest, load_newest
from nmt.training.monitor import tells_of_checkpoints
from nmt.training.validation_set import length_ratio

# Keys that may change when a run is resumed: limits, logging, the checkpoints to keep, and the hardware to use.
_MAY_CHANGE = {"run_dir", "data.workers"} | {
    f"training.{key}"
    for key in ("max_steps", "max_epochs", "max_minutes", "patience", "log_every", "keep_best", "keep_last", "average",
                "max_rollbacks", "rollback_factor", "device", "threads", "workers")
}  # fmt: skip


@contextmanager
def own_directory(run_dir: Path) -> Iterator[Callable[[], None]]:
    """Lock a run directory, creating it if needed; raise NmtError if another process is training or averaging in it.

    Yields a function to call before each write: it raises NmtError if the directory has been moved, deleted or replaced
    since, because the write would then make half a run in its old place. If the block fails and a newly created
    directory is still empty, the directory is removed.
    """
    refusal = f"another process is training in {run_dir}: wait for it, or choose run_dir=OTHER"
    with kept_if_filled(run_dir), locked(run_dir / ".lock", refusal) as is_still_there:

        def check() -> None:
            if not is_still_there():
                raise NmtError(
                    f"{run_dir} was moved, deleted or replaced meanwhile, so nothing more is written there: if it was "
                    "moved, run the same command with its new place, such as run_dir=NEW/PLACE for nmt-train"
                )

        yield check


def begun(run_dir: Path, config: Config, say: Callable[[str], None]) -> tuple[Config | None, Newest | None]:
    """Return the configuration of a run to resume, with its numbers in place of each `auto`, and its last checkpoint.

    Both are None if there is no checkpoint yet: a run that ended before its first checkpoint starts again, and may have
    another configuration. Raises NmtError if the run was trained with another configuration, or if parts of the run
    directory are missing, so that training never silently starts again where there has been training before.
    """
    refuse_strangers(run_dir)
    if not has_checkpoint(run_dir):
        if tells_of_checkpoints(run_dir):
            raise NmtError(
                f"{run_dir}/metrics.jsonl is from a training whose checkpoints are missing: copy them there, choose "
                "another folder with run_dir=OTHER, or delete metrics.jsonl to start from scratch here"
            )
        return None, None
    if missing := [name for name in ("config.yaml", "environment.json", "tokenizer") if not (run_dir / name).exists()]:
        raise NmtError(
            f"{run_dir} has checkpoints but no {' and no '.join(missing)}, so it is unknown whether this is the same "
            "run: copy what is missing there as well, or choose another folder with run_dir=OTHER"
        )
    return _continued(run_dir, config), load_newest(run_dir, say)


def write_records(
    config: Config,
    run_dir: Path,
    prepared: Prepared,
    model: Seq2Seq,
    device: torch.device,
    base: CheckpointInfo | None,
    processes: int,
) -> None:
    """Write config.yaml, the tokenizer and environment.json; raise NmtError if a resumed run's data have changed."""
    environment = {
        "nmt": nmt.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "hardware": describe_hardware(device),
        "processes": processes,
        "cpu_threads": torch.get_num_threads(),  # per process
        "device": device.type,
        "git_commit": _git_commit(),
        "data": prepared.fingerprints,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "length_ratio": length_ratio(prepared.train, config.search.max_length_offset),  # used by nmt-average
    }
    known = (run_dir / ENVIRONMENT).exists() and has_checkpoint(run_dir)
    before = read_environment(run_dir) if known else environment
    if before.get("data") != environment["data"]:
        raise NmtError(
            f"the data of {run_dir} have changed since its training began: restore them, or choose another folder "
            "with run_dir=OTHER"
        )
    environment |= {
        key: before[key] for key in ("fine_tuned_from", "pruned_from", "tokens_per_device") if key in before
    }
    if base is not None:
        environment["fine_tuned_from"] = {"run": config.fine_tune.run, "checkpoint": base.name, "step": base.step}
    write_environment(run_dir, environment)
    prepared.tokenizer.save(run_dir / "tokenizer")
    save_config(config, run_dir / "config.yaml")


def _continued(run_dir: Path, config: Config) -> Config:
    """Return the configuration with the run's numbers in place of each `auto`.

    Raises NmtError if it differs from the configuration of the run in a key that may not change (see `_MAY_CHANGE`).
    """
    saved, config = read_to_continue(run_dir / "config.yaml", config)
    config = auto.adopt(config, saved)
    before, now = (config_to_flat(each) for each in (saved, config))
    may_change = set(_MAY_CHANGE)
    schedule = config.training.schedule
    if schedule.name in ("linear", "cosine") and schedule.horizon is None:
        may_change.remove("training.max_steps")  # here max_steps is also the schedule's horizon
    missing = "(not set)"
    different = [
        f"{key} is {now.get(key, missing)}, was {before.get(key, missing)}"
        for key in sorted(before.keys() | now.keys())
        if key not in may_change and before.get(key, missing) != now.get(key, missing)
    ]
    if different:
        raise NmtError(
            f"{run_dir} holds a run with another configuration ({'; '.join(different)}): "
            "choose another folder with run_dir=OTHER, or use the configuration that the run was started with"
        )
    return config


def _git_commit() -> str | None:
    """Return the git commit of the checkout that the package runs from, or None for an installed package."""
    git = partial(subprocess.run, cwd=PACKAGE.parent, capture_output=True, text=True, check=True)
    try:
        if Path(git(["git", "rev-parse", "--show-toplevel"]).stdout.strip()) != PACKAGE.parent:
            return None
        return str(git(["git", "rev-parse", "HEAD"]).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        return None
