"""The size of a vocabulary that the configuration leaves to the text (`tokenizer.vocab_size=auto`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

from nmt.config.data import TokenizerConfig
from nmt.data.tokenizer import SizeRefused, Tokenizer

_PIECES = 10  # times the square root of the text's words: 8,000 pieces for Multi30k, 32,000 for 400,000 long sentences
_MOST = 32_000
_WORD = 6  # characters of a word, the space after it included


def fitting(
    config: TokenizerConfig, characters: tuple[int, int], train: Callable[[TokenizerConfig], Tokenizer]
) -> Tokenizer:
    """Return a tokenizer whose vocabulary grows with the text, trained by `train`.

    `characters` counts those of source and target. Where SentencePiece says that the text supports fewer pieces, or
    that its characters alone need more, the vocabulary has the size that it names. Raises ConfigError where no size
    suits both languages.
    """
    words = sum(characters) / (1 if config.joint else 2) / _WORD
    size = _MOST if config.algorithm in ("char", "word") else two_digits(min(_PIECES * math.sqrt(words), _MOST))
    sizes: list[int] = []
    while True:
        try:
            return train(dataclasses.replace(config, vocab_size=size))
        except SizeRefused as refusal:
            sizes.append(size)
            size = refusal.possible
            if size in sizes:
                raise


def two_digits(value: float) -> int:
    """Return the whole number of two significant digits next to a value of at least 1."""
    return int(float(f"{value:.1e}")) if value >= 10 else round(value)
