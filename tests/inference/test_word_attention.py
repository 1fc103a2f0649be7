"""Tests of attention between words and of word alignments."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from nmt.config.data import TokenizerConfig
from nmt.data.tokenizer import BOS
from nmt.data.vocabulary import train_tokenizer
from nmt.data.words import split_punctuation, word_spans, words_of_pieces
from nmt.errors import NmtError, UsageError
from nmt.inference.word_attention import (
    END,
    PieceAttention,
    Selection,
    Side,
    WordAttention,
    on_words,
    piece_attention,
    pool,
    word_attention,
)
from nmt.models.contract import AttentionKind
from nmt.runs.run import LoadedRun, load_run
from tests.evaluation.runs import MODELS, REFERENCES, SOURCES, make_run, write_texts
from tests.toy_run import made_up_lines

ATTENTIONAL = [family for family in MODELS if family != "rnn_encdec"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedRun]:
    folder = tmp_path_factory.mktemp("runs")
    write_texts(folder)
    return {family: load_run(make_run(folder / family, family, folder)) for family in MODELS}


ODD = [
    "ba",
    "de",
    "Ω",
    "☃",
    "½",
    "…",
    "ﬁ",
    "한",
    "▁",
    "\u0301",
    "\u200b",
    "\u00ad",
    " ",
    " ",
    "  ",
    "\t",
    "\u00a0",
    "\u3000",
    "\u2009",
]
KINDS: dict[str, dict[str, object]] = {
    "bpe": {"algorithm": "bpe", "vocab_size": 60},
    "bytes": {"algorithm": "bpe", "vocab_size": 320, "byte_fallback": True},
    "unigram": {"algorithm": "unigram", "vocab_size": 36, "normalization": "nfkc"},
    "nmt_nfkc": {"algorithm": "unigram", "vocab_size": 36, "normalization": "nmt_nfkc"},
    "word": {"algorithm": "word", "vocab_size": 40},
    "char": {"algorithm": "char", "vocab_size": 30},
}


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_pieces_are_those_of_the_line_whatever_its_spaces(kind: str) -> None:
    text = [*made_up_lines(200, seed=1), *["ba\u00a0de lo"] * 20]  # a piece may have a no-break space within
    tokenizer = train_tokenizer(TokenizerConfig(**KINDS[kind]), text, text)  # type: ignore[arg-type]
    draw = random.Random(kind)
    for _ in range(1500):
        line = "".join(draw.choices(ODD, k=draw.randint(0, 9)))
        words = word_spans(line)
        assert [line[start:end] for start, end in words] == line.split()
        sides = (
            (tokenizer.locate_source(line), tokenizer.encode_source),
            (tokenizer.locate_target(line), tokenizer.encode_target),
        )
        for located, encode in sides:
            assert located.ids == encode([line])[0] and len(located.spans) == len(located.ids) - 1
            units = words_of_pieces(words, located.spans)
            firsts = [unit.start for unit in units]
            assert firsts == sorted(firsts)
            for unit, (start, end) in zip(units, located.spans, strict=True):
                assert 0 <= start <= end <= len(line)
                assert len(unit) >= 1 and (not words or 0 <= unit.start <= unit[-1] < len(words))
                said = [place for place in range(start, end) if not line[place].isspace()]
                if said:
                    assert unit.start == len(line[: said[0] + 1].split()) - 1, "first word: of the first character"
                    assert unit[-1] == len(line[: said[-1] + 1].split()) - 1, "last word: of the last character"
                elif words:
                    within = bool(line[start - 1 : start].strip() and line[start : start + 1].strip())
                    following = len(line[:start].split()) - within
                    assert unit == range(min(following, len(words) - 1), unit.start + 1)
            if units:
                assert {word for unit in units for word in unit} >= set(range(len(words))), "every word has a piece"


def test_a_piece_is_of_all_the_words_it_lies_in() -> None:
    line = " 5\u00a0km Ω\u3000Ψ "
    words = word_spans(line)
    pieces = [(0, 0), (0, 5), (5, 6), (6, 9), (9, 10)]
    assert words_of_pieces(words, pieces) == [range(1), range(2), range(2, 3), range(2, 4), range(3, 4)]
    assert words_of_pieces([], [(0, 1)]) == [range(1)]


@pytest.mark.parametrize("family", ATTENTIONAL)
def test_odd_spaces_shift_no_word(runs: dict[str, LoadedRun], family: str) -> None:
    """Check that unusual spaces between words, known to the vocabulary or not, do not change which words there are."""
    run = runs[family]
    lines = ["A\u00a0green hat  hangs.", "\u3000A green\u2009hat\u00a0hangs. "]
    for source, target in [*((SOURCES[0], line) for line in lines), *((line, REFERENCES[0]) for line in lines)]:
        (found,) = word_attention(run.model, run.tokenizer, [source], [target])
        assert (found.source_words, found.target_words) == (source.split(), target.split())
        assert found.weights.shape == (len(found.target_words) + 1, len(found.source_words) + 1)
        np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-5)
        assert (found.weights[:, :-1].sum(0) > 0).all(), "every source word has a piece"


def test_pooling_sums_over_source_pieces_and_averages_over_target_pieces() -> None:
    weights = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.1, 0.1, 0.3], [0.0, 0.0, 1.0, 0.0]], dtype=np.float32)
    first, second, third = range(1), range(1, 2), range(2, 3)
    pooled = pool(weights, [first, first, second], [first, first, second, third], 1, 2)
    expected = [[(0.3 + 0.6) / 2, (0.3 + 0.1) / 2, (0.4 + 0.3) / 2], [0.0, 1.0, 0.0]]
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)


def test_source_words_in_one_piece_share_its_weight_and_target_words_each_get_all_of_it() -> None:
    weights = np.array([[0.6, 0.4, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]], dtype=np.float32)
    both, last, end = range(2), range(1, 2), range(2, 3)
    pooled = pool(weights, [both, last, end], [both, last, end], 2, 2)
    expected = [[0.3, 0.7, 0.0], [(0.3 + 0.1) / 2, (0.7 + 0.4) / 2, 0.25], [0.0, 0.0, 1.0]]
    np.testing.assert_allclose(pooled, expected, rtol=1e-6)


def test_each_target_word_links_to_its_heaviest_source_word_never_to_the_end() -> None:
    weights = np.array([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32)
    attention = WordAttention(["a", "b"], ["x", "y"], weights)
    assert attention.links == [(0, 1), (1, 0)]
    assert attention.labels == (["a", "b", END], ["x", "y", END])


def test_a_target_word_that_attends_to_no_source_word_has_no_link() -> None:
    """Weights may be zero for all words, as with ReLA, or for all but the end of sentence, as with sparsemax."""
    weights = [[0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.2, 0.0], [0.0, 0.0, 1.0]]
    attention = WordAttention(["u", "v"], ["a", "b", "c"], np.array(weights, dtype=np.float32))
    assert attention.links == [(1, 2)]


def _words_by_marks(pieces: list[str]) -> list[int]:
    """Return the word of each piece of a line with single spaces; a new word begins at every ▁."""
    return [max("".join(pieces[: place + 1]).count("▁") - 1, 0) for place in range(len(pieces))]


@pytest.mark.parametrize("family", ATTENTIONAL)
def test_words_have_the_weights_of_the_model_forced_alone(runs: dict[str, LoadedRun], family: str) -> None:
    """Compare the weights of a batch with those of single unpadded forward passes, combined word by word."""
    run = runs[family]
    together = word_attention(run.model, run.tokenizer, SOURCES, REFERENCES)
    for source, target, attention in zip(SOURCES, REFERENCES, together, strict=True):
        src = torch.tensor(run.tokenizer.encode_source([source]))
        tgt = run.tokenizer.encode_target([target])[0]
        with torch.no_grad():
            weights = run.model.attention(src, torch.ones_like(src, dtype=torch.bool), torch.tensor([[BOS, *tgt[:-1]]]))
        layer = max(weights.size(1) - 2, 0)
        pieces = weights[0, layer].mean(0).numpy()
        assert attention.source_words == source.split() and attention.target_words == target.split()
        rows = _words_by_marks(run.tokenizer.target_pieces(tgt)[:-1])
        columns = _words_by_marks(run.tokenizer.source_pieces(src[0].tolist())[:-1])
        for row in range(len(attention.target_words)):
            for column in range(len(attention.source_words)):
                block = pieces[:-1, :-1][np.array(rows) == row][:, np.array(columns) == column]
                assert attention.weights[row, column] == pytest.approx(block.sum() / rows.count(row), abs=1e-5)
        np.testing.assert_allclose(attention.weights.sum(1), 1, atol=1e-5)


@pytest.mark.parametrize("family", ATTENTIONAL)
def test_empty_lines_have_no_links(runs: dict[str, LoadedRun], family: str) -> None:
    run = runs[family]
    attentions = word_attention(run.model, run.tokenizer, ["", "Ein Hut", "Ein Hut"], ["A hat", "", "A hat"])
    assert [len(one.links) for one in attentions] == [0, 0, 2]


def test_layers_and_heads_are_chosen_or_averaged() -> None:
    weights = torch.rand(3, 4, 5, 6)
    torch.testing.assert_close(Selection()(weights), weights[1].mean(0))
    torch.testing.assert_close(Selection()(weights[:1]), weights[0].mean(0))
    torch.testing.assert_close(Selection(3, 2)(weights), weights[2, 1])
    torch.testing.assert_close(Selection("all")(weights), weights.mean((0, 1)))
    torch.testing.assert_close(Selection("mean")(weights), weights.mean((0, 1)))
    torch.testing.assert_close(Selection("all", 4)(weights), weights[:, 3].mean(0))
    assert Selection("all", "mean").groups(range(3), 4) == ([[0], [1], [2]], [[0, 1, 2, 3]])
    assert Selection(None, "all").groups(range(3), 2) == ([[1]], [[0], [1]])
    with pytest.raises(UsageError, match=r"^layer 4: .* layers 1 to 3"):
        Selection(4)(weights)
    with pytest.raises(UsageError, match=r"head 5: .* heads 1 to 4"):
        Selection(1, 5)(weights)


def test_layers_that_do_not_attend_are_left_out() -> None:
    attending = [0, 2, 3]  # of five
    assert Selection().groups(attending, 1)[0] == [[2]]
    assert Selection("mean").groups(attending, 1)[0] == [[0, 2, 3]]
    assert Selection("all").groups(attending, 1)[0] == [[0], [2], [3]]
    assert Selection(3).groups(attending, 1)[0] == [[2]]
    assert Selection().groups([1], 1)[0] == [[1]]
    for layers, told in (
        (attending, r"layers 1, 3, 4 \(or mean, or all\)"),
        ([0, 2], r"layers 1, 3 \(or mean, or all\)"),
        ([0], "one layer"),
        ([3], "layer 4 alone"),
    ):
        with pytest.raises(UsageError, match=f"^layer 2: this model's attention has {told}$"):
            Selection(2).groups(layers, 1)


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("Ein Hund schläft.", "Ein Hund schläft ."),
        ("»Ja...!« rief E-Mail-Otto", "» Ja ... ! « rief E-Mail-Otto"),
        ("don't, 3.5 ?! -", "don't , 3.5 ? ! -"),
        ("", ""),
    ],
)
def test_punctuation_is_split_off_the_edges_of_words(line: str, parts: str) -> None:
    characters = [(place, place + 1) for place in range(len(line))]
    found = split_punctuation(line, word_spans(line), characters)
    assert [line[start:end] for start, end in found] == parts.split()
    whole = word_spans(line)
    assert split_punctuation(line, whole, whole) == whole, "a single piece is not split"


def test_punctuation_apart_shares_out_the_weight_of_its_word_and_leaves_links_alone() -> None:
    weights = np.array([[0.5, 0.3, 0.2], [0.1, 0.7, 0.2], [0.0, 0.0, 1.0]], dtype=np.float32)
    spans = [(0, 2), (2, 3), None]
    found = PieceAttention(weights, Side("Ja.", [4, 5, 3], spans), Side("Go!", [6, 7, 3], spans))
    words = on_words(found)
    assert words.links == [(0, 0)] and words.source_words == ["Ja."]
    picture = on_words(found, punctuation_apart=True)
    assert picture.labels == (["Ja", ".", END], ["Go", "!", END])
    np.testing.assert_array_equal(picture.weights, weights)


@pytest.mark.parametrize(("kind", "side"), [("encoder", SOURCES), ("decoder", REFERENCES)])
def test_self_attention_is_between_the_words_of_one_line(
    runs: dict[str, LoadedRun], kind: AttentionKind, side: list[str]
) -> None:
    run = runs["transformer"]
    found = piece_attention(run.model, run.tokenizer, SOURCES, REFERENCES, lambda weights: weights, kind=kind)
    for each, line in zip(found, side, strict=True):
        words = on_words(each)
        assert each.source.text == each.target.text == line
        size = len(line.split()) + 1
        assert words.weights.shape == (1 if kind == "encoder" else 3, 4, size, size)
        np.testing.assert_allclose(words.weights.sum(-1), 1, atol=1e-5)
        if kind == "decoder":  # a word's first piece is predicted from the words before it and <s>, which counts last
            assert not np.triu(words.weights[..., :-1], 1).any() and (words.weights[..., -1] > 0).all()


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_recurrent_models_have_no_self_attention(runs: dict[str, LoadedRun], kind: AttentionKind) -> None:
    run = runs["luong"]
    with pytest.raises(NmtError, match=f"no layer of this model.s {kind} has self-attention"):
        piece_attention(run.model, run.tokenizer, SOURCES, REFERENCES, kind=kind)


def test_a_language_without_spaces_has_its_pieces_as_words(runs: dict[str, LoadedRun]) -> None:
    run = runs["rnnsearch"]
    (attention,) = word_attention(run.model, run.tokenizer, ["Musikhut"], ["A hat"], languages=[("zh", "en")])
    assert len(attention.source_words) > 1
    assert "".join(attention.source_words).replace("▁", "") == "Musikhut"
    assert attention.weights.shape == (3, len(attention.source_words) + 1)


def test_a_model_without_attention_is_refused(runs: dict[str, LoadedRun]) -> None:
    run = runs["rnn_encdec"]
    with pytest.raises(NmtError, match="no attention"):
        word_attention(run.model, run.tokenizer, SOURCES, REFERENCES)
