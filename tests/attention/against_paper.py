"""Comparison of the self-attention mixer with a transcription of a paper: outputs and gradients, whole and in steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from nmt.attention.mixers import make_mixer
from nmt.attention.mixers.softmax import SelfAttention
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from tests.attention.papers.self_attention import Weights

LENGTHS = [6, 4, 5]
# one row each that starts at zero, starts elsewhere, and has gaps
POSITIONS = [[0, 1, 2, 3, 4, 5], [3, 4, 5, 6, 7, 8], [0, 2, 3, 7, 8, 12]]
# (x [length, dim], positions, weights, causal) -> outputs [length, dim] of one sentence
Paper = Callable[[Tensor, list[int], Weights, bool], Tensor]


def mixer_of(config: TransformerConfig, causal: bool) -> SelfAttention:
    """Return one layer's self-attention in float64, with weights and biases large enough to tell positions apart."""
    torch.manual_seed(1)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # so that buffers have full precision, too
    try:
        mixer = cast(SelfAttention, make_mixer(config, Place("decoder_self" if causal else "encoder_self", 0)))
    finally:
        torch.set_default_dtype(default)
    with torch.no_grad():
        for weight in mixer.parameters():
            weight.normal_(std=0.5)
    return mixer.eval()


def weights_of(mixer: SelfAttention) -> Weights:
    """Return the mixer's weights under the names of Vaswani et al. 2017."""
    output = mixer.output_projection
    return Weights(
        *mixer.qkv_projection.weight.chunk(3), output.weight, *mixer.qkv_projection.bias.chunk(3), output.bias
    )


def assert_matches_the_paper(mixer: SelfAttention, paper: Paper) -> None:
    """Compare whole sentences, padded or causal, each row at its own positions, and then steps with a state."""
    x = torch.randn(3, 6, mixer.output_projection.in_features, dtype=torch.float64, requires_grad=True)
    mask = None if mixer.causal else torch.arange(6) < torch.tensor(LENGTHS).unsqueeze(1)
    lengths = [6, 6, 6] if mixer.causal else LENGTHS
    positions = torch.tensor(POSITIONS)
    ours, _, weights = mixer(x, positions, mask, need_weights=True)
    silent, _, _ = mixer(x, positions, mask)
    torch.testing.assert_close(silent, ours)
    assert_same(mixer, x, [row[:length] for row, length in zip(silent, lengths, strict=True)], [
        paper(row[:length], at[:length], weights_of(mixer), mixer.causal)
        for row, length, at in zip(x, lengths, POSITIONS, strict=True)
    ])  # fmt: skip
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    # the same positions for all rows
    shared, _, _ = mixer(x, positions[1:2], mask)
    assert_same(mixer, x, [row[:length] for row, length in zip(shared, lengths, strict=True)], [
        paper(row[:length], POSITIONS[1][:length], weights_of(mixer), mixer.causal)
        for row, length in zip(x, lengths, strict=True)
    ])  # fmt: skip
    if mixer.causal:
        for chunks in ([1] * 6, [2, 1, 3]):
            assert_steps_match_the_paper(mixer, x, chunks, paper)


def assert_steps_match_the_paper(mixer: SelfAttention, x: Tensor, chunks: list[int], paper: Paper) -> None:
    """Compare decoding in chunks of positions, with a different start position in each row."""
    starts = [0, 4, 1]
    positions = torch.tensor(starts).unsqueeze(1) + torch.arange(6)
    state, parts = mixer.init_state(3, x), []
    for some, at in zip(x.split(chunks, dim=1), positions.split(chunks, dim=1), strict=True):
        part, state, _ = mixer(some, at, None, state)
        parts.append(part)
    expected = [paper(row, at, weights_of(mixer), True) for row, at in zip(x, positions.tolist(), strict=True)]
    assert_same(mixer, x, list(torch.cat(parts, dim=1)), expected)


def assert_same(mixer: nn.Module, x: Tensor, ours: list[Tensor], theirs: list[Tensor]) -> None:
    """Compare outputs, and the gradients of the inputs and of all weights."""
    names, weights = zip(*mixer.named_parameters(), strict=True)
    found = []
    for rows in (ours, theirs):
        torch.manual_seed(5)
        total = sum((row * torch.randn_like(row)).sum() for row in rows)
        found.append(torch.autograd.grad(total, (x, *weights), retain_graph=True))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)
    for name, one, other in zip(("x", *names), *found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-9, rtol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
