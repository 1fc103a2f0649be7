"""The draft of a run, from the training data that it was prepared with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from nmt.data.continuations import learn_continuations
from nmt.data.lexicon import learn_lexicon, pairs_to_learn_from
from nmt.data.tokenizer import BOS
from nmt.engines.draft import CONTINUATIONS, Draft
from nmt.export.trained_on import prepared_again


def make_draft(run_dir: str | os.PathLike[str], log: Callable[[str], None] = lambda line: None) -> Path:
    """Write the draft of a run into its directory and return the file, complete or absent.

    Raises NmtError for a folder that is no run, and where its training data are not there as they were.
    """
    prepared = prepared_again(Path(run_dir), "draft", log)
    pairs = pairs_to_learn_from(prepared.train, log)
    continuations = learn_continuations([target for _, target in pairs], CONTINUATIONS, BOS)
    draft = Draft.of_data(continuations, learn_lexicon(pairs), prepared.tokenizer.source_size)
    return draft.save(run_dir, prepared.tokenizer)
