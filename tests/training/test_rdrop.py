"""The R-Drop loss, compared with its equations in float64 with torch's losses, in values and gradients."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nmt.config.load import load_config
from nmt.data.batch import collate
from nmt.errors import ConfigError
from nmt.kernels import chunked
from nmt.kernels.chunked import in_chunks
from nmt.models.build import build_model
from nmt.training.loss import Loss, batch_loss, token_losses
from tests.models.variants import VARIANTS

VOCAB, DIM = 13, 6
CPU = torch.device("cpu")


def tensors(tokens: int, bias: bool, dtype: torch.dtype = torch.float64) -> tuple[list[Tensor], Tensor]:
    """Return hidden [2 * tokens, DIM], weight, bias or None, and targets [2 * tokens], each twice."""
    generator = torch.Generator().manual_seed(tokens)
    shapes = [(2 * tokens, DIM), (VOCAB, DIM)] + [(VOCAB,)] * bias
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    targets = torch.randint(VOCAB, (tokens,), generator=generator).repeat_interleave(2)
    return [tensor.requires_grad_() for tensor in inputs], targets


def two_passes(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, smoothing: float, alpha: float | None
) -> tuple[Tensor, Tensor]:
    return in_chunks(partial(token_losses, label_smoothing=smoothing, rdrop=alpha), weight, bias, hidden, targets)


def one_pass(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    return two_passes(hidden, weight, bias, targets, smoothing, None)


def ours(inputs: list[Tensor], targets: Tensor, smoothing: float, alpha: float) -> Loss:
    hidden, weight, *bias = inputs
    return of_a_token(*two_passes(hidden, weight, bias[0] if bias else None, targets, smoothing, alpha))


def of_a_token(smoothed: Tensor, nll: Tensor) -> Loss:
    """Return the loss of a token: half of the loss of its two passes."""
    return Loss(smoothed / 2, nll.sum() / 2)


def half_of_equation_4(logits: Tensor, targets: Tensor, smoothing: float, alpha: float) -> Tensor:
    """Compute Liang et al. 2021, eqs. 2-4, summed over tokens and halved; a token's two passes are adjacent rows."""
    log_p, log_q = torch.log_softmax(logits[0::2], -1), torch.log_softmax(logits[1::2], -1)
    kl_pq = F.kl_div(log_q, log_p, log_target=True, reduction="sum")  # torch's order: KL(second || first)
    kl_qp = F.kl_div(log_p, log_q, log_target=True, reduction="sum")
    nll = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")  # over both passes
    return (nll + alpha * (kl_pq + kl_qp) / 2) / 2


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("smoothing", "alpha"), [(0.0, 1.0), (0.1, 5.0), (0.1, 0.0)])
@pytest.mark.parametrize("rows_at_a_time", [1, 2, 7, 8, 1000])
def test_equals_the_equations_in_values_and_gradients(
    rows_at_a_time: int, smoothing: float, alpha: float, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(chunked.LOGITS_AT_ONCE, "cpu", rows_at_a_time * VOCAB)
    inputs, targets = tensors(15, bias)
    found = ours(inputs, targets, smoothing, alpha)
    logits = F.linear(*inputs)
    wanted = half_of_equation_4(logits, targets, smoothing, alpha)
    torch.testing.assert_close(found.smoothed, wanted)
    torch.testing.assert_close(found.nll, F.cross_entropy(logits, targets, reduction="sum") / 2)
    found_grads = torch.autograd.grad(found.smoothed / 3, inputs)
    for found_grad, wanted_grad in zip(found_grads, torch.autograd.grad(wanted / 3, inputs), strict=True):
        torch.testing.assert_close(found_grad, wanted_grad)


def test_without_weight_it_is_the_mean_of_two_plain_losses() -> None:
    (hidden, weight, bias), targets = tensors(15, bias=True)
    smoothed, nll = two_passes(hidden, weight, bias, targets, 0.1, 0.0)
    passes = [one_pass(hidden[pass_::2], weight, bias, targets[::2], 0.1) for pass_ in (0, 1)]
    torch.testing.assert_close(smoothed, passes[0][0] + passes[1][0])
    for pass_ in (0, 1):
        torch.testing.assert_close(nll[pass_::2], passes[pass_][1])


def test_equal_passes_are_not_apart() -> None:
    (hidden, weight, bias), targets = tensors(15, bias=True)
    equal = hidden[::2].detach().repeat_interleave(2, dim=0)
    found = of_a_token(*two_passes(equal, weight, bias, targets, 0.1, 5.0))
    plain = Loss(*one_pass(equal[::2], weight, bias, targets[::2], 0.1))
    torch.testing.assert_close(found.smoothed, plain.smoothed)
    for ours_grad, theirs_grad in zip(
        torch.autograd.grad(found.smoothed, (weight, bias)),
        torch.autograd.grad(plain.smoothed, (weight, bias)),
        strict=True,
    ):
        torch.testing.assert_close(ours_grad, theirs_grad)


def test_the_order_of_the_passes_does_not_matter() -> None:
    inputs, targets = tensors(15, bias=True)
    exchanged = [inputs[0].unflatten(0, (-1, 2)).flip(1).flatten(0, 1), *inputs[1:]]
    one, other = ours(inputs, targets, 0.1, 5.0), ours(exchanged, targets, 0.1, 5.0)
    torch.testing.assert_close(one.smoothed, other.smoothed)


def test_under_autocast_it_is_near_fp32_and_sums_are_fp32() -> None:
    inputs, targets = tensors(30, bias=True, dtype=torch.float32)
    exact = ours(inputs, targets, 0.1, 5.0)
    with torch.autocast("cpu", torch.bfloat16):
        rough = ours([inputs[0].bfloat16(), *inputs[1:]], targets, 0.1, 5.0)
    assert rough.smoothed.dtype == torch.float32
    assert rough.smoothed != exact.smoothed  # bf16 was used
    torch.testing.assert_close(rough.smoothed, exact.smoothed, rtol=0.01, atol=0)
    exact_grads = torch.autograd.grad(exact.smoothed, inputs)
    for rough_grad, exact_grad in zip(torch.autograd.grad(rough.smoothed, inputs), exact_grads, strict=True):
        assert rough_grad.dtype == torch.float32
        torch.testing.assert_close(rough_grad, exact_grad, rtol=0.05, atol=0.1)


def test_distributions_that_are_far_apart_stay_finite() -> None:
    hidden = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]])
    found = of_a_token(*two_passes(hidden, weight, None, torch.tensor([0, 0]), 0.1, 1.0))
    (gradient,) = torch.autograd.grad(found.smoothed, hidden)
    assert found.smoothed.isfinite() and gradient.isfinite().all()
    torch.testing.assert_close(found.smoothed, half_of_equation_4(hidden @ weight.T, torch.tensor([0, 0]), 0.1, 1.0))


