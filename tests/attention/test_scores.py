"""Scores agree with the equations of their papers in values and gradients, and are refused where sizes differ."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.alignments.soft import SoftAlignment
from nmt.attention.scores import LocationScore, ScaledDotScore
from nmt.config.load import load_config
from nmt.errors import ConfigError
from tests.attention.alignment_paper import CHUNKS, QUERY, assert_matches_the_paper
from tests.attention.papers import scores as paper


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_scaled_dot_matches_the_paper(chunks: list[int]) -> None:
    def of_the_paper(queries: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        weights = [paper.weights(paper.scaled_dot(h, states)) for h in queries]
        return torch.stack([paper.context(a, states) for a in weights]), torch.stack(weights)

    assert_matches_the_paper(SoftAlignment(ScaledDotScore()), of_the_paper, chunks, query=4, states=4)


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("max_length", [3, 20], ids=["shorter than sentences", "longer"])
def test_location_matches_the_paper(max_length: int, chunks: list[int]) -> None:
    torch.manual_seed(1)
    score = LocationScore(QUERY, max_length).double()

    def of_the_paper(queries: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        weights = [paper.weights(paper.location(h, states, score.position_projection.weight)) for h in queries]
        ignored = states.new_zeros(len(queries), len(states) - len(weights[0]))
        return torch.stack([paper.context(a, states) for a in weights]), torch.cat((torch.stack(weights), ignored), 1)

    assert_matches_the_paper(SoftAlignment(score), of_the_paper, chunks)


@pytest.mark.parametrize("alignment", ["local_m", "local_p"])
def test_location_is_refused_where_no_word_could_be_left(alignment: str) -> None:
    with pytest.raises(ConfigError, match=rf"model\.alignment={alignment} attends to .* a window could be empty"):
        load_config("embedded", ["model=luong", "model.score=location", f"model.alignment={alignment}"])
    assert load_config("embedded", ["model=luong", "model.score=location"])


@pytest.mark.parametrize("score", ["dot", "scaled_dot"])
def test_a_product_of_states_of_different_sizes_is_refused(score: str) -> None:
    given = ["model=rnnsearch", "model.hidden_dim=20", f"model.score={score}"]
    with pytest.raises(ConfigError, match=rf"model\.score={score} multiplies .*hidden_dim=20 .* 40.*score=general"):
        load_config("embedded", given)
    assert load_config("embedded", ["model=luong", f"model.score={score}"])
