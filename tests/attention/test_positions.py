"""Properties that hold for all kinds of positions of the Transformer."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from nmt.config.mechanisms import PositionName
from nmt.config.models import TransformerConfig
from nmt.models.build import build_model
from nmt.models.seq2seq import Seq2Seq
from nmt.models.transformer import TransformerDecoder

ALL = pytest.mark.parametrize("positions", get_args(PositionName))


def one_layer(positions: PositionName) -> Seq2Seq:
    torch.manual_seed(1)
    config = TransformerConfig(
        model_dim=16, ffn_dim=24, num_heads=2, encoder_layers=1, decoder_layers=1, positions=positions
    )
    return build_model(config, 11, 11).double().eval()


@ALL
def test_both_stacks_know_the_order_of_their_tokens(positions: PositionName) -> None:
    """Without positions neither stack knows the order: even a causal layer only sums over its past."""
    model = one_layer(positions)
    tokens = torch.tensor([[4, 5, 6, 7, 8]])
    swapped = torch.tensor([[5, 7, 6, 4, 8]])
    mask = torch.ones_like(tokens, dtype=torch.bool)
    last = [model.encoder(src, mask).states[:, -1] for src in (tokens, swapped)]
    assert (positions == "none") == torch.allclose(*last)
    memory = model.read(tokens, mask)
    last = [model.decoder(tgt, memory)[0].hidden[:, -1] for tgt in (tokens, swapped)]
    assert (positions == "none") == torch.allclose(*last)


@ALL
def test_attention_to_the_source_has_no_positions(positions: PositionName) -> None:
    """Reordering the source states does not change the output."""
    model = one_layer(positions)
    tokens = torch.tensor([[4, 5, 6, 7, 8]])
    encoded = model.encoder(tokens, torch.ones_like(tokens, dtype=torch.bool))
    turned = encoded._replace(states=encoded.states.flip(1))
    assert isinstance(model.decoder, TransformerDecoder)
    hidden = [model.decoder(tokens, model.decoder.read(each))[0].hidden for each in (encoded, turned)]
    torch.testing.assert_close(*hidden)


@ALL
def test_weights_are_kept_only_where_positions_enter(positions: PositionName) -> None:
    model = one_layer(positions)
    tokens = torch.tensor([[4, 5, 6, 7, 8]])
    model(tokens, torch.ones_like(tokens, dtype=torch.bool), tokens).hidden.square().sum().backward()
    of_positions = [(name, weight) for name, weight in model.named_parameters() if ".positions." in name]
    assert [name for name, weight in of_positions if weight.grad is None] == []
