"""nmt-align: word alignments from a run's attention, their error rate, and heatmaps."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.common import Parser, run_command
from nmt.cli.compare import line_numbers
from nmt.errors import NmtError, UsageError
from nmt.files import atomic_write

if TYPE_CHECKING:
    from nmt.evaluation.align import WordAttention
    from nmt.evaluation.alignment_error import AlignmentScores


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-align",
        "RUN_DIR --source F --target F [--gold F] [-o F] [--heatmap 3,17] [--layer N|all] [--head N|all] [...]",
        "Align the words of sentence pairs by the attention of a trained system: one line of Pharaoh links\n"
        "(source-target, from 0) for each pair.",
        "example: nmt-align runs/demo/rnnsearch --source test.de --target test.en --gold test.align -o links.txt",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a run directory of nmt-train")
    parser.add_argument("--source", metavar="F", required=True, help="source text, one sentence a line")
    parser.add_argument("--target", metavar="F", required=True, help="its translation, line by line")
    parser.add_argument("--tag", metavar="TAG", help="one of the tags that the model was trained with, for all pairs")
    parser.add_argument(
        "--gold",
        metavar="F",
        help="gold links (3-4 sure, 3?4 possible): prints AER, precision and recall, on stdout with -o, else on stderr",
    )
    parser.add_argument("-o", "--output", metavar="F", help="the file of links; default: standard output")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    parser.add_argument("--heatmap", metavar="LINES", type=line_numbers, help="draw these lines (from 1), such as 3,17")
    parser.add_argument("--heatmap-dir", metavar="DIR", default="heatmaps", help="default: heatmaps")
    parser.add_argument("--heatmap-format", choices=["png", "svg"], default="png", help="default: png")
    parser.add_argument(
        "--layer",
        metavar="N|all",
        type=_choice,
        help="decoder layer, from 1; all: their average; default: last but one",
    )
    parser.add_argument(
        "--head", metavar="N|all", type=_choice, default="all", help="head, from 1; default: all, averaged"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="NAME",
        help="best, last, averaged or a step; default: averaged if there is one, or best",
    )
    parser.add_argument("--device", default="auto", help="cuda, mps or cpu; default: the first of them there is")
    return run_command(parser, _align, argv)


def _choice(text: str) -> int | str:
    if text == "all":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is neither a number from 1 nor all")
    return int(text)


def _align(arguments: Namespace) -> None:
    from nmt.evaluation.alignment_error import alignment_scores, check_gold, format_links, read_gold
    from nmt.evaluation.sets import set_from_files

    pairs = set_from_files(arguments.source, arguments.target)
    for line in arguments.heatmap or ():
        if line > len(pairs.sources):
            raise UsageError(f"--heatmap {line}: {arguments.source} has {len(pairs.sources):,} lines")
    gold = None if arguments.gold is None else read_gold(arguments.gold)
    attentions = _attentions(arguments, pairs.sources, pairs.references)
    if gold is not None:
        words = [(len(one.source_words), len(one.target_words)) for one in attentions]
        check_gold(gold, words, arguments.gold)
    links = [one.links for one in attentions]
    lines = "".join(f"{format_links(of_sentence)}\n" for of_sentence in links)
    if arguments.output is None:
        sys.stdout.write(lines)
    else:
        with atomic_write(arguments.output) as file:
            file.write(lines)
    if gold is not None:
        scores = alignment_scores(links, gold)
        text = json.dumps(asdict(scores), indent=2) if arguments.json else _table(scores)
        print(text, file=sys.stderr if arguments.output is None else sys.stdout)
    if arguments.heatmap:
        _draw(arguments, attentions)


def _attentions(arguments: Namespace, sources: Sequence[str], targets: Sequence[str]) -> list[WordAttention]:
    from nmt.data.tags import tags_of_lines
    from nmt.device import choose_device
    from nmt.evaluation.align import Selection, word_attention
    from nmt.run import load_run

    run = load_run(arguments.run_dir, arguments.checkpoint)
    if not run.model.attends:
        raise NmtError(
            f"{arguments.run_dir} has no attention to read an alignment from: a {run.config.model.family} model passes "
            "the source on as one fixed vector"
        )
    data = run.config.data
    tags = tags_of_lines(arguments.tag, len(sources), run.tokenizer, data.always_tagged)
    return word_attention(
        run.model.to(choose_device(arguments.device)),
        run.tokenizer,
        sources,
        targets,
        Selection(arguments.layer, arguments.head),
        (data.source_language, data.target_language),
        tags,
    )


def _draw(arguments: Namespace, attentions: Sequence[WordAttention]) -> None:
    from nmt.report.fonts import missing_characters
    from nmt.report.heatmap import heatmap, to_png, to_svg

    for line in arguments.heatmap:
        attention = attentions[line - 1]
        sources, targets = attention.labels
        figure = heatmap(attention.weights, sources, targets)
        path = Path(arguments.heatmap_dir) / f"{line}.{arguments.heatmap_format}"
        picture = to_png(figure) if arguments.heatmap_format == "png" else to_svg(figure).encode("utf-8")
        with atomic_write(path, "wb") as file:
            file.write(picture)
        _tell(f"line {line}: {path}")
        if missing := missing_characters([*sources, *targets]):
            _tell(
                f"line {line}: no installed font has {missing}: boxes stand in their place (install one, such as Noto)"
            )


def _table(scores: AlignmentScores) -> str:
    from nmt.report.table import format_table

    header = ["AER", "precision", "recall", "links", "sentences"]
    figures = [f"{scores.aer:.4f}", f"{scores.precision:.4f}", f"{scores.recall:.4f}"]
    return format_table(header, [[*figures, f"{scores.links:,}", f"{scores.sentences:,}"]], left=0)


def _tell(sentence: str) -> None:
    print(f"nmt-align: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
