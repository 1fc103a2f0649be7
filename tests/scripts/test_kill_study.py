"""Test that a study that is killed at a random moment and resumed ends like an undisturbed one."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tests.study.tiny import write_study

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from kill_study import compare, kill_and_resume


def test_a_random_kill_leaves_no_trace_and_a_changed_figure_is_found(tmp_path: Path) -> None:
    path = write_study(tmp_path, systems={"transformer": []}, ensembles={"both": ["transformer"]})
    command = [sys.executable, "-m", "nmt.cli.study", str(path), "--jobs", "2"]
    seed = random.randrange(10**6)
    done, starts, studies = kill_and_resume(command, tmp_path / "out", 1, random.Random(seed))
    assert done == 1 and starts >= 2, f"with the seed {seed}"
    one, other = tmp_path / "out" / f"killed-{studies}", tmp_path / "out" / "undisturbed"
    assert compare(one, other) == [], f"with the seed {seed}"
    results = one / "results.json"
    results.write_text(results.read_text("utf-8").replace('"updates": 6', '"updates": 5', 1), encoding="utf-8")
    (one / "configs" / "transformer-seed1.yaml").unlink()
    assert compare(one, other) == ["configs/transformer-seed1.yaml", "results.json"]
