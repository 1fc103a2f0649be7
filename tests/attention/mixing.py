"""Comparison of any mixer with a transcription of its paper: outputs and gradients, whole, padded and in parts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nmt.attention.contract import Mixer
from nmt.attention.naming import make_by_name
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from tests.attention.against_paper import assert_same

LENGTH, LENGTHS = 6, [6, 4, 5]
PARTS = ([1] * LENGTH, [3, 1, 2])


def mixer_of(name: str, config: TransformerConfig, causal: bool) -> Mixer:
    """Return one layer's mixer in float64, with weights and biases large enough to tell positions apart."""
    torch.manual_seed(1)
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # so that buffers have full precision, too
    try:
        mixer: Mixer = make_by_name("mixers", name, config, Place("decoder_self" if causal else "encoder_self", 0))
    finally:
        torch.set_default_dtype(default)
    with torch.no_grad():
        for weight in mixer.parameters():
            weight.normal_(std=0.5)
    return mixer.eval()


def inputs(dim: int, length: int = LENGTH) -> Tensor:
    return torch.randn(3, length, dim, dtype=torch.float64, requires_grad=True)


def at(x: Tensor) -> Tensor:
    """Return the positions [1, length] of x [rows, length, dim]."""
    return torch.arange(x.size(1)).unsqueeze(0)


def in_parts(mixer: Mixer, x: Tensor, parts: list[int]) -> Tensor:
    """Return the outputs for parts of the given lengths, one after another."""
    state, outputs, start = mixer.init_state(len(x), x), [], 0
    for part in x.split(parts, dim=1):
        output, state, _ = mixer(part, start + at(part), None, state)
        outputs.append(output)
        start += part.size(1)
    return torch.cat(outputs, dim=1)


def assert_decodes_like(mixer: Mixer, paper: Callable[[Tensor], Tensor], dim: int) -> None:
    """Compare a causal mixer with paper(x [length, dim]), on whole sentences and in parts with a state."""
    x = inputs(dim)
    theirs = [paper(row) for row in x]
    assert_same(mixer, x, list(mixer(x, at(x))[0]), theirs)
    for parts in PARTS:
        assert_same(mixer, x, list(in_parts(mixer, x, parts)), theirs)


def assert_encodes_like(mixer: Mixer, paper: Callable[[Tensor], Tensor], dim: int) -> None:
    """Compare a mixer of an encoder with paper(x [length, dim]) on a batch of sentences of different lengths."""
    x, mask = inputs(dim), torch.arange(LENGTH) < torch.tensor(LENGTHS).unsqueeze(1)
    ours = [row[:length] for row, length in zip(mixer(x, at(x), mask)[0], LENGTHS, strict=True)]
    assert_same(mixer, x, ours, [paper(row[:length]) for row, length in zip(x, LENGTHS, strict=True)])


def saved_numbers(mixer: Mixer, dim: int, length: int) -> int:
    """Return how many numbers are kept for the gradient of sequences of this length."""
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    x = inputs(dim, length)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        mixer(x, at(x))
    return sum(sizes)
