"""Monotonic local attention agrees with Luong et al. 2015 in values and gradients."""

from __future__ import annotations

import pytest
import torch

from nmt.attention.alignments.local_m import LocalMonotonicAlignment
from nmt.attention.scores import GeneralScore
from tests.attention.alignment_paper import CHUNKS, QUERY, STATES, assert_matches_the_paper
from tests.attention.papers import local as paper


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize(("window", "ratio"), [(1, 1.0), (2, 0.75), (1, 0.5), (9, 1.5)])
def test_equals_the_paper_in_values_and_gradients(window: int, ratio: float, chunks: list[int]) -> None:
    """Windows are narrower than sentences, or wider; the target is longer than every sentence."""
    torch.manual_seed(1)
    module = LocalMonotonicAlignment(GeneralScore(QUERY, STATES), window, ratio).double()
    score = paper.general({"W_a": module.score.states_projection.weight})
    assert_matches_the_paper(module, lambda h, states: paper.monotonic(h, states, score, window, ratio), chunks)
