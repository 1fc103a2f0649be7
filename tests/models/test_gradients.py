"""Gradients of recurrent models agree with those of single sentences and with finite differences."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nmt.models.sequences import run_rnn
from tests.models.variants import VARIANTS, random_batch, tiny_model

RECURRENT = [name for name in VARIANTS if not name.startswith("transformer")]


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 2, 1, 4]], ids=["full", "ragged"])
@pytest.mark.parametrize("begun", [False, True], ids=["from zeros", "from a state"])
def test_whole_sequences_match_torch(
    kind: type[nn.GRU | nn.LSTM], bidirectional: bool, lengths: list[int] | None, begun: bool
) -> None:
    """Outputs, final states and all gradients agree with those of the module on each sentence by itself."""
    torch.manual_seed(0)
    ours = kind(3, 4, num_layers=2, batch_first=True, bidirectional=bidirectional).double()
    theirs = copy.deepcopy(ours)
    directions, leaves = 2 if bidirectional else 1, 2 if kind is nn.LSTM else 1
    x = leaf(4, 5, 3)
    state = tuple(leaf(4, 2, 4 * directions) for _ in range(leaves)) if begun else None
    by_layer = None if state is None else tuple(zip(*(part.unbind(1) for part in state), strict=True))
    outputs, layers = run_rnn(ours, x, by_layer, None if lengths is None else torch.tensor(lengths))
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
    """The directional derivative along the gradient agrees for each weight."""
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
