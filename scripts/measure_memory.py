"""Peak resident memory of training a small Transformer on many pairs; of preparing them, see measure_preparation.py.

usage: python scripts/measure_memory.py FOLDER SOURCE_LANGUAGE TARGET_LANGUAGE [PAIRS]

The pairs are those of measure_preparation.py: FOLDER's train files, repeated and perturbed up to PAIRS (default:
1,000,000). They are prepared first. Writes docs/results/memory.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure_preparation import SMALL, write_corpus

from nmt.config.data import DataConfig
from nmt.files import atomic_write

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "memory.json"
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
    with atomic_write(RESULTS) as file:
        file.write(json.dumps({"pairs": pairs, "nmt-train": found}, indent=1) + "\n")


def measure(command: list[str]) -> dict[str, int]:
    """Run a command; its peak resident MiB and its seconds."""
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
