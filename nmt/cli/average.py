"""nmt-average: one averaged checkpoint out of several that a run has kept."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.common import Parser, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-average",
        "RUN_DIR [--of best|last] [--count N]",
        "Average the weights of checkpoints that a run has kept (training.keep_best, training.keep_last). The result\n"
        "is the run's averaged checkpoint, which the other commands then take by default. Prints its folder.",
        "example: nmt-average runs/my --of last --count 5",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a run directory of nmt-train")
    parser.add_argument("--of", choices=["best", "last"], default="best", help="which checkpoints; default: best")
    parser.add_argument(
        "--count",
        metavar="N",
        type=_count,
        help="how many of them; default: all of the best that are kept, the last training.keep_last",
    )
    return run_command(parser, _average, argv)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise ArgumentTypeError(f"{text!r} is not a number from 2")
    return int(text)


def _average(arguments: Namespace) -> None:
    from nmt.training.average import average_checkpoints, kept_steps, point_to_average, save_average
    from nmt.training.run import alone

    run_dir = arguments.run_dir
    steps = kept_steps(run_dir, arguments.of, arguments.count)
    with alone(Path(run_dir)):
        listed = ", ".join(f"{step:,}" for step in sorted(steps))
        print(f"nmt-average: {run_dir}: averaging steps {listed} ({arguments.of})", file=sys.stderr, flush=True)
        path = save_average(run_dir, average_checkpoints(run_dir, steps), steps)
        point_to_average(run_dir, path)
    print(path)


if __name__ == "__main__":
    sys.exit(main())
