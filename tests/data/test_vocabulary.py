"""Test vocab_size=auto, a vocabulary size that depends on the amount of text."""

from __future__ import annotations

import dataclasses
import random

import pytest

from nmt.config.data import TokenizerConfig
from nmt.data.tokenizer import Tokenizer
from nmt.data.vocabulary import SizeRefused, fitting, train_tokenizer, two_digits


def text(words: int, letters: str, seed: int) -> list[str]:
    """Return lines of ten random words made of these letters."""
    rng = random.Random(seed)
    drawn = ["".join(rng.choices(letters, k=rng.randint(2, 8))) for _ in range(words)]
    return [" ".join(drawn[start : start + 10]) for start in range(0, words, 10)]


def fitted(source: list[str], target: list[str], config: TokenizerConfig) -> Tokenizer:
    characters = (sum(map(len, source)), sum(map(len, target)))
    return fitting(config, characters, lambda sized: train_tokenizer(sized, source, target))


@pytest.mark.parametrize("joint", [True, False], ids=["joint", "separate"])
@pytest.mark.parametrize("algorithm", ["unigram", "bpe", "char"])
def test_any_text_has_a_vocabulary_that_spells_it(algorithm: str, joint: bool) -> None:
    config = TokenizerConfig(algorithm=algorithm, joint=joint)  # type: ignore[arg-type]
    for words in (10, 300):
        source, target = text(words, "abcdefg", 1), text(words, "stuvwxyz", 2)
        tokenizer = fitted(source, target, config)
        assert [tokenizer.decode_target(ids) for ids in tokenizer.encode_target(target)] == target


def test_a_vocabulary_of_characters_lacks_none() -> None:
    lines = ["Frankfurt <sym>", "ça va? ▁"]
    for symbols in ([], ["<sym>"]):
        for joint in (True, False):
            config = TokenizerConfig(algorithm="char", vocab_size=12, joint=joint, symbols=symbols)
            with pytest.raises(SizeRefused, match=r"vocab_size=12 is too small for the characters") as refusal:
                train_tokenizer(config, lines, lines)
            enough = dataclasses.replace(config, vocab_size=refusal.value.possible)
            tokenizer = train_tokenizer(enough, lines, lines)
            assert tokenizer.target_size == refusal.value.possible
            assert [tokenizer.decode_target(ids) for ids in tokenizer.encode_target(lines)] == lines
    config = TokenizerConfig(algorithm="char", vocab_size=280, byte_fallback=True)
    assert train_tokenizer(config, lines, lines).source_size <= 280


def test_it_grows_with_the_text_and_ends_at_32_000() -> None:
    tried: list[int] = []

    def train(config: TokenizerConfig) -> Tokenizer:
        assert config.vocab_size != "auto"
        tried.append(config.vocab_size)
        return None  # type: ignore[return-value]

    for characters in (10**4, 10**6, 10**8, 10**10):
        fitting(TokenizerConfig(), (characters, characters), train)
    assert tried == sorted(tried)
    assert len(set(tried[:3])) == 3
    assert tried[-1] == 32_000


def test_sizes_that_suit_no_language_pair_are_refused() -> None:
    def train(config: TokenizerConfig) -> Tokenizer:
        """Refuse every size, like two languages of which one needs 900 pieces and the other supports at most 500."""
        assert config.vocab_size != "auto"
        raise SizeRefused("no", 900 if config.vocab_size < 900 else 500)

    with pytest.raises(SizeRefused):
        fitting(TokenizerConfig(joint=False), (10_000, 10_000), train)


@pytest.mark.parametrize("value", [1, 9, 10, 99, 144, 855, 6_789, 25_000, 31_999])
def test_two_digits_are_near_and_two(value: int) -> None:
    rounded = two_digits(value)
    assert abs(rounded - value) <= 0.05 * value
    assert len(str(rounded).rstrip("0")) <= 2
