"""A vocabulary learned from text by SentencePiece, and its size where the configuration leaves that to the text."""

from __future__ import annotations

import dataclasses
import io
import math
import re
from collections.abc import Callable, Iterable, Sequence, Set
from itertools import chain

import sentencepiece

from nmt.config.data import TokenizerConfig
from nmt.data.characters import find_foreign, name_of
from nmt.data.reserved import inside, learnable, normaliser, outside
from nmt.data.sentencepiece_model import keep_whole
from nmt.data.tokenizer import BOS, EOS, PAD, SPECIAL, UNK, Tokenizer, tag_name
from nmt.errors import ConfigError, NmtError

_THREADS = 8  # on every machine: the sums of unigram training depend on how lines are dealt out
_LONGEST_LINE = 1 << 20  # bytes; SentencePiece would skip longer ones (by default, those over 4192) without a word
_PIECES = 10  # times the square root of the text's words: 8,000 pieces for Multi30k, 32,000 for 400,000 long sentences
_MOST = 32_000
_WORD = 6  # characters of a word, the space after it included


class SizeRefused(ConfigError):
    """The text does not support a vocabulary of that size; `possible` is the nearest one that it does."""

    def __init__(self, message: str, possible: int) -> None:
        super().__init__(message)
        self.possible = possible


def train_tokenizer(
    config: TokenizerConfig,
    source: Iterable[str],
    target: Iterable[str],
    characters: tuple[Set[str], Set[str]] = (frozenset(), frozenset()),
    tags: Sequence[str] = (),
) -> Tokenizer:
    """Train on lines of normalised text; the same lines give the same tokenizer.

    `characters` of source and target are known to it even if they are in none of these lines. Each of `tags` is a
    source symbol. Raises ConfigError where the text does not support tokenizer.vocab_size.
    """
    if config.joint:
        return Tokenizer(_train(config, chain(source, target), characters[0] | characters[1], "", tags))
    return Tokenizer(
        _train(config, source, characters[0], " of the source language", tags),
        _train(config, target, characters[1], " of the target language"),
    )


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


def _train(
    config: TokenizerConfig, lines: Iterable[str], characters: Set[str], of_language: str, tags: Sequence[str] = ()
) -> bytes:
    """A serialised model trained on all of `lines`.

    A tag is a control symbol of SentencePiece, which no text is encoded to, not even the symbol's own name; its name
    cannot be that of a piece learned from text either.
    """
    model = io.BytesIO()
    controls = [tag_name(tag) for tag in tags]  # the ids after EOS
    symbols = _symbols(config)
    known = set("".join(map(normaliser(config.normalization), characters)))
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=learnable(lines, config.normalization, [*SPECIAL, *controls], _LONGEST_LINE),
            model_writer=model,
            model_type=config.algorithm,
            vocab_size=config.vocab_size,
            byte_fallback=config.byte_fallback,
            character_coverage=config.character_coverage,
            required_chars="".join(sorted(known - {" ", *symbols})),  # which may not name a symbol again
            normalization_rule_name=config.normalization,
            remove_extra_whitespaces=False,  # the text has none; a target line that has some survives
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            control_symbols=controls,
            user_defined_symbols=symbols,
            input_sentence_size=0,
            shuffle_input_sentence=False,
            max_sentence_length=_LONGEST_LINE,
            num_threads=_THREADS,
            minloglevel=5,  # silent
        )
    except RuntimeError as error:
        raise _refusal(config, str(error), of_language) from error
    return keep_whole(model.getvalue()) if config.symbols else model.getvalue()


def _symbols(config: TokenizerConfig) -> list[str]:
    """The strings of tokenizer.symbols as SentencePiece is given them; ConfigError for one that would not come back."""
    normalise = normaliser(config.normalization)
    for symbol in config.symbols:
        if (foreign := find_foreign(symbol)) is not None:
            raise ConfigError(f"tokenizer.symbols: {symbol!r} has {name_of(foreign[0])}, which no line of text has")
        if (normal := normalise(symbol)) != inside(symbol):
            raise ConfigError(
                f"tokenizer.symbols: {symbol!r} is written {outside(normal)!r} by "
                f"tokenizer.normalization={config.normalization}: give it so, or set tokenizer.normalization=identity"
            )
    return list(map(inside, config.symbols))


def _refusal(config: TokenizerConfig, message: str, of_language: str) -> NmtError:
    """SentencePiece's reason as a sentence about the configuration."""
    size = f"tokenizer.vocab_size={config.vocab_size}"
    if most := re.search(r"too high .*value <= (\d+)", message):
        return SizeRefused(
            f"{size} is more than the training text{of_language} supports: at most {most[1]} is possible", int(most[1])
        )
    if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return SizeRefused(
            f"{size} has no room for the characters of the training text{of_language}: it takes at least "
            f"{least[1]}, or a lower tokenizer.character_coverage (with tokenizer.byte_fallback=true for the others)",
            int(least[1]),
        )
    return NmtError(f"the tokenizer{of_language} could not be trained: {message}")
