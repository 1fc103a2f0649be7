"""Test on 300 lines that translations in fp32 on a CPU do not depend on the order and the batch of lines."""

from __future__ import annotations

import dataclasses
import random
from functools import cache

import pytest
import torch

from nmt.config.data import TokenizerConfig
from nmt.config.models import ModelConfig, RnnSearchConfig, TransformerConfig
from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.inference.engines.native import NativeEngine
from nmt.inference.translator import Translator
from nmt.models.build import build_model
from nmt.resources import embedded_corpus

MODELS: dict[str, ModelConfig] = {
    "transformer": TransformerConfig(model_dim=64, ffn_dim=128, num_heads=4, encoder_layers=2, decoder_layers=2),
    "rnnsearch": RnnSearchConfig(embedding_dim=64, hidden_dim=64, attention_dim=64, maxout_dim=64),
}


def lines(language: str) -> list[str]:
    return (embedded_corpus() / f"test.{language}").read_text("utf-8").splitlines()[:300]


@cache
def tokenizer() -> Tokenizer:
    return train_tokenizer(TokenizerConfig(algorithm="bpe", vocab_size=300), lines("de"), lines("en"))


def engine(name: str) -> NativeEngine:
    """Return an engine with random weights that are large enough for translations to depend on the source."""
    torch.manual_seed(1)
    model = build_model(MODELS[name], tokenizer().source_size, tokenizer().target_size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    return NativeEngine.on(model, torch.device("cpu"))


@pytest.mark.parametrize("beam_size", [5, 1])
@pytest.mark.parametrize("name", MODELS)
def test_order_and_batch_change_no_translation(name: str, beam_size: int) -> None:
    source = lines("de")
    model = engine(name)
    search = SearchConfig(beam_size=beam_size, max_length_ratio=0.5, max_length_offset=4)

    def translated(order: list[int], tokens_per_batch: int) -> dict[int, str]:
        options = dataclasses.replace(search, tokens_per_batch=tokens_per_batch)
        translator = Translator(model, tokenizer(), options, max_tokens=200, warn=lambda _: None, language="de")
        return dict(zip(order, translator.translate([source[row] for row in order]), strict=True))

    as_given = list(range(len(source)))
    expected = translated(as_given, 8192)
    assert len(set(expected.values())) > 150, "most lines have a translation of their own"
    assert translated(as_given[::-1], 400) == expected
    assert translated(random.Random(1).sample(as_given, len(as_given)), 3200) == expected
    for row in as_given[::30]:
        assert translated([row], 8192) == {row: expected[row]}, "a line alone"
