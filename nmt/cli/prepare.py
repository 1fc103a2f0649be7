"""nmt-prepare: clean the data of a configuration, train its tokenizer and store the ids, without training."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.common import Parser, run_command
from nmt.files import check_writable, from_home
from nmt.messages import on_terminal, tell


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-prepare",
        "CONFIG.yaml|PRESET [key=value ...] [--report FILE.html]",
        "Prepare the data of a configuration: clean the training text, train the tokenizer, store the ids. Prints the\n"
        "folder they are in. nmt-train does the same where it has not been done.",
        "example: nmt-prepare multi30k_de_en data.path=multi30k tokenizer.vocab_size=4000",
    )
    parser.add_config()
    card = "write a data card: sizes, lengths, what was dropped, coverage, overlap; its figures in FILE.json"
    parser.add_argument("--report", metavar="FILE.html", type=_page, help=card)
    return run_command(parser, _prepare, argv)


def _page(text: str) -> Path:
    """An argument type: the file of a page."""
    path = Path(from_home(text))
    if path.suffix != ".html" or path.is_dir():
        raise ArgumentTypeError(f"{text!r} is no name of a page such as data.html")
    return path


def _prepare(arguments: Namespace) -> None:
    from nmt.config.load import load_config
    from nmt.data.corpora import check_test_sets
    from nmt.data.prepare import prepare
    from nmt.training.fine_tune import inherit

    config, tokenizer = inherit(load_config(arguments.config, arguments.overrides))
    check_test_sets(config.data)
    if arguments.report is not None:
        check_writable(arguments.report)
    prepared = prepare(config, tell, tokenizer, live=on_terminal())
    print(prepared.folder)
    if arguments.report is not None:
        from nmt.report.data_card import write_data_card

        write_data_card(config, prepared, arguments.report, tell)
        tell(f"data card: {arguments.report}")


if __name__ == "__main__":
    sys.exit(main())
