"""Dynamic convolution and its paper agree, in values and gradients; the weights shown are those that it uses."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nmt.attention.mixers.dynamic_conv import DynamicConvolution, make
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
from tests.attention.papers.dynamic_conv import predicted
from tests.models.variants import TRANSFORMER

DECODER = {"at once": None, "step by step": [1] * LENGTH, "in parts": [3, 1, 2]}


def mixer(kernel_size: int, causal: bool, dropout: float = 0.0) -> DynamicConvolution:
    return in_float64(lambda: DynamicConvolution(DIM, HEADS, kernel_size, dropout, causal))


def config_of(**keys: Any) -> TransformerConfig:
    return TransformerConfig(**TRANSFORMER | {"decoder_self": ["softmax", "dynamic_conv"]} | keys)


@pytest.mark.parametrize("kernel_size", [3, 4, 9])
@pytest.mark.parametrize("place", ["encoder", *DECODER])
def test_values_and_gradients_match_the_paper(kernel_size: int, place: str) -> None:
    causal = place != "encoder"
    made = mixer(kernel_size, causal)
    w = made.kernel_projection.weight.view(HEADS, kernel_size, DIM)
    assert_matches_the_paper(made, lambda x, i, head: predicted(x, w, i, head), causal, DECODER.get(place))


@pytest.mark.parametrize("kernel_size", [3, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_the_weights_shown_times_the_values_are_the_outputs(kernel_size: int, causal: bool) -> None:
    assert_weights_times_values_are_the_outputs(mixer(kernel_size, causal), causal)


def test_the_state_does_not_grow() -> None:
    made = mixer(4, causal=True)
    assert made.state_bytes(1) == made.state_bytes(1000) == 4 * 3 * DIM


def test_sums_are_in_float32_under_autocast() -> None:
    made = mixer(4, causal=True).float()
    x, positions, added = torch.randn(2, LENGTH, DIM), torch.arange(LENGTH).unsqueeze(0), []
    made.output_projection.register_forward_pre_hook(lambda module, given: added.append(given[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        output, _, _ = made(x, positions)
    assert added == [torch.float32]
    torch.testing.assert_close(output.float(), made(x, positions)[0], atol=0.1, rtol=0.1)


def test_it_has_options_of_its_own() -> None:
    options = ConvolutionConfig(kernel_sizes=[2, 5], dropout=0.3)
    made = make(config_of(dynamic_conv=options), Place("decoder_self", 3))
    assert (made.kernel_size, made.dropout.p) == (5, 0.3)
    assert dropouts(config_of(dynamic_conv=options)).count(0.3) == 1
    assert 0.3 not in dropouts(config_of(light_conv=options))


def test_there_has_to_be_a_kernel_size() -> None:
    config_of().check()
    with pytest.raises(ConfigError, match=r"^model.decoder_self\[1\]=dynamic_conv needs .* model.dynamic_conv.kernel_"):
        config_of(dynamic_conv=ConvolutionConfig(kernel_sizes=[])).check()
