"""Lightweight convolution and its paper agree, in values and gradients; the weights shown are those that it uses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.attention.mixers.light_conv import LightConvolution, make
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig, dropouts
from nmt.config.options.transformer import ConvolutionConfig
from nmt.errors import ConfigError
from tests.attention.convolution_paper import (
    DIM,
    HEADS,
    LENGTH,
    assert_matches_the_paper,
    assert_weights_times_values_are_the_outputs,
    in_float64,
)
from tests.models.variants import TRANSFORMER

DECODER = {"at once": None, "step by step": [1] * LENGTH, "in parts": [3, 1, 2]}


def mixer(kernel_size: int, causal: bool, dropout: float = 0.0) -> LightConvolution:
    return in_float64(lambda: LightConvolution(DIM, HEADS, kernel_size, dropout, causal))


def config_of(**keys: Any) -> TransformerConfig:
    return TransformerConfig(**TRANSFORMER | {"decoder_self": ["softmax", "light_conv"]} | keys)


@pytest.mark.parametrize("kernel_size", [3, 4, 9])
@pytest.mark.parametrize("place", ["encoder", *DECODER])
def test_values_and_gradients_match_the_paper(kernel_size: int, place: str) -> None:
    causal = place != "encoder"
    made = mixer(kernel_size, causal)

    def kernel(x: Tensor, i: int, head: int) -> Tensor:
        return made.kernels[head - 1]

    assert_matches_the_paper(made, kernel, causal, DECODER.get(place))


@pytest.mark.parametrize("kernel_size", [3, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_the_weights_shown_times_the_values_are_the_outputs(kernel_size: int, causal: bool) -> None:
    assert_weights_times_values_are_the_outputs(mixer(kernel_size, causal), causal)


def test_the_state_does_not_grow() -> None:
    made = mixer(4, causal=True)
    assert made.state_bytes(1) == made.state_bytes(1000) == 4 * 3 * DIM
    (values,) = made.init_state(5, torch.empty(2, 0, DIM))
    assert values.shape == (5, 3, DIM) and not values.any()


def test_sums_are_in_float32_under_autocast() -> None:
    made = mixer(4, causal=True).float()
    x, positions, added = torch.randn(2, LENGTH, DIM), torch.arange(LENGTH).unsqueeze(0), []
    made.output_projection.register_forward_pre_hook(lambda module, given: added.append(given[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        output, _, _ = made(x, positions)
    assert added == [torch.float32]
    torch.testing.assert_close(output.float(), made(x, positions)[0], atol=0.1, rtol=0.1)


def test_dropconnect_drops_weights_of_the_kernels_in_training() -> None:
    """With values of one and equal weights, each channel shows how many weights are left of its head's kernel."""
    made = mixer(4, causal=True, dropout=0.5).train()
    with torch.no_grad():
        made.kernels.zero_()  # four weights of 1/4, twice as large if they are kept
        made.input_projection.weight.zero_()
        made.input_projection.bias.copy_(torch.tensor([1.0] * DIM + [100.0] * DIM))
        made.output_projection.weight.copy_(torch.eye(DIM))
        made.output_projection.bias.zero_()
    x, positions = torch.zeros(4, LENGTH, DIM, dtype=torch.float64), torch.arange(LENGTH).unsqueeze(0)
    left = 2 * made(x, positions)[0][:, 3:]  # from here on the kernel does not reach beyond the beginning
    assert (left == left[:, :1, [0, 0, 0, 3, 3, 3]]).all(), "the same weights are dropped at all positions"
    assert (left == left.round()).all() and (left != left[0]).any(), "what is dropped depends on the sentence"
    torch.testing.assert_close(2 * made.eval()(x, positions)[0][:, 3:], torch.full_like(left, 2))
    assert dropouts(config_of(light_conv=ConvolutionConfig(dropout=0.3))).count(0.3) == 1


def test_layers_have_the_kernel_sizes_in_order_and_then_the_last() -> None:
    config = config_of(light_conv=ConvolutionConfig(kernel_sizes=[2, 5]))
    sizes = [make(config, Place(key, layer)).kernels.size(1) for key in ("encoder_self", "decoder_self")
             for layer in range(4)]  # fmt: skip
    assert sizes == [2, 5, 5, 5] * 2


def test_there_has_to_be_a_kernel_size() -> None:
    config_of().check()
    with pytest.raises(ConfigError) as caught:
        config_of(light_conv=ConvolutionConfig(kernel_sizes=[])).check()
    assert str(caught.value) == (
        "model.decoder_self[1]=light_conv needs the size of a kernel, and model.light_conv.kernel_sizes=[] has none: "
        "put a number into it"
    )
