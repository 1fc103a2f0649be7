"""Attention by torch's kernel agrees with its equation, with and without a mask."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from nmt.attention import patterns
from nmt.attention.multihead import attention_weights
from nmt.kernels.scaled_dot_product import attention


@pytest.mark.parametrize("queries", [1, 5, 8])
@pytest.mark.parametrize("masked", ["no", "per sentence", "per query"])
def test_contexts_and_weights_match_torch(queries: int, masked: str) -> None:
    torch.manual_seed(queries)
    query, key, value = (torch.randn(3, 2, length, 4) for length in (queries, 7, 7))
    mask = bias = None
    if masked != "no":
        mask = torch.rand(3, 1, 1 if masked == "per sentence" else queries, 7) < 0.5
        mask[..., 2] = True  # so that each query has a key to attend to
        bias = patterns.bias_of(mask)
    wanted = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(attention(query, key, value, bias=bias), wanted)
    weights = attention_weights(query, key, bias)
    torch.testing.assert_close(weights @ value, wanted)
    if mask is not None:
        assert not weights.masked_select(~mask.expand_as(weights)).any()


@pytest.mark.parametrize("queries", [1, 3, 12])
def test_causal_queries_see_their_own_position_and_those_before(queries: int) -> None:
    torch.manual_seed(queries)
    query, key, value = (torch.randn(2, 2, length, 4) for length in (queries, 12, 12))
    mask = torch.ones(2, 1, queries, 12, dtype=torch.bool)
    for row in range(queries):
        mask[..., row, 12 - queries + row + 1 :] = False
    bias = patterns.causal(torch.arange(12 - queries, 12).unsqueeze(0), torch.arange(12).unsqueeze(0))
    assert torch.equal(bias.expand_as(mask) == 0, mask)
    wanted = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(attention(query, key, value, bias=bias), wanted)
    if queries == 12:
        torch.testing.assert_close(attention(query, key, value, causal=True), wanted)


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_the_equation(masked: bool) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(2, 2, length, 4, dtype=torch.float64, requires_grad=True) for length in (3, 5, 5)]
    query, key, value = inputs
    bias = patterns.padding(torch.tensor([[True] * 5, [True] * 3 + [False] * 2])) if masked else None
    towards = torch.randn(2, 2, 3, 4, dtype=torch.float64)
    ours = torch.autograd.grad((attention(query, key, value, bias=bias) * towards).sum(), inputs)
    theirs = torch.autograd.grad(((attention_weights(query, key, bias) @ value) * towards).sum(), inputs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_bf16_is_computed_in_float32_on_a_cpu() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 2, length, 4).bfloat16().requires_grad_() for length in (3, 5, 5))
    wide = [each.detach().float().requires_grad_() for each in (query, key, value)]
    with torch.autocast("cpu", torch.bfloat16):
        context = attention(query, key, value)
    expected = attention(*wide)
    assert context.dtype == torch.bfloat16 and torch.equal(context, expected.bfloat16())
    context.backward(torch.ones_like(context))
    expected.backward(torch.ones_like(expected))
    assert query.grad is not None and wide[0].grad is not None
    assert torch.equal(query.grad, wide[0].grad.bfloat16())


def test_padding_hides_keys() -> None:
    mask = torch.tensor([[True, True, False], [True, False, False]])
    assert torch.equal(patterns.padding(mask)[:, 0, 0] == 0, mask)


def test_weights_are_dropped_in_training_alone() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 5, 4)
    value = torch.eye(5).expand(2, 1, 5, 5)  # so that contexts are equal to weights
    kept = attention(query, key, value, dropout=0.5)
    assert (kept > 0).all()
    assert (attention(query, key, value, dropout=0.5, training=True) == 0).any()
