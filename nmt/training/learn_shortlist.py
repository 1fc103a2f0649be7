"""Make the shortlist of a run from its training data."""

from __future__ import annotations

import dataclasses
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
from nmt.runs.environment import read_environment
from nmt.runs.run import read_run_config
from nmt.training.fine_tune import inherit


def make_shortlist(
    run_dir: str | os.PathLike[str],
    best: int,
    first: int,
    log: Callable[[str], None] = lambda line: None,
) -> Path:
    """Write the shortlist of a run into its directory and return the file, which is either complete or absent.

    The shortlist of a sentence consists of the `best` most likely translations of each of its tokens, and the `first`
    most frequent target tokens. Raises NmtError if the folder is not a run, or if its training data are missing or have
    changed.
    """
    prepared = prepared_again(Path(run_dir), log)
    tokenizer, store = prepared.tokenizer, prepared.train
    lexicon = learn_lexicon(pairs_to_learn_from(store, log))
    likely = lexicon.best(best, tokenizer.source_size, filler=PAD)
    counts = target_counts(store, tokenizer.target_size)
    counts[list(SPECIALS)] = 0
    frequent = np.argsort(-counts, kind="stable")[:first]
    shortlist = Shortlist(torch.from_numpy(likely), torch.from_numpy(frequent), tokenizer.target_size)
    return shortlist.save(run_dir, tokenizer)


def prepared_again(run_dir: Path, log: Callable[[str], None]) -> Prepared:
    """Return the data that a run was trained on; prepare them again if they have not been kept.

    Raises NmtError if the folder is not a run, or if the data are missing or have changed.
    """
    config = dataclasses.replace(read_run_config(run_dir), run_dir=str(run_dir))
    try:
        trained_on = read_environment(run_dir)["data"]
    except KeyError as error:
        raise NmtError(f"{run_dir} has no environment.json that records its training data: train it first") from error
    try:
        config, tokenizer = inherit(config)
        prepared = prepare(config, log, tokenizer)
    except NmtError as error:
        raise NmtError(f"{run_dir}: the training data, needed to learn from, cannot be read: {error}") from error
    if any(prepared.fingerprints[part] != trained_on.get(part) for part in ("train", "tokenizer")):
        raise NmtError(f"{run_dir}: the training data have changed since it was trained: restore them, then try again")
    return prepared
