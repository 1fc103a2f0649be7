"""nmt-align: word alignments from a run's attention, their error rate, and heatmaps."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.common import Parser, file_or_stream, run_command
from nmt.cli.compare import line_numbers
from nmt.data.compression import writing_text
from nmt.errors import NmtError, UsageError
from nmt.files import atomic_write, check_writable, from_home
from nmt.messages import tell

if TYPE_CHECKING:
    from nmt.evaluation.alignment_error import AlignmentScores, Gold
    from nmt.evaluation.sets import EvaluationSet
    from nmt.inference.word_attention import Selection
    from nmt.runs.run import LoadedRun

say = partial(tell, speaker="nmt-align")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-align",
        "RUN_DIR --source F --target F [--gold F] [-o F] [--heatmap 3,17] [--layer N|mean|all] [...]",
        "Align the words of sentence pairs by the attention of a trained system: one line of Pharaoh links\n"
        "(source-target, from 0) for each pair.",
        "example: nmt-align runs/demo/rnnsearch --source test.de --target test.en --gold test.align -o links.txt",
    )
    parser.add_run()
    add = parser.add_argument
    add("--source", metavar="F", type=from_home, required=True, help="source text, one sentence a line")
    add("--target", metavar="F", type=from_home, required=True, help="its translation, line by line")
    add("--tag", metavar="TAG", help="one of the tags that the model was trained with, for all pairs")
    gold = "gold links (3-4 sure, 3?4 possible): prints AER, precision and recall, on stdout with -o, else on stderr"
    add("--gold", metavar="F", type=from_home, help=gold)
    links = "the file of links, compressed by its name (.gz, .xz); default, and -: standard output"
    add("-o", "--output", metavar="F", type=file_or_stream, help=links)
    add("--json", action="store_true", help="print the scores as JSON")
    add("--heatmap", metavar="LINES", type=line_numbers, help="draw these lines (from 1), such as 3,17")
    add("--heatmap-dir", metavar="DIR", type=from_home, default="heatmaps", help="default: heatmaps")
    add("--heatmap-format", choices=["png", "svg"], default="png", help="default: png")
    layer = (
        "layer, from 1; mean: their average; all: a row of maps for each (links: the average); default: last but one"
    )
    add("--layer", metavar="N|mean|all", type=_choice, help=layer)
    head = "head, from 1; mean: their average (default); all: a map for each (links: the average)"
    add("--head", metavar="N|mean|all", type=_choice, default="mean", help=head)
    kind = "what heatmaps show: target to source (default), or a Transformer's self-attention, which has no links"
    add("--attention", choices=["cross", "encoder", "decoder"], default="cross", help=kind)
    parser.add_checkpoint()
    parser.add_device()
    return run_command(parser, _align, argv)


def _choice(text: str) -> int | str:
    if text in ("mean", "all"):
        return text
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is neither a number from 1 nor mean or all")
    return int(text)


def _align(arguments: Namespace) -> None:
    from nmt.data.tags import tags_of_lines
    from nmt.evaluation.alignment_error import check_count, read_gold
    from nmt.evaluation.sets import set_from_files
    from nmt.runs.run import check_run

    if arguments.attention != "cross":
        _check_pictures_alone(arguments)
    pairs = set_from_files(arguments.source, arguments.target)
    for line in arguments.heatmap or ():
        if line > len(pairs.sources):
            raise UsageError(f"--heatmap {line}: {arguments.source} has {len(pairs.sources):,} lines")
    gold = None if arguments.gold is None else read_gold(arguments.gold)
    if gold is not None:
        check_count(gold, len(pairs.sources), arguments.gold)
    if arguments.output is not None:
        check_writable(arguments.output)
    if arguments.heatmap:
        check_writable(arguments.heatmap_dir, folder=True)
    check_run(arguments.run_dir, arguments.checkpoint)
    run = _load(arguments)
    tags = tags_of_lines(arguments.tag, len(pairs.sources), run.tokenizer, run.config.data.always_tagged)
    if arguments.attention == "cross":
        _write_links(arguments, run, pairs, tags, gold)
    if arguments.heatmap:
        _draw(arguments, run, pairs, tags)


def _check_pictures_alone(arguments: Namespace) -> None:
    """Refuse options about links beside self-attention, which has none."""
    option = f"--attention {arguments.attention}"
    if not arguments.heatmap:
        raise UsageError(f"{option} is for pictures: say of which lines, such as --heatmap 3,17")
    for name, given in (("--gold", arguments.gold), ("--output", arguments.output), ("--json", arguments.json)):
        if given:
            raise UsageError(f"{option} draws self-attention, which links no source word to a target word: omit {name}")


def _load(arguments: Namespace) -> LoadedRun:
    from nmt.device import choose_device
    from nmt.runs.run import load_run

    device = choose_device(arguments.device)
    run = load_run(arguments.run_dir, arguments.checkpoint)
    family, kind = run.config.model.family, arguments.attention
    if not run.model.attends:
        raise NmtError(
            f"{arguments.run_dir} has no attention to read an alignment from: a {family} model passes "
            "the source on as one fixed vector"
        )
    if not run.model.has_attention(kind):
        raise NmtError(
            f"{arguments.run_dir} has no self-attention to draw: no layer of its {kind} has any; "
            "--attention cross shows what the decoder attends to in the source"
        )
    run.model.to(device)
    return run


def _write_links(
    arguments: Namespace, run: LoadedRun, pairs: EvaluationSet, tags: list[str | None], gold: list[Gold] | None
) -> None:
    """Write a line of links for each pair and, given gold links, their scores."""
    from nmt.evaluation.alignment_error import alignment_scores, check_gold, format_links
    from nmt.inference.word_attention import word_attention

    attentions = word_attention(
        run.model, run.tokenizer, pairs.sources, pairs.references, _selection(arguments), _languages(run), tags
    )
    if gold is not None:
        words = [(len(one.source_words), len(one.target_words)) for one in attentions]
        check_gold(gold, words, arguments.gold)
    links = [one.links for one in attentions]
    lines = "".join(f"{format_links(of_sentence)}\n" for of_sentence in links)
    if arguments.output is None:
        sys.stdout.write(lines)
    else:
        with writing_text(arguments.output) as file:
            file.write(lines)
    if gold is not None:
        scores = alignment_scores(links, gold)
        text = json.dumps(asdict(scores), indent=2) if arguments.json else _table(scores)
        print(text, file=sys.stderr if arguments.output is None else sys.stdout)


def _draw(arguments: Namespace, run: LoadedRun, pairs: EvaluationSet, tags: list[str | None]) -> None:
    from nmt.pictures.fonts import missing_characters
    from nmt.pictures.heatmap import to_png, to_svg
    from nmt.report.attention import pictures

    drawn = pictures(
        Path(arguments.run_dir).resolve().name,
        run.model,
        run.tokenizer,
        [(line, pairs.sources[line - 1], pairs.references[line - 1]) for line in arguments.heatmap],
        _selection(arguments),
        arguments.attention,
        _languages(run),
        [tags[line - 1] for line in arguments.heatmap],
    )
    for line, picture in zip(arguments.heatmap, drawn, strict=True):
        figure = picture.draw()
        path = Path(arguments.heatmap_dir) / f"{picture.stem}.{arguments.heatmap_format}"
        content = to_png(figure) if arguments.heatmap_format == "png" else to_svg(figure).encode("utf-8")
        with atomic_write(path, "wb") as file:
            file.write(content)
        say(f"line {line}: {path}")
        if missing := missing_characters([*picture.keys, *picture.queries]):
            say(f"line {line}: no installed font has {missing}: boxes stand in their place (install one, such as Noto)")


def _selection(arguments: Namespace) -> Selection:
    from nmt.inference.word_attention import Selection

    return Selection(arguments.layer, arguments.head)


def _languages(run: LoadedRun) -> tuple[str, str]:
    return run.config.data.source_language, run.config.data.target_language


def _table(scores: AlignmentScores) -> str:
    from nmt.report.table import format_table

    header = ["AER", "precision", "recall", "links", "sentences"]
    figures = [f"{scores.aer:.4f}", f"{scores.precision:.4f}", f"{scores.recall:.4f}"]
    return format_table(header, [[*figures, f"{scores.links:,}", f"{scores.sentences:,}"]], left=0)


if __name__ == "__main__":
    sys.exit(main())
