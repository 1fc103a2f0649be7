"""The shortlist of a run, from the training data that it was prepared with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from nmt.data.lexicon import learn_lexicon, pairs_to_learn_from, target_counts
from nmt.data.tokenizer import PAD
from nmt.engines.shortlist import SPECIALS, Shortlist
from nmt.export.trained_on import prepared_again


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
    prepared = prepared_again(Path(run_dir), "shortlist", log)
    tokenizer, store = prepared.tokenizer, prepared.train
    lexicon = learn_lexicon(pairs_to_learn_from(store, log))
    likely = lexicon.best(best, tokenizer.source_size, filler=PAD)
    counts = target_counts(store, tokenizer.target_size)
    counts[list(SPECIALS)] = 0
    frequent = np.argsort(-counts, kind="stable")[:first]
    shortlist = Shortlist(torch.from_numpy(likely), torch.from_numpy(frequent), tokenizer.target_size)
    return shortlist.save(run_dir, tokenizer)
