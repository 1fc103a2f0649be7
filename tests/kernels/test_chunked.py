"""A loss computed in chunks of rows agrees with the plain loss of all rows, in values and gradients."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from nmt.kernels import chunked
from nmt.kernels.chunked import in_chunks
from nmt.training.loss import token_losses

VOCAB, DIM = 17, 6


def tensors(tokens: int, predictions: int | None, bias: bool, dtype: torch.dtype) -> list[Tensor | None]:
    """Return weight, bias, hidden, targets, and log-weights if there are several predictions per token."""
    torch.manual_seed(tokens)
    k = () if predictions is None else (predictions,)
    given = [torch.randn(VOCAB, DIM), torch.randn(VOCAB) if bias else None, torch.randn(2 * tokens, *k, DIM)]
    given = [None if each is None else each.to(dtype).requires_grad_() for each in given]
    targets = torch.randint(VOCAB, (tokens,)).repeat_interleave(2)
    mixture = [] if predictions is None else [torch.randn(2 * tokens, *k).to(dtype).log_softmax(-1).requires_grad_()]
    return [*given, targets, *mixture]


def gradients(loss: Tensor, given: list[Tensor | None]) -> list[Tensor]:
    return list(torch.autograd.grad(loss / 3, [each for each in given if each is not None and each.requires_grad]))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("predictions", [None, 1, 3])
@pytest.mark.parametrize("rdrop", [None, 0.7])
@pytest.mark.parametrize(("tokens", "rows"), [(0, 4), (1, 1), (5, 2), (7, 4), (7, 1000)])
def test_it_is_the_plain_loss(
    tokens: int,
    rows: int,
    rdrop: float | None,
    predictions: int | None,
    bias: bool,
    dtype: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(chunked.LOGITS_AT_ONCE, "cpu", rows * VOCAB * (predictions or 1))
    given = tensors(tokens, predictions, bias, dtype)
    loss = partial(token_losses, label_smoothing=0.1, rdrop=rdrop)
    (ours, nll), (plain, plain_nll) = in_chunks(loss, *given), loss(*given)
    torch.testing.assert_close((ours, nll), (plain, plain_nll))
    assert ours.requires_grad and not nll.requires_grad
    torch.testing.assert_close(gradients(ours, given), gradients(plain, given))


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_is_frozen_has_no_gradient(frozen: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(chunked.LOGITS_AT_ONCE, "cpu", 4 * VOCAB)
    given = tensors(7, None, True, torch.float64)
    given[frozen].requires_grad_(False)
    found, wanted = in_chunks(token_losses, *given)[0], token_losses(*given)[0]
    torch.testing.assert_close(gradients(found, given), gradients(wanted, given))
    with torch.no_grad():
        value = in_chunks(token_losses, *given)[0]
    assert not value.requires_grad and torch.equal(value, found)


@pytest.mark.parametrize("rdrop", [None, 0.7])
def test_under_autocast_it_is_the_plain_loss_in_bf16(rdrop: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight's gradient is rounded per chunk and summed in float32; the values and gradients of rows are equal."""
    monkeypatch.setitem(chunked.LOGITS_AT_ONCE, "cpu", 4 * VOCAB)
    given = tensors(20, None, True, torch.float32)
    loss = partial(token_losses, label_smoothing=0.1, rdrop=rdrop)
    with torch.autocast("cpu", torch.bfloat16):
        (ours, nll), (plain, plain_nll) = in_chunks(loss, *given), loss(*given)
    assert torch.equal(nll, plain_nll) and not torch.equal(nll, loss(*given)[1])
    torch.testing.assert_close(ours, plain)
    for one, other in zip(gradients(ours, given), gradients(plain, given), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


def test_pairs_of_rows_are_not_split_and_logits_are_not_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(chunked.LOGITS_AT_ONCE, "cpu", 5 * VOCAB)
    sizes = []

    def loss(weight: Tensor, bias: Tensor | None, hidden: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(hidden))
        return (hidden @ weight.T).sum(), hidden[:, 0].detach()

    weight, _, hidden, _ = tensors(5, None, False, torch.float64)
    in_chunks(loss, weight, None, hidden)
    assert sizes == [4, 4, 2]
