"""Replacement of unknown words in translations by words of the source.

A model with a vocabulary of words writes one token for every word that it lacks. The source word that got most
attention when this token was predicted takes its place: its translation if a dictionary has one, otherwise the word
itself (Luong, Sutskever et al. 2015, section 3; with attention in place of alignments: Luong, Pham and Manning 2015,
section 4; Jean et al. 2015). Names and numbers are mostly the same in both languages.

The weights are those of one more pass over the finished translation, averaged over layers, heads and the models of an
ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nmt.config.schema import SearchConfig
from nmt.data.cleaning import normalise_whitespace
from nmt.data.tokenizer import UNK, Tokenizer
from nmt.data.words import without_punctuation
from nmt.inference.batches import by_batch
from nmt.inference.engines.engine import FullEngine
from nmt.inference.pieces import Piece
from nmt.search.hypothesis import Hypothesis

_TIE = 1e-5  # weights that differ by this share count as equal, so that rounding does not decide between two words


def with_words(
    pieces: Sequence[Piece],
    found: Sequence[Sequence[Hypothesis]],
    engine: FullEngine,
    tokenizer: Tokenizer,
    options: SearchConfig,
    dictionary: Mapping[str, str],
) -> list[list[Hypothesis]]:
    """Return the hypotheses `found` for each piece, with words in `unknown` for those that have unknown tokens."""
    replaced = [list(hypotheses) for hypotheses in found]
    places = [
        (row, rank) for row, hypotheses in enumerate(found) for rank, one in enumerate(hypotheses) if UNK in one.tokens
    ]
    sources = [pieces[row].ids for row, _ in places]
    targets = [found[row][rank].tokens for row, rank in places]

    def attention(batch: list[int]) -> list[NDArray[np.float32]]:
        return engine.attention([sources[index] for index in batch], [targets[index] for index in batch], options)

    lengths = [max(len(source), len(target)) for source, target in zip(sources, targets, strict=True)]
    for (row, rank), tokens, weights in zip(
        places, targets, by_batch(attention, lengths, options.tokens_per_batch), strict=True
    ):
        words = source_words(pieces[row], tokenizer)
        attended = [most_attended(weights[place], words) for place, token in enumerate(tokens) if token == UNK]
        unknown = tuple(translated(words[index], dictionary) for index in attended)
        replaced[row][rank] = found[row][rank]._replace(unknown=unknown)
    return replaced


def source_words(piece: Piece, tokenizer: Tokenizer) -> list[str]:
    """Return the text of each source id of a piece as it is spelled in the line; "" for a tag and the end of sentence.

    The text of an unknown token may be several words, because unknown words in a row are one token.
    """
    located = tokenizer.locate_source(piece.text)
    words = [normalise_whitespace(piece.text[slice(*span)]) for span in located.spans]
    tags = len(piece.ids) - len(located.ids)
    return [*[""] * tags, *words, ""]


def most_attended(weights: NDArray[np.float32], words: Sequence[str]) -> int:
    """Return the index of the word with the largest weight, the first on a tie; "" is no word.

    `weights` [source tokens] are those of one target token.
    """
    of_words = np.where(list(map(bool, words)), weights, -np.inf)
    return int(np.argmax(of_words >= of_words.max() * (1 - _TIE)))


def translated(text: str, dictionary: Mapping[str, str]) -> str:
    """Return the translation of a word, or of several words in a row; what the dictionary lacks stays as it is.

    The dictionary is asked for the whole text, then for each word, then for the word without the punctuation at its
    edges, which stays where it is.
    """
    if text in dictionary:
        return dictionary[text]
    return " ".join(_translated(word, dictionary) for word in text.split(" "))


def _translated(word: str, dictionary: Mapping[str, str]) -> str:
    core = without_punctuation(word)
    return dictionary.get(word) or word.replace(core, dictionary.get(core, core), 1)
