"""environment.json of a run directory: the versions, the hardware and the data that a run was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nmt.files import atomic_write
from nmt.reading import read_object, reading

ENVIRONMENT = "environment.json"
_NUMBER = (int, float)
_KINDS: dict[str, type | tuple[type, ...]] = {  # of the values that nmt reads again
    "hardware": str,
    "device": str,
    "processes": int,
    "cpu_threads": int,
    "parameters": int,
    "length_ratio": _NUMBER,
    "tokens_per_device": int,
    "data": dict,
    "fine_tuned_from": dict,
    "pruned_from": dict,
}


def write_environment(run_dir: Path, environment: Mapping[str, Any]) -> None:
    """Write a run's environment.json."""
    with atomic_write(run_dir / ENVIRONMENT) as file:
        json.dump(environment, file, indent=2)


def read_environment(run_dir: Path) -> dict[str, Any]:
    """Return the content of a run's environment.json, empty if there is none. Raises Damaged."""
    path = run_dir / ENVIRONMENT
    if not path.exists():
        return {}
    environment = read_object(path)
    with reading(path):
        for name, kind in _KINDS.items():
            if environment.get(name) is not None and not isinstance(environment[name], kind):
                raise TypeError(name)
    return environment
