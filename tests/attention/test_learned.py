"""Learned positions are added as in Gehring et al. 2017, section 3.1: e = (w_1 + p_1, ..., w_m + p_m)."""

from __future__ import annotations

import math

import pytest
import torch

from nmt.attention.positions.learned import LearnedPositions
from nmt.config.models import TransformerConfig
from nmt.config.options.transformer import LearnedConfig
from nmt.models.build import build_model
from nmt.models.seq2seq import Seq2Seq


def model_of(max_length: int) -> Seq2Seq:
    torch.manual_seed(1)
    config = TransformerConfig(
        model_dim=8, ffn_dim=12, num_heads=2, encoder_layers=1, decoder_layers=1, positions="learned", dropout=0.0,
        learned=LearnedConfig(max_length=max_length),
    )  # fmt: skip
    return build_model(config, 11, 11)


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_each_word_gets_the_vector_of_its_position_and_beyond_the_last_the_last(stack: str) -> None:
    embed = model_of(3).get_submodule(f"{stack}.embedding")
    tokens, positions = torch.tensor([[4, 5, 6], [7, 8, 4]]), torch.tensor([[0, 1, 2], [1, 3, 9]])
    w, p = embed.embedding.weight, embed.positions.vectors.weight
    found = embed(tokens, positions)
    expected = torch.stack([
        torch.stack([math.sqrt(8) * w[word] + p[min(i, 2)] for word, i in zip(sentence, at, strict=True)])
        for sentence, at in zip(tokens.tolist(), positions.tolist(), strict=True)
    ])  # fmt: skip
    torch.testing.assert_close(found, expected)
    # each vector learns from the words at its positions
    (gradient,) = torch.autograd.grad(found.sum(), p)
    assert gradient[:, 0].tolist() == [1, 2, 3]


def test_the_stacks_have_vectors_of_their_own_that_begin_as_large_as_the_words() -> None:
    model = model_of(400)
    tables = [module for module in model.modules() if isinstance(module, LearnedPositions)]
    assert len({table.vectors.weight.data_ptr() for table in tables}) == len(tables) == 2
    for table in tables:
        assert table.vectors.weight.std().item() == pytest.approx(1, rel=0.1)  # as sqrt(dim) times the embeddings
