"""Measure the peak memory of training a small Transformer on many pairs (for preparing: measure_preparation.py).

usage: python scripts/measure_memory.py FOLDER SOURCE_LANGUAGE TARGET_LANGUAGE [PAIRS]

The pairs are made as in measure_preparation.py: the train files of FOLDER, repeated with small changes up to PAIRS
(default: 1,000,000). They are prepared first. Writes the entry "memory" of docs/results/data_and_scale.json and its
part of the page next to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import data_and_scale
from measure_preparation import SMALL, write_corpus

from nmt.config.data import DataConfig

LONGER = ["training.max_steps=150", "training.validate_every=150", "training.validation_sentences=50"]


def main(folder: str, source: str, target: str, pairs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_corpus(DataConfig(source_language=source, target_language=target, path=folder), work, pairs)
        languages = [f"data.source_language={source}", f"data.target_language={target}"]
        places = [f"data.path={work}", f"data.cache={work / 'prepared'}", f"run_dir={work / 'run'}"]
        arguments = ["embedded", *places, *languages, *SMALL, *LONGER]
        measure([str(Path(sys.executable).with_name("nmt-prepare")), *arguments])
        found = measure([str(Path(sys.executable).with_name("nmt-train")), *arguments])
    print(found)
    command = " ".join(["python scripts/measure_memory.py FOLDER", source, target, str(pairs)])
    entry = {"command": command, "text": Path(folder).name, "pairs": pairs, **found}
    data_and_scale.write(data_and_scale.RESULTS, Path(__file__).name, "memory", entry, part)


def part(entry: dict[str, Any]) -> list[str]:
    """Return the results as a part of the page."""
    return [
        f"## Memory of training on {entry['pairs']:,} pairs",
        "",
        f"How much memory does training take? At most {entry['peak_mib']:,} MiB (peak resident memory of `nmt-train`).",
        f"Measured in {entry['seconds']} seconds: 150 updates of a small Transformer and a validation,",
        f"on text of {entry['text']} that was repeated with small changes. By `{entry['command']}`.",
        "",
    ]


def measure(command: list[str]) -> dict[str, int]:
    """Run a command and return its peak resident memory in MiB and its seconds."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} failed")
    return {"peak_mib": usage.ru_maxrss // 1024, "seconds": round(time.monotonic() - started)}


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        raise SystemExit(__doc__)
    main(*sys.argv[1:4], int(sys.argv[4]) if len(sys.argv) == 5 else 1_000_000)
