"""Tests of search.replace_unknown: which words take the places of unknown tokens, wherever text is made of tokens."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nmt.config.data import TokenizerConfig
from nmt.config.models import LuongConfig
from nmt.config.options.recurrent import GaussianConfig
from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import BOS, EOS, UNK, Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.data.words import without_punctuation
from nmt.errors import NmtError
from nmt.inference.dictionary import load_dictionary
from nmt.inference.engines import ctranslate2
from nmt.inference.engines.native import NativeEngine
from nmt.inference.mbr import choose_for_pieces
from nmt.inference.pieces import pieces_of
from nmt.inference.translator import Translator
from nmt.inference.unknown_words import most_attended, source_words, translated
from nmt.models.build import build_model
from nmt.models.ensemble import Ensemble
from nmt.models.seq2seq import Seq2Seq
from nmt.search.hypothesis import Hypothesis
from tests.inference.test_translator import make
from tests.models.variants import REPRESENTATIVES, attends, tiny_model

LINES = [
    "ba Włódek ki",
    "Ω de ba Świątek lo",
    "de  ki\tZoë",
    "",
    "Foo Bar ba",
    "Xi",
    "ba de ki lo mu Yu",
    "lo lo 1,5 lo",
]
ATTENDING = [name for name in REPRESENTATIVES if attends(name)]


@cache
def words(joint: bool = True, tags: tuple[str, ...] = ()) -> Tokenizer:
    lines = ["ba de ki", "lo mu ba", "de de ki lo"]
    return train_tokenizer(
        TokenizerConfig(algorithm="word", vocab_size=9 + len(tags), joint=joint), lines, lines, tags=tags
    )


def translating(model: Seq2Seq | Ensemble, dictionary: Mapping[str, str] | None = None, **search: Any) -> Translator:
    options = {"beam_size": 3, "max_length_ratio": 1.0, "max_length_offset": 1, "replace_unknown": "copy", **search}
    load = None if dictionary is None else lambda: dictionary
    return Translator(
        NativeEngine(model), words(), SearchConfig(**options), 8, lambda _: None, load_dictionary=load
    )  # fmt: skip


@cache
def copier() -> Seq2Seq:
    """Return a model that writes nothing but unknown words and attends to one source token after the other.

    The weight of a token falls with its distance from the one whose turn it is. Translations do not end by themselves.
    """
    torch.manual_seed(3)
    config = LuongConfig(
        embedding_dim=8, hidden_dim=8, layers=1, alignment="gaussian", gaussian=GaussianConfig(components=1),
        share_embeddings=False, tie_projection=False,
    )  # fmt: skip
    model = build_model(config, words().source_size, words().target_size).eval()
    (window,) = [module for name, module in model.named_modules() if name.endswith("window_projection")]
    with torch.no_grad():
        window.weight.zero_()
        window.bias.copy_(torch.tensor([0.0, -1.0, 0.0]))  # alpha = 1, beta = 1/e, and the centre moves by 1
        model.projection.bias = torch.nn.Parameter(torch.zeros(words().target_size))
        model.projection.bias[UNK], model.projection.bias[EOS] = 50.0, -50.0
    return model


def model_of(variant: str) -> Seq2Seq | Ensemble:
    size = words().source_size
    if variant == "ensemble":
        return Ensemble([tiny_model("luong-dot", size), tiny_model("transformer-pre", size, seed=2)]).eval()
    return tiny_model(variant, size)


# -- which word is chosen --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beam_size", [1, 3])
def test_words_are_copied_in_the_spelling_of_the_line(beam_size: int) -> None:
    copied = translating(copier(), beam_size=beam_size).translate(LINES)
    # one more token than the source: its end of sentence, for which the nearest word is copied, and one beyond that
    assert copied == [
        "ba Włódek ki ki ki",
        "Ω de ba Świątek lo lo lo",
        "de ki Zoë Zoë Zoë",
        "",
        "Foo Bar ba ba ba",  # "Foo Bar" is one unknown token of the source
        "Xi Xi Xi",
        "ba de ki lo mu Yu Yu Yu",
        "lo lo 1,5 lo lo lo",
    ]


def test_a_dictionary_comes_first() -> None:
    dictionary = {"Włódek": "Vladek", "Bar": "Pub", "Foo Baz": "never", "ki": "de la", "Xi": "</s>", "lo": "<unk>"}
    translator = translating(copier(), dictionary, replace_unknown="dictionary")
    assert translator.translate([LINES[0], LINES[4], "Xi lo"]) == [
        "ba Vladek de la de la de la",
        "Foo Pub ba ba ba",
        "</s> <unk> <unk> <unk>",
    ]
    translator.search = dataclasses.replace(translator.search, replace_unknown="copy")
    assert translator.translate("Xi") == "Xi Xi Xi"


@pytest.mark.parametrize(
    ("text", "translation"),
    [
        ("Rom", "Rome"),
        ("Rom.", "Rome."),
        ("»Rom«,", "»Rome«,"),
        ("rom", "rom"),
        ("Bonn.", "Bonn (exactly)"),
        ("Bonn!", "Bonn!"),
        ("Neu Ulm", "Ulm, new"),
        ("Neu Rom,", "Neu Rome,"),
        ("Neu Bonn.", "Neu Bonn (exactly)"),
        ("...", "..."),
        ("12.", "12."),
    ],
)
def test_looking_up(text: str, translation: str) -> None:
    entries = {"Rom": "Rome", "Bonn.": "Bonn (exactly)", "Neu Ulm": "Ulm, new"}
    assert translated(text, entries) == translation


def test_without_punctuation() -> None:
    for word, core in {"»Ja...!": "Ja", "a-b,": "a-b", "...": "", "x": "x", "$5.": "$5", "'s": "s"}.items():
        assert without_punctuation(word) == core


def test_the_word_with_most_attention_and_the_first_on_a_tie() -> None:
    some = ["", "a", "b", "c", ""]  # a tag, three words, the end of sentence
    for weights, index in [
        ([0.9, 0.1, 0.3, 0.2, 0.95], 2),
        ([0.0, 0.2, 0.200001, 0.1, 0.5], 1),
        ([0.9, 0.0, 0.0, 0.0, 0.1], 1),
        ([0.9, 0.0, 1e-9, 2e-9, 0.1], 3),
    ]:
        assert most_attended(np.array(weights, dtype=np.float32), some) == index


@pytest.mark.parametrize("variant", [*ATTENDING, "ensemble"])
def test_every_model_copies_what_it_attends_to(variant: str) -> None:
    """Compare with the weights of single steps, one sentence at a time, and words counted by splitting the line."""
    model = unknowing(variant)
    lines = ["ba Włódek ki", "de Ω ba Świątek lo", "Xi ba mu"]  # no two unknown words in a row
    replaced = 0
    for line, translation in zip(lines, translating(model).sample(lines, 12), strict=True):
        for one in translation.hypotheses:
            src = torch.tensor([[words().source.ids.get(f"▁{word}", UNK) for word in line.split()] + [EOS]])
            expected = []
            with torch.no_grad():
                memory = model.read(src, torch.ones_like(src, dtype=torch.bool))
                state, last = model.init_state(memory, 20), BOS
                for token in one.tokens:
                    _, weights, state = model.weighted_step(torch.tensor([last]), memory, state)
                    attended = line.split()[int(weights[0, :-1].argmax())]
                    expected.append(attended if token == UNK else words().target.names[token].removeprefix("▁"))
                    last = token
            replaced += one.tokens.count(UNK)
            assert one.text == " ".join(expected)
    assert replaced > 3


# -- wherever text is made of tokens ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["luong-general", "transformer-pre", "rnnsearch-coverage", "ensemble"])
@pytest.mark.parametrize("beam_size", [1, 3])
def test_company_changes_nothing(variant: str, beam_size: int) -> None:
    translator = translating(unknowing(variant), beam_size=beam_size)
    together = [[one.text for one in each.hypotheses] for each in translator.nbest(LINES, beam_size)]
    plain = translating(unknowing(variant), beam_size=beam_size, replace_unknown="none")
    before = [[one.text for one in each.hypotheses] for each in plain.nbest(LINES, beam_size)]
    assert sum("⁇" in text for texts in before for text in texts) > 4
    assert not any("⁇" in text for texts in together for text in texts)
    alone = [[one.text for one in translator.nbest(line, beam_size).hypotheses] for line in LINES]
    assert alone == together
    small = translating(unknowing(variant), beam_size=beam_size, tokens_per_batch=1)
    assert [[one.text for one in each.hypotheses] for each in small.nbest(LINES[::-1], beam_size)][::-1] == together


def unknowing(variant: str) -> Seq2Seq | Ensemble:
    """Return a model whose embedding of the unknown word makes it likely; other tokens are said as well."""
    model = model_of(variant)
    for each in model.models if isinstance(model, Ensemble) else [model]:
        bias = each.projection.bias
        each.projection.bias = torch.nn.Parameter(torch.zeros(words().target_size) if bias is None else bias.detach())
        with torch.no_grad():
            each.projection.bias[UNK] += 4.0
    return model


def test_scores_and_tokens_stay_those_of_the_search() -> None:
    for changed, plain in zip(
        translating(unknowing("luong-general")).nbest(LINES, 3, token_scores=True),
        translating(unknowing("luong-general"), replace_unknown="none").nbest(LINES, 3, token_scores=True),
        strict=True,
    ):
        for one, other in zip(changed.hypotheses, plain.hypotheses, strict=True):
            assert (one.tokens, one.log_prob, one.score, one.token_scores) == (
                other.tokens, other.log_prob, other.score, other.token_scores,
            )  # fmt: skip


def test_a_prefix_stays_as_it_is() -> None:
    found = translating(copier()).nbest(["ba Xi lo Yu", "ba Xi lo Yu"], prefixes=["Ñandú  ba", "Ñandú "])
    # the prefix takes the first turns of the attention
    assert [one.text for one in found] == ["Ñandú  ba lo Yu Yu Yu", "Ñandú Xi lo Yu Yu Yu"]


def test_long_lines_and_tags() -> None:
    warnings: list[str] = []
    translator = translating(copier())
    translator.warn = warnings.append
    line = "ba Włódek de ki. Xi ba de mu. lo ba de Yu"
    assert translator.translate(line) == "ba Włódek de ki. ki. ki. Xi ba de mu. mu. mu. lo ba de Yu Yu Yu"
    assert "translated in" in warnings[0]
    tagged = words(tags=("2fr",))
    (piece,) = pieces_of(["Xi  ba"], tagged, 8, "de", warnings.append, tags=["2fr"])
    assert source_words(piece, tagged) == ["", "Xi", "ba", ""]


def test_minimum_bayes_risk_compares_the_replaced_texts() -> None:
    (piece,) = pieces_of(["ba Xi"], words(), 8, "de", lambda _: None)
    samples = [Hypothesis([UNK], -1.0, -1.0, unknown=(word,)) for word in ("Xi", "Yu", "Xi")]
    compared: list[list[str]] = []

    def utility(hypotheses: list[list[str]], references: list[list[str]]) -> list[list[list[float]]]:
        compared.extend(hypotheses)
        return [[[1.0, 0.0], [0.0, 1.0]]]

    assert choose_for_pieces([piece], [samples[1:]], words(), utility) == [[samples[1]]]
    assert compared == [["Yu", "Xi"]]


@pytest.mark.skipif(importlib.util.find_spec("fastchrf") is None, reason="needs the extra mbr")
def test_minimum_bayes_risk_replaces() -> None:
    assert translating(copier()).translate_mbr("ba Włódek ki", 3).text == "ba Włódek ki ki ki"


def test_alignments_of_replaced_words() -> None:
    translator = translating(copier())
    (links,) = translator.align(["ba Xi lo"])
    assert links[:3] == [(0, 0), (1, 1), (2, 2)]


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["copy", "dictionary"])
def test_pieces_of_words_are_refused(how: str) -> None:
    translator = make("luong-dot", replace_unknown=how)  # type: ignore[arg-type]
    with pytest.raises(NmtError, match=f"search.replace_unknown={how} replaces whole words, but the vocabulary has"):
        translator.translate("ba de")


def test_a_model_without_attention_is_refused() -> None:
    with pytest.raises(NmtError, match=r"search.replace_unknown needs attention, but this model reads the source as"):
        translating(tiny_model("cho", words().source_size)).check()


def test_ctranslate2_refuses() -> None:
    with pytest.raises(NmtError, match=r"search.replace_unknown=copy needs the native engine .* average attention"):
        ctranslate2.check_options(SearchConfig(replace_unknown="copy"))


def test_a_model_in_memory_has_no_dictionary() -> None:
    with pytest.raises(NmtError, match=r"needs a run directory with a dictionary.tsv"):
        translating(copier(), replace_unknown="dictionary").translate("ba")


# -- the dictionary --------------------------------------------------------------------------------------------------


def test_a_dictionary_is_read(tmp_path: Path) -> None:
    content = "\ufeffHund\tdog\r\nHund\thound\nNeu  Ulm \t New Ulm\n#\tno comment\n"
    (tmp_path / "dictionary.tsv").write_bytes(content.encode())
    assert load_dictionary(tmp_path) == {"Hund": "dog", "Neu Ulm": "New Ulm", "#": "no comment"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a\tb\nHund dog\n", "line 2: a line of a dictionary .* but this one has no tab: fix the line"),
        (b"a\tb\n\n", "line 2: .* has no tab"),
        (b"a\tb\tc\n", "line 1: .* has 2 tabs"),
        (b"a\t \n", "line 1: .* has nothing on one side of it"),
        (b"\tb\n", "line 1: .* has nothing on one side of it"),
        (b"a\tb\nc\t\xff\n", "line 2: byte 3 of the line is not valid UTF-8"),
    ],
)
def test_a_broken_dictionary_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "dictionary.tsv").write_bytes(content)
    with pytest.raises(NmtError, match=f"{tmp_path}/dictionary.tsv, {sentence}"):
        load_dictionary(tmp_path)


@pytest.mark.parametrize("there", [lambda path: None, Path.mkdir], ids=["missing", "folder"])
def test_no_dictionary(tmp_path: Path, there: Callable[[Path], None]) -> None:
    there(tmp_path / "dictionary.tsv")
    with pytest.raises(NmtError, match=f"needs {tmp_path}/dictionary.tsv, which is no.*: run nmt-shortlist"):
        load_dictionary(tmp_path)


def test_a_copied_word_is_linked_to_the_word_that_it_was_copied_from() -> None:
    """Links are those of the hypothesis, which has an unknown token there, and not of the word that replaces it."""
    translator = translating(copier())
    assert translator.translate("Xi ba lo Yu") == "Xi ba lo Yu Yu Yu"
    assert translator.align("Xi ba lo Yu")[:4] == [(0, 0), (1, 1), (2, 2), (3, 3)]
