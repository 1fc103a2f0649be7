"""Helpers that run the installed commands, as a user does, on the real text of the embedded corpus."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from nmt.resources import embedded_corpus

Run = Callable[..., "subprocess.CompletedProcess[str]"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def executable(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def run(name: str, *arguments: object, status: int = 0, **options: object) -> subprocess.CompletedProcess[str]:
    """Run an installed command and check its exit status; no failure may show a traceback."""
    done = subprocess.run(  # type: ignore[call-overload]
        [executable(name), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=240,
        **options,
    )
    assert done.returncode == status, f"{name} {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def copy_lines(source: Path, target: Path, count: int) -> None:
    with source.open(encoding="utf-8") as lines:
        target.write_text("".join(islice(lines, count)), encoding="utf-8")


@pytest.fixture(scope="package")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 600 / 20 / 20 pairs of the embedded corpus for training, validation and testing."""
    folder = tmp_path_factory.mktemp("corpus")
    for split, count in (("train", 600), ("dev", 20), ("test", 20)):
        for language in ("de", "en"):
            copy_lines(embedded_corpus() / f"{split}.{language}", folder / f"{split}.{language}", count)
    copy_lines(embedded_corpus() / "test.align", folder / "test.align", 20)
    return folder


SMALL = ("model.model_dim=32", "model.ffn_dim=64", "model.num_heads=2", "model.encoder_layers=1",
         "model.decoder_layers=1", "tokenizer.vocab_size=300", "training.tokens_per_update=600",
         "training.log_every=2", "training.schedule.warmup_steps=10", "training.learning_rate=5e-3",
         "search.beam_size=2", "search.max_length_ratio=1")  # fmt: skip


def train_arguments(corpus: Path, run_dir: Path, *more: str) -> list[str]:
    """Return the arguments of nmt-train for a small Transformer on the small corpus, with its cache next to the run."""
    return ["embedded", f"data.path={corpus}", f"data.cache={run_dir.parent / 'prepared'}", f"run_dir={run_dir}",
            "training.max_minutes=null", *SMALL, *more]  # fmt: skip
