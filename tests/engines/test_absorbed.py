"""Attention with absorbed maps says what attention says."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from nmt.attention.joined_cache import FEW_SENTENCES
from nmt.attention.kernels import bias_of
from nmt.attention.multihead import CrossAttention, Source
from nmt.config.schema import SearchConfig
from nmt.engines.absorbed import Absorbed, AbsorbingAttention
from nmt.engines.fp16 import HalfLinear, has_fbgemm
from nmt.engines.layout import lay_out
from nmt.engines.native import NativeEngine
from nmt.engines.rounded import round_weights
from nmt.models.transformer import TransformerDecoder
from tests.models.variants import tiny_model

DIM, HEADS = 32, 4
HEAD_DIM = DIM // HEADS


def attention() -> CrossAttention:
    torch.manual_seed(3)
    made = CrossAttention(DIM, HEADS).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.requires_grad_(False)


def asked(batch: int, hypotheses: int, tokens: int, src_len: int) -> tuple[Tensor, Tensor, Tensor]:
    """States, queries and a bias that hides another part of each sentence."""
    states, x = torch.randn(batch, src_len, DIM), torch.randn(batch * hypotheses, tokens, DIM)
    mask = torch.arange(src_len) < src_len - torch.arange(batch).unsqueeze(1)
    return states, x, bias_of(mask)[:, None, None]


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize(("batch", "hypotheses", "tokens"), [(1, 1, 1), (1, 5, 1), (1, 1, 4), (3, 2, 1), (2, 3, 2)])
def test_absorbed_maps_change_nothing(
    batch: int, hypotheses: int, tokens: int, need_weights: bool, halved: bool
) -> None:
    plain = attention()
    if halved:
        if not has_fbgemm():
            pytest.skip("torch has no FBGEMM here")
        for name, part in list(plain.named_children()):
            setattr(plain, name, HalfLinear.of(part))
    states, x, bias = asked(batch, hypotheses, tokens, src_len=HEAD_DIM)
    absorbing = AbsorbingAttention(plain)
    memory = absorbing.read(states, bias)
    assert isinstance(memory, Absorbed)
    expected, expected_weights = plain(x, plain.read(states, bias), need_weights)
    output, weights = absorbing(x, memory, need_weights)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    assert (weights is None) == (not need_weights)
    if need_weights:
        torch.testing.assert_close(weights, expected_weights, rtol=1e-4, atol=1e-5)
        hidden = (bias == -torch.inf).expand(-1, HEADS, tokens, -1).repeat_interleave(hypotheses, 0)
        assert hidden.any() == (batch > 1) and not weights[hidden].any()


def test_many_or_long_sentences_and_bf16_are_read_as_ever() -> None:
    absorbing = AbsorbingAttention(attention())
    for batch, src_len in ((FEW_SENTENCES + 1, 3), (1, HEAD_DIM + 1)):
        states, x, bias = asked(batch, 2, 1, src_len)
        memory = absorbing.read(states, bias)
        assert isinstance(memory, Source)
        torch.testing.assert_close(absorbing(x, memory)[0], attention()(x, attention().read(states, bias))[0])
    with torch.autocast("cpu", torch.bfloat16):
        states, _, bias = asked(1, 1, 1, src_len=3)
        assert isinstance(absorbing.read(states, bias), Source)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_model_laid_out_absorbs_what_has_floating_point_weights(precision: str) -> None:
    model = tiny_model("transformer-pre", 40)
    if precision != "fp32":
        if precision == "fp16" and not has_fbgemm():
            pytest.skip("torch has no FBGEMM here")
        round_weights(model, precision)  # type: ignore[arg-type]
    before = copy.deepcopy(model) if precision == "fp32" else None
    lay_out(model)
    decoder = model.decoder
    assert isinstance(decoder, TransformerDecoder)
    with torch.inference_mode():
        memory = model.read(torch.tensor([[5, 6, 3]]), torch.ones(1, 3, dtype=torch.bool))
    assert all(isinstance(each, Source if precision == "int8" else Absorbed) for each in memory.layers)
    if before is not None:
        options = SearchConfig(beam_size=3, max_length_ratio=1.0, max_length_offset=3)
        sources = [[5, 9, 3], [7, 8, 12, 3]]
        found = NativeEngine(model).search(sources, options, 2)
        expected = NativeEngine(before).search(sources, options, 2)
        assert [[one.tokens for one in each] for each in found] == [[one.tokens for one in each] for each in expected]
