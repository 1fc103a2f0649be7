"""A loss that attention adds reaches training from each layer and from each step of a time loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nmt.attention.contract import Attend, Attended, NamedLoss, SourceAttention, merged
from nmt.data.batch import Batch
from nmt.models.seq2seq import Seq2Seq
from nmt.training.loss import batch_loss
from tests.models.variants import random_batch, tiny_model

CPU = torch.device("cpu")


def add_squares(attention: SourceAttention) -> None:
    """Make `attention` add the squares of its weights at target tokens, twice, as a loss called squares."""
    over = attention.over

    def adding(memory: Any, *, need_weights: bool = False) -> Attend:
        attend = over(memory, need_weights=True)

        def attend_and_add(x: torch.Tensor, positions: torch.Tensor, state: Any = None) -> Attended:
            attended = attend(x, positions, state)
            assert attended.weights is not None
            squares = attended.weights.square().sum((1, 3))  # [rows, tgt_len]
            first = int(positions[0, 0])

            def value(log_probs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
                assert log_probs.shape == mask.shape and (log_probs[mask] < 0).all() and not log_probs[~mask].any()
                return (squares * mask[:, first : first + squares.size(1)]).sum()

            return attended._replace(losses=(NamedLoss("squares", 2.0, value),))

        return attend_and_add

    attention.over, attention.loss_names = adding, ("squares",)  # type: ignore[method-assign]


def attentions(model: Seq2Seq) -> list[SourceAttention]:
    return [module for module in model.decoder.modules() if isinstance(module, SourceAttention)]


@pytest.mark.parametrize("name", ["rnnsearch", "luong-general", "luong-general-plain", "transformer-post"])
def test_it_is_weighed_named_and_summed(name: str) -> None:
    model = tiny_model(name)
    src, mask = random_batch([5, 3, 7])
    tgt, tgt_mask = random_batch([6, 2, 4], seed=3)
    batch = Batch(src, mask, tgt, tgt, mask.sum(1))
    plain = batch_loss(model, batch, CPU)
    weights = model.attention(src, mask, tgt)  # [batch, layers, heads, tgt_len, src_len]
    expected = (weights.square().sum((1, 2, 4)) * tgt_mask).sum()
    for attention in attentions(model):
        add_squares(attention)
    assert model.loss_names == ("squares",)
    loss = batch_loss(model, batch, CPU)
    torch.testing.assert_close(loss.terms, (expected,))
    torch.testing.assert_close(loss.smoothed, plain.smoothed + 2 * expected)
    torch.testing.assert_close(loss.nll, plain.nll)


def test_losses_of_one_name_are_one_in_the_order_of_names() -> None:
    def loss(name: str, value: float) -> NamedLoss:
        return NamedLoss(name, 1.0, lambda log_probs, mask: torch.tensor(value))

    nothing = torch.zeros(1, 1)
    both = merged([loss("b", 1.0), loss("a", 2.0), loss("b", 4.0)])
    assert [(each.name, float(each.value(nothing, nothing))) for each in both] == [("b", 5.0), ("a", 2.0)]
