"""Test tokenizer.symbols: they are never split, not even in sampled segmentations, and are decoded unchanged."""

from __future__ import annotations

import io
from random import Random
from typing import Any

import pytest
import sentencepiece

from nmt.config.data import TokenizerConfig
from nmt.data.sampling import SubwordSampling
from nmt.data.sentencepiece_model import keep_whole, parse, serialise
from nmt.data.tokenizer import EOS, Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.errors import ConfigError

SYMBOLS = ["<date>", "<b>", "ab", "日本", "▁x▁", 'a,"b"']
LINES = ["the xa man", "a bc dog", "bcq xaz and "] * 40 + ["x a b c q z 日 x"] + ["see <date> of <b> 日本 ab"] * 2
TEXTS = ["xabc", "on <date>x <date>", "日本日本 the", "▁x▁▁x▁", 'z a,"b"', "ab", "abab ab", "<b>the</b>", "x<bab>"]
SIZES = {"unigram": 42, "bpe": 60, "char": 40}


def train(algorithm: Any, **settings: Any) -> Tokenizer:
    config = TokenizerConfig(algorithm=algorithm, vocab_size=SIZES[algorithm], symbols=SYMBOLS, **settings)
    config.check()
    lines = [*LINES, "</> date nseof"]
    return train_tokenizer(config, lines, lines, tags=["2fr"])


@pytest.mark.parametrize("algorithm", SIZES)
def test_symbols_are_one_piece_each_and_come_back(algorithm: str) -> None:
    tokenizer = train(algorithm)
    for text in TEXTS:
        ids = tokenizer.encode_target([text])[0]
        assert tokenizer.decode_target(ids) == text
        pieces = tokenizer.target_pieces(ids)
        assert sum(piece in SYMBOLS for piece in pieces) == count_of(text), (text, pieces)
        assert "".join(pieces[:-1]) == "▁" + text.replace(" ", "▁"), "what a symbol stands beside is cut as usual"
    assert tokenizer.tags == {"2fr": 4}


def test_a_symbol_wins_against_likely_pieces_that_lie_across_its_ends() -> None:
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES), model_writer=trained, vocab_size=30, user_defined_symbols=["ab"], minloglevel=5
    )
    model = parse(trained.getvalue())
    for piece in model.pieces:
        piece.score = -9.0 if piece.piece in ("x", "a", "b", "c") else piece.score
    model.pieces.add(piece="xa", score=-1.0)
    model.pieces.add(piece="bc", score=-1.0)
    cut, whole = (
        sentencepiece.SentencePieceProcessor(model_proto=serialised).encode("xabc", out_type=str)
        for serialised in (serialise(model), keep_whole(serialise(model)))
    )
    assert "ab" not in cut, "SentencePiece alone does not keep it whole"
    assert whole[-3:] == ["x", "ab", "c"]


def count_of(text: str) -> int:
    """Count the symbols in a text; in the texts of these tests no two symbols overlap."""
    return sum(text.count(symbol) for symbol in SYMBOLS)


@pytest.mark.parametrize("algorithm", ["unigram", "bpe"])
def test_drawn_segmentations_keep_them_too(algorithm: Any) -> None:
    tokenizer = train(algorithm)
    sampling = SubwordSampling(tokenizer, algorithm, 0.3, "both", 100)
    assert sampling.target is not None
    drawn = [sampling.target.draw([*TEXTS, "the xaz dog"], Random(seed)) for seed in range(8)]
    for lines in drawn:
        for text, ids in zip(TEXTS, lines, strict=False):
            assert tokenizer.decode_target(ids) == text and ids[-1] == EOS
            assert sum(piece in SYMBOLS for piece in tokenizer.target_pieces(ids)) == count_of(text)
    assert len({tuple(map(tuple, lines)) for lines in drawn}) > 1, "the rest is drawn"


@pytest.mark.parametrize("algorithm", ["bpe", "char"])
def test_of_symbols_within_each_other_the_longest_is_kept(algorithm: Any) -> None:
    config = TokenizerConfig(algorithm=algorithm, vocab_size=40, symbols=["<br>", "<br><br>"])
    config.check()
    tokenizer = train_tokenizer(config, LINES, LINES)
    stored = tokenizer.encode_target(["x<br><br><br> a <br>"])[0]
    pieces = [piece for piece in tokenizer.target_pieces(stored) if "br" in piece]
    assert pieces == ["<br><br>", "<br>", "<br>"]
    if algorithm == "bpe":
        sampling = SubwordSampling(tokenizer, algorithm, 0.0, "both", 100)
        assert sampling.target is not None and sampling.target.draw(["x<br><br><br> a <br>"], Random(1)) == [stored]


def test_a_symbol_of_one_character_may_be_in_text_that_the_tokenizer_is_not_trained_on() -> None:
    config = TokenizerConfig(algorithm="bpe", vocab_size=40, symbols=["#"])
    tokenizer = train_tokenizer(config, LINES, LINES, (frozenset("#ä"), frozenset()))
    assert tokenizer.decode_target(tokenizer.encode_target(["ä#x"])[0]) == "ä#x"


def test_normalisation_leaves_symbols_alone_or_refuses_them() -> None:
    tokenizer = train("bpe", normalization="nfkc")
    assert tokenizer.decode_target(tokenizer.encode_target(["<date>½"])[0]).startswith("<date>")
    config = TokenizerConfig(vocab_size=36, symbols=["<½>"], normalization="nfkc")
    with pytest.raises(ConfigError, match="'<½>' becomes '<1⁄2>' with tokenizer"):
        train_tokenizer(config, LINES, LINES)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"symbols": ["a b"]}, "without white space"),
        ({"symbols": [""]}, "without white space"),
        ({"symbols": ["</s>"]}, "keeps for itself"),
        ({"symbols": ["<0x0A>"]}, "keeps for itself"),
        ({"symbols": ["<b>", "<b>"]}, "named twice"),
        ({"symbols": ["<br>", "<br><br>"]}, "'<br><br>' contains the symbol '<br>', and tokenizer.algorithm=unigram"),
        ({"symbols": ["<b>"], "algorithm": "word"}, "cannot be combined with tokenizer.algorithm=word"),
        ({"symbols": ["<b>"], "path": "x.model"}, "leave one of them out"),
    ],
)
def test_symbols_that_cannot_be_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TokenizerConfig(**settings).check()


def test_a_symbol_that_no_line_can_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="has a noncharacter, which no text may contain"):
        train_tokenizer(TokenizerConfig(vocab_size=36, symbols=["<\ufdd0>"]), LINES, LINES)
