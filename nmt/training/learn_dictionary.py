"""Learn the dictionary of a run, with translations of single words, from the text that the run was trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmt.data.lexicon import IdPair, learn_lexicon, rows_to_learn_from
from nmt.data.words import without_punctuation
from nmt.inference.dictionary import save_dictionary
from nmt.training.learn_shortlist import prepared_again

_LIKELY = 0.2  # the least probability of an entry, in both directions
_EMPTY = 0  # the number of the empty word, which target words come from that no source word translates to


def make_dictionary(run_dir: str | os.PathLike[str], log: Callable[[str], None] = lambda line: None) -> Path:
    """Write the dictionary of a run into its directory and return the file, which is either complete or absent.

    Raises NmtError if the folder is not a run, or if its training data are missing or have changed.
    """
    store = prepared_again(Path(run_dir), log).train
    rows = rows_to_learn_from(store, log)
    entries = learn_dictionary([(store.source_text(row), store.target_text(row)) for row in rows])
    log(f"{len(entries):,} words have a translation")
    return save_dictionary(run_dir, entries)


def learn_dictionary(lines: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a translation for each source word that has a clear one, in alphabetical order.

    A word is what stands between spaces, without the punctuation at its edges. IBM model 1 is learned in both
    directions; two words are an entry if each is the most probable translation of the other, and a likely one.
    """
    sources, targets = _Numbers(), _Numbers()
    numbered = [(sources.of(source), targets.of(target)) for source, target in lines]
    there = _best(numbered, len(sources))
    back = _best([(target, source) for source, target in numbered], len(targets))
    words = [None, *targets]  # the empty word, and the others by number
    best = {word: (number, there[number]) for word, number in sorted(sources.items())}
    mutual = {word: words[target] for word, (number, target) in best.items() if back[target] == number}
    return {word: target for word, target in mutual.items() if target is not None}


def _best(pairs: Sequence[IdPair], words: int) -> NDArray[np.int64]:
    """Return the most probable translation of each word [words + 1], or the empty word if no translation is likely."""
    lexicon = learn_lexicon([(np.append(source, _EMPTY), target) for source, target in pairs if len(target)])
    return lexicon.likely(_LIKELY).best(1, words + 1, filler=_EMPTY)[:, 0]


class _Numbers(dict[str, int]):
    """A number for each word, counted from 1 in the order in which the words first occur."""

    def __init__(self) -> None:
        self._core = cache(without_punctuation)

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self) + 1
        return number

    def of(self, line: str) -> NDArray[np.int64]:
        """Return the numbers of the words of a line."""
        return np.array([self[core] for core in map(self._core, line.split()) if core], dtype=np.int64)
