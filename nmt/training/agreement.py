"""Check that all processes of a training were started with the same configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch

import nmt
from nmt.config.load import config_to_flat
from nmt.config.schema import Config
from nmt.device import choose_device
from nmt.errors import NmtError
from nmt.training.distributed import World

# Keys that may differ between processes: folders on their machines, and the number of workers and threads.
MAY_DIFFER = ("run_dir", "data.cache", "data.workers", "training.threads", "training.workers")
_NAMED = 5  # maximum number of differences in an error message


def check_agreement(config: Config, world: World) -> None:
    """Raise NmtError in every process if their configurations, kinds of device, or versions differ.

    The result of training depends on all of these, so a mixture would train something undefined.
    """
    own = {key: value for key, value in config_to_flat(config).items() if key not in MAY_DIFFER}
    own["training.device"] = choose_device(config.training.device).type  # auto may choose different kinds of device
    own |= {"the version of nmt": nmt.__version__, "the version of PyTorch": torch.__version__}
    if different := describe_differences(world.gather(own)):
        raise NmtError(
            f"the processes of this training were not started alike ({different}): start all of them with the same "
            "configuration, and with the same versions of nmt and PyTorch"
        )


def describe_differences(of_ranks: Sequence[Mapping[str, Any]]) -> str:
    """Describe the keys whose values differ between ranks, with each value and its ranks; empty if none differ."""
    found = []
    for key in sorted({key for own in of_ranks for key in own}):
        ranks: dict[str, list[int]] = {}
        for rank, own in enumerate(of_ranks):
            ranks.setdefault(str(own.get(key, "(not set)")), []).append(rank)
        if len(ranks) > 1:
            found.append(f"{key} is " + ", ".join(f"{value} on {_name(those)}" for value, those in ranks.items()))
    more = len(found) - _NAMED
    return "; ".join(found[:_NAMED]) + (f"; and {more} more" if more > 0 else "")


def _name(ranks: Sequence[int]) -> str:
    """Return a readable list of ranks, such as "rank 1" or "ranks 0, 2-7"."""
    # consecutive ranks have the same difference between rank and position in the list
    spans = [[rank for _, rank in span] for _, span in groupby(enumerate(ranks), lambda each: each[1] - each[0])]
    shown = [f"{span[0]}-{span[-1]}" if len(span) > 1 else f"{span[0]}" for span in spans]
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(shown)}"
