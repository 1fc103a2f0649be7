"""Whether processes that work together were all started with the same configuration."""

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

# What may differ from process to process: places on a machine of its own, and how many share the work there.
MAY_DIFFER = ("run_dir", "data.cache", "data.workers", "training.threads", "training.workers")
_NAMED = 5  # differences that a sentence names


def check_agreement(config: Config, world: World) -> None:
    """Raise NmtError, in every process, where their configurations, devices or versions differ.

    What they train is a function of all of these, so nothing is sound that comes of a mixture.
    """
    own = {key: value for key, value in config_to_flat(config).items() if key not in MAY_DIFFER}
    own["training.device"] = choose_device(config.training.device).type  # which auto may find differently
    own |= {"the version of nmt": nmt.__version__, "the version of PyTorch": torch.__version__}
    if different := describe_differences(world.gather(own)):
        raise NmtError(
            f"the processes of this training were not started alike ({different}): start all of them with the same "
            "configuration, and with the same versions of nmt and PyTorch"
        )


def describe_differences(of_ranks: Sequence[Mapping[str, Any]]) -> str:
    """Return which keys have different values, which, and on which ranks; nothing where all are the same."""
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
    """Return "rank 1", or "ranks 0, 2-7"."""
    # of consecutive ranks the difference between rank and place is the same
    spans = [[rank for _, rank in span] for _, span in groupby(enumerate(ranks), lambda each: each[1] - each[0])]
    shown = [f"{span[0]}-{span[-1]}" if len(span) > 1 else f"{span[0]}" for span in spans]
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(shown)}"
