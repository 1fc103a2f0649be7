"""Peak resident memory of preparing a corpus and of training a small Transformer on it, each a process of its own.

usage: python scripts/measure_memory.py FOLDER SOURCE_LANGUAGE TARGET_LANGUAGE [PAIRS]

The pairs of FOLDER's train files are repeated, numbered so that none is a duplicate, up to PAIRS (default: 1,000,000).
Writes docs/results/memory.json.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from itertools import count, islice
from pathlib import Path

from nmt.config.data import DataConfig
from nmt.data.corpus import read_corpus, resolve

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "memory.json"
SMALL = [
    *("model.model_dim=128", "model.ffn_dim=256", "model.encoder_layers=2", "model.decoder_layers=2"),
    *("training.max_minutes=null", "training.max_steps=150", "training.validate_every=150"),
    *("training.validation_sentences=50", "training.tokens_per_update=2048", "tokenizer.vocab_size=8000"),
]


def main(folder: str, source: str, target: str, pairs: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        write_corpus(DataConfig(source_language=source, target_language=target, path=folder), work, pairs)
        languages = [f"data.source_language={source}", f"data.target_language={target}"]
        places = [f"data.path={work}", f"data.cache={work / 'prepared'}", f"run_dir={work / 'run'}"]
        arguments = ["embedded", *places, *languages, *SMALL]
        results: dict[str, object] = {"pairs": pairs}
        for command in ("nmt-prepare", "nmt-train"):
            results[command] = measure([str(Path(sys.executable).with_name(command)), *arguments])
            print(command, results[command])
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def write_corpus(data: DataConfig, work: Path, pairs: int) -> None:
    corpora = resolve(data)
    languages = (data.source_language, data.target_language)

    numbered = (
        (f"{source} {number}", f"{target} {number}")
        for number in count()
        for source, target in read_corpus(corpora.train[0], *languages)
    )
    write_pairs(work / "train", languages, islice(numbered, pairs))
    write_pairs(work / "val", languages, islice(read_corpus(corpora.val[0], *languages), 200))


def write_pairs(prefix: Path, languages: tuple[str, str], pairs: Iterable[tuple[str, str]]) -> None:
    one, other = (prefix.with_suffix(f".{language}") for language in languages)
    with one.open("w", encoding="utf-8") as sources, other.open("w", encoding="utf-8") as targets:
        for source, target in pairs:
            sources.write(source + "\n")
            targets.write(target + "\n")


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
