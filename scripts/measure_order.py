"""Measure time and memory of computing the order of an epoch, which every process of a training does itself.

usage: python scripts/measure_order.py STORE [PAIRS] [TOKENS_PER_UPDATE]

STORE is a prepared store (data.cache/KEY/train). Its sentence lengths are repeated up to PAIRS (default: 100,000,000).
Updates have TOKENS_PER_UPDATE tokens (default: 64,000), with lengths rounded up to multiples of 8 as on a GPU. Writes
the entry "order" of docs/results/data_and_scale.json and its part of the page next to it.
"""

from __future__ import annotations

import sys
import time
from typing import Any, cast

import numpy as np
import torch
from benchmarks import data_and_scale
from benchmarks.memory import peak_memory_mib

from nmt.data.batching import Updates
from nmt.data.store import Store
from nmt.device import describe_hardware
from nmt.errors import NmtError


class Repeated:
    """The lengths of a store, repeated up to `pairs`. An order depends on nothing else."""

    def __init__(self, store: Store, pairs: int) -> None:
        self.source_lengths, self.target_lengths = (
            np.resize(lengths, pairs) for lengths in (store.source_lengths, store.target_lengths)
        )

    def __len__(self) -> int:
        return len(self.source_lengths)


def main(folder: str, pairs: int = 100_000_000, tokens_per_update: int = 64_000) -> None:
    """Measure and write the results."""
    updates = Updates(cast(Store, Repeated(Store(folder), pairs)), tokens_per_update, multiple=8)
    lengths = round(peak_memory_mib())
    started = time.perf_counter()
    count = len(updates.epoch(0))
    entry: dict[str, Any] = {
        "command": f"python scripts/measure_order.py STORE {pairs} {tokens_per_update}",
        "hardware": describe_hardware(torch.device("cpu")),
        "pairs": pairs,
        "updates": count,
        "seconds": round(time.perf_counter() - started, 1),
        "peak_mib": round(peak_memory_mib()),
        "lengths_mib": lengths,
    }
    print(entry)
    data_and_scale.write(data_and_scale.RESULTS, "measure_order.py", "order", entry, part)


def part(entry: dict[str, Any]) -> list[str]:
    """Return the results as a part of the page."""
    return [
        f"## The order of an epoch of {entry['pairs']:,} pairs",
        "",
        f"How long does it take to shuffle a large corpus? {entry['updates']:,} updates are put in order in",
        f"{entry['seconds']} seconds. Memory rises from {entry['lengths_mib']:,} to at most {entry['peak_mib']:,} MiB.",
        f"Measured by `{entry['command']}` on {entry['hardware']}.",
        "",
    ]


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4) or not all(word.isdigit() for word in sys.argv[2:]):
        raise SystemExit(__doc__)
    try:
        main(sys.argv[1], *map(int, sys.argv[2:]))
    except NmtError as error:
        sys.exit(f"measure_order.py: {error}")
