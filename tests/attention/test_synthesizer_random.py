"""The random synthesizer and its paper agree, in values and gradients; it reads no word to decide what to attend to."""

from __future__ import annotations

import pytest
import torch

from nmt.attention.mixers.synthesizer_random import RandomSynthesizer, make
from nmt.config.mechanisms import Place
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import SynthesizerConfig
from tests.attention.papers.synthesizer import random_score
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
    made = in_float64(RandomSynthesizer, max_length, causal=place != "encoder")
    assert_matches_the_paper(made, random_score(made.r), DECODER.get(place))


def test_weights_are_those_of_positions_whatever_the_words() -> None:
    made = in_float64(RandomSynthesizer, 4, causal=True)
    (_, one), (_, other) = (outputs_and_weights(made, torch.randn(3, LENGTH, DIM).double(), None) for _ in range(2))
    assert torch.equal(one, other) and one[0, :, :4].std() > 0.1
    assert torch.equal(one[:, :, 4], one[:, :, 3]) and torch.equal(one[:, :, 5], one[:, :, 3]), "later words are alike"


def test_dropout_of_the_weights_differs_from_sentence_to_sentence() -> None:
    made = in_float64(RandomSynthesizer, 9, causal=True).train()
    made.dropout.p = 0.5
    same = torch.randn(1, LENGTH, DIM).double().expand(2, -1, -1)
    one, other = made(same, torch.arange(LENGTH).unsqueeze(0))[0]
    assert (one != other).any(dim=1).sum() > LENGTH / 2


def test_the_state_has_the_values_of_positions_with_scores_alone() -> None:
    made = in_float64(RandomSynthesizer, 4, causal=True)
    assert [made.state_bytes(length) for length in (0, 1, 9)] == [0, 4 * DIM, 4 * 4 * DIM]
    _, state, _ = made(torch.randn(2, 5, DIM).double(), torch.arange(5).unsqueeze(0), None, made.init_state(2, made.r))
    assert state.values.numel() == 2 * 4 * DIM


def test_it_begins_at_random_like_matrices_of_its_size() -> None:
    config = TransformerConfig(**TRANSFORMER, synthesizer_random=SynthesizerConfig(max_length=50))  # type: ignore[arg-type]
    torch.manual_seed(1)
    r = make(config, Place("encoder_self", 0)).r.detach()
    assert r.shape == (2, 50, 50) and not torch.equal(r[0], r[1])
    bound = (6 / 100) ** 0.5  # Glorot and Bengio 2010, eq. 16
    assert bound - 0.01 < r.abs().max() < bound
