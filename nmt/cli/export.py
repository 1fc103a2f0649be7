"""nmt-export: convert a trained model to the format of another program (CTranslate2)."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.common import Parser, check_stdout, place, run_command
from nmt.extras import import_extra
from nmt.messages import tell

if TYPE_CHECKING:
    from nmt.runs.checkpoints import CheckpointInfo


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-export",
        "RUN_DIR [--format ctranslate2] [--checkpoint NAME] [-o DIR]",
        "Convert a trained Transformer to a CTranslate2 model and print the model's folder.\n"
        "nmt-translate --precision int8 does this itself when it is used for the first time.",
        "example: nmt-export runs/my --format ctranslate2",
    )
    parser.add_run()
    to = "the format to convert to; default: ctranslate2"
    parser.add_argument("--format", choices=["ctranslate2"], default="ctranslate2", help=to)
    parser.add_checkpoint()
    folder = "the folder to write the model to; default: RUN_DIR/exports/ctranslate2"
    parser.add_argument("-o", "--output", metavar="DIR", type=place, help=folder)
    return run_command(parser, _export, argv)


def _export(arguments: Namespace) -> None:
    from nmt.inference.export.current import check_family, place_of_export
    from nmt.runs.checkpoints import read_checkpoint
    from nmt.runs.run import check_run, load_run

    check_stdout()
    check_family(arguments.run_dir, check_run(arguments.run_dir, arguments.checkpoint))
    place_of_export(arguments.run_dir, arguments.output)
    import_extra("ctranslate2", "fast")
    from nmt.inference.export.ctranslate2 import export  # imports torch, so it comes after the checks

    def exported(checkpoint: CheckpointInfo) -> tuple[CheckpointInfo, Path]:
        return checkpoint, export(load_run(arguments.run_dir, checkpoint.name), arguments.output)

    checkpoint, path = read_checkpoint(arguments.run_dir, arguments.checkpoint, exported)
    tell(f"{arguments.run_dir}: exported {checkpoint.name}", "nmt-export")
    print(path)


if __name__ == "__main__":
    sys.exit(main())
