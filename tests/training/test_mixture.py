"""The loss of a mixture of predictions, compared with its formula written as loops, in values and gradients."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from nmt.data.batch import collate
from nmt.kernels import chunked
from nmt.kernels.chunked import in_chunks
from nmt.models.build import build_model
from nmt.training.loss import Loss, batch_loss, token_losses
from tests.models.variants import VARIANTS

VOCAB, DIM, PARTS = 13, 6, 4
CPU = torch.device("cpu")


def inputs(tokens: int, bias: bool, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], nn.Linear, Tensor]:
    """Return hidden [2 * tokens, k, dim], log-weights, a projection, and targets [2 * tokens], each twice.

    Some log-weights are minus infinity, like those of padding.
    """
    torch.manual_seed(tokens)
    hidden, scores = torch.randn(2 * tokens, PARTS, DIM, dtype=dtype), torch.randn(2 * tokens, PARTS, dtype=dtype)
    scores[::3, 2:] = -math.inf
    projection = nn.Linear(DIM, VOCAB, bias, dtype=dtype)
    targets = torch.randint(VOCAB, (tokens,)).repeat_interleave(2)
    return [hidden.requires_grad_(), scores.log_softmax(-1).requires_grad_()], projection, targets


def mixture_loss(
    hidden: Tensor,
    mixture: Tensor,
    projection: nn.Linear,
    targets: Tensor,
    smoothing: float,
    alpha: float | None = None,
) -> tuple[Tensor, Tensor]:
    losses = partial(token_losses, label_smoothing=smoothing, rdrop=alpha)
    return in_chunks(losses, projection.weight, projection.bias, hidden, targets, mixture)


def probabilities(hidden: Tensor, mixture: Tensor, projection: nn.Linear) -> Tensor:
    """Compute p(y) = sum_k exp(mixture_k) softmax(W hidden_k + b)_y [tokens, vocab], token by token."""
    rows = []
    for token in range(len(hidden)):
        total = torch.zeros(VOCAB, dtype=hidden.dtype)
        for k in range(PARTS):
            if mixture[token, k] > -math.inf:
                exps = torch.exp(projection(hidden[token, k]))
                total = total + torch.exp(mixture[token, k]) * exps / exps.sum()
        rows.append(total)
    return torch.stack(rows)


def formula(p: Tensor, targets: Tensor, smoothing: float, alpha: float | None) -> tuple[Tensor, Tensor]:
    """Compute the loss with label smoothing (Szegedy et al. 2016, sec. 7) and R-Drop (Liang et al. 2021, eqs. 2-4)."""
    nll = torch.stack([-torch.log(p[row, target]) for row, target in enumerate(targets)])
    total = torch.zeros((), dtype=p.dtype)
    for row, target in enumerate(targets):
        for y in range(VOCAB):
            share = smoothing / VOCAB + (1 - smoothing) * (y == target)
            total = total - share * torch.log(p[row, y])
    for one, other in zip(p[0::2], p[1::2], strict=True) if alpha is not None else ():
        kl = (one * torch.log(one / other)).sum() + (other * torch.log(other / one)).sum()
        total = total + alpha * kl / 2
    return total, nll


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("smoothing", "alpha"), [(0.0, None), (0.1, None), (0.1, 5.0), (0.0, 1.0)])
@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 5, 1000])
def test_equals_the_formula_in_values_and_gradients(
    rows_at_once: int, smoothing: float, alpha: float | None, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result does not depend on the size of chunks, which never split a pair of passes."""
    monkeypatch.setitem(chunked.LOGITS_AT_ONCE, "cpu", rows_at_once * PARTS * VOCAB)
    (hidden, mixture), projection, targets = inputs(5, bias)
    smoothed, nll = mixture_loss(hidden, mixture, projection, targets, smoothing, alpha)
    wanted, wanted_nll = formula(probabilities(hidden, mixture, projection), targets, smoothing, alpha)
    torch.testing.assert_close(smoothed, wanted)
    torch.testing.assert_close(nll, wanted_nll)
    assert not nll.requires_grad  # it is summed over updates and would keep their graphs in memory
    leaves = [hidden, mixture, *projection.parameters()]
    found = torch.autograd.grad(smoothed / 3, leaves)
    for one, other in zip(found, torch.autograd.grad(wanted / 3, leaves), strict=True):
        torch.testing.assert_close(one, other)


def test_without_gradients_the_value_is_the_same() -> None:
    (hidden, mixture), projection, targets = inputs(5, bias=True)
    with torch.no_grad():
        plain, _ = mixture_loss(hidden, mixture, projection, targets, 0.1, 5.0)
    assert not plain.requires_grad
    assert torch.equal(plain, mixture_loss(hidden, mixture, projection, targets, 0.1, 5.0)[0])


def test_a_mixture_of_equals_is_the_plain_loss() -> None:
    (hidden, mixture), projection, targets = inputs(5, bias=True)
    equal = hidden[:, :1].expand(-1, PARTS, -1)
    found = mixture_loss(equal, mixture, projection, targets, 0.1)
    wanted = token_losses(projection.weight, projection.bias, hidden[:, 0], targets, label_smoothing=0.1)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("alpha", [None, 5.0])
