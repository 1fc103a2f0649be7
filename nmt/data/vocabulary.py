"""Training of a SentencePiece vocabulary, with a size from the configuration or from the amount of text."""

from __future__ import annotations

import dataclasses
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import chain

import sentencepiece

from nmt.config.data import TokenizerConfig
from nmt.data.characters import find_foreign, name_of
from nmt.data.reserved import SPACE, inside, learnable, normaliser, outside
from nmt.data.sentencepiece_model import byte_model, keep_whole
from nmt.data.tokenizer import BOS, EOS, PAD, SPECIAL, UNK, Tokenizer, tag_name
from nmt.errors import ConfigError, NmtError

_THREADS = 8  # the same on every machine, since the result of unigram training depends on the number of threads
_LONGEST_LINE = 1 << 20  # bytes; SentencePiece silently skips longer lines (by default, those over 4192 bytes)
_LONGEST_PART = 1 << 14  # characters; with words of 2**17 letters the unigram trainer fails, with 2**15 it takes long
_PIECES = 10  # pieces per square root of words: 8,000 pieces for Multi30k, 32,000 for 400,000 long sentences
_MOST = 32_000  # pieces at most
_WORD = 6  # characters per word, including the space after it


class SizeRefused(ConfigError):
    """The error for a text that does not support a vocabulary size; `possible` is the nearest size that it supports."""

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
    """Train a tokenizer on lines with normalised white space; the same lines always give the same tokenizer.

    The vocabulary includes `characters` of source and target even if they do not occur in the lines. Each of `tags`
    becomes a symbol of the source vocabulary. A vocabulary of bytes needs no training, and no line is read. Raises
    ConfigError if the text does not support tokenizer.vocab_size.
    """
    if config.algorithm == "byte":
        tagged, plain = byte_model([*SPECIAL, *map(tag_name, tags)], UNK), byte_model(SPECIAL, UNK)
        return Tokenizer(tagged) if config.joint else Tokenizer(tagged, plain)
    if config.joint:
        return Tokenizer(_train(config, chain(source, target), characters[0] | characters[1], "", tags))
    return Tokenizer(
        _train(config, source, characters[0], " of the source language", tags),
        _train(config, target, characters[1], " of the target language"),
    )


def fitting(
    config: TokenizerConfig, characters: tuple[int, int], train: Callable[[TokenizerConfig], Tokenizer]
) -> Tokenizer:
    """Train a tokenizer, by calling `train`, with a vocabulary size that depends on the amount of text.

    `characters` are the numbers of characters in source and target. If SentencePiece refuses the size because the text
    supports fewer pieces, or because its characters alone need more, the size that SentencePiece names is used instead.
    Raises ConfigError if no size suits both languages.
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
    """Return a value of at least 1 rounded to a whole number with two significant digits."""
    return int(float(f"{value:.1e}")) if value >= 10 else round(value)


def _train(
    config: TokenizerConfig, lines: Iterable[str], characters: Set[str], of_language: str, tags: Sequence[str] = ()
) -> bytes:
    """Train a model on all of `lines` and return it serialised.

    A tag becomes a control symbol of SentencePiece: no text is encoded to it, not even its own name. Its name cannot
    coincide with that of a piece learned from text either.
    """
    model = io.BytesIO()
    controls = [tag_name(tag) for tag in tags]  # SentencePiece gives them the ids after EOS
    symbols = _symbols(config)
    known = set("".join(map(normaliser(config.normalization), characters)))
    needed = {*known}  # characters that have to be pieces
    if of_characters := config.algorithm == "char" and config.character_coverage == 1 and not config.byte_fallback:
        lines = _noting(lines, normaliser(config.normalization), symbols, needed)
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=learnable(lines, config.normalization, [*SPECIAL, *controls], _LONGEST_PART),
            model_writer=model,
            model_type=config.algorithm,
            vocab_size=config.vocab_size,
            byte_fallback=config.byte_fallback,
            character_coverage=config.character_coverage,
            required_chars="".join(sorted(known - {" ", *symbols})),  # must not repeat a symbol
            normalization_rule_name=config.normalization,
            remove_extra_whitespaces=False,  # so that a target line is decoded with the spaces that it has
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
    if of_characters:  # SentencePiece drops characters silently then
        _check_characters(model.getvalue(), needed, config, of_language)
    return keep_whole(model.getvalue()) if config.symbols else model.getvalue()


def _noting(
    lines: Iterable[str], normalise: Callable[[str], str], symbols: Sequence[str], characters: set[str]
) -> Iterator[str]:
    """Yield the lines, and add to `characters` those of each, after normalising it and outside of symbols."""
    cut = re.compile("|".join(map(re.escape, symbols)) or "(?!)")
    for line in lines:
        characters.update(cut.sub("", normalise(line)))
        yield line


def _check_characters(model: bytes, characters: Set[str], config: TokenizerConfig, of_language: str) -> None:
    """Raise SizeRefused if a model lacks some of these characters."""
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model)
    pieces = {processor.id_to_piece(id) for id in range(processor.get_piece_size())}
    if missing := len({character.replace(" ", SPACE) for character in characters} - pieces):
        raise _too_small(config, of_language, len(pieces) + missing)


def _symbols(config: TokenizerConfig) -> list[str]:
    """Return tokenizer.symbols as SentencePiece needs them; ConfigError for a symbol that decoding would change."""
    normalise = normaliser(config.normalization)
    for symbol in config.symbols:
        if (foreign := find_foreign(symbol)) is not None:
            raise ConfigError(f"tokenizer.symbols: {symbol!r} has {name_of(foreign[0])}, which no text may contain")
        if (normal := normalise(symbol)) != inside(symbol):
            raise ConfigError(
                f"tokenizer.symbols: {symbol!r} becomes {outside(normal)!r} with tokenizer.normalization="
                f"{config.normalization}: write it that way, or set tokenizer.normalization=identity"
            )
    return list(map(inside, config.symbols))


def _refusal(config: TokenizerConfig, message: str, of_language: str) -> NmtError:
    """Return the error for a failed training: SentencePiece's message, translated into terms of the configuration."""
    size = f"tokenizer.vocab_size={config.vocab_size}"
    if most := re.search(r"too high .*value <= (\d+)", message):
        return SizeRefused(
            f"{size} is more than the training text{of_language} supports: at most {most[1]} is possible", int(most[1])
        )
    if least := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return _too_small(config, of_language, int(least[1]))
    return NmtError(f"the tokenizer{of_language} could not be trained: {message}")


def _too_small(config: TokenizerConfig, of_language: str, least: int) -> SizeRefused:
    return SizeRefused(
        f"tokenizer.vocab_size={config.vocab_size} is too small for the characters of the training text{of_language}: "
        f"set it to at least {least}, or lower tokenizer.character_coverage (with tokenizer.byte_fallback=true for the "
        "other characters)",
        least,
    )
