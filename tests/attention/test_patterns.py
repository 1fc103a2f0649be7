"""Self-attention with a pattern is the paper's, in values and gradients, whole and in steps."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.attention.patterns.bigbird import BigBird
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import (
    BigBirdConfig,
    BlocksConfig,
    DilatedConfig,
    FixedGaussianConfig,
    SlidingConfig,
    StridedConfig,
    WindowGlobalConfig,
)
from tests.attention.against_paper import assert_matches_the_paper, mixer_of
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
    "bigbird": (
        {"bigbird": BigBirdConfig(block=1, window=0, global_blocks=0, random_blocks=2, seed=3)},
        paper.bigbird(1, 0, 0, 2, 3),
    ),
    "bigbird global": ({"bigbird": BigBirdConfig(block=2, window=0, seed=4)}, paper.bigbird(2, 0, 1, 1, 4)),
    "bigbird wide": ({"bigbird": BigBirdConfig(block=1, random_blocks=3)}, paper.bigbird(1, 1, 1, 3, 1)),
}


@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("case", CASES)
def test_attention_matches_the_paper(case: str, causal: bool) -> None:
    options, sees = CASES[case]
    name = case.split()[0]
    config = TransformerConfig(
        model_dim=8, num_heads=HEADS, positions="none", encoder_self=name, decoder_self=name, **options
    )

    def attention(x: Tensor, positions: list[int], weights: Weights, causal: bool) -> Tensor:
        return self_attention(
            x, positions, weights, HEADS, causal, sees=lambda i, j, n: sees(i, j, i + 1 if causal else n)
        )

    assert_matches_the_paper(mixer_of(config, causal), attention)


@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
@pytest.mark.parametrize("penalty", [0.0, 0.7])
def test_attention_with_a_gaussian_prior_matches_the_paper(penalty: float, causal: bool) -> None:
    options = FixedGaussianConfig(sigma=1.3, self_penalty=penalty)
    config = TransformerConfig(model_dim=8, num_heads=HEADS, positions="none", encoder_self="fixed_gaussian",
                               decoder_self="fixed_gaussian", fixed_gaussian=options)  # fmt: skip

    def attention(x: Tensor, positions: list[int], weights: Weights, causal: bool) -> Tensor:
        return self_attention(x, positions, weights, HEADS, causal, paper.fixed_gaussian(1.3, penalty))

    assert_matches_the_paper(mixer_of(config, causal), attention)


@pytest.mark.parametrize("causal", [False, True], ids=["encoder", "decoder"])
def test_attention_with_predicted_gaussians_matches_the_paper(causal: bool) -> None:
    config = TransformerConfig(model_dim=8, num_heads=HEADS, positions="none", encoder_self="learned_gaussian",
                               decoder_self="learned_gaussian")  # fmt: skip
    mixer = mixer_of(config, causal)
    localness = paper.Localness(*mixer.pattern.parameters())

    def attention(x: Tensor, positions: list[int], weights: Weights, causal: bool) -> Tensor:
        score = paper.learned_gaussian(x, positions, weights, localness, causal)
        return self_attention(x, positions, weights, HEADS, causal, score)

    assert_matches_the_paper(mixer, attention)


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


def test_random_blocks_are_spread_over_the_sentence() -> None:
    options = BigBirdConfig(block=1, window=0, global_blocks=0, random_blocks=1, seed=5)
    i, j = torch.arange(1000).unsqueeze(1), torch.arange(1000).unsqueeze(0)
    drawn = BigBird(options).allows(i, j, torch.tensor(1000)) & (i != j)
    assert (drawn.sum(dim=1) == 1).all(), "one other block for each"
    # uniform draws would fill a fraction 1 - 1/e of the positions, and each quarter with a quarter of the draws
    assert 0.6 < drawn.any(dim=0).float().mean() < 0.66
    assert all(0.2 < quarter.sum() / 1000 < 0.3 for quarter in drawn.chunk(4, dim=1))
    other = BigBird(dataclasses.replace(options, seed=6)).allows(i, j, torch.tensor(1000)) & (i != j)
    assert (drawn & other).sum() < 10
