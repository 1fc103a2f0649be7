"""Comparison of synthesizers with a transcription of their paper, and of the weights shown with the outputs."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor

from nmt.attention.normalisers import Softmax
from nmt.attention.synthesizer import Synthesizer
from tests.attention.against_paper import assert_same
from tests.attention.papers.synthesizer import Score, Weights, synthesizer

T = TypeVar("T", bound=Synthesizer)
DIM, HEADS, LENGTH = 4, 2, 6
LENGTHS = [6, 4, 1]
# how a decoder reads a sentence: all of it, or parts of these lengths
DECODER = {"at once": None, "step by step": [1] * LENGTH, "in parts": [3, 1, 2]}


def in_float64(kind: type[T], max_length: int, causal: bool) -> T:
    """Return a synthesizer in float64, with weights and biases that are not small."""
    torch.manual_seed(1)
    made = kind(DIM, HEADS, max_length, causal, 0.0, Softmax()).double()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(std=0.7)
    return made


def assert_matches_the_paper(made: Synthesizer, score: Score, parts: list[int] | None) -> None:
    """Compare outputs and gradients: of padded sentences in an encoder, of a whole or parts of it in a decoder."""
    x = torch.randn(3, LENGTH, DIM, dtype=torch.float64, requires_grad=True)
    lengths = [LENGTH] * 3 if made.causal else LENGTHS
    value, output = made.value_projection, made.output_projection
    given = Weights(value.weight, value.bias, output.weight, output.bias)
    found, weights = outputs_and_weights(made, x, parts)
    assert_same(made, x, [row[:length] for row, length in zip(found, lengths, strict=True)], [
        synthesizer(row[:length], given, score, HEADS, made.max_length, made.causal)
        for row, length in zip(x, lengths, strict=True)
    ])  # fmt: skip
    # the weights, which are exact with a state, too
    assert weights.shape == (3, HEADS, LENGTH, LENGTH)
    values = value(x).unflatten(2, (HEADS, -1)).transpose(1, 2)
    torch.testing.assert_close(output((weights @ values).transpose(1, 2).flatten(2)), found)
    assert not weights[..., made.max_length :].any()
    for row, length in enumerate(lengths):
        assert not weights[row, ..., length:].any()


def outputs_and_weights(made: Synthesizer, x: Tensor, parts: list[int] | None) -> tuple[Tensor, Tensor]:
    """Return outputs and weights for all positions at once (None), or for parts one after another."""
    if parts is None:
        mask = None if made.causal else torch.arange(LENGTH) < torch.tensor(LENGTHS).unsqueeze(1)
        output, _, weights = made(x, torch.arange(LENGTH).unsqueeze(0), mask, need_weights=True)
        return output, weights
    state, outputs, shown, end = made.init_state(len(x), x), [], [], 0
    for part in x.split(parts, dim=1):
        start, end = end, end + part.size(1)
        output, state, weights = made(part, torch.arange(start, end).unsqueeze(0), None, state, need_weights=True)
        outputs.append(output)
        shown.append(torch.nn.functional.pad(weights, (0, LENGTH - end)))
    return torch.cat(outputs, dim=1), torch.cat(shown, dim=2)
