"""The options of nmt-translate, and which of them go together."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable
from typing import Annotated, Any

from nmt.cli.common import Parser, file_or_stream, number
from nmt.config.ranges import BeamSize, Count, Processes, Range, Samples, Seed, Share
from nmt.errors import UsageError
from nmt.files import from_home
from nmt.inference.engines.engine import choose_engine
from nmt.inference.lines import LineReader
from nmt.search.distribution import Sampling

READ = ("prefix", "score")  # options that name a text beside the input
WRITTEN = ("alignments", "attention")  # and those that name a file written beside the output
_MODES = ("n_best", "sample", "mbr", "score")  # what is answered instead of the best translation
_OF_SAMPLING = ("temperature", "top_k", "top_p", "seed")
# The option on the left has no meaning with those on the right.
_EXCLUDED = {"beam_size": ("sample", "mbr", "score"), "length_penalty": ("mbr",), "prefix": ("score",)}
_NATIVE = ("sample", "mbr", "score", "prefix", *WRITTEN)  # what only the native engine has


def make_parser() -> Parser:
    """Return the parser of the command."""
    parser = Parser(
        "nmt-translate",
        "RUN_DIR ... [-i FILE] [-o FILE] [--beam-size N] [--length-penalty A] [--n-best N] [--checkpoint NAME] [...]",
        "Translate raw text with a trained system: line i of the output answers line i of the input.",
        "example: nmt-translate runs/demo/transformer < source.de > translations.en",
    )
    add = parser.add_argument
    several = "a run directory of nmt-train; several translate as an ensemble"
    add("run_dir", metavar="RUN_DIR", type=from_home, nargs="+", help=several)
    _add_inputs(parser)
    add("--tag", metavar="TAG", help="one of the tags that the model was trained with, for all lines")
    parser.add_beam()
    other_keys = "any other search.* key of the configuration, such as stop=exact; may be repeated"
    add("--search", metavar="KEY=VALUE", action="append", default=[], help=other_keys)
    add("--n-best", metavar="N", type=number(BeamSize), help="a JSON object a line with N hypotheses")
    _add_other_answers(parser)
    parser.add_checkpoint()
    parser.add_device()
    searches = "what searches; default: auto, which is ctranslate2 for int8 and fp16, and native for all else"
    add("--engine", choices=["auto", "native", "ctranslate2"], default="auto", help=searches)
    precision = "auto: bf16 on a GPU, else fp32; fp16 is for GPUs; default: search.precision"
    add("--precision", choices=["auto", "fp32", "bf16", "fp16", "int8"], help=precision)
    return parser


def _add_inputs(parser: Parser) -> None:
    """Add what says how lines are read, and how whole files are translated."""
    add = parser.add_argument
    text = "text, or a compressed one by its name (.gz, .xz); default, and -: standard input"
    add("-i", "--input", metavar="FILE", type=file_or_stream, help=text)
    written = "written once all is done, compressed by its name (.gz, .xz); default, and -: standard output"
    add("-o", "--output", metavar="FILE", type=file_or_stream, help=written)
    column = "translate this column, from 1, and append the answer as one"
    add("--tsv", metavar="COLUMN", type=number(Count), help=column)
    broken = "at broken UTF-8 and control characters; default: stop"
    add("--on-error", choices=["stop", "skip", "replace"], default="stop", help=broken)
    add("--resume", action="store_true", help="go on where an earlier call with -i and -o stopped")
    processes = "processes, for -i and -o; default: 1"
    add("--workers", metavar="N", type=number(Processes), default=1, help=processes)


def _add_other_answers(parser: Parser) -> None:
    """Add sampling, scoring, prefixes and attention."""
    add = parser.add_argument
    add("--sample", metavar="N", type=number(Samples), help="a JSON object a line with N samples")
    add("--mbr", metavar="N", type=number(Samples), help="the sample most like all of N samples (needs the extra mbr)")
    add("--temperature", metavar="T", type=number(Annotated[float, Range(0)]), help="of sampling; default: 1")
    add("--top-k", metavar="K", type=number(Count), help="sample from the K most probable tokens")
    add("--top-p", metavar="P", type=number(Share), help="sample from the most probable tokens that reach P")
    add("--seed", metavar="S", type=number(Seed), help="of sampling; default: 1")
    for name, use in {
        "score": "score these translations instead, a JSON object a line: line i is that of line i",
        "prefix": "line i begins the translation of line i",
        "alignments": "write word alignments from attention, as nmt-align does",
        "attention": "write the attention between words, a JSON object a line",
    }.items():
        add(f"--{name}", metavar="FILE", type=from_home, help=use)


def given(arguments: Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return those of the options that were given a value."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def as_typed(name: str) -> str:
    """Return an option as it is typed, such as --beam-size for beam_size."""
    return f"--{name.replace('_', '-')}"


def reader_of(arguments: Namespace) -> LineReader:
    """Return what reads the input as the options say."""
    return LineReader(arguments.input or "standard input", arguments.on_error, arguments.tsv)


def sampling_of(arguments: Namespace) -> Sampling:
    """Return what samples are drawn from. Raises UsageError for values out of range."""
    return Sampling(**given(arguments, _OF_SAMPLING))


def check_options(arguments: Namespace) -> None:
    """Refuse options that mean nothing together."""

    def first(*names: str) -> str:
        """Return the first of the options that was given, as it is typed; nothing where none was."""
        return next(map(as_typed, given(arguments, names)), "")

    modes = list(map(as_typed, given(arguments, _MODES)))
    if len(modes) > 1:
        raise UsageError(f"{modes[0]} and {modes[1]} ask for different answers: choose one")
    if not first("sample", "mbr") and (option := first(*_OF_SAMPLING)):
        raise UsageError(f"{option} is an option of sampling: add --sample N or --mbr N")
    for name, others in _EXCLUDED.items():
        if first(name) and (option := first(*others)):
            raise UsageError(f"{as_typed(name)} has no meaning with {option}: leave one of them out")
    if choose_engine(arguments.engine, arguments.precision) != "native" and (option := first(*_NATIVE)):
        raise UsageError(f"{option} needs the native engine: choose --engine native, in fp32 or bf16")
    if option := first(*WRITTEN):
        if len(arguments.run_dir) > 1:
            raise UsageError(f"{option} takes one run: the models of an ensemble attend each in its own way")
        if arguments.workers > 1 or arguments.resume or os.environ.get("WORLD_SIZE", "1") != "1":  # torchrun's
            raise UsageError(f"{option} is written by one process in one go: no --workers, no --resume")
    sampling_of(arguments)
