"""Test scripts/ledger.py: our figure of each claim, and whether its order is the published one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmt.study.page import markdown
from nmt.study.study import read_study

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import ledger as script


def claim(results: str, ours: tuple[str, str], published: tuple[float, float], metric: str = "BLEU") -> dict[str, Any]:
    return {
        "mechanism": "new instead of old",
        "paper": "A and B 2020",
        "equation": "eq. 1",
        "published": {"with": published[0], "without": published[1], "data": "news", "metric": metric},
        "ours": {"results": results, "with": ours[0], "without": ours[1]},
        "differs": "everything",
        "account": "it is small",
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = {
        name: {"minutes": 8, "bleu": {"score": score}} for name, score in (("new", 30.0), ("old", 32.5), ("same", 30.4))
    }
    (tmp_path / "mechanisms.json").write_text(json.dumps({**rows, "unfinished": {"minutes": 8}}), "utf-8")
    seeds = {"scores": [20.0] * 3}
    systems = {"old": {"mean": 20.0, "aer": 0.3, **seeds}, "new": {"mean": 20.4, "aer": 0.2, **seeds}}
    systems["equal"] = {"mean": 21.5, "aer": None, **seeds}
    systems["near"] = {"mean": 20.2, "aer": 0.205, **seeds}
    verdicts = [
        {"system": "old", "verdict": "worse"},
        {"system": "equal", "verdict": "no difference found"},
        {"system": "near", "against": "old", "verdict": "better"},
        {"system": "near", "against": "equal", "verdict": "too few seeds"},
    ]
    study = {
        "baseline": "new",
        "conditions": {"budget": {"core_minutes": 8, "measured_seconds": 60}},
        "test_sets": {"test": {"systems": systems, "verdicts": verdicts}},
    }
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "some.json").write_text(json.dumps(study), "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("asked", "gain", "order"),
    [
        (claim("mechanisms", ("new", "old"), (2, 1)), -2.5, "not as published"),
        (claim("mechanisms", ("new", "old"), (1, 2)), -2.5, "as published"),
        (claim("mechanisms", ("new", "same"), (2, 1)), -0.4, "no difference found"),
        (claim("mechanisms", ("new", "unfinished"), (2, 1)), None, "not measured"),
        (claim("other", ("new", "old"), (2, 1)), None, "not measured"),
        (claim("some", ("new", "absent"), (2, 1)), None, "not measured"),
        (claim("some", ("new", "old"), (0.3, 0.5), "AER"), -0.1, "as published"),
        (claim("some", ("new", "equal"), (0.3, 0.5), "AER"), None, "not measured"),
        (claim("some", ("new", "near"), (0.3, 0.5), "AER"), -0.005, "no difference found"),
        (claim("some", ("near", "old"), (2, 1)), 0.2, "as published"),  # compared with each other, not the baseline
        (claim("some", ("near", "equal"), (2, 1)), -1.3, "not measured"),  # no verdict can be given
        (claim("some", ("new", "old"), (2, 1)), 0.4, "as published"),  # the verdict counts, not the size
        (claim("some", ("new", "equal"), (1, 2)), -1.1, "no difference found"),
        (claim("some", ("new", "equal"), (1, 1)), -1.1, "as published"),  # the paper found none, either
        (claim("mechanisms", ("new", "old"), (1, 1)), -2.5, "not as published"),
    ],
)
def test_a_claim_is_compared_with_what_we_measured(
    asked: dict[str, Any], gain: float | None, order: str, results: Path
) -> None:
    found = script.entry(asked, results)
    assert found["order"] == order
    if gain is not None:
        assert found["ours"]["gain"] == pytest.approx(gain)
    page = script.page([found])
    assert page.count(order) >= 2
    assert ("It is small" in page or "it is small" in page) == (order in ("not as published", "no difference found"))


@pytest.mark.parametrize(("ours", "order"), [(("old", "new"), "as published"), (("new", "old"), "not as published")])
def test_where_a_paper_found_parity_or_better_only_worse_is_another_order(
    ours: tuple[str, str], order: str, results: Path
) -> None:
    either = claim("mechanisms", ours, (1, 1))
    either["published"]["or_better"] = True
    assert script.entry(either, results)["order"] == order


def test_a_verdict_is_turned_to_the_mechanism(results: Path) -> None:
    """The study says that old is worse than its baseline, new; so new is better."""
    found = script.entry(claim("some", ("new", "old"), (2, 1)), results)["ours"]
    assert (found["verdict"], found["seeds"], found["budget"]) == ("better", 3, "8 core-minutes")
    assert script.entry(claim("some", ("old", "new"), (2, 1)), results)["ours"]["verdict"] == "worse"


def test_the_page_is_that_of_today_s_results() -> None:
    claims = yaml.safe_load(script.CLAIMS.read_text("utf-8"))
    page = script.page([script.entry(claim, script.RESULTS) for claim in claims])
    assert page == (script.RESULTS / "ledger.md").read_text("utf-8"), "run python scripts/ledger.py"
    studies = sorted((script.RESULTS / "studies").glob("*.json"))
    assert studies
    for path in studies:
        told = markdown(json.loads(path.read_text("utf-8")))
        assert told == path.with_suffix(".md").read_text("utf-8"), "run python scripts/ledger.py"


def test_every_claim_names_systems_that_exist() -> None:
    measured = json.loads((script.RESULTS / "mechanisms.json").read_text("utf-8"))
    for each in yaml.safe_load(script.CLAIMS.read_text("utf-8")):
        asked = each["ours"]
        known = measured if asked["results"] == "mechanisms" else read_study(asked["results"], []).systems
        assert {asked["with"], asked["without"]} <= known.keys(), each
