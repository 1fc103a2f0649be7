"""Cells with an elementwise recurrence agree with their papers in values and gradients.

A whole sentence in one call, parts of it one after another, and single steps with a part of the input that is fed all
give what the paper's equations give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from nmt.config.mechanisms import CellName
from nmt.models.cells import Cell, CellState, make_cell
from nmt.models.sequences import Scan
from tests.models.papers.lrn import lrn
from tests.models.papers.sru import sru

HIDDEN, LENGTH = 4, 5
Paper = Callable[[Tensor, Tensor, Mapping[str, Tensor]], tuple[Tensor, Tensor]]
PAPERS: dict[CellName, Paper] = {"sru": sru, "lrn": lrn}
SIZES = pytest.mark.parametrize(
    ("name", "input_dim", "fed_dim"),
    [("sru", HIDDEN, 0), ("sru", 3, 0), ("sru", 3, 2), ("sru", HIDDEN, 2), ("lrn", 3, 0), ("lrn", 3, 2)],
)


def large(cell: Cell) -> Cell:
    """Return the cell in float64, with weights and biases that are not small."""
    torch.manual_seed(1)
    for weight in cell.double().parameters():
        nn.init.normal_(weight, std=0.7)
    return cell


def leaf(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def of_the_paper(name: CellName, cell: Cell) -> dict[str, Tensor]:
    """Return the weights of a cell under the paper's names; matrices multiply the known input and then the fed one."""
    matrices = [cell.input_projection.weight] + ([cell.fed_projection.weight] if cell.fed_dim else [])
    parts = torch.cat(matrices, dim=1).split(HIDDEN)
    if name == "lrn":
        return dict(zip(("W_q", "W_k", "W_v"), parts, strict=True))
    found = dict(zip(("W", "W_f", "W_r", "W_h"), parts, strict=False))
    found["v_f"], found["v_r"] = cell.gate_weight.split(HIDDEN)
    found["b_f"], found["b_r"] = cell.gate_bias.split(HIDDEN)
    return found


def assert_same(found: list[Tensor], wanted: list[Tensor], leaves: dict[str, Tensor]) -> None:
    """Compare values, and the gradients of a random sum of them; every leaf has a gradient."""
    ours, theirs = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)
        direction = torch.randn_like(one)
        ours, theirs = ours + (direction * one).sum(), theirs + (direction * other).sum()
    gradients = (torch.autograd.grad(total, list(leaves.values())) for total in (ours, theirs))
    for key, one, other in zip(leaves, *gradients, strict=True):
        torch.testing.assert_close(one, other, msg=lambda text, key=key: f"{key}: {text}")
        assert other.abs().max() > 1e-3, key


@SIZES
def test_steps_match_the_paper(name: CellName, input_dim: int, fed_dim: int) -> None:
    """At each step a part of the input is fed; the state goes from step to step."""
    cell = large(make_cell(name, input_dim, fed_dim, HIDDEN))
    known, fed, first = leaf(2, LENGTH, input_dim), leaf(2, LENGTH, fed_dim), leaf(2, HIDDEN)
    state = cell.start(first)
    outputs = []
    for t, projected in enumerate(cell.project(known).unbind(dim=1)):
        state = cell(projected, fed[:, t] if fed_dim else None, state)
        outputs.append(state[0])
    w = of_the_paper(name, cell)
    x = torch.cat((known, fed), dim=2)
    rows = [PAPERS[name](x[row], first[row], w) for row in range(2)]
    wanted = [torch.stack(part) for part in zip(*rows, strict=True)]
    leaves = {"known": known, "first": first, **dict(cell.named_parameters())} | ({"fed": fed} if fed_dim else {})
    assert_same([torch.stack(outputs, dim=1), state[-1]], wanted, leaves)


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("input_dim", [3, HIDDEN])
@pytest.mark.parametrize("begun", [False, True], ids=["from zeros", "from a state"])
@pytest.mark.parametrize("directions", [1, 2])
def test_whole_sentences_match_the_paper(name: CellName, input_dim: int, begun: bool, directions: int) -> None:
    """The sentences differ in length; the second direction reads them backwards, each from its own last word."""
    lengths = [4, 1, 3]
    layer = Scan([make_cell(name, input_dim, 0, HIDDEN) for _ in range(directions)])
    for cell in layer.cells:
        large(cell)
    x, first = leaf(3, 4, input_dim), leaf(3, directions * HIDDEN)
    state: CellState | None = None
    if begun:
        state = (first,) if name == "lrn" else (torch.zeros_like(first), first)  # h_0 has no effect in an SRU
    outputs, (last,) = layer(x, None if state is None else (state,), torch.tensor(lengths))
    assert outputs.shape == (3, 4, directions * HIDDEN)
    found, wanted = [], []
    start = first if begun else torch.zeros_like(first)
    for row, length in enumerate(lengths):
        assert (outputs[row, length:] == 0).all()
        for direction, cell in enumerate(layer.cells):
            own = slice(direction * HIDDEN, (direction + 1) * HIDDEN)
            sentence = x[row, :length].flip(0) if direction else x[row, :length]
            h, end = PAPERS[name](sentence, start[row, own], of_the_paper(name, cell))
            found += [outputs[row, :length, own], last[-1][row, own], last[0][row, own]]
            wanted += [h.flip(0) if direction else h, end, h[-1]]
    leaves = {"x": x, **dict(layer.named_parameters())} | ({"first": first} if begun else {})
    assert_same(found, wanted, leaves)


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("parts", [[1] * LENGTH, [3, 1, 1]], ids=str)
def test_parts_of_a_sentence_continue_each_other(name: CellName, parts: list[int]) -> None:
    layer = Scan([large(make_cell(name, 3, 0, HIDDEN))])
    x = leaf(2, LENGTH, 3)
    whole, end = layer(x)
    state, outputs = None, []
    for part in x.split(parts, dim=1):
        output, state = layer(part, state)
        outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole)
    assert state is not None
    for one, other in zip(state[0], end[0], strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("begun", [False, True], ids=["from zeros", "from a state"])
def test_the_state_is_in_float32_under_autocast(name: CellName, begun: bool) -> None:
    """A sum over many steps would lose small terms in bf16; the first state may be a product, which is in bf16."""
    layer = Scan([large(make_cell(name, 3, 0, HIDDEN)).float()])
    x, first = torch.randn(2, LENGTH, 3), torch.randn(2, HIDDEN).bfloat16()
    cell = layer.cells[0]
    exact = layer(x, (cell.start(first.float()),) if begun else None)[0]
    with torch.autocast("cpu", torch.bfloat16):
        outputs, (state,) = layer(x, (cell.start(first),) if begun else None)
    assert {leaf.dtype for leaf in state} == {torch.float32}
    torch.testing.assert_close(outputs, exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("fed_dim", [0, 6])
def test_an_sru_begins_with_the_variance_of_its_input(fed_dim: int) -> None:
    """Lei et al. 2018, section 3.2: Var[W x_t] = Var[x_t] at first, and gates begin around one half."""
    torch.manual_seed(2)
    cell = make_cell("sru", 400, fed_dim, 500)
    cell.initialise()
    products = cell.project(torch.randn(1, 300, 400)).detach()[..., :500]
    assert float(products.var()) == pytest.approx(400 / (400 + fed_dim), rel=0.1)
    assert not cell.gate_bias.any()
    assert float(cell.gate_weight.detach().var()) == pytest.approx(0.5, rel=0.1)
