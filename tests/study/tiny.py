"""A complete study that takes seconds: made-up text, tiny models, six updates."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nmt.config.load import save_config
from nmt.study import conduct, report, study
from nmt.study.processes import Carry, default_context, in_processes
from nmt.study.results import Rows
from nmt.training.trainer import Trainer
from tests.toy_run import made_up_lines
from tests.training.tiny import tiny_config

SYSTEMS = {
    "transformer": [],
    "smaller": ["model.ffn_dim=12"],
}


def write_study(folder: Path, **changes: Any) -> Path:
    """Write text, a base configuration and a study of it to `folder`; return the file of the study."""
    config = tiny_config(folder, training__validate_every=6)  # once in a run: each validation draws pictures
    for language in ("aa", "bb"):
        lines = made_up_lines(8, seed=7)
        (folder / "text" / f"test.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    save_config(config, folder / "base.yaml")
    values = {"base": "base.yaml", "systems": SYSTEMS, "seeds": [1, 2], "budget": {"updates": 6}, **changes}
    path = folder / "study.yaml"
    path.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML
    return path


def conducted(path: Path, folder: Path, fork: bool = False, carry: Carry | None = None) -> dict[str, Any]:
    """Conduct a study in `folder` and return the content of study.json."""
    said: list[str] = []
    context = multiprocessing.get_context("fork") if fork else default_context()
    carry = carry or partial(in_processes, context)
    outcome = conduct.Conductor(study.read_study(str(path)), folder, said.append, carry, 2).conduct()
    return {**report.write_report(outcome, folder), "said": said}


def tables(folder: Path) -> str:
    """Return the report, which holds no times."""
    return (folder / "study.md").read_text("utf-8")


def killed(path: Path, folder: Path, moment: str) -> None:
    """Conduct a study in this process until it is killed at a moment."""
    MOMENTS[moment]()
    conducted(path, folder, fork=True)


def _kill_in(owner: Any, name: str, call: int, everything: bool = False) -> None:
    """Kill this process, or with `everything` all processes of the study, in a call of a function, counted from 1."""
    original: Callable[..., Any] = getattr(owner, name)
    calls: list[None] = []

    def kill(*arguments: Any, **named: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            (os.killpg if everything else os.kill)(0 if everything else os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    setattr(owner, name, kill)


MOMENTS: dict[str, Callable[[], None]] = {
    "at the first run": lambda: _kill_in(conduct.Conductor, "_train", 1),
    "in an update, with all processes": lambda: _kill_in(Trainer, "_clip", 3, everything=True),
    "before the first row": lambda: _kill_in(Rows, "add", 1),
    "before the second row": lambda: _kill_in(Rows, "add", 2),
    "before the report": lambda: _kill_in(report, "write_report", 1),
}
