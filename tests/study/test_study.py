"""Reading study files: wrong keys and values are refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nmt.errors import ConfigError
from nmt.study.study import read_study
from tests.study.tiny import write_study

TWO = {"training.learning_rate": [1e-3, 2e-3]}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 1}, "seed is not a key of a study; nearest: seeds"),
        ({"budget": {"update": 1}}, "budget.update is not a key of a study; nearest: budget.updates"),
        ({"match": {"width": {}}}, "match.width is not a key of a study; nearest: match.widths"),
        ({"zebra": 1}, "zebra is not a key of a study: there are base, systems"),
        ({"budget": {}}, "budget needs exactly one of updates, target_tokens and core_minutes"),
        ({"budget": {"updates": 1, "core_minutes": 1}}, "budget needs exactly one of"),
        ({"budget": {"updates": 0}}, "budget.updates=0: expected a whole number from 1 to"),
        ({"baseline": "transformed"}, "baseline: transformed is not one of systems .*; nearest: transformer"),
        ({"seeds": [1, 1]}, "seeds should be different numbers"),
        ({"systems": {"a/b": []}}, "systems.a/b: 'a/b' becomes part of a file name"),
        ({"systems": {"a": ["seed=2"]}}, "systems.a: seed=2 is set by the study's key seeds: leave it out"),
        ({"overrides": ["training.max_steps=2"]}, "overrides: training.max_steps=2 is set by the study's key budget"),
        ({"systems": {"a": ["training={max_steps: 5}"]}}, "systems.a: training=.* is set by the study's key budget"),
        ({"systems": {"a": ["seed"]}}, "systems.a: 'seed' is not an override"),
        ({"systems": {"a": ["model.ffn_dim=8,16"]}}, "systems.a: model.ffn_dim=8,16 names several values"),
        (
            {"ensembles": {"both": ["transformer", "smal"]}},
            "ensembles.both: smal is not one of systems .*nearest: smaller",
        ),
        ({"ensembles": {"smaller": ["transformer"]}}, "ensembles.smaller: systems has the same name"),
        ({"ensembles": {"both": []}}, "ensembles.both names no system"),
        ({"ensembles": {"both": ["smaller", "smaller"]}}, "ensembles.both names a system twice"),
        (
            {"ensembles": {"both": ["smaller"]}, "seeds": [1]},
            "ensembles.both names one system, .* but there is one seed",
        ),
        ({"metric": "chrf", "metrics": ["bleu"]}, "metrics lacks chrf, which the verdicts are about: add it"),
        ({"metrics": ["bleu", "rouge"]}, r"metrics\[1\]=rouge: expected one of bleu, chrf, ter"),
        ({"gold": {"tost": "x"}, "test_sets": ["test"]}, "gold.tost: test_sets does not name it; nearest: test"),
        ({"match": {"widths": {"smal": []}}}, "match.widths: smal is not one of systems"),
        ({"match": {"widths": {"smaller": []}}}, "match.widths.smaller names no key"),
        ({"metrics": ["bleu", "bleu"]}, "metrics names a score twice"),
        ({"tuning": {"values": {"training.learning_rate": [0.1, 0.1]}}}, "training.learning_rate names a value twice"),
        ({"tuning": {"values": {"tokenizer.vocab_size": [60, 80]}}}, "losses per token cannot be compared: set by: bl"),
        ({"tuning": {"systems": {"smaller": TWO}}}, "at least two values for each system, and tries 0 for transformer"),
        (
            {"tuning": {"values": {"training.label_smoothing": [0, 0.1, 0.2]}, "systems": {"smaller": TWO}}},
            "as many values for each system, and tries 3 for transformer, 2 for smaller",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_studies_are_refused(changes: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=sentence) as raised:
        read_study(str(write_study(tmp_path, **changes)))
    assert str(raised.value).startswith(f"{tmp_path}/study.yaml: ")
    assert "\n" not in str(raised.value)


def test_a_study_is_found_by_name_or_path(tmp_path: Path) -> None:
    assert list(read_study("tiny").systems) == ["fixed_vector", "rnnsearch"]
    with pytest.raises(ConfigError, match="there is no study tine; nearest: tiny; available: "):
        read_study("tine")
    with pytest.raises(ConfigError, match=r"there is no file .*nowhere\.yaml"):
        read_study(str(tmp_path / "nowhere.yaml"))


def test_files_beside_the_study_are_found(tmp_path: Path) -> None:
    (tmp_path / "links").write_text("0-0\n", encoding="utf-8")
    study = read_study(str(write_study(tmp_path, gold={"test": "links"})))
    assert study.base == str(tmp_path / "base.yaml")
    assert study.gold == {"test": str(tmp_path / "links")}
    assert Path(read_study("tiny").gold["test"]).is_file()
