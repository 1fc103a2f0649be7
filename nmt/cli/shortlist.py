"""nmt-shortlist: learn the likely target tokens of each source token, so that a search can score only those."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nmt.cli.common import Parser, check_stdout, number, run_command
from nmt.config.ranges import Count, Natural
from nmt.files import check_writable
from nmt.messages import tell

say = partial(tell, speaker="nmt-shortlist")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-shortlist",
        "RUN_DIR [--best N] [--first N]",
        "Make the shortlist of a run from its training data: for each source token, the target tokens that its\n"
        "translation is likely to need. nmt-translate --search shortlist=true then scores only these tokens, which is\n"
        "faster. Prints the name of the shortlist file.",
        "example: nmt-shortlist runs/my",
    )
    parser.add_run()
    best = "keep the N most probable translations of each source token; default: 50"
    parser.add_argument("--best", metavar="N", type=number(Count), default=50, help=best)
    first = "add the N most frequent target tokens to the shortlist of every sentence; default: 100"
    parser.add_argument("--first", metavar="N", type=number(Natural), default=100, help=first)
    return run_command(parser, _shortlist, argv)


def _shortlist(arguments: Namespace) -> None:
    from nmt.runs.run import SHORTLIST, read_run_config
    from nmt.training.learn_shortlist import make_shortlist

    check_stdout()
    read_run_config(arguments.run_dir)  # fails early if this is not a run directory
    check_writable(Path(arguments.run_dir) / SHORTLIST)
    print(make_shortlist(arguments.run_dir, arguments.best, arguments.first, say))


if __name__ == "__main__":
    sys.exit(main())
