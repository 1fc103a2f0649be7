"""nmt-prepare: clean the data of a configuration, train its tokenizer and store the ids, without training."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence

from nmt.cli.common import Parser, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(
        "nmt-prepare",
        "CONFIG.yaml|PRESET [key=value ...]",
        "Prepare the data of a configuration: clean the training text, train the tokenizer, store the ids. Prints the\n"
        "folder they are in. nmt-train does the same where it has not been done.",
        "example: nmt-prepare multi30k_de_en data.path=multi30k tokenizer.vocab_size=4000",
    )
    parser.add_config()
    return run_command(parser, _prepare, argv)


def _prepare(arguments: Namespace) -> None:
    from nmt.config.load import load_config
    from nmt.data.prepare import prepare

    config, tokenizer = load_config(arguments.config, arguments.overrides), None
    if config.fine_tune.run is not None:
        from nmt.training.fine_tune import inherit

        config, tokenizer = inherit(config)
    prepared = prepare(config, lambda line: print(line, file=sys.stderr), tokenizer, live=sys.stderr.isatty())
    print(prepared.folder)


if __name__ == "__main__":
    sys.exit(main())
