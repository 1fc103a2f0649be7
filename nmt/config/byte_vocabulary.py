"""The checks of a vocabulary of bytes (tokenizer.algorithm=byte), which is the same for all text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmt.errors import require

if TYPE_CHECKING:
    from nmt.config.data import TokenizerConfig

BYTE_VOCABULARY = 260  # tokens: 4 special symbols and the bytes
_BECAUSE = "tokenizer.algorithm=byte, which spells all text as the bytes of UTF-8, unchanged: leave it out"


def check_bytes(config: TokenizerConfig) -> None:
    """Raise ConfigError for a key that has no meaning for bytes."""
    require(not config.symbols, f"tokenizer.symbols cannot be combined with {_BECAUSE}")
    if config.path is None:  # otherwise these keys are read from that tokenizer
        require(not config.byte_fallback, f"tokenizer.byte_fallback has no use with {_BECAUSE}")
        require(config.character_coverage == 1, f"tokenizer.character_coverage has no use with {_BECAUSE}")
        require(config.normalization == "identity", f"tokenizer.normalization cannot be combined with {_BECAUSE}")


def check_byte_size(config: TokenizerConfig, tags: int) -> None:
    """Raise ConfigError for a size that the vocabulary of bytes does not have with this number of tags."""
    size = BYTE_VOCABULARY + tags
    require(
        config.algorithm != "byte" or config.path is not None or config.vocab_size in ("auto", size),
        f"tokenizer.vocab_size={config.vocab_size} cannot be combined with tokenizer.algorithm=byte, whose vocabulary "
        f"has {size} tokens: set it to auto",
    )
