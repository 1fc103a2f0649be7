"""Tests of nmt-train: its arguments, its output and its exit status. Training itself is tested in tests/training."""

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from nmt.cli.train import main
from nmt.config.load import load_config
from nmt.config.schema import Config
from nmt.errors import NmtError


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """Replace training with a function that records its configurations and fails for seed 13; return the record."""
    configs: list[Config] = []

    def train(config: Config, world: None = None) -> None:
        configs.append(config)
        if config.seed == 13:
            raise NmtError("the loss is not a number")
        if config.seed == 14:
            raise MemoryError
        if config.seed == 15:
            raise AssertionError("a mistake of the program")

    run = types.ModuleType("nmt.training.train")
    run.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nmt.training.train", run)
    monkeypatch.chdir(tmp_path)
    return configs


def test_trains_the_configuration(trained: list[Config], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["multi30k_de_en", "model=rnnsearch", "training.max_minutes=30", "seed=2"]) == 0
    assert trained == [load_config("multi30k_de_en", ["model=rnnsearch", "training.max_minutes=30", "seed=2"])]
    assert capsys.readouterr().out == ""


def test_multirun_trains_each_and_goes_on_after_a_failure(
    trained: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embedded", "--multirun", "seed=1,13,2"]) == 1
    assert [config.seed for config in trained] == [1, 13, 2]
    assert capsys.readouterr().err.splitlines() == [
        "nmt-train: job 1 of 3: runs/embedded-seed=1",
        "nmt-train: job 2 of 3: runs/embedded-seed=13",
        "nmt-train: error: runs/embedded-seed=13: the loss is not a number",
        "nmt-train: job 3 of 3: runs/embedded-seed=2",
    ]


def test_multirun_continues_after_out_of_memory_but_not_after_a_bug(
    trained: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embedded", "--multirun", "seed=14,2"]) == 1
    assert "nmt-train: error: runs/embedded-seed=14: out of memory" in capsys.readouterr().err
    with pytest.raises(AssertionError, match="a mistake"):
        main(["embedded", "--multirun", "seed=15,3"])
    assert [config.seed for config in trained] == [14, 2, 15]


def test_multirun_ends_with_a_ranking_that_names_what_failed(
    trained: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, bleu in ((1, 20.5), (2, 31.25)):
        folder = Path(f"runs/embedded-seed={seed}")
        folder.mkdir(parents=True)
        event = {"event": "validation", "step": 7, "minutes": 1.5, "bleu": bleu, "loss": 2.0, "ranked_by": "bleu"}
        (folder / "metrics.jsonl").write_text(json.dumps(event) + "\n", encoding="utf-8")
    assert main(["embedded", "--multirun", "seed=1,13,2"]) == 1
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["run", "best", "BLEU", "loss", "updates", "minutes", "parameters"]
    assert rows[1:3] == [
        ["1", "seed=2", "31.25", "2.000", "7", "1.5", "-"],
        ["2", "seed=1", "20.50", "2.000", "7", "1.5", "-"],
    ]
    assert rows[3][:3] == ["-", "seed=13", "(failed)"] and len(rows) == 4


@pytest.mark.parametrize(
    ("argv", "status", "sentence"),
    [
        (["embedded", "seed=13"], 1, "nmt-train: error: the loss is not a number"),
        (["embedded", "seed=1,2"], 2, "nmt-train: error: an override names several values: add --multirun"),
        (["embedded", "seed"], 2, "nmt-train: error: 'seed' is not an override"),
        (["embedded", "training.max_step=1"], 1, "nmt-train: error: training.max_step is not a key"),
        (["embedded", "-m", "seed=1,x"], 1, "nmt-train: error: seed=x: expected a whole number"),
        (["nothing"], 1, "nmt-train: error: there is no preset nothing"),
        ([], 2, "nmt-train: error: the following arguments are required: CONFIG.yaml|PRESET"),
    ],
)
def test_refusals(
    argv: list[str], status: int, sentence: str, trained: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == status
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and lines[-1].startswith(sentence)
    assert len(lines) == status and (status == 1 or lines[0].startswith("usage: nmt-train CONFIG.yaml|PRESET"))
    assert [config.seed for config in trained] in ([], [13])


def test_cfg_job_prints_a_configuration_and_trains_nothing(
    trained: list[Config], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["embedded", "model=luong", "--cfg", "job"]) == 0
    out, err = capsys.readouterr()
    (tmp_path / "printed.yaml").write_text(out, encoding="utf-8")
    assert load_config("printed.yaml") == load_config("embedded", ["model=luong"])
    assert err == "" and trained == []


def test_as_a_module() -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "nmt.cli.train", "embedded", "sed=1"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("nmt-train: error: sed is not a key of the configuration; nearest: seed")
    assert done.stderr.count("\n") == 1
