"""Predictive local attention agrees with Luong et al. 2015 in values and gradients."""

from __future__ import annotations

import pytest
import torch

from nmt.attention.alignments.local_p import LocalPredictiveAlignment
from nmt.attention.contract import Encoded
from nmt.attention.scores import GeneralScore
from tests.attention.alignment_paper import CHUNKS, QUERY, STATES, assert_matches_the_paper
from tests.attention.papers import local as paper


def alignment(window: int) -> LocalPredictiveAlignment:
    torch.manual_seed(1)
    module = LocalPredictiveAlignment(GeneralScore(QUERY, STATES), QUERY, window).double()
    with torch.no_grad():
        module.v_p.weight.mul_(5)  # so that positions are spread over the sentence
    return module


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("window", [1, 2, 10])
def test_equals_the_paper_in_values_and_gradients(window: int, chunks: list[int]) -> None:
    module = alignment(window)
    names = {"W_p": module.position_projection.weight, "v_p": module.v_p.weight[0]}
    score = paper.general({"W_a": module.score.states_projection.weight})
    assert_matches_the_paper(module, lambda h, states: paper.predictive(h, states, score, window, names), chunks)


@pytest.mark.parametrize("side", [-1, 1], ids=["beginning", "end"])
def test_a_position_at_the_edge_of_the_sentence_has_words_in_its_window(side: int) -> None:
    """The sigmoid rounds to 0 or 1, and p_t to 0 or S."""
    module = alignment(1).float()
    with torch.no_grad():
        module.position_projection.weight.fill_(100.0)
        module.v_p.weight.fill_(100.0)
    states, mask = torch.randn(1, 3, STATES), torch.tensor([[True, True, False]])
    memory = module.read(Encoded(states, mask, ()))
    weights = module.over(memory)(side * torch.ones(1, 1, QUERY), torch.zeros(1, 1), None).weights
    at, found = (0, 1.0) if side < 0 else (1, torch.exp(torch.tensor(-2.0)))
    assert weights is not None and weights.isfinite().all() and weights[..., 2].item() == 0
    assert weights[..., at].item() > 0 and weights.max() <= found
