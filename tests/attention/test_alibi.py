"""ALiBi agrees with Press et al. 2022 and with its authors' code."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.positions.alibi import slopes
from nmt.config.models import TransformerConfig
from tests.attention.against_paper import assert_matches_the_paper, mixer_of
from tests.attention.papers import alibi as paper
from tests.attention.papers.self_attention import Weights


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("num_heads", [2, 3])
def test_attention_matches_the_paper(causal: bool, num_heads: int) -> None:
    config = TransformerConfig(model_dim=12, num_heads=num_heads, positions="alibi")

    def attention(x: Tensor, positions: list[int], weights: Weights, causal: bool) -> Tensor:
        return paper.alibi_attention(x, positions, weights, num_heads, causal)

    assert_matches_the_paper(mixer_of(config, causal), attention)


@pytest.mark.parametrize("num_heads", [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 32])
def test_slopes_are_those_of_the_authors_code(num_heads: int) -> None:
    assert slopes(num_heads) == pytest.approx(paper.slopes(num_heads), rel=1e-12)


def test_eight_heads_have_the_slopes_that_the_paper_lists() -> None:
    assert slopes(8) == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]


def test_a_decoder_s_biases_are_those_of_the_paper_s_figure() -> None:
    """Figure 3 shows the distance to each key, multiplied by the slope of the head, before the mask."""
    positions = mixer_of(TransformerConfig(model_dim=12, num_heads=1, positions="alibi"), True).positions
    at = torch.arange(4).unsqueeze(0)
    bias = positions.bias(torch.zeros(1, 1, 4, 12), torch.zeros(1, 1, 4, 12), at, at)
    assert bias is not None
    assert bias.tril().mul(2**8).tolist() == [[[[0, 0, 0, 0], [-1, 0, 0, 0], [-2, -1, 0, 0], [-3, -2, -1, 0]]]]
