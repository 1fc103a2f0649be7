"""The loss of tokens, computed in chunks, compared with torch's cross-entropy in values and gradients."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nmt.data.batch import collate
from nmt.kernels import chunked
from nmt.kernels.chunked import in_chunks
from nmt.models.build import build_model
from nmt.training.loss import Loss, batch_loss, token_losses
from tests.models.variants import VARIANTS

VOCAB, DIM = 13, 6


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use chunks of six rows, so that the last chunk is incomplete."""
    monkeypatch.setitem(chunked.LOGITS_AT_ONCE, "cpu", 6 * VOCAB)


def tensors(tokens: int, bias: bool, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    shapes = [(tokens, DIM), (VOCAB, DIM)] + [(VOCAB,)] * bias
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    return [tensor.requires_grad_() for tensor in inputs], torch.randint(VOCAB, (tokens,), generator=generator)


def cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    return in_chunks(partial(token_losses, label_smoothing=smoothing), weight, bias, hidden, targets)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tokens", [1, 7, 30])
def test_equals_torch_in_values_and_gradients(tokens: int, smoothing: float, bias: bool) -> None:
    inputs, targets = tensors(tokens, bias)
    ours = Loss(*cross_entropy(inputs[0], inputs[1], inputs[2] if bias else None, targets, smoothing))
    logits = F.linear(*inputs)
    theirs = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
    torch.testing.assert_close(ours.smoothed, theirs)
    torch.testing.assert_close(ours.nll, F.cross_entropy(logits, targets, reduction="none"))
    for ours_grad, theirs_grad in zip(
        torch.autograd.grad(ours.smoothed / 3, inputs), torch.autograd.grad(theirs / 3, inputs), strict=True
    ):
        torch.testing.assert_close(ours_grad, theirs_grad)


def test_only_the_smoothed_loss_has_a_graph() -> None:
    inputs, targets = tensors(7, bias=True)
    loss = Loss(*cross_entropy(inputs[0], inputs[1], inputs[2], targets, 0.1))
    assert loss.smoothed.requires_grad
    assert not loss.nll.requires_grad  # it is summed over updates and would keep their graphs in memory


def test_under_autocast_it_is_near_fp32_and_gradients_keep_their_types() -> None:
    inputs, targets = tensors(30, bias=True, dtype=torch.float32)
    exact = Loss(*cross_entropy(inputs[0], inputs[1], inputs[2], targets, 0.1))
    with torch.autocast("cpu", torch.bfloat16):
        rough = Loss(*cross_entropy(inputs[0].bfloat16(), inputs[1], inputs[2], targets, 0.1))
    assert rough.smoothed.dtype == torch.float32
    assert rough.smoothed != exact.smoothed  # bf16 was used
    torch.testing.assert_close(rough.smoothed, exact.smoothed, rtol=0.01, atol=0)
    exact_grads = torch.autograd.grad(exact.smoothed, inputs)
    for ours, theirs in zip(torch.autograd.grad(rough.smoothed, inputs), exact_grads, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)


def test_without_gradients_the_value_is_the_same() -> None:
    inputs, targets = tensors(30, bias=False)
    with torch.no_grad():
        plain = Loss(*cross_entropy(inputs[0], inputs[1], None, targets, 0.1))
    assert not plain.smoothed.requires_grad
    assert torch.equal(plain.smoothed, cross_entropy(inputs[0], inputs[1], None, targets, 0.1)[0])


@pytest.mark.parametrize("variant", ["transformer-post", "luong-dot"])
def test_a_batch_costs_what_torch_says_with_padding_ignored(variant: str) -> None:
    torch.manual_seed(0)
    model = build_model(VARIANTS[variant], VOCAB, VOCAB).double().eval()
    batch = collate([[4, 5, 3], [6, 7, 8, 9, 3]], [[5, 3], [7, 8, 9, 10, 11, 3]])
    ours = batch_loss(model, batch, torch.device("cpu"), 0.1).smoothed
    logits = model.projection(model(batch.src, batch.src_mask, batch.tgt_in).hidden).flatten(0, 1)
    theirs = F.cross_entropy(logits, batch.tgt_out.flatten(), ignore_index=0, label_smoothing=0.1, reduction="sum")
    torch.testing.assert_close(ours, theirs)
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    ours_grads, theirs_grads = torch.autograd.grad(ours, weights), torch.autograd.grad(theirs, weights)
    for ours_grad, theirs_grad in zip(ours_grads, theirs_grads, strict=True):
        torch.testing.assert_close(ours_grad, theirs_grad)
