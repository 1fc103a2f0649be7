"""nmt-heads: measure what each attention head of a Transformer does, and how much its loss depends on it."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.cli.common import Parser, check_stdout, file_or_stream, number, place, run_command
from nmt.cli.overwriting import check_pairs_kept
from nmt.config.ranges import Count
from nmt.data.compression import writing_text
from nmt.errors import NmtError, UsageError
from nmt.files import check_writable
from nmt.messages import tell

if TYPE_CHECKING:
    from nmt.config.heads import Head
    from nmt.evaluation.heads import HeadMeasures
    from nmt.runs.run import LoadedRun

say = partial(tell, speaker="nmt-heads")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-heads",
        "RUN_DIR --source F --target F [--gold F] [--json] [-o FILE | --prune N -o NEW_RUN] [...]",
        "Measure the attention heads of a Transformer on sentence pairs. Prints a line for each head: its importance\n"
        "for the loss (Michel et al. 2019), the mean entropy of its weights in nats, the mean distance of what it\n"
        "attends to in tokens and, with gold links, the error rate of its alignment. With --prune, writes a smaller\n"
        "run without the heads that matter least.",
        "example: nmt-heads runs/demo/transformer --source val.de --target val.en --prune 4 -o runs/demo/pruned",
    )
    parser.add_run()
    add = parser.add_argument
    parser.add_pairs()
    gold = (
        "gold links (3-4 is sure, 3?4 is possible), to score the alignment of each head that attends to the source; "
        "the best one is marked"
    )
    add("--gold", metavar="F", type=place, help=gold)
    add("--json", action="store_true", help="print the figures as JSON, not rounded, instead of a table")
    prune = "remove the N heads with the least normalised importance, and write the smaller run to -o"
    add("--prune", metavar="N", type=number(Count), help=prune)
    output = (
        "write the figures to this file, compressed if its name ends in .gz or .xz; without it, or with -, to standard "
        "output; with --prune: the folder of the new run"
    )
    add("-o", "--output", metavar="FILE", type=file_or_stream, help=output)
    parser.add_checkpoint()
    parser.add_device()
    return run_command(parser, _heads, argv)


def _heads(arguments: Namespace) -> None:
    from nmt.runs.run import check_run

    prunes, output = arguments.prune is not None, arguments.output
    if prunes:
        _check_new_run(output)
    elif output is not None:
        check_pairs_kept(arguments, output)
        check_writable(output)
    if prunes or output is None:
        check_stdout()
    check_run(arguments.run_dir, arguments.checkpoint)
    run = _load(arguments)
    measured = _measured(arguments, run)
    removed = _prune(arguments, run, measured) if prunes else []
    text = json.dumps(_entries(measured, removed), indent=2) if arguments.json else _table(measured, removed)
    if prunes or output is None:
        print(text)
    else:
        with writing_text(output) as file:
            file.write(text + "\n")


def _check_new_run(output: str | None) -> None:
    """Raise UsageError or NmtError if no pruned run can be written to this folder."""
    from nmt.training.prune import check_new

    if output is None:
        raise UsageError("--prune writes a new run: name its folder, such as -o runs/pruned")
    check_writable(output, folder=True)
    check_new(Path(output))


def _prune(arguments: Namespace, run: LoadedRun, measured: Sequence[HeadMeasures]) -> list[Head]:
    """Write the pruned run, and return the heads that it is without."""
    from nmt.config.models import TransformerConfig
    from nmt.training.prune import least_important, prune_run

    config = run.config.model
    assert isinstance(config, TransformerConfig), "other models have no heads"
    removed = least_important(measured, arguments.prune, config)
    count = sum(parameter.numel() for parameter in run.model.parameters())
    pruned = prune_run(run, removed, Path(arguments.output))
    left = sum(parameter.numel() for parameter in pruned.parameters())
    say(
        f"{arguments.output}: {len(removed)} of {len(measured)} heads removed, {left:,} of {count:,} parameters left; "
        f"to train it further: nmt-train {shlex.quote(str(Path(arguments.output) / 'config.yaml'))} with a higher limit"
    )
    return removed


def _load(arguments: Namespace) -> LoadedRun:
    from nmt.device import choose_device
    from nmt.models.attention_heads import heads_of
    from nmt.runs.run import load_run

    device = choose_device(arguments.device)
    run = load_run(arguments.run_dir, arguments.checkpoint)
    if not heads_of(run.model):
        raise NmtError(
            f"{arguments.run_dir} has no heads to measure: they are part of a Transformer, and this is a "
            f"{run.config.model.family} model"
        )
    run.model.to(device)
    return run


def _measured(arguments: Namespace, run: LoadedRun) -> list[HeadMeasures]:
    from nmt.data.alignments import read_gold
    from nmt.evaluation.alignment_error import check_count
    from nmt.evaluation.heads import measure_run
    from nmt.evaluation.sets import set_from_files

    pairs = set_from_files(arguments.source, arguments.target)
    gold = None if arguments.gold is None else read_gold(arguments.gold)
    if gold is not None:
        check_count(gold, len(pairs.sources), arguments.gold)
    return measure_run(run, pairs, arguments.tag, gold, arguments.gold)


def _entries(measured: Sequence[HeadMeasures], removed: Sequence[Head]) -> list[dict[str, Any]]:
    """Return what JSON shows of each head: the table's columns, without the error rate if there are no gold links."""
    scored = any(each.aer is not None for each in measured)
    return [
        {
            "head": str(each.head),
            "importance": each.importance,
            "normalised": each.normalised,
            "entropy": each.entropy,
            "distance": each.distance,
            **({"aer": each.aer} if scored else {}),
            **({"removed": each.head in removed} if removed else {}),
        }
        for each in measured
    ]


def _table(measured: Sequence[HeadMeasures], removed: Sequence[Head]) -> str:
    from nmt.report.table import format_table

    best = min((each.aer for each in measured if each.aer is not None), default=None)
    header = ["head", "importance", "normalised", "entropy", "distance", *([] if best is None else ["AER", ""])]
    header += [""] if removed else []
    rows = []
    for each in measured:
        row = [str(each.head), f"{each.importance:.5f}", f"{each.normalised:.3f}"]
        row += [f"{each.entropy:.2f}", f"{each.distance:.2f}"]
        if best is not None:
            row += ["" if each.aer is None else f"{each.aer:.4f}", "best" if each.aer == best else ""]
        rows.append([*row, *(["removed" if each.head in removed else ""] if removed else [])])
    return format_table(header, rows)


if __name__ == "__main__":
    sys.exit(main())
