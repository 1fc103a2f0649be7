"""Relative positions agree with Shaw et al. 2018."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nmt.attention.positions.shaw import RelativeKeys, RelativeKeysAndValues
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import ShawConfig
from nmt.models.build import build_model
from tests.attention.against_paper import assert_matches_the_paper, mixer_of
from tests.attention.papers.self_attention import Weights
from tests.attention.papers.shaw import relative_attention


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("values", [False, True])
@pytest.mark.parametrize("max_distance", [0, 2, 20])
def test_attention_matches_the_paper(causal: bool, values: bool, max_distance: int) -> None:
    """The maximum distances clip all distances, some of them, and none."""
    config = TransformerConfig(
        model_dim=12, num_heads=2, positions="shaw", shaw=ShawConfig(max_distance=max_distance, values=values)
    )
    mixer = mixer_of(config, causal)
    positions = mixer.positions
    assert isinstance(positions, RelativeKeys)

    def by_distance(table: Tensor) -> dict[int, Tensor]:
        return {row - max_distance: vector for row, vector in enumerate(table)}

    def paper(x: Tensor, at: list[int], weights: Weights, causal: bool) -> Tensor:
        w_v = by_distance(positions.values) if isinstance(positions, RelativeKeysAndValues) else None
        return relative_attention(x, at, weights, 2, causal, by_distance(positions.keys), w_v)

    assert isinstance(positions, RelativeKeysAndValues) == values
    assert_matches_the_paper(mixer, paper)


def test_layers_have_tables_of_their_own_and_heads_share_them() -> None:
    config = TransformerConfig(
        model_dim=24, num_heads=3, encoder_layers=2, decoder_layers=1, positions="shaw", shaw=ShawConfig(max_distance=5)
    )
    tables = {name: table for name, table in build_model(config, 9, 9).named_parameters() if ".positions." in name}
    assert list(tables) == [
        f"{layer}.mixer.positions.{table}"
        for layer in ("encoder.layers.0", "encoder.layers.1", "decoder.layers.0")
        for table in ("keys", "values")
    ]
    assert {table.shape for table in tables.values()} == {(11, 8)}
    assert len({table.data_ptr() for table in tables.values()}) == len(tables)


def test_dropped_weights_add_no_values() -> None:
    """Dropout removes word values and distance values together: here they cancel, whichever weights are dropped."""
    config = TransformerConfig(model_dim=12, num_heads=2, positions="shaw", attention_dropout=0.5)
    mixer = mixer_of(config, causal=False)
    positions = mixer.positions
    assert isinstance(positions, RelativeKeysAndValues)
    with torch.no_grad():
        mixer.qkv_projection.weight.zero_()
        mixer.qkv_projection.bias.zero_()
        mixer.qkv_projection.bias[24:] = 1.0  # all values are 1
        positions.values.fill_(-1.0)  # distances subtract what words add
        mixer.output_projection.bias.zero_()
    out, _, _ = mixer.train()(torch.randn(3, 7, 12, dtype=torch.float64), torch.arange(7).unsqueeze(0))
    torch.testing.assert_close(out, torch.zeros_like(out))
