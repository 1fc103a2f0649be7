"""Test configs/example.yaml: it loads as it is and with all commented-out keys set, and it trains."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from nmt.cli import train
from nmt.config.load import load_config
from nmt.config.schema import Config, SearchConfig
from nmt.errors import ConfigError
from nmt.resources import presets
from nmt.runs.run import read_run_config
from tests.docs.workplace import write_my_text, write_presets

EXAMPLE = presets() / "example.yaml"
BY_HAND = re.compile(r"^( *)# ((?: *- | *)[a-z_]+:.*)$", re.M)  # a commented-out key


def as_set_by_hand(folder: Path) -> Config:
    """Load the example with the # before keys removed."""
    path = folder / "by_hand.yaml"
    path.write_text(BY_HAND.sub(r"\1\2", EXAMPLE.read_text("utf-8")), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"tokenizer\.symbols .* tokenizer\.path .* leave one of them out"):
        load_config(str(path))
    return load_config(str(path), ["tokenizer.path=null"])


def test_all_that_can_be_set_by_hand_is_read(tmp_path: Path) -> None:
    plain, by_hand = load_config("example"), as_set_by_hand(tmp_path)
    assert [corpus.prefix for corpus in by_hand.data.train] == ["my_text/train", "my_text/web"]
    assert by_hand.data.train[1].weight == 0.5
    assert by_hand.data.test.keys() == {"test", "news"}
    assert (by_hand.run_dir, by_hand.training.max_minutes, by_hand.training.threads) == ("runs/my", 60, 2)
    assert dataclasses.replace(by_hand.model, dropout=plain.model.dropout) == plain.model, "its sizes are the preset's"
    assert by_hand.search == plain.search == SearchConfig(), "what it says of search is the default"


def test_each_key_has_one_sentence() -> None:
    lines = EXAMPLE.read_text("utf-8").split("_self_\n")[1].splitlines()
    for line in filter(str.strip, lines):
        key, _, sentence = BY_HAND.sub(r"\1\2", line).partition("  # ")
        assert sentence.endswith(".") or (key.endswith(":") and not sentence), line


def test_a_copy_trains_on_the_text_that_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_my_text(tmp_path)
    write_presets(tmp_path)
    shutil.copy(EXAMPLE, "my.yaml")
    second = "data.train=[{prefix: my_text/train}, {prefix: my_text/val, weight: 2}]"
    assert train.main(["my.yaml", second, "training.max_steps=2", "training.device=cpu"]) == 0
    (run,) = Path("runs").iterdir()
    config = read_run_config(run)
    assert [corpus.weight for corpus in config.data.train] == [1, 2]
    assert config.training.max_epochs == 30
    assert (run / "checkpoints" / "best").is_file() or (run / "checkpoints" / "best").is_symlink()
