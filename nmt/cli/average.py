"""nmt-average: average the weights of several checkpoints that a run has kept."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from nmt.cli.common import Parser, check_stdout, number, run_command
from nmt.config.ranges import Range
from nmt.errors import NmtError, UsageError
from nmt.messages import tell

say = partial(tell, speaker="nmt-average")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-average",
        "RUN_DIR [--of best|last] [--count N] [--force | --undo] [...]",
        "Average the weights of several checkpoints that a run has kept (see training.keep_best and keep_last). The\n"
        "average and the best checkpoint are validated as in training. If the average is better, it becomes the run's\n"
        "averaged checkpoint, which the other commands then use by default. Prints the folder of the checkpoint that\n"
        "is their default now.",
        "example: nmt-average runs/my --of last --count 5",
    )
    parser.add_run()
    which = "average the best checkpoints or the last ones; default: best"
    parser.add_argument("--of", choices=["best", "last"], help=which)
    count = "the number of checkpoints to average; default: all kept best ones, or the last training.keep_last ones"
    parser.add_argument("--count", metavar="N", type=number(Annotated[int, Range(2)]), help=count)
    parser.add_device()
    parser.add_argument("--force", action="store_true", help="use the average without validating it")
    undo = "delete the averaged checkpoint, so that the best one is used again"
    parser.add_argument("--undo", action="store_true", help=undo)
    return run_command(parser, _average, argv)


def _average(arguments: Namespace) -> None:
    if arguments.undo and (arguments.force or arguments.of or arguments.count):
        raise UsageError("--undo cannot be combined with --of, --count or --force")

    from nmt.device import choose_device
    from nmt.runs.checkpoints import find_checkpoint, refuse_strangers
    from nmt.runs.run import read_run_config
    from nmt.training.records import own_directory

    check_stdout()
    run_dir = arguments.run_dir
    read_run_config(run_dir)  # fails early if this is not a run directory
    choose_device(arguments.device)  # fails early if the device is not available
    with own_directory(Path(run_dir)) as check:
        refuse_strangers(run_dir, "averaged")
        if arguments.undo:
            _undo(run_dir)
        else:
            _make(arguments, check)
        print(find_checkpoint(run_dir).path)


def _make(arguments: Namespace, check: Callable[[], None]) -> None:
    """Average the checkpoints and keep the average if it is better, or without a comparison with --force.

    `check` is called before something is written; see `own_directory`.
    """
    from nmt.training.average import average_checkpoints, kept_steps, take_average
    from nmt.training.try_average import try_average

    run_dir = arguments.run_dir
    of: Literal["best", "last"] = arguments.of or "best"
    steps = kept_steps(run_dir, of, arguments.count)
    say(f"{run_dir}: averaging steps {', '.join(f'{step:,}' for step in sorted(steps))} ({of})")
    if arguments.force:
        average = average_checkpoints(run_dir, steps)
        check()
        take_average(run_dir, average, steps)
        say("the average is used without validation, because of --force (--undo removes it again)")
    else:
        try_average(run_dir, steps, say, check, arguments.device)


def _undo(run_dir: str) -> None:
    from nmt.training.average import delete_average

    if not delete_average(run_dir):
        raise NmtError(f"{run_dir} has no averaged checkpoint to delete")
    say(f"{run_dir}: the averaged checkpoint is deleted")


if __name__ == "__main__":
    sys.exit(main())
