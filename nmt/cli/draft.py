"""nmt-draft: which tokens may come next, for greedy searches that take several guessed tokens in a step."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from nmt.cli.common import Parser, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-draft",
        "RUN_DIR",
        "Make a run's draft from its training data: the target tokens that are likely after others and for a source,\n"
        "for nmt-translate --search draft=true, which takes several of them in one step. Prints its file.",
        "example: nmt-draft runs/my",
    )
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a run directory of nmt-train")
    return run_command(parser, _draft, argv)


def _draft(arguments: Namespace) -> None:
    from nmt.export.draft import make_draft

    print(make_draft(arguments.run_dir, _tell))


def _tell(line: str) -> None:
    print(f"nmt-draft: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
