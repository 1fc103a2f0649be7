"""Choose the default length penalty of beam search on validation text, and show what the shared rules cost.

    python scripts/search_rules.py RUN_DIR ... --source F --reference F --test-source F --test-reference F

The shared rules are those of both engines: score = log_prob / length ** alpha, and a sentence ends when its beam is
full. Each run translates the validation text (--source) with every alpha. The script chooses the lowest alpha whose
BLEU, averaged over the runs, is within 0.05 of the best. On the test text it then compares these rules with the former
defaults (GNMT's normalisation with alpha 1, and a search that continues until no open hypothesis can win): BLEU, and
sentences per second over --rounds rounds that take turns. Figures are written to docs/results/search_rules.json (or to
the file -o), and the page with the same name gets the table.
"""

from __future__ import annotations

import shlex
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from benchmarks import page
from benchmarks.page import cell, markdown_table, spread

from nmt.cli.common import Parser, number, run_command
from nmt.config.load import change_search
from nmt.config.ranges import BeamSize, Count, LengthPenalty
from nmt.data.compression import read_lines
from nmt.device import choose_device, describe_hardware
from nmt.errors import UsageError
from nmt.evaluation.metrics import check_counts, corpus_bleu
from nmt.inference.translator import Translator

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "search_rules.json"
ALPHAS = [0.6, 0.8, 1.0, 1.2, 1.4, 1.6]
SHARED = {"length_normalisation": "power", "stop": "full"}
EARLIER = {"length_normalisation": "gnmt", "stop": "exact", "length_penalty": 1.0}
BEGIN = page.begin("search_rules.py")
PAGE = f"""# Which rules of beam search are best?

The table compares the default rules of beam search ([translate.md](../translate.md#search)), called *shared* because
both engines have them, with the rules that were the default *before*: GNMT's length normalisation with alpha 1, and
`stop=exact`. The length penalty alpha was chosen on the validation text: the lowest alpha whose BLEU, averaged over the
runs, is within 0.05 of the best. The columns from `test, before` on show the test text with that alpha. `same text` is
the share of sentences that both rules translate identically.

{BEGIN}
{page.END}
"""


