"""nmt-align: read word alignments from a model's attention, compute their error rate and draw heatmaps."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.common import Parser, check_stdout, file_or_stream, number, place, run_command
from nmt.cli.compare import line_numbers
from nmt.cli.overwriting import check_pairs_kept
from nmt.config.ranges import Count
from nmt.data.compression import writing_text
from nmt.errors import NmtError, UsageError
from nmt.files import atomic_write, check_writable
from nmt.messages import tell

if TYPE_CHECKING:
    from nmt.data.alignments import Gold
    from nmt.evaluation.alignment_error import AlignmentScores
    from nmt.evaluation.sets import EvaluationSet
    from nmt.inference.word_attention import Selection
    from nmt.runs.run import LoadedRun

HEATMAPS = "heatmaps"  # the default folder
say = partial(tell, speaker="nmt-align")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-align",
        "RUN_DIR --source F --target F [--gold F] [-o F] [--heatmap 3,17] [--layer N|mean|all] [...]",
        "Align the words of sentence pairs, using the attention of a trained model. Writes one line of links for each\n"
        "pair, in Pharaoh format (source word-target word, counted from 0, such as 0-0 1-2).",
        "example: nmt-align runs/demo/rnnsearch --source test.de --target test.en --gold test.align -o links.txt",
    )
    parser.add_run()
    add = parser.add_argument
    parser.add_pairs()
    gold = (
        "gold links to score against (3-4 is sure, 3?4 is possible): prints AER, precision and recall, on standard "
        "output with -o, otherwise on standard error"
    )
    add("--gold", metavar="F", type=place, help=gold)
    links = (
        "write the links to this file, compressed if its name ends in .gz or .xz; without it, or with -, to standard "
        "output"
    )
    add("-o", "--output", metavar="F", type=file_or_stream, help=links)
    add("--json", action="store_true", help="print the scores as JSON instead of a table")
    lines = "draw a heatmap of each of these sentence pairs, by line number from 1, such as 3,17"
    add("--heatmap", metavar="LINES", type=line_numbers, help=lines)
    folder = f"the folder to write heatmaps to; default: {HEATMAPS}"
    add("--heatmap-dir", metavar="DIR", type=place, help=folder)
    add("--heatmap-format", choices=["png", "svg"], help="the format of heatmaps; default: png")
    layer = (
        "the layer whose attention is read, counted from 1; mean: the average over all layers; all: a row of heatmaps "
        "for each layer (links use the average); default: the last layer but one"
    )
    add("--layer", metavar="N|mean|all", type=_choice, help=layer)
    head = (
        "the head whose attention is read, counted from 1; mean: the average over all heads (default); all: a heatmap "
        "for each head (links use the average)"
    )
    add("--head", metavar="N|mean|all", type=_choice, default="mean", help=head)
    kind = (
        "the attention that heatmaps show: cross is from target to source (default); encoder and decoder are a "
        "Transformer's self-attention, for which no links are written"
    )
    add("--attention", choices=["cross", "encoder", "decoder"], default="cross", help=kind)
    shown = (
        "with --attention encoder: draw the weights of each layer (default), or follow attention through all layers up "
        "to --layer (default: the last) down to the source words, by attention rollout or attention flow"
    )
    add("--map", choices=["weights", "rollout", "flow"], default="weights", help=shown)
    parser.add_checkpoint()
    parser.add_device()
    return run_command(parser, _align, argv)


def _choice(text: str) -> int | str:
    if text in ("mean", "all"):
        return text
    try:
        return int(number(Count)(text))
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}, mean or all") from error


def _align(arguments: Namespace) -> None:
    from nmt.data.alignments import read_gold
    from nmt.data.tags import tags_of_lines
    from nmt.evaluation.alignment_error import check_count
    from nmt.evaluation.sets import set_from_files
    from nmt.runs.run import check_run

    if arguments.json and arguments.gold is None:
        raise UsageError("--json prints the scores against gold links: add --gold")
    if not arguments.heatmap:
        _check_no_heatmaps(arguments)
    arguments.heatmap_dir = arguments.heatmap_dir or HEATMAPS
    if arguments.map != "weights":
        _check_followed(arguments)
    if arguments.attention != "cross":
        _check_only_heatmaps(arguments)
    elif arguments.output is None or arguments.gold is not None:
        check_stdout()
    pairs = set_from_files(arguments.source, arguments.target)
    for line in arguments.heatmap or ():
        if line > len(pairs.sources):
            raise UsageError(f"--heatmap {line}: {arguments.source} has {len(pairs.sources):,} lines")
    gold = None if arguments.gold is None else read_gold(arguments.gold)
    if gold is not None:
        check_count(gold, len(pairs.sources), arguments.gold)
    if arguments.output is not None:
        check_pairs_kept(arguments, arguments.output)
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


def _check_no_heatmaps(arguments: Namespace) -> None:
    """Raise UsageError for an option of heatmaps, if none are drawn."""
    options = {"--heatmap-format": arguments.heatmap_format, "--heatmap-dir": arguments.heatmap_dir}
    if option := next(filter(options.get, options), None):
        raise UsageError(f"{option} is an option of heatmaps: add --heatmap LINES")


def _check_only_heatmaps(arguments: Namespace) -> None:
    """Raise UsageError if self-attention is combined with an option about links, or is drawn for no line."""
    option = f"--attention {arguments.attention}"
    if not arguments.heatmap:
        raise UsageError(f"{option} only draws heatmaps: name the lines to draw, such as --heatmap 3,17")
    for name, given in (("--gold", arguments.gold), ("--output", arguments.output), ("--json", arguments.json)):
        if given:
            raise UsageError(f"{option} draws self-attention, which links no source word to a target word: omit {name}")


def _check_followed(arguments: Namespace) -> None:
    """Raise UsageError for an option that does not go together with attention that is followed through layers."""
    option = f"--map {arguments.map}"
    if arguments.attention != "encoder":
        raise UsageError(f"{option} follows attention through the layers of an encoder: add --attention encoder")
    if arguments.head != "mean":
        raise UsageError(f"{option} takes the mean of all heads in each layer: omit --head")
    if arguments.layer == "mean":
        raise UsageError(f"{option} follows attention down from one layer: give --layer its number, or all")


def _load(arguments: Namespace) -> LoadedRun:
    from nmt.device import choose_device
    from nmt.runs.run import load_run

    device = choose_device(arguments.device)
    run = load_run(arguments.run_dir, arguments.checkpoint)
    family, kind = run.config.model.family, arguments.attention
    if not run.model.attends:
        raise NmtError(
            f"{arguments.run_dir} has no attention to read an alignment from: the decoder of a {family} model reads "
            "the source as one fixed vector"
        )
    if not run.model.has_attention(kind):
        raise NmtError(
            f"{arguments.run_dir} has no self-attention to draw: no layer of its {kind} has any; "
            "--attention cross shows what the decoder attends to in the source"
        )
    _refuse_removed(arguments, run)
    run.model.to(device)
    return run


def _refuse_removed(arguments: Namespace, run: LoadedRun) -> None:
    """Raise UsageError if the head that is asked for has been removed from the model."""
    from nmt.config.models import TransformerConfig
    from nmt.models.attention_heads import removed_of

    config = run.config.model
    if not isinstance(config, TransformerConfig):
        return
    layers = config.encoder_layers if arguments.attention == "encoder" else config.decoder_layers
    layer = max(layers - 1, 1) if arguments.layer is None else arguments.layer
    removed = removed_of(run.model, arguments.attention)
    if any((layer, arguments.head) == (at + 1, head + 1) for at, head in removed):
        raise UsageError(f"--head {arguments.head}: it has been removed from layer {layer} (model.heads.removed)")


def _write_links(
    arguments: Namespace, run: LoadedRun, pairs: EvaluationSet, tags: list[str | None], gold: list[Gold] | None
) -> None:
    """Write a line of links for each pair and, if there are gold links, print the scores."""
    from nmt.data.alignments import format_links
    from nmt.evaluation.alignment_error import alignment_scores, check_gold
    from nmt.inference.word_attention import word_attention

    attentions = word_attention(
        run.model, run.tokenizer, pairs.sources, pairs.references, _selection(arguments), _languages(run, tags), tags
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
        stream = sys.stderr if arguments.output is None else sys.stdout
        if stream is not None:  # None: it is closed
            print(text, file=stream)


def _draw(arguments: Namespace, run: LoadedRun, pairs: EvaluationSet, tags: list[str | None]) -> None:
    from nmt.pictures.fonts import missing_characters
    from nmt.pictures.heatmap import to_png, to_svg
    from nmt.report.attention import pictures
    from nmt.report.followed import followed

    name = Path(arguments.run_dir).resolve().name
    lines = [(line, pairs.sources[line - 1], pairs.references[line - 1]) for line in arguments.heatmap]
    given, tagged = (name, run.model, run.tokenizer, lines), [tags[line - 1] for line in arguments.heatmap]
    languages = _languages(run, tagged)
    if arguments.map == "weights":
        drawn = pictures(*given, _selection(arguments), arguments.attention, languages, tagged)
    else:
        drawn = followed(*given, arguments.map, arguments.layer, [source for source, _ in languages], tagged)
    for line, picture in zip(arguments.heatmap, drawn, strict=True):
        figure = picture.draw()
        ending = arguments.heatmap_format or "png"
        path = Path(arguments.heatmap_dir) / f"{picture.stem}.{ending}"
        content = to_png(figure) if ending == "png" else to_svg(figure).encode("utf-8")
        with atomic_write(path, "wb") as file:
            file.write(content)
        say(f"line {line}: {path}")
        if missing := missing_characters([*picture.keys, *picture.queries]):
            say(f"line {line}: no installed font has {missing}: boxes are drawn instead (install a font such as Noto)")


def _selection(arguments: Namespace) -> Selection:
    from nmt.inference.word_attention import Selection

    return Selection(arguments.layer, arguments.head)


def _languages(run: LoadedRun, tags: Sequence[str | None]) -> list[tuple[str, str]]:
    return [run.config.data.languages_of(tag) for tag in tags]


def _table(scores: AlignmentScores) -> str:
    from nmt.report.table import format_table

    header = ["AER", "precision", "recall", "links", "sentences"]
    figures = [f"{scores.aer:.4f}", f"{scores.precision:.4f}", f"{scores.recall:.4f}"]
    return format_table(header, [[*figures, f"{scores.links:,}", f"{scores.sentences:,}"]], left=0)


if __name__ == "__main__":
    sys.exit(main())
