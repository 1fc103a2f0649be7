"""The options of nmt-translate that ask for more than the best translations, and which of them go together."""

from __future__ import annotations

import os
from argparse import Namespace
from typing import Annotated, Any

from nmt.cli.common import Parser, number
from nmt.config.ranges import Count, Range, Samples, Seed, Share
from nmt.errors import UsageError
from nmt.files import from_home
from nmt.inference.engines.engine import choose_engine
from nmt.search.distribution import Sampling

_MODES = ("n_best", "sample", "mbr", "score")  # what is answered instead of the best translation
_OF_SAMPLING = ("temperature", "top_k", "top_p", "seed")
# The option on the left has no meaning with those on the right.
_EXCLUDED = {
    "beam_size": ("sample", "mbr", "score"),
    "length_penalty": ("mbr",),
    "prefix": ("score",),
}
_NATIVE = ("sample", "mbr", "score", "prefix", "alignments", "attention")  # what only the native engine has


def add_search_options(parser: Parser) -> None:
    """Sampling, scoring, prefixes and attention."""
    parser.add_argument("--sample", metavar="N", type=number(Samples), help="a JSON object a line with N samples")
    parser.add_argument(
        "--mbr", metavar="N", type=number(Samples), help="the sample most like all of N samples (needs the extra mbr)"
    )
    parser.add_argument(
        "--temperature", metavar="T", type=number(Annotated[float, Range(0)]), help="of sampling; default: 1"
    )
    parser.add_argument("--top-k", metavar="K", type=number(Count), help="sample from the K most probable tokens")
    parser.add_argument(
        "--top-p", metavar="P", type=number(Share), help="sample from the most probable tokens that reach P"
    )
    parser.add_argument("--seed", metavar="S", type=number(Seed), help="of sampling; default: 1")
    parser.add_argument(
        "--score",
        metavar="FILE",
        type=from_home,
        help="score these translations instead, a JSON object a line: line i is that of line i",
    )
    parser.add_argument("--prefix", metavar="FILE", type=from_home, help="line i begins the translation of line i")
    parser.add_argument(
        "--alignments", metavar="FILE", type=from_home, help="write word alignments from attention, as nmt-align does"
    )
    parser.add_argument(
        "--attention", metavar="FILE", type=from_home, help="write the attention between words, a JSON object a line"
    )


def check_search_options(arguments: Namespace) -> None:
    """Refuse options that mean nothing together."""
    modes = _given(arguments, _MODES)
    if len(modes) > 1:
        raise UsageError(f"{_option(modes[0])} and {_option(modes[1])} ask for different answers: choose one")
    if not _given(arguments, ("sample", "mbr")) and (given := _given(arguments, _OF_SAMPLING)):
        raise UsageError(f"{_option(given[0])} is an option of sampling: add --sample N or --mbr N")
    for name, others in _EXCLUDED.items():
        if _given(arguments, [name]) and (given := _given(arguments, others)):
            raise UsageError(f"{_option(name)} has no meaning with {_option(given[0])}: leave one of them out")
    if choose_engine(arguments.engine, arguments.precision) != "native" and (given := _given(arguments, _NATIVE)):
        raise UsageError(f"{_option(given[0])} needs the native engine: choose --engine native, in fp32 or bf16")
    if given := _given(arguments, ("alignments", "attention")):
        if len(arguments.run_dir) > 1:
            raise UsageError(f"{_option(given[0])} takes one run: the models of an ensemble attend each in its own way")
        if arguments.workers > 1 or arguments.resume or os.environ.get("WORLD_SIZE", "1") != "1":  # torchrun's
            raise UsageError(f"{_option(given[0])} is written by one process in one go: no --workers, no --resume")
    sampling_of(arguments)


def sampling_of(arguments: Namespace) -> Sampling:
    """What samples are drawn from. Raises UsageError for values out of range."""
    return Sampling(**{name: getattr(arguments, name) for name in _given(arguments, _OF_SAMPLING)})


def _given(arguments: Namespace, names: Any) -> list[str]:
    return [name for name in names if getattr(arguments, name) is not None]


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
