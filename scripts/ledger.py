"""Write docs/results/ledger.{md,json}: what papers report of a mechanism, and what we measured.

usage: python scripts/ledger.py

The claims are in scripts/ledger.yaml, our figures in docs/results/mechanisms.json and in the studies of
docs/results/studies/. A claim whose study has no results yet is listed as not measured. The pages of these studies are
written again from their figures, as the report of nmt-study looks now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from nmt.files import atomic_write
from nmt.report.page import signed
from nmt.study.page import markdown

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
CLAIMS = Path(__file__).with_name("ledger.yaml")
PARITY = 0.05  # a published difference of less says that both are equal
CHANCE_OF_AER = 0.01
CHANCE = 1.0  # points of BLEU that one seed says nothing about (docs/results/mechanisms.md)
AS_PUBLISHED, OPPOSITE, NOT_MEASURED = "as published", "not as published", "not measured"
NO_DIFFERENCE = "no difference found"  # also a verdict of nmt-study
Claim = Mapping[str, Any]
Entry = dict[str, Any]


def main() -> None:
    """Look up our figure for each claim, and write both files."""
    claims: list[Claim] = yaml.safe_load(CLAIMS.read_text("utf-8"))
    found = [entry(claim, RESULTS) for claim in claims]
    with atomic_write(RESULTS / "ledger.json") as file:
        json.dump(found, file, indent=1, ensure_ascii=False)
        file.write("\n")
    with atomic_write(RESULTS / "ledger.md") as file:
        file.write(page(found))
    for path in sorted((RESULTS / "studies").glob("*.json")):
        with atomic_write(path.with_suffix(".md")) as file:
            file.write(markdown(json.loads(path.read_text("utf-8"))))


def entry(claim: Claim, results: Path) -> Entry:
    """Return a claim with our figures, and whether the order of the two systems is the published one."""
    published, asked = claim["published"], claim["ours"]
    gain = published["gain"] if "gain" in published else published["with"] - published["without"]
    of_page = asked["results"] == "mechanisms"
    ours = _from_mechanisms(asked, results) if of_page else _from_study(asked, published["metric"] == "AER", results)
    told = {key: value for key, value in claim.items() if key != "ours"}
    return {**told, "gain": gain, "results": asked["results"], "ours": ours, "order": _order(published, gain, ours)}


def _from_mechanisms(asked: Mapping[str, str], results: Path) -> Entry | None:
    """Return our figures from docs/results/mechanisms.json; None if one of the rows is missing."""
    rows = json.loads((results / "mechanisms.json").read_text("utf-8"))
    scores = [rows.get(asked[side], {}).get("bleu", {}).get("score") for side in ("with", "without")]
    if None in scores:
        return None
    minutes = rows[asked["with"]]["minutes"]
    return _figures(scores, "", 1, f"{minutes} core-minutes")


def _from_study(asked: Mapping[str, str], aer: bool, results: Path) -> Entry | None:
    """Return our figures from the first test set of a study; None if it has not been run."""
    path = results / "studies" / f"{asked['results']}.json"
    if not path.is_file():
        return None
    study = json.loads(path.read_text("utf-8"))
    test_set = next(iter(study["test_sets"].values()))
    systems = [test_set["systems"].get(asked[side]) for side in ("with", "without")]
    if None in systems:
        return None
    pair = {asked["with"], asked["without"]}
    judged = [each for each in test_set["verdicts"] if {each["system"], each.get("against", study["baseline"])} == pair]
    verdict = judged[0]["verdict"] if judged and not aer else ""
    if verdict in ("better", "worse") and judged[0]["system"] != asked["with"]:
        verdict = {"better": "worse", "worse": "better"}[verdict]
    spent = {key: value for key, value in study["conditions"]["budget"].items() if key != "measured_seconds"}
    budget = ", ".join(f"{value:,.10g} {key.replace('_', '-')}" for key, value in spent.items())
    scores = [each["aer" if aer else "mean"] for each in systems]
    return None if None in scores else _figures(scores, verdict, min(len(each["scores"]) for each in systems), budget)


def _figures(scores: list[float], verdict: str, seeds: int, budget: str) -> Entry:
    ours, other = scores
    return {
        "with": ours, "without": other, "gain": ours - other, "verdict": verdict, "seeds": seeds, "budget": budget,
    }  # fmt: skip


def _order(published: Mapping[str, Any], gain: float, ours: Entry | None) -> str:
    """Return how our order of the two systems compares with the published one."""
    if ours is None or ours["verdict"] == "too few seeds":
        return NOT_MEASURED
    if published["metric"] == "AER":
        equal = abs(ours["gain"]) < CHANCE_OF_AER
    elif ours["verdict"]:
        equal = ours["verdict"] == NO_DIFFERENCE
    else:
        equal = abs(ours["gain"]) < CHANCE
    if published["metric"] != "AER" and abs(gain) < PARITY:
        return AS_PUBLISHED if equal or (published.get("or_better") and ours["gain"] > 0) else OPPOSITE
    if equal:
        return NO_DIFFERENCE
    return AS_PUBLISHED if (ours["gain"] > 0) == (gain > 0) else OPPOSITE


def page(found: list[Entry]) -> str:
    """Return the ledger as Markdown: a table, and what has to be said of each entry."""
    counts = {
        order: sum(each["order"] == order for each in found) for order in dict.fromkeys(e["order"] for e in found)
    }
    lines = [
        "# What papers report, and what we measured",
        "",
        *wrap(f"Of {len(found)} published comparisons: {', '.join(f'{counts[each]} {each}' for each in counts)}.", 100),
        "",
        "Our systems are small: minutes of training on captions or on the corpus that comes with nmt,",
        "against days on news. So the scores cannot be compared, but the order of two systems can. A study",
        "says by its printed rule whether a system differs from its baseline ([study.md](../study.md)).",
        f"Without such a verdict, less than {CHANCE:g} point of BLEU counts as no difference. For AER, less than",
        f"{CHANCE_OF_AER:g} does. If a paper's difference is below {PARITY:g} points, the paper found both equal; then",
        "`as published` means that we found no difference either, or, if the paper says *on a par or better*,",
        "that ours is better.",
        "",
        "| mechanism | paper | equation | published | ours | order |",
        "|---|---|---|---:|---:|---|",
    ]
    for each in found:
        cells = [each["mechanism"], each["paper"], each["equation"], _published(each), _ours(each), each["order"]]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Figures are: with the mechanism, without it, and the difference of the unrounded figures. Of AER,"]
    lines += ["less is better.", ""]
    lines += ["## Budgets, and what differs from the paper", ""]
    for each in found:
        ours = each["ours"]
        seeds = "" if ours is None else f" {ours['budget']}, {ours['seeds']} seed{'s' if ours['seeds'] > 1 else ''}."
        differs = "account" in each and each["order"] in (NO_DIFFERENCE, OPPOSITE)
        account = f" {each['account'].strip()}" if differs else ""
        told = f"{each['mechanism']} ([{each['results']}]({_link(each)})):{seeds} {_sentence(each['differs'])}{account}"
        lines += wrap(told, 100, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join([*lines, "", "```", "python scripts/ledger.py", "```", ""])


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _link(each: Entry) -> str:
    if each["results"] == "mechanisms":
        return "mechanisms.md"
    return f"studies/{each['results']}.md" if each["ours"] else f"../../configs/study/{each['results']}.yaml"


def _published(each: Entry) -> str:
    told, digits = each["published"], _digits(each)
    pair = "" if "gain" in told else f"{told['with']:.{digits}f} − {told['without']:.{digits}f} = "
    return f"{pair}{signed(each['gain'], digits)} ({told['metric']}, {told['data']})"


def _ours(each: Entry) -> str:
    ours, digits = each["ours"], _digits(each)
    if ours is None:
        return ""
    verdict = f" ({ours['verdict']})" if ours["verdict"] else ""
    return f"{ours['with']:.{digits}f} − {ours['without']:.{digits}f} = {signed(ours['gain'], digits)}{verdict}"


def _digits(each: Entry) -> int:
    return 3 if each["published"]["metric"] == "AER" else 2


if __name__ == "__main__":
    main()
