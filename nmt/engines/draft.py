"""Guesses of how a translation goes on, for `nmt.search.single`: cheap ones, without a model.

What is guessed is the token that is probable after the last ones, by n-grams, and as a translation of some source
token, by the lexicon: that with the highest p(token | last tokens)^(1/2) * (least + max over the source of t(token |
source) * closeness), where close is the source token behind the one that the last token translates.

RUN_DIR/draft.safetensors    n-grams and lexicon of the training data, with the tokenizer they belong to
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from nmt.data.continuations import ORDER, Continuations, pack
from nmt.data.lexicon import Lexicon
from nmt.data.tokenizer import BOS, EOS, PAD, Tokenizer
from nmt.engines.tables import Tables, load_tables, save_tables
from nmt.run import DRAFT

CONTINUATIONS = 16  # of each context
TRANSLATIONS = 10  # of each source token
_LEAST = 0.01  # what a token counts that translates none of the source
_CLOSENESS = (1.0, 0.5, 0.2, 0.1)  # by distance from the source token that is due, the last for all beyond
_FAR = len(_CLOSENESS) - 1
_ALIGNED = 0.1  # from which a token counts as a source token's translation


class Draft:
    """What the guesses of all sentences are made of."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._rows = {context: row for row, context in enumerate(tables["contexts"].tolist())}
        self._tokens = tables["tokens"].long().numpy()  # [contexts, CONTINUATIONS]
        self._scores = tables["probabilities"].float().sqrt().numpy()
        self.likely = tables["likely"].long().numpy()  # [source_size, TRANSLATIONS]
        self.translations = tables["translations"].float().numpy()

    @classmethod
    def of_data(cls, continuations: Continuations, lexicon: Lexicon, source_size: int) -> Draft:
        """From what was learned from training data."""
        likely, translations = lexicon.most_probable(TRANSLATIONS, source_size, PAD)
        tables = {
            "contexts": torch.from_numpy(continuations.contexts),
            "tokens": torch.from_numpy(continuations.tokens).int(),
            "probabilities": torch.from_numpy(continuations.probabilities).half(),
            "likely": torch.from_numpy(likely).int(),
            "translations": torch.from_numpy(translations).half(),
        }
        return cls(tables)

    def save(self, run_dir: str | os.PathLike[str], tokenizer: Tokenizer) -> Path:
        """Write it into a run directory, for that tokenizer's ids, and return the file: complete or absent."""
        return save_tables(Path(run_dir) / DRAFT, self._tables, tokenizer)

    @classmethod
    def load(cls, run_dir: str | os.PathLike[str], tokenizer: Tokenizer) -> Draft:
        """The draft of a run. Raises NmtError where it is missing, damaged or of another tokenizer."""
        return cls(load_tables(Path(run_dir) / DRAFT, tokenizer, "search.draft=true", "nmt-draft"))

    def of(self, source: Sequence[int], least: float = 0.0) -> SentenceDrafter:
        """What guesses for a sentence, given as source ids, while that is more probable than `least` to be right."""
        return SentenceDrafter(self, source, least)

    def continuations(self, last: Sequence[int]) -> Iterable[tuple[int, float]]:
        """The tokens after the longest context that is known of the last ORDER ids, with their scores."""
        for start in range(ORDER):
            row = self._rows.get(pack(last[start:]))
            if row is not None:
                return zip(self._tokens[row].tolist(), self._scores[row].tolist(), strict=True)
        return ()


class SentenceDrafter:
    """Guesses for one sentence, whose translation only grows; see `nmt.search.single.Drafter`."""

    def __init__(self, draft: Draft, source: Sequence[int], least: float) -> None:
        self._draft = draft
        self._least = least
        self._translates: dict[int, list[tuple[int, float]]] = {}  # places in the source, by target token
        likely, translations = draft.likely[list(source)].tolist(), draft.translations[list(source)].tolist()
        for place, (tokens, probabilities) in enumerate(zip(likely, translations, strict=True)):
            for token, probability in zip(tokens, probabilities, strict=True):
                self._translates.setdefault(token, []).append((place, probability))
        self._read = 0  # tokens of the translation
        self._due = 0  # the place in the source that is next

    def guess(self, said: Sequence[int], count: int) -> list[int]:
        """Up to `count` ids that may follow those said so far."""
        for token in said[self._read :]:
            self._due = self._after(token, self._due)
        self._read = len(said)
        last, due = [BOS] * ORDER + [*said[-ORDER:]], self._due
        guessed: list[int] = []
        probability = 1.0  # that all of them are right
        while len(guessed) < count and EOS not in last[-1:]:
            token, share = self._likeliest(last[-ORDER:], due)
            probability *= share
            if probability <= self._least:
                break
            guessed.append(token)
            last.append(token)
            due = self._after(token, due)
        return guessed

    def _likeliest(self, last: Sequence[int], due: int) -> tuple[int, float]:
        """The token with the highest product, and its share of the sum of all, which is about how often it is right."""
        highest, found, total = 0.0, EOS, 0.0
        for token, score in self._draft.continuations(last):
            product = score * (_LEAST + self._best(token, due)[0] if token in self._translates else _LEAST)
            total += product
            if product > highest:
                highest, found = product, token
        return found, highest / total if total else 0.0

    def _best(self, token: int, due: int) -> tuple[float, int]:
        """How much speaks for a token when a place is due, and the place in the source that does."""
        best, found = 0.0, due
        for place, probability in self._translates.get(token, ()):
            worth = probability * _CLOSENESS[min(abs(place - due), _FAR)]
            if worth > best:
                best, found = worth, place
        return best, found

    def _after(self, token: int, due: int) -> int:
        """The place that is due after a token: that behind the one it translates, if it is one's translation."""
        worth, place = self._best(token, due)
        return place + 1 if worth > _ALIGNED else due
