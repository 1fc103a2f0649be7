"""The shortlist of a run, from the training data that it was prepared with."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from nmt.data.lexicon import learn_lexicon, pairs_to_learn_from, target_counts
from nmt.data.prepare import Prepared, prepare
from nmt.data.tokenizer import PAD
from nmt.errors import NmtError
from nmt.inference.engines.shortlist import SPECIALS, Shortlist
from nmt.runs.run import read_run_config
from nmt.training.fine_tune import inherit


def make_shortlist(
    run_dir: str | os.PathLike[str],
    best: int,
    first: int,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write the shortlist of a run into its directory and return the file, complete or absent.

    A sentence's list are the `best` likeliest translations of each of its tokens and the `first` most frequent target
    tokens. Raises NmtError for a folder that is no run, and where its training data are not there as they were.
    """
    prepared = _prepared_again(Path(run_dir), log)
    tokenizer, store = prepared.tokenizer, prepared.train
    lexicon = learn_lexicon(pairs_to_learn_from(store, log))
    likely = lexicon.best(best, tokenizer.source_size, filler=PAD)
    counts = target_counts(store, tokenizer.target_size)
    counts[list(SPECIALS)] = 0
    frequent = np.argsort(-counts, kind="stable")[:first]
    shortlist = Shortlist(torch.from_numpy(likely), torch.from_numpy(frequent), tokenizer.target_size)
    return shortlist.save(run_dir, tokenizer)


def _prepared_again(run_dir: Path, log: Callable[[str], None]) -> Prepared:
    """The data that a run was trained on, prepared again where they are not kept.

    Raises NmtError for a folder that is no run, and where the data are not there as they were.
    """
    config = dataclasses.replace(read_run_config(run_dir), run_dir=str(run_dir))
    try:
        trained_on = json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))["data"]
    except (OSError, ValueError, KeyError) as error:
        raise NmtError(f"{run_dir} has no environment.json that says what it was trained on: train it first") from error
    try:
        config, tokenizer = inherit(config)
        prepared = prepare(config, log, tokenizer)
    except NmtError as error:
        raise NmtError(f"{run_dir}: its training data, which a shortlist is made of, cannot be had: {error}") from error
    if any(prepared.fingerprints[part] != trained_on[part] for part in ("train", "tokenizer")):
        raise NmtError(f"{run_dir}: its training data have changed since its training: restore them, then try again")
    return prepared
