"""nmt-evaluate: compute BLEU, chrF and TER of runs on test sets, or of an output file, with sacreBLEU signatures."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from nmt.cli.common import WAITING, Parser, check_stdout, place, run_command
from nmt.config.languages import is_language
from nmt.errors import NmtError, UsageError
from nmt.messages import tell, visible

if TYPE_CHECKING:
    from nmt.evaluation.evaluate import Evaluation, Settings

say = partial(tell, speaker="nmt-evaluate")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-evaluate",
        "RUN_DIR ... [--source F --reference F ... | --test-set NAME ...] | --hypothesis F --reference F ... [...]",
        "Score systems by BLEU, chrF and TER, computed by sacreBLEU. Each run translates the test sets of its\n"
        "configuration, the given files or one of sacreBLEU's own test sets. Translations and scores are kept in\n"
        "RUN_DIR/evaluations/NAME/. With --hypothesis, an existing output file is scored instead.",
        "example: nmt-evaluate runs/demo/transformer --test-set test",
    )
    add = parser.add_argument
    add("runs", metavar="RUN_DIR", type=place, nargs="*", help="a run directory written by nmt-train")
    add_texts(parser)
    sets = (
        "one of the configuration's test sets, or one of sacreBLEU's such as wmt14/full; may be repeated; default: all "
        "test sets of the configuration"
    )
    add("--test-set", metavar="NAME", action="append", help=sets)
    hypothesis = "score this detokenised output file instead of a run; -: standard input"
    add("--hypothesis", metavar="F", type=place, help=hypothesis)
    target = "with --hypothesis: the language of the output, which decides BLEU's tokenizer (zh, ja and ko need it)"
    add("--target-language", metavar="CODE", type=language, help=target)
    add("--json", action="store_true", help="print JSON with unrounded scores instead of a table")
    add_settings(parser)
    return run_command(parser, _evaluate, argv)


def language(text: str) -> str:
    """Parse an argument that is the code of a language."""
    if not is_language(text):
        raise ArgumentTypeError(f"{text!r} is no code of a language such as de or zh-CN")
    return text


def add_texts(parser: Parser) -> None:
    """Add the options --source and --reference."""
    parser.add_argument("--source", metavar="F", type=place, help="source text, one sentence per line")
    reference = "reference translation of each source line; repeat the option for several reference translations"
    parser.add_argument("--reference", metavar="F", action="append", type=place, help=reference)


def add_settings(parser: Parser) -> None:
    """Add the options for how a run translates: checkpoint, search, tag and device."""
    parser.add_checkpoint()
    parser.add_beam()
    tag = (
        "use this tag for all lines; it has to be one that the model was trained with; default: the tags of the test "
        "set"
    )
    parser.add_argument("--tag", metavar="TAG", help=tag)
    add_metric(parser)
    parser.add_device()


def add_metric(parser: Parser) -> None:
    """Add the option --metric."""
    metric = (
        "compute bleu, chrf or ter; may be repeated; default: all three. TER takes very long on lines of more than a "
        "few hundred words"
    )
    parser.add_argument("--metric", metavar="NAME", action="append", help=metric)


def check_test_set(arguments: Namespace) -> None:
    """Raise UsageError unless the options name one thing to translate: either both files or a test set."""
    if (arguments.source is None) != (arguments.reference is None):
        raise UsageError("--source and --reference go together: give both or neither")
    if arguments.source is not None and arguments.test_set is not None:
        raise UsageError("give either --source and --reference or --test-set")


def settings_of(arguments: Namespace) -> Settings:
    """Return the search, device and metric options that `add_settings` added."""
    from nmt.evaluation.evaluate import Settings
    from nmt.evaluation.metrics import metrics_in_order

    metrics = metrics_in_order(arguments.metric)
    return Settings(arguments.beam_size, arguments.length_penalty, arguments.device, metrics)


def _evaluate(arguments: Namespace) -> None:
    check_stdout()
    if arguments.hypothesis is not None:
        entries = [_score_file(arguments)]
    elif not arguments.runs:
        raise UsageError("name a run directory, or give --hypothesis and --reference")
    else:
        if arguments.target_language:
            raise UsageError("--target-language is for --hypothesis: the configuration of a run tells its language")
        check_test_set(arguments)
        entries = _score_runs(arguments)
    print(json.dumps(entries, indent=2) if arguments.json else visible(_table(entries), "\n"))


def _score_file(arguments: Namespace) -> dict[str, Any]:
    from nmt.evaluation.evaluate import refuse_run_options
    from nmt.evaluation.metrics import length_ratio, score
    from nmt.evaluation.sets import read_references, read_text

    if arguments.reference is None:
        raise UsageError("--hypothesis needs --reference")
    settings = settings_of(arguments)
    refuse_run_options(settings, arguments.checkpoint, arguments.tag, "--hypothesis is already translated")
    if arguments.runs or arguments.source is not None or arguments.test_set is not None:
        raise UsageError("--hypothesis cannot be combined with a run, --source or --test-set: give only --reference")
    file = arguments.hypothesis
    if file == "-":
        if sys.stdin is None:
            raise NmtError("standard input is closed: give the file to score with --hypothesis FILE")
        file = "/dev/stdin"
        if sys.stdin.isatty():
            say(WAITING)
    hypotheses, language = read_text(file), arguments.target_language or ""
    references, *more = read_references(arguments.reference, hypotheses, file)
    scores = score(hypotheses, references, settings.metrics, language, more_references=more)
    return {
        "system": arguments.hypothesis,
        "test_set": ", ".join(arguments.reference),
        **{name: value.to_dict() for name, value in scores.items()},
        "sentences": len(references),
        "length_ratio": length_ratio(hypotheses, references, language, more),
    }


def _score_runs(arguments: Namespace) -> list[dict[str, Any]]:
    from nmt.api import sets_to_evaluate
    from nmt.evaluation.evaluate import evaluate
    from nmt.evaluation.sets import set_from_files
    from nmt.runs.run import load_run

    wanted, settings = arguments.test_set and list(dict.fromkeys(arguments.test_set)), settings_of(arguments)
    if arguments.source is not None:
        wanted = set_from_files(arguments.source, arguments.reference)
    # read each test set only once, because it may be a pipe, and all of them before the first translation
    sets = [sets_to_evaluate(path, wanted, arguments.checkpoint, arguments.device) for path in arguments.runs]
    entries = []
    for path, found in zip(arguments.runs, sets, strict=True):
        run = load_run(path, arguments.checkpoint)
        for test_set in found:
            evaluation = evaluate(run, test_set.tagged(arguments.tag), settings, say)
            if evaluation.reused:
                say(f"{path}: using the translations in {evaluation.folder}")
            entries.append({"system": str(path), "test_set": evaluation.set_name, **_asked(evaluation)})
    return entries


def _asked(evaluation: Evaluation) -> dict[str, Any]:
    """Return the record without metrics that were not asked for, which an earlier evaluation may have left there."""
    from nmt.evaluation.metrics import METRICS

    others = set(METRICS) - set(evaluation.metrics)
    record = {key: value for key, value in evaluation.record.items() if key not in others}
    tags = {
        tag: {key: value for key, value in scores.items() if key not in others}
        for tag, scores in record.get("tags", {}).items()
    }
    return record | ({"tags": tags} if tags else {})


def with_tags(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries; an entry whose test set has several tags is followed by one entry per tag."""
    rows = []
    for entry in entries:
        rows.append(entry)
        by_tag = entry.get("tags", {})
        for tag, scores in by_tag.items() if len(by_tag) > 1 else ():
            rows.append({"system": entry["system"], "test_set": f"{entry['test_set']}, {tag or 'no tag'}", **scores})
    return rows


def _table(entries: Sequence[dict[str, Any]]) -> str:
    """Return a table of the scores with two decimals, followed by the signature of each metric."""
    from nmt.evaluation.metrics import LABELS, METRICS
    from nmt.report.table import format_table

    metrics = [name for name in METRICS if name in entries[0]]
    header = ["system", "test set", *(LABELS[name] for name in metrics), "length ratio", "sentences", "sentences/s"]
    rows = [
        [
            entry["system"],
            entry["test_set"],
            *(f"{entry[name]['score']:.2f}" for name in metrics),
            f"{entry['length_ratio']:.3f}",
            f"{entry['sentences']:,}",
            f"{entry['sentences_per_second']:.1f}" if "sentences_per_second" in entry else "-",
        ]
        for entry in with_tags(entries)
    ]
    signatures = []
    for name in metrics:
        for signature in dict.fromkeys(entry[name]["signature"] for entry in with_tags(entries)):
            signatures.append(f"{LABELS[name]}: {signature}")
    return "\n".join([format_table(header, rows, left=2), "", *signatures])


if __name__ == "__main__":
    sys.exit(main())
