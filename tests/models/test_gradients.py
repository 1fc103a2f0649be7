"""Gradients that are written by hand, against those that autograd or torch's modules make."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.attention.scores import AdditiveScore, additive
from nmt.kernels.dropout import Dropout, dropout
from nmt.kernels.gates import GruGates, LstmGates
from nmt.kernels.shared import Shared
from nmt.kernels.unrolled import call_rnn, run_rnn
from tests.models.variants import VARIANTS, random_batch, tiny_model

RECURRENT = [name for name in VARIANTS if not name.startswith("transformer")]


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def test_gates() -> None:
    torch.manual_seed(0)
    assert torch.autograd.gradcheck(LstmGates.apply, (leaf(3, 8), leaf(3, 2)))
    assert torch.autograd.gradcheck(GruGates.apply, (leaf(3, 6), leaf(3, 6), leaf(3, 2)))


@pytest.mark.parametrize("dims", [2, 3], ids=["weight", "memory"])
def test_a_shared_operand_has_the_gradients_of_plain_products(dims: int) -> None:
    """Over a loop in which each product depends on the one before, one product not being used in the end."""
    torch.manual_seed(0)
    shape = (4, 5, 5) if dims == 3 else (5, 5)
    x, operand, other, bias, plus = leaf(*shape), leaf(*shape), leaf(*shape), leaf(shape[-1]), leaf(*shape)
    tensors = (x, operand, other, bias, plus)
    outcomes = []
    for biased, plain in (
        (Shared(operand, bias if dims == 2 else bias.expand(4, 1, 5)), Shared(other)),
        (lambda x: x @ operand.mT + bias, lambda x, plus: x @ other.mT + plus),
    ):
        state = x
        for _ in range(3):
            state = torch.tanh(biased(state)) + plain(state, plus=plus)
            biased(state)
        state.square().sum().backward()
        outcomes.append([state, *(tensor.grad for tensor in tensors)])
        for tensor in tensors:
            tensor.grad = None
    for ours, theirs in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_shared_operand_that_nothing_uses_or_that_is_frozen() -> None:
    x, operand = leaf(2, 3), leaf(4, 3)
    unused = Shared(operand)
    (x.sum() + 0 * unused(x).detach().sum()).backward()
    assert operand.grad is None
    frozen = operand.detach()
    Shared(frozen)(x).sum().backward()
    torch.testing.assert_close(x.grad, 1 + frozen.sum(0).expand(2, 3))


@pytest.mark.parametrize("trained", ["operand", "bias"])
def test_of_operand_and_bias_one_may_be_frozen(trained: str) -> None:
    x, operand, bias = leaf(2, 3), leaf(4, 3), leaf(4)
    frozen = bias if trained == "operand" else operand
    frozen.requires_grad_(False)
    product = Shared(operand, bias)
    (product(x) + product(2 * x)).sum().backward()
    assert frozen.grad is None
    if trained == "bias":
        torch.testing.assert_close(bias.grad, torch.full_like(bias, 2 * len(x)))
    else:
        torch.testing.assert_close(operand.grad, 3 * x.detach().sum(0).expand(4, 3))
    torch.testing.assert_close(x.grad, 3 * operand.detach().sum(0).expand(2, 3))


def test_a_shared_operand_under_autocast_has_gradients_in_its_own_type() -> None:
    torch.manual_seed(0)
    x, operand, bias = torch.randn(5, 8), nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(6))
    with torch.autocast("cpu", torch.bfloat16):
        product = Shared(operand, bias)
        total = product(x) + product(-2 * x)
        assert total.dtype == torch.bfloat16
        total.float().square().sum().backward()
    exact = 2 * (2 * bias.detach() - x @ operand.detach().mT)
    for gradient, expected in ((bias.grad, 2 * exact.sum(0)), (operand.grad, -exact.mT @ x)):
        assert gradient is not None and gradient.dtype == torch.float32
        assert (gradient - expected).norm() < 0.02 * expected.norm()
        assert not torch.equal(gradient, expected)  # it was bf16


def test_additive_scores_over_a_loop_have_the_gradients_of_the_formula() -> None:
    torch.manual_seed(0)
    score = AdditiveScore(3, 4, 5).double()
    plain = copy.deepcopy(score)
    states, query = leaf(2, 6, 4), leaf(2, 1, 3)

    def formula(query: Tensor) -> Tensor:
        return additive(plain.query_projection(query), plain.keys(states), plain.v.weight[0])

    outcomes = []
    for compare, module in ((score.over(score.keys(states)), score), (formula, plain)):
        now, total = query, torch.zeros((), dtype=torch.float64)
        for _ in range(3):
            weights = torch.softmax(compare(now), dim=-1)
            now = (weights @ states)[..., :3] + now
            total = total + now.square().sum()
        total.backward()
        outcomes.append([total, states.grad, query.grad, *(weight.grad for weight in module.parameters())])
        states.grad = query.grad = None
    for ours, theirs in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 2, 1, 4]], ids=["full", "ragged"])
@pytest.mark.parametrize("begun", [False, True], ids=["from zeros", "from a state"])
@pytest.mark.parametrize("run", [run_rnn, call_rnn], ids=["unrolled", "called"])
def test_whole_sequences_are_torch_s(
    kind: type[nn.GRU | nn.LSTM], bidirectional: bool, lengths: list[int] | None, begun: bool, run: Any
) -> None:
    """Outputs, final states and all gradients, against the module on each sentence by itself."""
    torch.manual_seed(0)
    ours = kind(3, 4, num_layers=2, batch_first=True, bidirectional=bidirectional).double()
    theirs = copy.deepcopy(ours)
    directions, leaves = 2 if bidirectional else 1, 2 if kind is nn.LSTM else 1
    x = leaf(4, 5, 3)
    state = tuple(leaf(4, 2, 4 * directions) for _ in range(leaves)) if begun else None
    by_layer = None if state is None else tuple(zip(*(part.unbind(1) for part in state), strict=True))
    outputs, layers = run(ours, x, by_layer, None if lengths is None else torch.tensor(lengths))
    finals = [torch.stack(leaf_of_layers, dim=1) for leaf_of_layers in zip(*layers, strict=True)]
    (outputs.square().sum() + sum(final.square().sum() for final in finals)).backward()
    found = [x.grad, *(part.grad for part in state or ())]
    x.grad = None
    for part in state or ():
        part.grad = None
    total = torch.zeros((), dtype=torch.float64)
    for row, length in enumerate(lengths or [5] * 4):
        first = None
        if state is not None:  # [1, layers, directions * hidden] -> [layers * directions, 1, hidden]
            parts = [part[row].unflatten(1, (directions, 4)).flatten(0, 1).unsqueeze(1) for part in state]
            first = tuple(parts) if kind is nn.LSTM else parts[0]
        expected, last = theirs(x[row : row + 1, :length], first)
        lasts = last if isinstance(last, tuple) else (last,)
        torch.testing.assert_close(outputs[row, :length], expected[0])
        assert (outputs[row, length:] == 0).all()
        for ours_last, theirs_last in zip(finals, lasts, strict=True):
            torch.testing.assert_close(ours_last[row], theirs_last.squeeze(1).view(2, -1))
        total = total + expected.square().sum() + sum(last.square().sum() for last in lasts)
    total.backward()
    for one, other in zip(found, [x.grad, *(part.grad for part in state or ())], strict=True):
        torch.testing.assert_close(one, other)
    for (name, one), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)


@pytest.mark.parametrize("name", RECURRENT)
def test_whole_models_follow_finite_differences(name: str) -> None:
    """The directional derivative along the gradient of each weight."""
    model = tiny_model(name).double()
    src, mask = random_batch([5, 3, 6])
    tgt, _ = random_batch([4, 4, 4], seed=3)
    weights = torch.linspace(-1, 1, 100, dtype=torch.float64)

    def value() -> Tensor:
        hidden = model(src, mask, tgt).hidden
        return (hidden * weights[: hidden.size(-1)]).sum()

    value().backward()
    for key, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        direction = parameter.grad / parameter.grad.norm().clamp_min(1e-12)
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(direction, alpha=sign * 1e-6)
                sides.append(value())
                parameter.sub_(direction, alpha=sign * 1e-6)
        slope = (sides[0] - sides[1]) / 2e-6
        torch.testing.assert_close(
            slope, parameter.grad.norm(), rtol=1e-4, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_dropout_meets_its_rate_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 1001, requires_grad=True)
    for rate in (0.1, 0.5, 0.9):
        out = dropout(x, rate, training=True)
        kept = out != 0
        assert kept.float().mean().item() == pytest.approx(
            1 - rate, abs=4 * (rate * (1 - rate) / x.numel()) ** 0.5 + 1e-5
        )
        assert out[kept].unique().tolist() == pytest.approx([1 / (1 - rate)], rel=1e-4)
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert torch.equal(gradient, out.detach()), "the same elements, scaled the same"
    rows = dropout(x, 0.5, training=True)[:, :1000].detach() != 0
    assert abs(torch.corrcoef(rows[:50].float()).fill_diagonal_(0)).max() < 0.2, "elements are dropped independently"
    module = Dropout(0.5)
    assert torch.equal(module.eval()(x), x)
    assert torch.equal(dropout(x, 0.0, training=True), x)
    assert dropout(torch.ones(0, 3), 0.5, training=True).shape == (0, 3)
