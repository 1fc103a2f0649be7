"""nmt-shortlist: which target tokens a source token is likely to need, for searches that score no others."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nmt.cli.common import Parser, number, run_command
from nmt.config.ranges import Count, Natural
from nmt.files import check_writable
from nmt.messages import tell

say = partial(tell, speaker="nmt-shortlist")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-shortlist",
        "RUN_DIR [--best N] [--first N]",
        "Make a run's shortlist from its training data: the target tokens that each source token is likely to need,\n"
        "for nmt-translate --search shortlist=true, which scores no others. Prints its file.",
        "example: nmt-shortlist runs/my",
    )
    parser.add_run()
    best, first = "translations of each source token; default: 50", "most frequent target tokens, for every sentence"
    parser.add_argument("--best", metavar="N", type=number(Count), default=50, help=best)
    parser.add_argument("--first", metavar="N", type=number(Natural), default=100, help=f"{first}; default: 100")
    return run_command(parser, _shortlist, argv)


def _shortlist(arguments: Namespace) -> None:
    from nmt.runs.run import SHORTLIST, read_run_config
    from nmt.training.learn_shortlist import make_shortlist

    read_run_config(arguments.run_dir)  # it is a run
    check_writable(Path(arguments.run_dir) / SHORTLIST)
    print(make_shortlist(arguments.run_dir, arguments.best, arguments.first, say))


if __name__ == "__main__":
    sys.exit(main())
