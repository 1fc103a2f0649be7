"""Test scripts/measure_preparation.py: the text that it makes up, the memory that it counts, and its figures."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import measure_preparation as script
from benchmarks import watched

TEXT = [("ein Hund läuft", "a dog runs"), ("zwei Katzen schlafen hier", "two cats sleep here"), ("ja", "yes")]


def test_repeated_text_has_no_duplicates_and_is_the_same_each_time() -> None:
    pairs = list(islice(script.perturbed(lambda: iter(TEXT)), 600))
    assert pairs[:3] == TEXT
    assert len(set(pairs)) == 600
    assert sorted(pairs[3][0].split()) == ["1", "Hund", "ein", "läuft"]
    assert pairs == list(islice(script.perturbed(lambda: iter(TEXT)), 600))


def test_memory_includes_that_of_child_processes() -> None:
    child = "data = bytes(range(256)) * (1 << 18); print('ready', flush=True); input()"  # 64 MiB
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", parent], **pipes) as process:  # type: ignore[call-overload]
        process.stdout.readline()
        pids = watched.tree(process.pid)
        assert len(pids) == 2
        assert sum(map(watched.proportional_bytes, pids)) > 64 << 20 > watched.proportional_bytes(process.pid)
        process.stdin.write(b"\n")
        process.stdin.close()
    assert watched.tree(process.pid) == []


@pytest.mark.slow
def test_the_script_writes_its_figures_and_keeps_other_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    for side, language in enumerate(("de", "en")):
        for name in ("train", "val"):
            (folder / f"{name}.{language}").write_text("".join(f"{pair[side]}\n" for pair in TEXT), "utf-8")
    monkeypatch.setattr(script.data_and_scale, "RESULTS", tmp_path / "figures.json")
    monkeypatch.setattr(
        watched, "LOOKS", 0.05
    )  # seconds between two measurements; 400 pairs are prepared in little more than one default interval
    monkeypatch.setattr(script, "SMALL", [*script.SMALL, "tokenizer.vocab_size=60"])
    (tmp_path / "figures.json").write_text('{"scaling": 1}', "utf-8")
    script.main(script.parse([str(folder), "de", "en", "400", "--work", str(tmp_path)]))
    figures = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert figures["scaling"] == 1
    found = figures["preparation"]
    stores = {found[name]["fingerprint"] for name in ("one_process", "two_workers", "killed_and_rerun")}
    assert len(stores) == 1
    assert min(found["first_update"]["peak_mib"], found["one_process"]["peak_mib"]) > 30
    assert "All stores have the same fingerprint." in (tmp_path / "figures.md").read_text("utf-8")
