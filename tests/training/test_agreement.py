"""The check that all processes were started with the same configuration, except for keys that may differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from nmt.config.load import config_to_flat
from nmt.config.schema import Config
from nmt.errors import NmtError
from nmt.training.agreement import MAY_DIFFER, check_agreement, describe_differences
from nmt.training.distributed import World
from tests.training.tiny import tiny_config


class Two(World):
    """A World of two processes, of which this is the first."""

    def __init__(self, other: Any) -> None:
        self.other = other

    def gather(self, item: Any) -> list[Any]:
        return [item, self.other]


def told(config: Config) -> dict[str, Any]:
    """Return the values that a process with this configuration sends to the others."""
    found: list[dict[str, Any]] = []

    class Listening(World):
        def gather(self, item: Any) -> list[Any]:
            found.append(cast("dict[str, Any]", item))
            return [item]

    check_agreement(config, Listening())
    return found[0]


def test_what_may_differ_is_the_machine_s_own(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"training__threads": 2, "training__workers": 3}
    config, other = tiny_config(tmp_path), tiny_config(tmp_path, "other", **changes)
    other.data.cache, other.data.workers = "elsewhere", 7
    differing = {key for key, value in config_to_flat(other).items() if config_to_flat(config)[key] != value}
    assert differing == set(MAY_DIFFER)
    check_agreement(config, Two(told(other)))


def test_every_other_key_is_compared(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    mine = told(config)
    assert config_to_flat(config).keys() - mine.keys() == set(MAY_DIFFER)
    for key in mine:
        with pytest.raises(NmtError, match=rf"not started alike \({key} is .* on rank 0, other on rank 1\)"):
            check_agreement(config, Two(mine | {key: "other"}))


def test_auto_is_the_device_that_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    cpu = tiny_config(tmp_path)
    check_agreement(tiny_config(tmp_path, training__device="auto"), Two(told(cpu)))
    with pytest.raises(NmtError, match=r"training\.device is cpu on rank 0, cuda on rank 1"):
        check_agreement(cpu, Two(told(cpu) | {"training.device": "cuda"}))


def test_the_versions_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = told(tiny_config(tmp_path))
    monkeypatch.setattr("nmt.__version__", "0.0")
    with pytest.raises(NmtError, match=r"\(the version of nmt is 0\.0 on rank 0, "):
        check_agreement(tiny_config(tmp_path), Two(other))


def test_many_ranks_and_many_keys_stay_one_sentence() -> None:
    ranks = [{"seed": 1, "b": None} for _ in range(12)]
    assert describe_differences(ranks) == ""
    for rank in (0, 5, 6, 9):
        ranks[rank]["seed"] = 2
    del ranks[11]["b"]
    assert describe_differences(ranks) == (
        "b is None on ranks 0-10, (not set) on rank 11; seed is 2 on ranks 0, 5-6, 9, 1 on ranks 1-4, 7-8, 10-11"
    )
    many = [{f"key{number}": number + rank for number in range(8)} for rank in (0, 1)]
    assert describe_differences(many).endswith("key4 is 4 on rank 0, 5 on rank 1; and 3 more")