# -- batches --------------------------------------------------------------------------------------------------------

SOURCES = [[4, 5, 3], [6, 7, 8, 9, 3], [4, 3], [9, 9, 6, 3]]
TARGETS = [[5, 3], [7, 8, 9, 10, 11, 3], [8, 8, 8, 3], [3]]


@pytest.mark.parametrize("variant", ["transformer-post", "luong-dot", "rnnsearch", "sutskever"])
def test_without_dropout_it_costs_what_one_pass_costs_however_it_is_split(variant: str) -> None:
    torch.manual_seed(0)
    model = build_model(VARIANTS[variant], VOCAB, VOCAB).double().eval()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    plain = batch_loss(model, collate(SOURCES, TARGETS), CPU, 0.1)
    wanted = torch.autograd.grad(plain.smoothed, weights)
    for size in (4, 2, 1):
        parts = [collate(SOURCES[row : row + size], TARGETS[row : row + size]) for row in range(0, 4, size)]
        losses = [batch_loss(model, part, CPU, 0.1, 5.0) for part in parts]
        smoothed = torch.stack([loss.smoothed for loss in losses]).sum()
        torch.testing.assert_close(smoothed, plain.smoothed)
        torch.testing.assert_close(torch.stack([loss.nll for loss in losses]).sum(), plain.nll)
        for found_grad, wanted_grad in zip(torch.autograd.grad(smoothed, weights), wanted, strict=True):
            torch.testing.assert_close(found_grad, wanted_grad)


@pytest.mark.parametrize("variant", ["transformer-post", "luong-dot"])
def test_with_dropout_a_token_s_two_passes_are_compared(variant: str) -> None:
    """The expected loss uses the same random numbers, a batch doubled by hand, and no chunks."""
    torch.manual_seed(0)
    model = build_model(VARIANTS[variant], VOCAB, VOCAB).double().train()
    batch, twice = collate(SOURCES, TARGETS), collate(SOURCES * 2, TARGETS * 2)
    torch.manual_seed(1)
    found = batch_loss(model, batch, CPU, 0.1, 5.0)
    torch.manual_seed(1)
    logits = model.projection(model(twice.src, twice.src_mask, twice.tgt_in).hidden).unflatten(0, (2, -1))
    there = batch.tgt_out != 0
    pairs = torch.stack([logits[0][there], logits[1][there]], dim=1).flatten(0, 1)
    assert not torch.allclose(pairs[0::2], pairs[1::2])
    wanted = half_of_equation_4(pairs, batch.tgt_out[there].repeat_interleave(2), 0.1, 5.0)
    torch.testing.assert_close(found.smoothed, wanted)


def test_it_is_refused_without_dropout_and_without_weight() -> None:
    def load(*overrides: str) -> object:
        return load_config("embedded", ["model=transformer_tiny", "model.dropout=0", *overrides])

    with pytest.raises(ConfigError, match=r"training\.rdrop compares two passes .* set model\.dropout above 0"):
        load("training.rdrop=5")
    with pytest.raises(ConfigError, match=r"training\.rdrop=0: expected a number above 0"):
        load("training.rdrop=0", "model.dropout=0.1")
    assert load("training.rdrop=5", "model.attention_dropout=0.1")
    assert load("training.rdrop=null")
    within = ["training.rdrop=5", "model.transparent.dropout=0.1"]
    assert load(*within, "model.decoder_cross=transparent")
    with pytest.raises(ConfigError, match=r"set model\.dropout above 0"):
        load(*within)  # no layer has this rate
