"""Self-attention with a pattern is the paper's, in values and gradients, whole and in steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import (
    BlocksConfig,
    DilatedConfig,
    SlidingConfig,
    StridedConfig,
    WindowGlobalConfig,
)
from tests.attention.against_paper import assert_is_the_paper_s, mixer_of
from tests.attention.papers import patterns as paper
from tests.attention.papers.self_attention import SeesOf, Weights, self_attention

HEADS = 2
CASES: dict[str, tuple[dict[str, Any], SeesOf]] = {
    "sliding": ({"sliding": SlidingConfig(window=1)}, paper.sliding(1)),
    "sliding wide": ({"sliding": SlidingConfig(window=3)}, paper.sliding(3)),
    "dilated": ({"dilated": DilatedConfig(window=1, dilation=2)}, paper.dilated(1, 2)),
    "dilated wide": ({"dilated": DilatedConfig(window=2, dilation=3)}, paper.dilated(2, 3)),
    "blocks": ({"blocks": BlocksConfig(size=2)}, paper.blocks(2)),
    "blocks wide": ({"blocks": BlocksConfig(size=5)}, paper.blocks(5)),
    "strided": ({"strided": StridedConfig(stride=2)}, paper.strided(2)),
    "strided wide": ({"strided": StridedConfig(stride=3)}, paper.strided(3)),
    "window_global": ({"window_global": WindowGlobalConfig(window=1, tokens=1)}, paper.window_global(1, 1)),
    "window_global wide": ({"window_global": WindowGlobalConfig(window=2, tokens=3)}, paper.window_global(2, 3)),
}


@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("case", CASES)
def test_attention_is_the_paper_s(case: str, causal: bool) -> None:
    options, sees = CASES[case]
    name = case.split()[0]
    config = TransformerConfig(
        model_dim=8, num_heads=HEADS, positions="none", encoder_self=name, decoder_self=name, **options
    )

    def attention(x: Tensor, positions: list[int], weights: Weights, causal: bool) -> Tensor:
        return self_attention(x, positions, weights, HEADS, causal, sees=sees)

    assert_is_the_paper_s(mixer_of(config, causal), attention)


# each remembers three positions
@pytest.mark.parametrize(
    "options",
    [
        {"decoder_self": "sliding", "sliding": SlidingConfig(window=3)},
        {"decoder_self": "dilated", "dilated": DilatedConfig(window=1, dilation=3)},
        {"decoder_self": "blocks", "blocks": BlocksConfig(size=4)},
    ],
    ids=lambda options: options["decoder_self"],
)
def test_what_has_been_passed_is_forgotten(options: dict[str, Any]) -> None:
    mixer = mixer_of(TransformerConfig(model_dim=8, num_heads=2, **options), True)
    assert mixer.state_bytes(2) < mixer.state_bytes(3) == mixer.state_bytes(1000) == 2 * 4 * 3 * 8
    state = mixer.init_state(2, torch.empty(0, dtype=torch.float64))
    for position in range(6):
        _, state, _ = mixer(torch.randn(2, 1, 8, dtype=torch.float64), torch.tensor([[position]]), None, state)
        assert state.keys.size(2) == state.values.size(2) == min(position + 1, 3)
