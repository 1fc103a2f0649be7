"""nmt-shortlist: learn the likely translations of each source token, or a dictionary of words, from training data."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nmt.cli.common import Parser, check_stdout, number, run_command
from nmt.config.ranges import Count, Natural
from nmt.errors import UsageError
from nmt.files import check_writable
from nmt.messages import tell

say = partial(tell, speaker="nmt-shortlist")
_SIZES = {"best": 50, "first": 100}  # the default size of a shortlist


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-shortlist",
        "RUN_DIR [--best N] [--first N] | RUN_DIR --dictionary",
        "Make the shortlist of a run from its training data: for each source token, the target tokens that its\n"
        "translation is likely to need. nmt-translate --search shortlist=true then scores only these tokens, which is\n"
        "faster. Prints the name of the shortlist file. With --dictionary, a dictionary of words is made instead, for\n"
        "nmt-translate --search replace_unknown=dictionary.",
        "example: nmt-shortlist runs/my",
    )
    parser.add_run()
    best = "keep the N most probable translations of each source token; default: 50"
    parser.add_argument("--best", metavar="N", type=number(Count), help=best)
    first = "add the N most frequent target tokens to the shortlist of every sentence; default: 100"
    parser.add_argument("--first", metavar="N", type=number(Natural), help=first)
    dictionary = "make dictionary.tsv, which has a likely translation of each source word, instead of a shortlist"
    parser.add_argument("--dictionary", action="store_true", help=dictionary)
    return run_command(parser, _shortlist, argv)


def _shortlist(arguments: Namespace) -> None:
    from nmt.runs.run import DICTIONARY, SHORTLIST, read_run_config
    from nmt.training.learn_dictionary import make_dictionary
    from nmt.training.learn_shortlist import make_shortlist

    sizes = {name: value for name in ("best", "first") if (value := getattr(arguments, name)) is not None}
    if arguments.dictionary and sizes:
        raise UsageError(f"--{next(iter(sizes))} has no meaning with --dictionary: leave one of them out")
    check_stdout()
    read_run_config(arguments.run_dir)  # fails early if this is not a run directory
    check_writable(Path(arguments.run_dir) / (DICTIONARY if arguments.dictionary else SHORTLIST))
    if arguments.dictionary:
        print(make_dictionary(arguments.run_dir, say))
    else:
        print(make_shortlist(arguments.run_dir, **{**_SIZES, **sizes}, log=say))


if __name__ == "__main__":
    sys.exit(main())
