"""Location-aware attention agrees with Chorowski et al. 2015 in values and gradients."""

from __future__ import annotations

import pytest
import torch

from nmt.attention.alignments.location_aware import LocationAwareAlignment
from nmt.attention.scores import AdditiveScore
from nmt.config.load import load_config
from nmt.errors import ConfigError
from tests.attention.alignment_paper import CHUNKS, QUERY, STATES, assert_matches_the_paper
from tests.attention.papers import location_aware as paper

ATTENTION, FILTERS = 6, 3


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("radius", [0, 1, 7])
def test_equals_the_paper_in_values_and_gradients(radius: int, chunks: list[int]) -> None:
    """Filters are one word wide, narrower than sentences, or wider."""
    torch.manual_seed(1)
    score = AdditiveScore(QUERY, STATES, ATTENTION)
    module = LocationAwareAlignment(score, FILTERS, radius).double()
    names = {
        "W": score.query_projection.weight,
        "V": score.states_projection.weight,
        "b": score.states_projection.bias,
        "w": score.v.weight[0],
        "F": module.convolution.weight[:, 0],
        "U": module.location_projection.weight,
    }
    assert_matches_the_paper(module, lambda queries, h: paper.attend(queries, h, names), chunks)


@pytest.mark.parametrize(
    ("model", "score"), [("rnnsearch", "general"), ("luong", "dot"), ("luong", "location")], ids=str
)
def test_a_score_without_a_sum_inside_a_tanh_is_refused(model: str, score: str) -> None:
    given = ["model=" + model, "model.alignment=location_aware", f"model.score={score}"]
    with pytest.raises(
        ConfigError, match=rf"location_aware adds .* tanh of an additive score, and model\.score={score}"
    ):
        load_config("embedded", given)
    assert load_config("embedded", [*given[:2], "model.score=additive"])
