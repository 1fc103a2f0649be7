"""Rotary positions agree with Su et al. 2021."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.positions.rotary import rotate
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import RotaryConfig
from nmt.errors import ConfigError
from tests.attention.against_paper import assert_matches_the_paper, mixer_of
from tests.attention.papers.rotary import rotary_attention, rotated, rotation
from tests.attention.papers.self_attention import Weights


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("base", [10000, 7.5])
def test_attention_matches_the_paper(causal: bool, base: float) -> None:
    config = TransformerConfig(model_dim=12, num_heads=2, positions="rotary", rotary=RotaryConfig(base=base))

    def paper(x: Tensor, positions: list[int], weights: Weights, causal: bool) -> Tensor:
        return rotary_attention(x, positions, weights, 2, causal, base)

    assert_matches_the_paper(mixer_of(config, causal), paper)


@pytest.mark.parametrize("m", [0, 1, 9, 200])
def test_a_rotation_is_the_product_with_its_matrix(m: int) -> None:
    """Eq. 34 is the product of eq. 15 without its zeros."""
    torch.manual_seed(m)
    x = torch.randn(8, dtype=torch.float64)
    theta = torch.tensor([10000 ** (-2 * i / 8) for i in range(4)], dtype=torch.float64)
    for expected in (rotation(m, 8, 10000) @ x, rotated(x, m, 10000)):
        torch.testing.assert_close(rotate(x, m * theta), expected, atol=1e-12, rtol=1e-12)


def test_an_odd_head_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"heads of even size, and model.model_dim / model.num_heads = 5 is odd"):
        TransformerConfig(model_dim=10, num_heads=2, positions="rotary").check()
    TransformerConfig(model_dim=10, num_heads=2).check()