def test_under_autocast_it_is_near_fp32_and_gradients_keep_their_types(alpha: float | None) -> None:
    (hidden, mixture), projection, targets = inputs(30, bias=True, dtype=torch.float32)
    exact, _ = mixture_loss(hidden, mixture, projection, targets, 0.1, alpha)
    with torch.autocast("cpu", torch.bfloat16):
        rough, nll = mixture_loss(hidden.bfloat16(), mixture, projection, targets, 0.1, alpha)
    assert rough.dtype == nll.dtype == torch.float32
    assert rough != exact  # bf16 was used
    torch.testing.assert_close(rough, exact, rtol=0.01, atol=0)
    leaves = [hidden, mixture, *projection.parameters()]
    for one, other in zip(torch.autograd.grad(rough, leaves), torch.autograd.grad(exact, leaves), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.15)


def test_a_component_with_weight_zero_changes_nothing() -> None:
    """It also causes no NaN in the gradients."""
    (hidden, mixture), projection, targets = inputs(5, bias=True)
    certain = hidden.detach().clone()
    certain[::3, 2:] *= 1e6
    certain.requires_grad_()
    found, wanted = (mixture_loss(each, mixture, projection, targets, 0.1, 5.0)[0] for each in (certain, hidden))
    torch.testing.assert_close(found, wanted)
    leaves = [mixture, *projection.parameters()]
    for one, other in zip(torch.autograd.grad(found, leaves), torch.autograd.grad(wanted, leaves), strict=True):
        torch.testing.assert_close(one, other)


# -- batches --------------------------------------------------------------------------------------------------------

SOURCES, TARGETS = [[4, 5, 3], [6, 7, 8, 9, 3], [3]], [[5, 3], [7, 8, 9, 10, 3], [3]]


@pytest.mark.parametrize("rdrop", [None, 5.0])
def test_a_batch_with_dropout_costs_what_the_formula_says(rdrop: float | None) -> None:
    """Both sides use the same random numbers; for R-Drop the batch is doubled by hand."""
    torch.manual_seed(0)
    model = build_model(VARIANTS["luong-marginal"], VOCAB, VOCAB).double().train()
    batch, passes = collate(SOURCES, TARGETS), 1 if rdrop is None else 2
    again = collate(SOURCES * passes, TARGETS * passes)
    torch.manual_seed(1)
    found = batch_loss(model, batch, CPU, 0.1, rdrop)
    torch.manual_seed(1)
    decoded = model(again.src, again.src_mask, again.tgt_in)
    parts = torch.softmax(model.projection(decoded.hidden), -1) * decoded.mixture.exp().unsqueeze(-1)
    p = parts.sum(2).unflatten(0, (passes, -1)).movedim(0, 2)[batch.tgt_out != 0]  # [tokens, passes, vocab]
    targets = batch.tgt_out[batch.tgt_out != 0].repeat_interleave(passes)
    wanted, nll = formula(p.flatten(0, 1), targets, 0.1, rdrop)
    torch.testing.assert_close(found.smoothed, wanted / passes)
    torch.testing.assert_close(found.nll, nll.sum().detach() / passes)


@pytest.mark.parametrize("rdrop", [None, 5.0])
@pytest.mark.parametrize("name", ["luong-marginal", "luong-marginal-concat"])
def test_under_autocast_a_batch_costs_nearly_the_same(name: str, rdrop: float | None) -> None:
    torch.manual_seed(0)
    model = build_model(VARIANTS[name], VOCAB, VOCAB).eval()
    exact = batch_loss(model, collate(SOURCES, TARGETS), CPU, 0.1, rdrop)
    with torch.autocast("cpu", torch.bfloat16):
        rough = batch_loss(model, collate(SOURCES, TARGETS), CPU, 0.1, rdrop)
    assert rough.smoothed.dtype == torch.float32 and rough.smoothed != exact.smoothed
    torch.testing.assert_close(rough.smoothed, exact.smoothed, rtol=0.02, atol=0)
    gradients = (torch.autograd.grad(loss.smoothed, list(model.parameters())) for loss in (rough, exact))
    for one, other in zip(*gradients, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.1 * other.norm() + 0.05


@pytest.mark.parametrize("rdrop", [None, 5.0])
def test_however_a_batch_is_split_it_costs_the_same(rdrop: float | None) -> None:
    """So padding has no effect, although it adds predictions to the mixture."""
    torch.manual_seed(0)
    model = build_model(VARIANTS["luong-marginal-concat"], VOCAB, VOCAB).double().eval()
    weights = list(model.parameters())

    def costs(size: int) -> Loss:
        parts = [collate(SOURCES[row : row + size], TARGETS[row : row + size]) for row in range(0, 3, size)]
        losses = [batch_loss(model, part, CPU, 0.1, rdrop) for part in parts]
        return Loss(*(torch.stack([loss[part] for loss in losses]).sum() for part in (0, 1)))

    together, alone = costs(3), costs(1)
    torch.testing.assert_close(together, alone)
    gradients = (torch.autograd.grad(loss.smoothed, weights) for loss in (together, alone))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
