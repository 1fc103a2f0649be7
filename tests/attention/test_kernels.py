"""Attention of few queries and of many is torch's, with a mask and without one."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from nmt.attention.kernels import bias_of, full_attention, full_attention_weights


@pytest.mark.parametrize("batch", [3, 8, 9])
@pytest.mark.parametrize("queries", [1, 5, 8, 9])
@pytest.mark.parametrize("masked", ["no", "per sentence", "per query"])
def test_contexts_and_weights_are_torch_s(batch: int, queries: int, masked: str) -> None:
    torch.manual_seed(queries)
    query, key, value = (torch.randn(batch, 2, length, 4) for length in (queries, 7, 7))
    mask = bias = None
    if masked != "no":
        mask = torch.rand(batch, 1, 1 if masked == "per sentence" else queries, 7) < 0.5
        mask[..., 2] = True  # something is left to attend to
        bias = bias_of(mask)
    wanted = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(full_attention(query, key, value, bias=bias), wanted)
    weights = full_attention_weights(query, key, bias=bias)
    torch.testing.assert_close(weights @ value, wanted)
    if mask is not None:
        assert not weights.masked_select(~mask.expand_as(weights)).any()


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("queries", [1, 3, 8, 9, 12])
def test_causal_queries_are_at_the_last_positions(queries: int, masked: bool) -> None:
    torch.manual_seed(queries)
    query, key, value = (torch.randn(2, 2, length, 4) for length in (queries, 12, 12))
    mask = torch.ones(2, 1, queries, 12, dtype=torch.bool)
    for row in range(queries):
        mask[..., row, 12 - queries + row + 1 :] = False
    bias = None
    if masked:
        hidden = torch.tensor([[False] * 12, [True, False] * 6]).roll(-1, 1)[:, None, None]
        hidden[..., 0] = False  # something is left to attend to
        mask &= ~hidden
        bias = bias_of(~hidden)
    wanted = scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(full_attention(query, key, value, bias=bias, causal=True), wanted)
    weights = full_attention_weights(query, key, bias=bias, causal=True)
    torch.testing.assert_close(weights @ value, wanted)
    assert not weights.masked_select(~mask.expand_as(weights)).any()
