"""Loading the native engine for a trained run, or for several runs as an ensemble."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

from nmt.config.schema import PRECISIONS, SearchConfig
from nmt.data.tokenizer import Tokenizer
from nmt.device import choose_device
from nmt.errors import NmtError
from nmt.inference.engines.native import NativeEngine
from nmt.inference.engines.shortlist import Shortlist
from nmt.models.ensemble import Ensemble
from nmt.runs.run import LoadedRun, load_run


def load_native(
    run_dirs: Sequence[str | os.PathLike[str]],
    checkpoints: Sequence[str | int | None],
    device: str = "auto",
    precision: PRECISIONS | None = None,
    streams: int | None = None,
) -> tuple[NativeEngine, Tokenizer, SearchConfig, int]:
    """Load runs and return the engine, the tokenizer, the first run's search settings and the maximum source length.

    The maximum length, in tokens, is the smallest of the lengths that the runs were trained for. See `Translator.load`
    for the arguments.
    """
    place = choose_device(device)
    runs = load_runs(run_dirs, checkpoints)
    search, tokenizer = runs[0].config.search, runs[0].tokenizer
    model = runs[0].model if len(runs) == 1 else Ensemble([run.model for run in runs])
    if precision is not None:
        search = dataclasses.replace(search, precision=precision)
    engine = NativeEngine.on(model, place, lambda: Shortlist.load(run_dirs[0], tokenizer), streams)
    return engine, tokenizer, search, min(run.config.data.cleaning.max_tokens for run in runs)


def load_runs(run_dirs: Sequence[str | os.PathLike[str]], checkpoints: Sequence[str | int | None]) -> list[LoadedRun]:
    """Load one run, or several that can form an ensemble, each with its own checkpoint.

    Raises NmtError if `load_run` does, or if the runs differ in their languages or vocabulary.
    """
    runs = [load_run(run_dir, checkpoint) for run_dir, checkpoint in zip(run_dirs, checkpoints, strict=True)]
    first, *others = runs
    for other in others:
        here, there = (f"{run.config.data.source_language}-{run.config.data.target_language}" for run in (first, other))
        if here != there:
            raise NmtError(
                f"{first.path} translates {here} and {other.path} {there}: the runs of an ensemble must translate in "
                "the same direction"
            )
        if first.tokenizer.fingerprint != other.tokenizer.fingerprint:
            raise NmtError(
                f"{first.path} and {other.path} have different vocabularies: the runs of an ensemble must share one"
            )
    return runs
