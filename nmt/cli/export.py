"""nmt-export: a trained system in the format of another program."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from nmt.cli.common import Parser, run_command
from nmt.files import from_home


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-export",
        "RUN_DIR [--format ctranslate2] [--checkpoint NAME] [-o DIR]",
        "Write a trained Transformer as a CTranslate2 model, for nmt-translate --engine ctranslate2.\n"
        "Prints its folder.",
        "example: nmt-export runs/my --format ctranslate2",
    )
    parser.add_run()
    parser.add_argument("--format", choices=["ctranslate2"], default="ctranslate2", help="default: ctranslate2")
    parser.add_checkpoint()
    parser.add_argument(
        "-o", "--output", metavar="DIR", type=from_home, help="default: RUN_DIR/exports/FORMAT, where --engine looks"
    )
    return run_command(parser, _export, argv)


def _export(arguments: Namespace) -> None:
    from nmt.export.ctranslate2 import export, place_of_export
    from nmt.run import check_run, load_run

    place_of_export(arguments.run_dir, check_run(arguments.run_dir, arguments.checkpoint), arguments.output)
    run = load_run(arguments.run_dir, arguments.checkpoint)
    path = export(run, arguments.output)
    print(f"nmt-export: {arguments.run_dir}: exported {run.checkpoint.name}", file=sys.stderr, flush=True)
    print(path)


if __name__ == "__main__":
    sys.exit(main())
