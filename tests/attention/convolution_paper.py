"""Comparison of convolutions with a transcription of their paper, and of the weights shown with the outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from nmt.attention.convolution import Convolution
from tests.attention.against_paper import assert_same
from tests.attention.papers.light_conv import Kernel, layer

T = TypeVar("T", bound=Convolution)
DIM, HEADS, LENGTH = 6, 2, 6
LENGTHS = [6, 4, 1]


def in_float64(make: Callable[[], T]) -> T:
    """Return the layer in float64, with weights and biases that are not small."""
    torch.manual_seed(1)
    made = make().double().eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(std=0.7)
    return made


def assert_matches_the_paper(made: Convolution, kernel: Kernel, causal: bool, parts: list[int] | None) -> None:
    """Compare outputs and gradients: of padded sentences in an encoder, of a whole or parts of it in a decoder."""
    x = torch.randn(3, LENGTH, DIM, dtype=torch.float64, requires_grad=True)
    lengths = [LENGTH] * 3 if causal else LENGTHS
    mask = None if causal else torch.arange(LENGTH) < torch.tensor(LENGTHS).unsqueeze(1)
    given = (
        made.input_projection.weight,
        made.input_projection.bias,
        made.output_projection.weight,
        made.output_projection.bias,
    )
    ours = [row[:length] for row, length in zip(in_parts(made, x, mask, parts), lengths, strict=True)]
    theirs = [layer(row[:length], *given, kernel, HEADS, causal) for row, length in zip(x, lengths, strict=True)]
    assert_same(made, x, ours, theirs)


def in_parts(made: Convolution, x: Tensor, mask: Tensor | None, parts: list[int] | None) -> Tensor:
    """Return the outputs for all positions at once (None), or for parts of the given lengths one after another."""
    if parts is None:
        return made(x, torch.arange(LENGTH).unsqueeze(0), mask)[0]
    state, outputs = made.init_state(len(x), x), []
    for part in x.split(parts, dim=1):
        output, state, weights = made(part, torch.arange(part.size(1)).unsqueeze(0), None, state, need_weights=True)
        assert weights is None, "the state has forgotten what the kernel does not reach"
        outputs.append(output)
    return torch.cat(outputs, dim=1)


def assert_weights_times_values_are_the_outputs(made: Convolution, causal: bool) -> None:
    """Multiply the weights of each head with the values of its channels, in each sentence."""
    x = torch.randn(3, LENGTH, DIM, dtype=torch.float64)
    mask = None if causal else torch.arange(LENGTH) < torch.tensor(LENGTHS).unsqueeze(1)
    outputs, _, weights = made(x, torch.arange(LENGTH).unsqueeze(0), mask, need_weights=True)
    assert weights.shape == (3, HEADS, LENGTH, LENGTH) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(3).amax(), torch.ones((), dtype=torch.float64))
    assert weights.sum(3).amin() < 0.9, "a kernel reaches beyond the end"
    for row, length in enumerate([LENGTH] * 3 if causal else LENGTHS):
        values = torch.nn.functional.glu(made.input_projection(x[row, :length]))
        per_head = zip(weights[row, :, :length, :length], values.chunk(HEADS, dim=1), strict=True)
        mixed = torch.cat([matrix @ of_head for matrix, of_head in per_head], dim=1)
        torch.testing.assert_close(made.output_projection(mixed), outputs[row, :length])
        assert not weights[row, :, :, length:].any(), "padding has no weight"
