"""Test scripts/speedrun.py: the boards, what is a record on them, and a whole measurement of a tiny preset."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import speedrun as script

from nmt.resources import embedded_corpus
from tests.forked import forked


def record(preset: str, direction: str, minutes: int, *scores: float) -> dict[str, Any]:
    runs = [
        {
            "seed": seed,
            "bleu": score,
            "signature": "S",
            "updates": 1000,
            "minutes": minutes - 0.5,
            "parameters": 12345,
            "validation_bleu": 41.0,
            "environment": {"hardware": "a processor"},
        }
        for seed, score in enumerate(scores, start=1)
    ]
    why = "It is smaller than all others and so it has time for more updates, which is what counts in twenty minutes."
    return {
        "preset": preset,
        "direction": direction,
        "minutes": minutes,
        "date": "2030-01-02",
        "why": why,
        "runs": runs,
    }


def test_only_what_is_better_than_all_before_is_a_record() -> None:
    first = record("a", "de-en", 20, 40.0, 41.0, 42.0)
    records = [first, record("b", "de-en", 20, 40.5, 40.6, 40.7), record("c", "de-en", 60, 39.0)]
    records = script.add(records, record("e", "de-en", 20, 43.0, 44.0))  # two seeds are no record
    records = script.add(records, record("d", "de-en", 20, 41.5, 41.5, 41.5))
    lines = script.page(records)
    rows = [line for line in lines if line.startswith("| `")]
    assert rows[0] == (
        "| `a` | 2030-01-02 | **41.00** | 1.00 | 40.00, 41.00, 42.00 | 41.00 | 19.5 | 1,000 | 12,345 | a processor |"
    )
    assert [row.split(" | ")[2] for row in rows] == ["**41.00**", "40.60", "43.50", "**41.50**", "39.00"]
    assert lines.index("## German to English, 60 minutes") < lines.index(rows[4])
    assert all(len(line) <= 100 for line in lines[lines.index("## Why") :])
    assert sum(line.startswith("- `") for line in lines) == 5


def test_more_seeds_of_a_preset_join_its_row_where_it_is() -> None:
    records = [record("a", "de-en", 20, 40.0), record("a", "en-de", 20, 38.0), record("a", "de-en", 60, 42.0)]
    records = script.add(records, record("a", "de-en", 20, 39.5, 41.0) | {"date": "2031-01-02"})
    left = [(each["direction"], each["minutes"], [run["bleu"] for run in each["runs"]]) for each in records]
    assert left == [("de-en", 20, [39.5, 41.0]), ("en-de", 20, [38.0]), ("de-en", 60, [42.0])]
    assert records[0]["date"] == "2030-01-02"


def test_a_preset_is_trained_scored_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, presets, results = (tmp_path / name for name in ("text", "configs", "results"))
    for folder in (text, presets, results):
        folder.mkdir()
    for name, part in {"train": "train", "val": "dev", script.TEST: "test"}.items():
        for language in ("de", "en"):
            lines = (embedded_corpus() / f"{part}.{language}").read_text("utf-8").splitlines()[:200]
            (text / f"{name}.{language}").write_text("\n".join(lines) + "\n", "utf-8")
    settings = {
        "defaults": [
            {"model": "luong"},
            {"data": "multi30k_de_en"},
            {"training": "rnn"},
            {"search": "default"},
            "_self_",
        ],
        "model": {"embedding_dim": 16, "hidden_dim": 16},
        "tokenizer": {"vocab_size": 300},
        "data": {"cache": "cache"},
        "training": {"max_minutes": 20, "max_steps": 4, "tokens_per_update": 300, "validate_every": 2},
    }
    path = presets / "small.yaml"
    path.write_text(f"# Small,\n# and quick.\n{yaml.safe_dump(settings)}", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(script, "RESULTS", results)
    monkeypatch.setattr(sys, "argv", ["speedrun.py", str(text), str(path), "en-de", "--seeds", "5,6"])

    def command(name: str, *arguments: object) -> None:
        assert forked(name, arguments, first=partial(os.chdir, tmp_path)).status == 0

    monkeypatch.setattr(script, "command", command)
    script.main()
    (found,) = json.loads((results / "speedrun.json").read_text("utf-8"))["records"]
    assert (found["direction"], found["minutes"], found["why"]) == ("en-de", 20, "Small, and quick.")
    assert [(run["seed"], run["updates"]) for run in found["runs"]] == [(5, 4), (6, 4)]
    assert str(tmp_path) not in json.dumps(found)
    page = (results / "speedrun.md").read_text("utf-8")
    assert "| `small` |" in page
    script.main()
    assert (results / "speedrun.md").read_text("utf-8") == page
    path.write_text(path.read_text("utf-8").replace("max_steps: 4", "max_steps: 5"), "utf-8")
    refusals = {"": "the board has small with other settings", "6,6": "--seeds names a seed twice"}
    for seeds, sentence in refusals.items():
        monkeypatch.setattr(sys, "argv", [*sys.argv[:4], *(["--seeds", seeds] if seeds else [])])
        with pytest.raises(SystemExit):
            script.main()
        assert sentence in capsys.readouterr().err
