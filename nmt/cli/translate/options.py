"""The options of nmt-translate and the rules for which of them can be combined."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable
from typing import Annotated, Any

from nmt.cli.common import Parser, file_or_stream, number, place, several_processes
from nmt.config.ranges import BeamSize, Count, Processes, Range, Samples, Seed, Share
from nmt.errors import UsageError
from nmt.inference.engines.engine import choose_engine
from nmt.inference.lines import LineReader
from nmt.search.distribution import Sampling

READ = ("prefix", "score")  # options that name a text to read in addition to the input
WRITTEN = ("alignments", "attention")  # options that name a file to write in addition to the output
_MODES = ("n_best", "sample", "mbr", "score")  # options that ask for another output than the best translation
_OF_SAMPLING = ("temperature", "top_k", "top_p", "seed")
# Each option on the left has no effect together with those on the right.
_EXCLUDED = {"beam_size": ("sample", "mbr", "score"), "length_penalty": ("mbr",), "prefix": ("score",)}
_NATIVE = ("sample", "mbr", "score", "prefix", *WRITTEN)  # options that only the native engine supports


def make_parser() -> Parser:
    """Return the argument parser of nmt-translate."""
    parser = Parser(
        "nmt-translate",
        "RUN_DIR ... [-i FILE] [-o FILE] [--beam-size N] [--length-penalty A] [--n-best N] [--checkpoint NAME] [...]",
        "Translate raw text with a trained system: line i of the output is the translation of line i of the input.",
        "example: nmt-translate runs/demo/transformer < source.de > translations.en",
    )
    add = parser.add_argument
    several = "a run directory written by nmt-train; several run directories translate as an ensemble"
    add("run_dir", metavar="RUN_DIR", type=place, nargs="+", help=several)
    _add_inputs(parser)
    add("--tag", metavar="TAG", help="use this tag for all lines; it has to be one that the model was trained with")
    parser.add_beam()
    other_keys = "set any other search.* key of the configuration, such as stop=exact; may be repeated"
    add("--search", metavar="KEY=VALUE", action="append", default=[], help=other_keys)
    best = "write the N best hypotheses of each line, as one JSON object per line"
    add("--n-best", metavar="N", type=number(BeamSize), help=best)
    _add_other_answers(parser)
    parser.add_checkpoint()
    parser.add_device()
    engine = (
        "the engine that runs the search: native (PyTorch) or ctranslate2 (needs pip install -e '.[fast]'); default: "
        "auto, which is ctranslate2 for int8 and fp16 and native otherwise"
    )
    add("--engine", choices=["auto", "native", "ctranslate2"], default="auto", help=engine)
    precision = (
        "the numbers to compute with; auto: bf16 on a GPU, otherwise fp32; fp16 needs a GPU; default: search.precision "
        "of the run"
    )
    add("--precision", choices=["auto", "fp32", "bf16", "fp16", "int8"], help=precision)
    return parser


def _add_inputs(parser: Parser) -> None:
    """Add the options for how lines are read and written, and for translating whole files."""
    add = parser.add_argument
    text = (
        "the text to translate, decompressed if its name ends in .gz or .xz; without it, or with -, standard input is "
        "translated"
    )
    add("-i", "--input", metavar="FILE", type=file_or_stream, help=text)
    written = (
        "the file to write, compressed if its name ends in .gz or .xz; it appears when all lines are translated; "
        "without it, or with -, translations go to standard output"
    )
    add("-o", "--output", metavar="FILE", type=file_or_stream, help=written)
    column = (
        "read tab-separated values, translate this column (counted from 1) and append the translation as a new column"
    )
    add("--tsv", metavar="COLUMN", type=number(Count), help=column)
    broken = (
        "what to do with a line that has invalid UTF-8 or control characters: stop with an error (default), skip it "
        "(its translation is empty), or replace these characters"
    )
    add("--on-error", choices=["stop", "skip", "replace"], default="stop", help=broken)
    resume = "continue an interrupted call; give the same -i and -o again"
    add("--resume", action="store_true", help=resume)
    processes = "translate with N processes; needs -i and -o; default: 1"
    add("--workers", metavar="N", type=number(Processes), default=1, help=processes)


def _add_other_answers(parser: Parser) -> None:
    """Add the options for sampling, scoring, prefixes and attention."""
    add = parser.add_argument
    sample = "draw N sampled translations of each line, written as one JSON object per line"
    add("--sample", metavar="N", type=number(Samples), help=sample)
    mbr = (
        "draw N samples of each line and write the one that is most similar to all of them (minimum Bayes risk "
        "decoding; needs pip install -e '.[mbr]')"
    )
    add("--mbr", metavar="N", type=number(Samples), help=mbr)
    temperature = "sampling temperature: below 1, probable tokens are drawn more often; default: 1"
    add("--temperature", metavar="T", type=number(Annotated[float, Range(0)]), help=temperature)
    add("--top-k", metavar="K", type=number(Count), help="sample only from the K most probable tokens")
    nucleus = "sample only from the most probable tokens whose probabilities add up to P"
    add("--top-p", metavar="P", type=number(Share), help=nucleus)
    add("--seed", metavar="S", type=number(Seed), help="random seed of sampling; default: 1")
    for name, use in {
        "score": "score the translations in this file instead of translating, one line for each line of the input; "
        "writes one JSON object per line",
        "prefix": "a file with the beginning of each line's translation: translation i starts with line i of it",
        "alignments": "also write word alignments, read from attention, to this file, in the format of nmt-align",
        "attention": "also write the attention weights between words to this file, as one JSON object per line",
    }.items():
        add(f"--{name}", metavar="FILE", type=place, help=use)


def given(arguments: Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return the values of the named options that were given, keyed by name."""
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def as_typed(name: str) -> str:
    """Return an option as the user types it, such as --beam-size for beam_size."""
    return f"--{name.replace('_', '-')}"


def reader_of(arguments: Namespace) -> LineReader:
    """Return a reader of the input that follows --tsv and --on-error."""
    return LineReader(arguments.input or "standard input", arguments.on_error, arguments.tsv)


def sampling_of(arguments: Namespace) -> Sampling:
    """Return the sampling settings of the options. Raises UsageError for values out of range."""
    return Sampling(**given(arguments, _OF_SAMPLING))


def check_options(arguments: Namespace) -> None:
    """Raise UsageError for options that cannot be combined or are out of range."""

    def first(*names: str) -> str:
        """Return the first of these options that was given, as the user types it; an empty string if none was."""
        return next(map(as_typed, given(arguments, names)), "")

    modes = list(map(as_typed, given(arguments, _MODES)))
    if len(modes) > 1:
        raise UsageError(f"{modes[0]} and {modes[1]} ask for different kinds of output: choose one of them")
    if not first("sample", "mbr") and (option := first(*_OF_SAMPLING)):
        raise UsageError(f"{option} is an option of sampling: add --sample N or --mbr N")
    for name, others in _EXCLUDED.items():
        if first(name) and (option := first(*others)):
            raise UsageError(f"{as_typed(name)} has no meaning with {option}: leave one of them out")
    if choose_engine(arguments.engine, arguments.precision) != "native" and (option := first(*_NATIVE)):
        raise UsageError(f"{option} needs the native engine: choose --engine native, in fp32 or bf16")
    if option := first(*WRITTEN):
        if len(arguments.run_dir) > 1:
            raise UsageError(f"{option} takes one run: each model of an ensemble has attention weights of its own")
        if arguments.workers > 1 or arguments.resume or several_processes():
            raise UsageError(
                f"{option} is written by one process in one go: leave out --workers, --resume and torchrun"
            )
    sampling_of(arguments)
