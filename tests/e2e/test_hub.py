"""Tests of presets with Hugging Face data, on local data sets of the same form: nested (WMT14) and flat (Multi30k)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest

from nmt.resources import embedded_corpus
from tests.e2e.conftest import SMALL
from tests.forked import forked

Row = Callable[[str, str], dict[str, Any]]
PRESETS: dict[str, Row] = {
    "wmt14_de_en": lambda de, en: {"translation": {"de": de, "en": en}},
    "multi30k_de_en": lambda de, en: {"en": en, "de": de},
}


@pytest.mark.parametrize(("preset", "direction"), [("wmt14_de_en", ("de", "en")), ("multi30k_de_en", ("en", "de"))])
def test_twenty_updates_of_a_hub_preset(preset: str, direction: tuple[str, str], tmp_path: Path) -> None:
    sides = [(embedded_corpus() / f"train.{language}").read_text("utf-8").splitlines() for language in ("de", "en")]
    rows = [PRESETS[preset](*pair) for pair in zip(*sides, strict=True)]
    parts = {"train": rows[:400], "validation": rows[400:412], "test": rows[412:424]}
    hub = tmp_path / "hub"
    datasets.DatasetDict({name: datasets.Dataset.from_list(part) for name, part in parts.items()}).save_to_disk(hub)
    test_set = {"wmt14_de_en": "newstest2014", "multi30k_de_en": "test_2016_flickr"}[preset]
    config = "de-en" if preset.startswith("wmt14") else "null"
    arguments = [
        preset, f"data.train=[{{hub:{hub},config:{config},split:train}}]", f"data.val.hub={hub}",
        f"data.test.{test_set}.hub={hub}", f"data.source_language={direction[0]}",
        f"data.target_language={direction[1]}", "training.max_steps=20", "training.validate_every=20",
        *SMALL, "tokenizer.vocab_size=400", "run_dir=run",
    ]  # fmt: skip
    there = partial(os.chdir, tmp_path)
    trained = forked("nmt-train", arguments, first=there)
    assert trained.status == 0, trained.err
    events = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "train"]
    assert len(losses) == 10 and losses[-1] < losses[0]
    assert forked("nmt-evaluate", ["run"], first=there).status == 0
    assert (tmp_path / "run" / "evaluations" / test_set / "hypotheses.txt").read_text("utf-8").count("\n") == 12
