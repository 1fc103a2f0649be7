"""nmt-compare: compare systems on one test set and write a report as HTML, Markdown and JSON."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.cli.common import Parser, check_stdout, place, run_command
from nmt.cli.evaluate import add_settings, add_texts, check_test_set, settings_of
from nmt.config.languages import is_language
from nmt.files import from_home
from nmt.messages import tell, visible

if TYPE_CHECKING:
    from nmt.report.compare import Contestant

say = partial(tell, speaker="nmt-compare")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-compare",
        "RUN_DIR ... NAME=FILE ... -o DIR [--source F --reference F ... | --test-set NAME] [--sentences 3,17]\n"
        "                   [--heads [--gold F]] [...]",
        "Compare runs, and output files of other toolkits, on one test set. Writes a report to DIR: index.html,\n"
        "report.md and results.json. The first system is the baseline that the others are tested against.",
        "example: nmt-compare runs/demo/rnnsearch runs/demo/transformer -o runs/demo/report",
    )
    add = parser.add_argument
    systems = "a run directory, or the detokenised output file of another toolkit with a name for it in the report"
    add("systems", metavar="RUN_DIR|NAME=FILE", nargs="+", help=systems)
    add("-o", "--output", metavar="DIR", type=place, required=True, help="the folder to write the report to")
    add_texts(parser)
    test_set = "a test set of the first run's configuration (default: the first one), or one of sacreBLEU's"
    add("--test-set", metavar="NAME", help=test_set)
    languages = (
        "the translation direction, such as de-zh or en-zh-CN; BLEU's tokenizer depends on it; only needed if all "
        "systems are output files"
    )
    add("--languages", metavar="SRC-TGT", type=direction, help=languages)
    lines = (
        "show the attention for these sentences, by line number from 1, such as 3,17; default: a short, a median and "
        "a long sentence"
    )
    add("--sentences", metavar="LINES", type=line_numbers, help=lines)
    tested = (
        "how to test whether differences are significant: paired bootstrap resampling (default) or approximate "
        "randomisation"
    )
    add("--significance", choices=("bootstrap", "randomisation"), default="bootstrap", help=tested)
    measured = "add a section to the report: entropy and distance of each Transformer's heads, by layer"
    add("--heads", action="store_true", help=measured)
    gold = "with --heads: gold links (3-4 is sure, 3?4 is possible), to find each Transformer's best head for alignment"
    add("--gold", metavar="F", type=place, help=gold)
    add_settings(parser)
    return run_command(parser, _compare, argv)


def line_numbers(text: str) -> list[int]:
    """Parse an argument that is a list of line numbers, such as 3,17."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a list of line numbers such as 3,17") from error
    if min(numbers) < 1:
        raise ArgumentTypeError("lines are counted from 1")
    return list(dict.fromkeys(numbers))


def direction(text: str) -> tuple[str, str]:
    """Parse an argument that is two language codes joined by a dash; the codes may contain dashes too (en-zh-CN)."""
    parts = text.split("-")
    if len(parts) < 2 or not all(parts):
        raise ArgumentTypeError(f"{text!r} is not a translation direction such as de-en")
    splits = [("-".join(parts[:cut]), "-".join(parts[cut:])) for cut in range(1, len(parts))]
    likely = [split for split in splits if all(map(is_language, split))] if len(splits) > 1 else splits
    if len(likely) != 1:
        raise ArgumentTypeError(
            f"{text!r} does not show where the first language ends: write a region or script with _, as in en-zh_CN"
        )
    return likely[0]


def _compare(arguments: Namespace) -> None:
    check_test_set(arguments)
    check_stdout()
    from nmt.report.compare import Request, compare

    request = Request(
        contestants=[_contestant(text) for text in arguments.systems],
        folder=Path(arguments.output),
        source=arguments.source,
        reference=arguments.reference,
        test_set=arguments.test_set,
        languages=arguments.languages,
        sentences=arguments.sentences,
        checkpoint=arguments.checkpoint,
        tag=arguments.tag,
        settings=settings_of(arguments),
        significance=arguments.significance,
        heads=arguments.heads,
        gold=arguments.gold,
    )
    results = compare(request, say)
    print(visible(_table(results), "\n"))
    print(f"\nreport: {request.folder / 'index.html'}")


def _contestant(text: str) -> Contestant:
    """Return the system that an argument names: RUN_DIR or NAME=FILE. An existing path is always read as RUN_DIR."""
    from nmt.report.compare import Contestant

    name, equals, file = text.partition("=")
    if equals and name and file and "/" not in name and not Path(text).exists():
        return Contestant(Path(from_home(file)), name)
    return Contestant(Path(from_home(text)))


def _table(results: dict[str, Any]) -> str:
    """Return a table of each system's scores, its BLEU interval and its comparison with the baseline."""
    from nmt.evaluation.metrics import LABELS
    from nmt.report.table import format_table

    significance = results["significance"]
    baseline = {pair["system"]: pair["metrics"]["bleu"] for pair in significance["pairs"] if pair["baseline"]}
    rows = []
    for entry in results["systems"]:
        scores = [f"{score['score']:.2f}" for score in entry["scores"].values()]
        low, high = entry["scores"]["bleu"]["confidence_interval"]
        difference = _against_baseline(baseline.get(entry["name"]))
        rows.append([entry["name"], *scores, f"{low:.1f}-{high:.1f}", *difference])
    metrics = [LABELS[name] for name in results["systems"][0]["scores"]]
    header = ["system", *metrics, "BLEU 95%", "Δ BLEU", "Δ 95%", f"p vs {significance['baseline']}"]
    signature = results["systems"][0]["scores"]["bleu"]["signature"]
    budgets = results["budgets"]["sentence"]
    lines = [*([budgets, ""] if budgets else []), format_table(header, rows)]
    if baseline:
        lines.append(f"p: two-sided, by {significance['method']}")
    for group in results["seed_groups"]:
        bleu = group["scores"]["bleu"]
        names = ", ".join(group["systems"])
        lines.append(
            f"{names}: BLEU {bleu['mean']:.2f} ± {bleu['standard_deviation']:.2f} over {len(group['seeds'])} seeds"
        )
    return "\n".join([*lines, "", f"BLEU: {signature}"])


def _against_baseline(test: dict[str, Any] | None) -> list[str]:
    """Return the cells for the difference in BLEU, its interval and its p-value; dashes for the baseline itself."""
    from nmt.report.page import p_value

    if test is None:
        return ["-", "-", "-"]
    low, high = test["confidence_interval"]
    return [f"{test['difference']:+.2f}", f"{low:+.2f} to {high:+.2f}", p_value(test["p_value"])]


if __name__ == "__main__":
    sys.exit(main())
