"""nmt-prepare: clean the data of a configuration, train its tokenizer and store the token ids, without training."""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from nmt.cli.common import Parser, check_stdout, run_command
from nmt.files import from_home
from nmt.messages import on_terminal, tell


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-prepare",
        "CONFIG.yaml|PRESET [key=value ...] [--report FILE.html]",
        "Prepare the data of a configuration: clean the training text, train the tokenizer and store the token ids.\n"
        "Prints the folder with the prepared data. nmt-train prepares the data itself if that has not been done yet.",
        "example: nmt-prepare multi30k_de_en data.path=multi30k tokenizer.vocab_size=4000",
    )
    parser.add_config()
    card = (
        "also write a data card, a page about the data: sizes, sentence lengths, dropped pairs, coverage of the "
        "vocabulary, overlap of training and test sets; its figures go to FILE.json"
    )
    parser.add_argument("--report", metavar="FILE.html", type=_page, help=card)
    return run_command(parser, _prepare, argv)


def _page(text: str) -> Path:
    """Parse an argument that names an HTML file to write."""
    path = Path(from_home(text))
    if path.suffix != ".html" or path.is_dir():
        raise ArgumentTypeError(f"{text!r} is not the name of an HTML file such as data.html")
    return path


def _prepare(arguments: Namespace) -> None:
    from nmt.config.load import load_config
    from nmt.data.corpora import check_test_sets
    from nmt.data.prepare import prepare
    from nmt.training.fine_tune import inherit

    check_stdout()
    config, tokenizer = inherit(load_config(arguments.config, arguments.overrides))
    check_test_sets(config.data)
    if arguments.report is not None:
        from nmt.report.data_card import check_places

        check_places(arguments.report)
    prepared = prepare(config, tell, tokenizer, live=on_terminal())
    print(prepared.folder)
    if arguments.report is not None:
        from nmt.report.data_card import write_data_card

        write_data_card(config, prepared, arguments.report, tell)
        tell(f"data card: {arguments.report}")


if __name__ == "__main__":
    sys.exit(main())
