"""Loading the engine of trained runs, with all that a Translator needs to know about them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, cast

from nmt.config.schema import PRECISIONS, SearchConfig
from nmt.data.tokenizer import Tokenizer
from nmt.errors import UsageError
from nmt.inference.engines.engine import Engine, EngineName, Precision, choose_engine


class Loaded(NamedTuple):
    """An engine, and the tokenizer and settings of the runs that it searches with."""

    engine: Engine
    tokenizer: Tokenizer
    search: SearchConfig  # of the first run
    max_tokens: int  # the smallest of the source lengths that the runs were trained for


def load_engine(
    run_dirs: Sequence[str | os.PathLike[str]],
    checkpoint: str | int | Sequence[str | int | None] | None,
    device: str,
    precision: Precision | None,
    warn: Callable[[str], None],
    engine: EngineName | Literal["auto"],
    streams: int | None,
) -> Loaded:
    """Load run directories with the engine that is asked for; see `Translator.load` for the arguments."""
    if not run_dirs:
        raise UsageError("name the directory of a run, such as runs/my, or a list of directories for an ensemble")
    checkpoints = [checkpoint] * len(run_dirs) if isinstance(checkpoint, str | int | None) else list(checkpoint)
    if len(checkpoints) != len(run_dirs):
        raise UsageError(f"{len(checkpoints)} checkpoints for {len(run_dirs)} runs: give one for each, or one for all")
    if choose_engine(engine, precision) == "ctranslate2":
        from nmt.inference.engines.ctranslate2 import load_exported

        return Loaded(*load_exported(run_dirs, checkpoints[0], device, precision, streams, warn))
    from nmt.inference.engines.loading import load_native  # torch

    native_precision = cast(PRECISIONS | None, precision)  # choose_engine has sent int8 and fp16 to CTranslate2
    return Loaded(*load_native(run_dirs, checkpoints, device, native_precision, streams))
