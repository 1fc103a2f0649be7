"""The data that a run was trained on, for what is made of them afterwards."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from nmt.data.prepare import Prepared, prepare
from nmt.errors import NmtError
from nmt.run import read_run_config
from nmt.training.fine_tune import inherit


def prepared_again(run_dir: Path, made: str, log: Callable[[str], None]) -> Prepared:
    """The data that a run was trained on, prepared again where they are not kept; `made` is what is made of them.

    Raises NmtError for a folder that is no run, and where the data are not there as they were.
    """
    config = dataclasses.replace(read_run_config(run_dir), run_dir=str(run_dir))
    try:
        trained_on = json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError) as error:
        raise NmtError(f"{run_dir} has no environment.json that says what it was trained on: train it first") from error
    try:
        config, tokenizer = inherit(config)
        prepared = prepare(config, log, tokenizer)
    except NmtError as error:
        raise NmtError(f"{run_dir}: its training data, which a {made} is made of, cannot be had: {error}") from error
    if any(prepared.fingerprints[part] != trained_on[part] for part in ("train", "tokenizer")):
        raise NmtError(f"{run_dir}: its training data have changed since its training: restore them, then try again")
    return prepared
