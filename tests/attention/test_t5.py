"""Relative position buckets agree with Raffel et al. 2020."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from nmt.attention.positions.t5 import BucketBiases, buckets
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import T5Config
from nmt.errors import ConfigError
from nmt.models.build import build_model
from tests.attention.against_paper import assert_matches_the_paper, mixer_of
from tests.attention.papers.self_attention import Weights
from tests.attention.papers.t5 import bucket, t5_attention

SIZES = [(4, 3), (8, 5), (32, 128), (33, 100), (12, 1000), (64, 33)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("num_buckets", "max_distance"), [(4, 3), (8, 7), (32, 128)])
def test_attention_matches_the_paper(causal: bool, num_buckets: int, max_distance: int) -> None:
    config = TransformerConfig(
        model_dim=12, num_heads=3, positions="t5", t5=T5Config(num_buckets=num_buckets, max_distance=max_distance)
    )
    mixer = mixer_of(config, causal)
    positions = mixer.positions
    assert isinstance(positions, BucketBiases)

    def paper(x: Tensor, at: list[int], weights: Weights, causal: bool) -> Tensor:
        return t5_attention(x, at, weights, 3, causal, positions.biases, max_distance)

    assert_matches_the_paper(mixer, paper)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("num_buckets", "max_distance"), SIZES)
def test_buckets_are_those_of_the_paper(causal: bool, num_buckets: int, max_distance: int) -> None:
    """The bias of a head is the number of its bucket here, and a query in the middle has keys on both sides."""
    positions = BucketBiases(8, 1, num_buckets, max_distance, causal)
    with torch.no_grad():
        positions.biases.copy_(torch.arange(num_buckets).unsqueeze(1))
    middle = max_distance + 20
    keys = torch.arange(middle + 1 if causal else 2 * middle + 1)
    anything = torch.empty(1, 1, 1, 8)
    found = positions.bias(anything, anything, torch.tensor([[middle]]), keys.unsqueeze(0))
    expected = [bucket(j - middle, not causal, num_buckets, max_distance) for j in keys.tolist()]
    assert found.flatten().tolist() == expected


@pytest.mark.parametrize(("num_buckets", "max_distance"), SIZES)
def test_buckets_have_the_paper_s_properties(num_buckets: int, max_distance: int) -> None:
    """Each of the small distances has its own; ranges are contiguous and grow; the last one begins at max_distance."""
    found = buckets(num_buckets, max_distance)
    exact = num_buckets // 2
    assert len(found) == max_distance + 1  # distances beyond are clamped to max_distance
    assert found[: exact + 1] == list(range(exact + 1))
    assert found == sorted(found)
    assert found[-1] == num_buckets - 1
    widths = [found.count(number) for number in range(exact, num_buckets - 1)]
    if min(widths) > 0:  # with few distances for many buckets, some have none
        assert all(next_one >= one - 1 for one, next_one in itertools.pairwise(widths))  # up to rounding


def test_layers_have_biases_of_their_own_with_one_for_each_head() -> None:
    config = TransformerConfig(
        model_dim=24, num_heads=3, encoder_layers=2, decoder_layers=1, positions="t5", t5=T5Config(num_buckets=10)
    )
    tables = {name: table for name, table in build_model(config, 9, 9).named_parameters() if ".positions." in name}
    assert list(tables) == [
        f"{layer}.mixer.positions.biases" for layer in ("encoder.layers.0", "encoder.layers.1", "decoder.layers.0")
    ]
    assert {table.shape for table in tables.values()} == {(10, 3)}
    assert len({table.data_ptr() for table in tables.values()}) == len(tables)


def test_too_many_buckets_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"num_buckets=32, .* model.t5.max_distance=16, which has to be above 16"):
        TransformerConfig(positions="t5", t5=T5Config(max_distance=16)).check()
    TransformerConfig(positions="t5", t5=T5Config(max_distance=17)).check()