class Text(NamedTuple):
    """Source sentences and their reference translations."""

    sources: list[str]
    references: list[str]

    @classmethod
    def read(cls, source: Path, reference: Path) -> Text:
        """Read two files in which line i of one is the translation of line i of the other."""
        texts = [read_lines(file) for file in (source, reference)]
        check_counts(*texts, str(source), str(reference))
        return cls(*texts)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script and return its exit status."""
    parser = Parser(
        "search_rules.py",
        "RUN_DIR ... --source F --reference F [--test-source F --test-reference F] [--alpha A ...] [--beam-size N]\n"
        "       [--rounds N] [--device D] [-o JSON]",
        "Choose the length penalty of the shared rules of beam search, and compare them with the former rules.",
    )
    parser.add_argument("runs", metavar="RUN_DIR", type=Path, nargs="+", help="run directories of nmt-train")
    for text, needed in (("", True), ("test-", False)):
        for side in ("source", "reference"):
            parser.add_argument(f"--{text}{side}", metavar="F", type=Path, required=needed, help="one sentence a line")
    parser.add_argument("--alpha", metavar="A", type=number(LengthPenalty), nargs="+", default=ALPHAS)
    parser.add_argument("--beam-size", metavar="N", type=number(BeamSize), default=5, help="default: 5")
    parser.add_argument(
        "--rounds", metavar="N", type=number(Count), default=3, help="translations of the test text; default: 3"
    )
    parser.add_device()
    parser.add_argument(
        "-o", "--output", type=Path, default=RESULTS, help="JSON file for the results; the page is next to it"
    )
    command = shlex.join(["python", "scripts/search_rules.py", *(sys.argv[1:] if argv is None else argv)])
    return run_command(parser, lambda arguments: measure(arguments, command), argv)


def measure(arguments: Namespace, command: str) -> None:
    """Translate the texts, choose alpha, compare the rules and write the results."""
    if (arguments.test_source is None) != (arguments.test_reference is None):
        raise UsageError("--test-source and --test-reference go together")
    val = Text.read(arguments.source, arguments.reference)
    test = Text.read(arguments.test_source, arguments.test_reference) if arguments.test_source else None
    names = [run.resolve().name for run in arguments.runs]
    if len(set(names)) < len(names):
        raise UsageError(f"results are stored by the name of the run, but two names are equal: {', '.join(names)}")
    found: dict[str, dict[str, Any]] = {}
    translators = {}
    for name, run in zip(names, arguments.runs, strict=True):
        translators[name] = translator = Translator.load(run, device=arguments.device)
        found[name] = {"val": [on_val(translator, val, alpha, arguments.beam_size) for alpha in arguments.alpha]}
        say(
            name,
            "; ".join(f"alpha {entry['alpha']}: BLEU {entry['bleu']['score']:.2f}" for entry in found[name]["val"]),
        )
    alpha = best(arguments.alpha, [entry["val"] for entry in found.values()])
    say("best on the validation text", f"alpha {alpha}")
    environment = {"hardware": describe_hardware(choose_device(arguments.device)), "command": command}
    for name, entry in found.items():
        entry |= {**environment, "alpha": alpha, "beam_size": arguments.beam_size, "sentences": len(val.sources)}
        if test is not None:
            shared = {**SHARED, "length_penalty": alpha}
            entry["test"] = on_test(translators[name], test, shared, arguments.beam_size, arguments.rounds)
        page.write(arguments.output, name, entry, PAGE, renewed)
    print(table(found), end="")


def on_val(translator: Translator, text: Text, alpha: float, beam_size: int) -> dict[str, Any]:
    """Return the validation BLEU of the shared rules with one alpha."""
    search_by(translator, {**SHARED, "length_penalty": alpha}, beam_size)
    hypotheses = translator.translate(text.sources)
    bleu = corpus_bleu(hypotheses, text.references, translator.target_language)
    return {"alpha": alpha, "bleu": bleu.to_dict()}


def best(alphas: Sequence[float], runs: Sequence[Sequence[Mapping[str, Any]]]) -> float:
    """Return the lowest alpha whose BLEU, averaged over the runs, is within 0.05 of the highest."""
    means = {alpha: mean(run[place]["bleu"]["score"] for run in runs) for place, alpha in enumerate(alphas)}
    return min(alpha for alpha, score in means.items() if score >= max(means.values()) - 0.05)


def on_test(
    translator: Translator, text: Text, shared: Mapping[str, Any], beam_size: int, rounds: int
) -> dict[str, Any]:
    """Return BLEU and speed of both rules, and the share of sentences that both translate identically."""
    rules = {"earlier": EARLIER, "shared": shared}
    hypotheses: dict[str, list[str]] = {}
    rates: dict[str, list[float]] = {name: [] for name in rules}
    for _ in range(rounds):
        for name, asked in rules.items():
            search_by(translator, asked, beam_size)
            start = time.perf_counter()
            hypotheses[name] = translator.translate(text.sources)
            rates[name].append(len(text.sources) / (time.perf_counter() - start))
    scores = {
        name: corpus_bleu(lines, text.references, translator.target_language) for name, lines in hypotheses.items()
    }
    same = sum(one == other for one, other in zip(*hypotheses.values(), strict=True))
    return {
        "sentences": len(text.sources),
        "same": same / len(text.sources),
        **{
            name: {"rules": asked, "bleu": scores[name].to_dict(), "sentences_per_second": spread(rates[name])}
            for name, asked in rules.items()
        },
    }


def search_by(translator: Translator, rules: Mapping[str, Any], beam_size: int) -> None:
    """Set the rules by which a translator searches."""
    translator.search = change_search(translator.search, {**rules, "beam_size": beam_size})


def renewed(text: str, entries: Mapping[str, Any]) -> str:
    """Return the page with its table and commands replaced."""
    commands = dict.fromkeys(f"# {entry['hardware']}\n{entry['command']}\n" for entry in entries.values())
    return page.between_marks(text, BEGIN, [table(entries), f"The commands:\n\n```\n{''.join(commands)}```\n"])


def table(entries: Mapping[str, Any]) -> str:
    """Return the table, with one row per run: BLEU for each alpha, and both rules on the test text."""
    alphas = sorted({each["alpha"] for entry in entries.values() for each in entry["val"]})
    rows = []
    for name, entry in entries.items():
        by_alpha = {each["alpha"]: f"{each['bleu']['score']:.2f}" for each in entry["val"]}
        row = [name, *(by_alpha.get(alpha, "") for alpha in alphas), str(entry["alpha"])]
        if test := entry.get("test"):
            row += [f"{test[rules]['bleu']['score']:.2f}" for rules in ("earlier", "shared")]
            row += [f"{test['same']:.1%}"]
            row += [cell(test[rules]["sentences_per_second"], "{:,.1f}", True) for rules in ("earlier", "shared")]
        rows.append([*row, *[""] * (len(alphas) + 7 - len(row))])
    headings = [
        "run", *(f"val, alpha {alpha}" for alpha in alphas), "chosen",
        "test, before", "test, shared", "same text", "sentences/s, before", "sentences/s, shared",
    ]  # fmt: skip
    return markdown_table(headings, 1, rows)


def say(about: str, what: str) -> None:
    """Print a line of progress to stderr."""
    print(f"{about}: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
