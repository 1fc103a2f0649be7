"""A small corpus, a trained run with all that commands add to it, and the right answers of every command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from nmt.resources import embedded_corpus
from tests.torture.calls import Call, Outcome, run

PAIRS = {"train": 400, "dev": 20, "test": 20}
SETTINGS = (
    "model=transformer_tiny", "model.model_dim=32", "model.ffn_dim=64", "model.num_heads=2", "model.encoder_layers=1",
    "model.decoder_layers=2", "model.dropout=0.1", "tokenizer.vocab_size=300", "training.tokens_per_update=600",
    "training.log_every=2", "training.schedule.warmup_steps=5", "training.learning_rate=5e-3",
    "training.max_minutes=null", "training.max_steps=48", "training.validate_every=12", "training.checkpoint_every=12",
    "training.keep_last=3", "training.keep_best=3", "training.validation_beam_size=1", "search.beam_size=2",
    "search.max_length_ratio=1",
)  # fmt: skip


class Workplace(NamedTuple):
    """A folder in which every command has been run once without a disturbance."""

    folder: Path

    @property
    def corpus(self) -> Path:
        """The text: {train,dev,test}.{de,en}, test.align."""
        return self.folder / "corpus"

    @property
    def cache(self) -> Path:
        """The folder of prepared data."""
        return self.folder / "prepared"

    @property
    def run(self) -> Path:
        """The trained run, with an average, an export, a shortlist and an evaluation."""
        return self.folder / "run"

    @property
    def lines(self) -> str:
        """The text to translate."""
        return (self.corpus / "test.de").read_text("utf-8")

    def training(self, run_dir: Path, *more: str, cache: Path | None = None) -> list[str]:
        """Return the arguments that train the run again."""
        places = (f"data.path={self.corpus}", f"data.cache={cache or self.cache}", f"run_dir={run_dir}")
        return ["embedded", *places, *SETTINGS, *more]


def build(folder: Path) -> Workplace:
    """Run every command once in an empty folder; any failure is an AssertionError."""
    place = Workplace(folder)
    place.corpus.mkdir(parents=True)
    for split, count in PAIRS.items():
        for language in ("de", "en"):
            _first_lines(embedded_corpus() / f"{split}.{language}", place.corpus / f"{split}.{language}", count)
    _first_lines(embedded_corpus() / "test.align", place.corpus / "test.align", PAIRS["test"])
    good("train", *place.training(place.run))
    good("shortlist", str(place.run))
    good("export", str(place.run))
    good("evaluate", str(place.run))
    return place


def good(command: str, *arguments: str, stdin: str = "") -> Outcome:
    """Run a command that has to succeed."""
    outcome = run(Call(command, arguments, stdin), limit=300)
    assert outcome.status == 0, f"nmt-{command} {arguments}: {outcome}"
    return outcome


def weights_of(run_dir: Path) -> dict[str, bytes]:
    """Return the weights of a run's last checkpoint, by the name of its folder."""
    last = (run_dir / "checkpoints" / "last").read_text("utf-8").strip()
    return {last: (run_dir / "checkpoints" / last / "model.safetensors").read_bytes()}


def contents(cache: Path) -> dict[str, bytes]:
    """Return the content of each file of prepared data but its report, which tells how long the work took."""
    files = (path for path in cache.rglob("*") if path.is_file() and path.name != "report.json")
    return {str(path.relative_to(cache)): path.read_bytes() for path in files}


def scores_of(report: Path) -> Sequence[object]:
    """Return the scores of a comparison report."""
    return [system["scores"] for system in json.loads((report / "results.json").read_text("utf-8"))["systems"]]


def leftovers(folder: Path) -> list[str]:
    """Return what an interrupted command left behind and the next one should have removed."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.endswith((".partial", ".lock"))]


def _first_lines(source: Path, target: Path, count: int) -> None:
    with source.open(encoding="utf-8") as lines:
        target.write_text("".join(islice(lines, count)), encoding="utf-8")


def fresh(folder: Path) -> Path:
    """Return an empty folder in the place of whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
