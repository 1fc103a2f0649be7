"""The dense synthesizer and its paper agree, in values and gradients; a word attends without reading the others."""

from __future__ import annotations

import pytest
import torch

from nmt.attention.mixers.synthesizer_dense import DenseSynthesizer, make
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import SynthesizerConfig
from tests.attention.papers.synthesizer import dense_score
from tests.attention.synthesizer_paper import (
    DECODER,
    DIM,
    LENGTH,
    assert_matches_the_paper,
    in_float64,
    outputs_and_weights,
)
from tests.models.variants import TRANSFORMER


@pytest.mark.parametrize("max_length", [1, 4, LENGTH, 9])
@pytest.mark.parametrize("place", ["encoder", *DECODER])
def test_values_and_gradients_match_the_paper(max_length: int, place: str) -> None:
    made = in_float64(DenseSynthesizer, max_length, causal=place != "encoder")
    hidden = made.hidden_projection
    score = dense_score(hidden.weight, hidden.bias, made.score_weight.mT, made.score_bias.squeeze(1))
    assert_matches_the_paper(made, score, DECODER.get(place))


def test_the_weights_of_a_word_depend_on_it_alone() -> None:
    made = in_float64(DenseSynthesizer, 4, causal=False)
    x = torch.randn(3, LENGTH, DIM).double()
    changed = x.clone()
    changed[:, 2] += 1
    (_, one), (_, other) = (outputs_and_weights(made, each, None) for each in (x, changed))
    assert (one[:, :, 2] != other[:, :, 2]).any()
    others = [0, 1, 3, 4, 5]
    assert torch.equal(one[:, :, others], other[:, :, others])


def test_the_state_has_values_alone() -> None:
    made = in_float64(DenseSynthesizer, 4, causal=True)
    x = torch.randn(2, 5, DIM).double()
    _, state, _ = made(x, torch.arange(5).unsqueeze(0), None, made.init_state(2, x))
    assert 4 * state.values.numel() == 2 * made.state_bytes(5)


def test_it_begins_like_matrices_of_its_size() -> None:
    config = TransformerConfig(**TRANSFORMER, synthesizer_dense=SynthesizerConfig(max_length=92))  # type: ignore[arg-type]
    torch.manual_seed(1)
    made = make(config, Place("encoder_self", 0))
    assert made.score_weight.shape == (2, 8, 92) and not made.score_bias.any()
    bound = (6 / 100) ** 0.5  # Glorot and Bengio 2010, eq. 16
    assert bound - 0.01 < made.score_weight.abs().max() < bound
