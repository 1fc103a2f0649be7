"""Guesses of how a translation goes on, for `nmt.search.drafted`: cheap ones, without a model.

What is guessed is the token that is probable after the last ones, by n-grams, and as a translation of some source
token, by the lexicon: of the highest p(token | last tokens)^(1/2) * (least + max over the source of t(token | source)).

RUN_DIR/draft.safetensors    n-grams and lexicon of the training data, with the tokenizer they belong to
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nmt.data.continuations import ORDER, Continuations, pack
from nmt.data.lexicon import Lexicon
from nmt.data.tokenizer import BOS, EOS, PAD, Tokenizer
from nmt.engines.tables import Tables, load_tables, save_tables
from nmt.run import DRAFT

CONTINUATIONS = 16  # of each context
TRANSLATIONS = 10  # of each source token
_LEAST = 0.01  # what a token counts that translates none of the source


class Draft:
    """What the guesses of all sentences are made of."""

    def __init__(self, tables: Tables, target_size: int) -> None:
        self._tables = tables
        self.target_size = target_size
        self._rows = {context: row for row, context in enumerate(tables["contexts"].tolist())}
        self.tokens = tables["tokens"].long().numpy()  # [contexts, CONTINUATIONS]
        self.scores = tables["probabilities"].float().sqrt().numpy()
        self.likely = tables["likely"].long().numpy()  # [source_size, TRANSLATIONS]
        self.translations = tables["translations"].float().numpy()

    @classmethod
    def of_data(cls, continuations: Continuations, lexicon: Lexicon, tokenizer: Tokenizer) -> Draft:
        """From what was learned from training data."""
        likely, translations = lexicon.most_probable(TRANSLATIONS, tokenizer.source_size, PAD)
        tables = {
            "contexts": torch.from_numpy(continuations.contexts),
            "tokens": torch.from_numpy(continuations.tokens).int(),
            "probabilities": torch.from_numpy(continuations.probabilities).half(),
            "likely": torch.from_numpy(likely).int(),
            "translations": torch.from_numpy(translations).half(),
        }
        return cls(tables, tokenizer.target_size)

    def save(self, run_dir: str | os.PathLike[str], tokenizer: Tokenizer) -> Path:
        """Write it into a run directory, for that tokenizer's ids, and return the file: complete or absent."""
        return save_tables(Path(run_dir) / DRAFT, self._tables, tokenizer)

    @classmethod
    def load(cls, run_dir: str | os.PathLike[str], tokenizer: Tokenizer) -> Draft:
        """The draft of a run. Raises NmtError where it is missing, damaged or of another tokenizer."""
        tables = load_tables(Path(run_dir) / DRAFT, tokenizer, "search.draft=true", "nmt-draft")
        return cls(tables, tokenizer.target_size)

    def of(self, source: Sequence[int]) -> SentenceDrafter:
        """What guesses for a sentence, given as source ids."""
        return SentenceDrafter(self, source)

    def row(self, last: Sequence[int]) -> int | None:
        """The row of the longest context that is known of the last ORDER ids."""
        found = (self._rows.get(pack(last[start:])) for start in range(ORDER))
        return next((row for row in found if row is not None), None)


class SentenceDrafter:
    """Guesses for one sentence; see `nmt.search.drafted.Drafter`."""

    def __init__(self, draft: Draft, source: Sequence[int]) -> None:
        self._draft = draft
        self._expected = np.full(draft.target_size, _LEAST, dtype=np.float32)
        rows = list(source)
        np.maximum.at(self._expected, draft.likely[rows], _LEAST + draft.translations[rows])

    def guess(self, said: Sequence[int], count: int) -> list[int]:
        """Up to `count` ids that may follow those said so far."""
        draft = self._draft
        last = [BOS] * ORDER + [*said[-ORDER:]]
        guessed: list[int] = []
        while len(guessed) < count and EOS not in last[-1:]:
            row = draft.row(last[-ORDER:])
            if row is None:
                break
            tokens = draft.tokens[row]
            last.append(int(tokens[(draft.scores[row] * self._expected[tokens]).argmax()]))
            guessed.append(last[-1])
        return guessed
