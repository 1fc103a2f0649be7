"""The options of nmt-translate."""

from __future__ import annotations

from argparse import Namespace

from nmt.cli.common import Parser, file_or_stream, number
from nmt.cli.translate.search_options import add_search_options
from nmt.config.ranges import BeamSize, Count, LengthPenalty, Processes
from nmt.files import from_home
from nmt.inference.lines import LineReader


def make_parser() -> Parser:
    """The parser of the command."""
    parser = Parser(
        "nmt-translate",
        "RUN_DIR ... [-i FILE] [-o FILE] [--beam-size N] [--length-penalty A] [--n-best N] [--checkpoint NAME] [...]",
        "Translate raw text with a trained system: line i of the output answers line i of the input.",
        "example: nmt-translate runs/demo/transformer < source.de > translations.en",
    )
    parser.add_argument(
        "run_dir",
        metavar="RUN_DIR",
        type=from_home,
        nargs="+",
        help="a run directory of nmt-train; several translate as an ensemble",
    )
    parser.add_argument(
        "-i",
        "--input",
        metavar="FILE",
        type=file_or_stream,
        help="text, or a compressed one by its name (.gz, .xz); default, and -: standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        type=file_or_stream,
        help="written once all is done, compressed by its name (.gz, .xz); default, and -: standard output",
    )
    _add_inputs(parser)
    parser.add_argument("--tag", metavar="TAG", help="one of the tags that the model was trained with, for all lines")
    parser.add_argument("--beam-size", metavar="N", type=number(BeamSize), help="1 = greedy; default: search.beam_size")
    parser.add_argument(
        "--length-penalty", metavar="A", type=number(LengthPenalty), help="default: search.length_penalty"
    )
    parser.add_argument(
        "--search",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="any other search.* key of the configuration, such as stop=exact; may be repeated",
    )
    parser.add_argument("--n-best", metavar="N", type=number(BeamSize), help="a JSON object a line with N hypotheses")
    add_search_options(parser)
    parser.add_checkpoint()
    parser.add_device()
    parser.add_argument(
        "--engine",
        choices=["auto", "native", "ctranslate2"],
        default="auto",
        help="what searches; default: auto, which is ctranslate2 for int8 and fp16, and native for all else",
    )
    parser.add_argument(
        "--precision",
        choices=["auto", "fp32", "bf16", "fp16", "int8"],
        help="auto: bf16 on a GPU, else fp32; fp16 is for GPUs; default: search.precision",
    )
    return parser


def _add_inputs(parser: Parser) -> None:
    """How lines are read, and how whole files are translated."""
    parser.add_argument(
        "--tsv",
        metavar="COLUMN",
        type=number(Count),
        help="translate this column, from 1, and append the answer as one",
    )
    parser.add_argument(
        "--on-error",
        choices=["stop", "skip", "replace"],
        default="stop",
        help="at broken UTF-8 and control characters; default: stop",
    )
    parser.add_argument("--resume", action="store_true", help="go on where an earlier call with -i and -o stopped")
    parser.add_argument(
        "--workers", metavar="N", type=number(Processes), default=1, help="processes, for -i and -o; default: 1"
    )


def reader_of(arguments: Namespace) -> LineReader:
    """What reads the input as the options say."""
    return LineReader(arguments.input or "standard input", arguments.on_error, arguments.tsv)
