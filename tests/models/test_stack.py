"""Connections between recurrent layers agree with their papers, and dropout has the masks that it says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.config.load import load_config
from nmt.config.mechanisms import CellName
from nmt.config.models import LuongConfig
from nmt.errors import ConfigError
from nmt.models.build import build_model
from nmt.models.cells import Cell, CellState
from nmt.models.dropout import SentenceDropout, StepDropout
from nmt.models.sequences import run_rnn
from nmt.models.stack import Stack, make_stack
from tests.models.papers import stack as paper
from tests.models.variants import RNN, random_batch

DIM, LENGTHS = 4, [5, 2, 3]
CONNECTED = pytest.mark.parametrize(
    ("residual", "layer_norm"), [(True, False), (False, True), (True, True)], ids=["residual", "norm", "both"]
)


def not_small(module: nn.Module) -> None:
    torch.manual_seed(1)
    for weight in module.double().parameters():
        nn.init.normal_(weight, std=0.7)


def norms_of(connections: nn.ModuleList, layer_norm: bool) -> list[tuple[Tensor, Tensor]]:
    return [(each.norm.weight, each.norm.bias) for each in connections] if layer_norm else []


@CONNECTED
@pytest.mark.parametrize("cell", ["lstm", "gru", "sru", "lrn"])
@pytest.mark.parametrize("directions", [[1, 1, 1], [2, 1, 1], [2, 2, 2]], ids=str)
def test_a_stack_is_the_papers(cell: CellName, directions: list[int], residual: bool, layer_norm: bool) -> None:
    """Compare each sentence of a batch, from a first state, in values, last states and gradients."""
    config = LuongConfig(cell=cell, residual=residual, layer_norm=layer_norm, dropout=0.0)
    made = make_stack(config, 3, DIM, directions)
    assert isinstance(made, Stack)
    not_small(made)
    x = torch.randn(len(LENGTHS), max(LENGTHS), 3, dtype=torch.float64, requires_grad=True)
    leaves = 2 if cell in ("lstm", "sru") else 1
    state = tuple(tuple(torch.randn(2, len(LENGTHS), DIM, dtype=torch.float64)[:leaves]) for _ in directions)
    outputs, lasts = run_rnn(made, x, state, torch.tensor(LENGTHS))
    ours, theirs = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for row, length in enumerate(LENGTHS):
        reached: list[CellState] = []

        def layer(number: int, row: int = row, reached: list[CellState] = reached) -> paper.Layer:
            def run(read: Tensor) -> Tensor:
                first = tuple(leaf[row : row + 1] for leaf in state[number])
                output, last = run_rnn(made.layers[number], read.unsqueeze(0), (first,))
                reached.extend(last)
                return output[0]

            return run

        layers = [layer(number) for number in range(len(directions))]
        wanted = paper.stack(x[row, :length], layers, norms_of(made.connections, layer_norm), residual)
        torch.testing.assert_close(outputs[row, :length], wanted)
        for one, other in zip(lasts, reached, strict=True):
            for ours_last, theirs_last in zip(one, other, strict=True):
                torch.testing.assert_close(ours_last[row], theirs_last[0])
        direction = torch.randn_like(wanted)
        ours = ours + (direction * outputs[row, :length]).sum()
        theirs = theirs + (direction * wanted).sum()
    parameters = [x, *made.parameters()]
    found = (torch.autograd.grad(total, parameters, allow_unused=True) for total in (ours, theirs))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
        assert other.abs().max() > 1e-6


@CONNECTED
@pytest.mark.parametrize("cell", ["lstm", "gru", "sru", "lrn"])
def test_a_decoder_with_input_feeding_is_the_papers(cell: CellName, residual: bool, layer_norm: bool) -> None:
    """Compare h~_t, where h_t is the output of the stack of cells, and the first layer also reads h~_{t-1}.

    The cells are compared with their papers by tests of their own.
    """
    config = LuongConfig(**RNN, layers=3, cell=cell, residual=residual, layer_norm=layer_norm)  # type: ignore[arg-type]
    model = build_model(config, 11, 11).eval()
    not_small(model)
    decoder = model.decoder
    src, mask = random_batch([4])
    tokens, _ = random_batch([3], seed=3)
    source = model.encoder(src, mask).states[0]
    memory = model.read(src, mask)
    hidden = decoder(tokens, memory)[0].hidden
    cells: list[Cell] = [decoder.first_cell, *decoder.upper_cells]
    states, fed = list(memory.first), torch.zeros(1, 16, dtype=torch.float64)
    for t, token in enumerate(tokens[0]):

        def layer(number: int, fed: Tensor = fed) -> paper.Layer:
            def run(read: Tensor) -> Tensor:
                known = cells[number].project(read.unsqueeze(0))[:, 0]
                states[number] = cells[number](known, None if number else fed, states[number])
                return states[number][0]

            return run

        layers = [layer(number) for number in range(3)]
        x = decoder.embedding(token).unsqueeze(0)
        h = paper.stack(x, layers, norms_of(decoder.connections, layer_norm), residual)[0]
        # the general score, the context and h~_t of Luong et al. 2015, section 3.1
        weights = torch.softmax(source @ decoder.output.attention.score.states_projection.weight.mT @ h, dim=0)
        fed = torch.tanh(decoder.output.projection.weight @ torch.cat([weights @ source, h])).unsqueeze(0)
        torch.testing.assert_close(hidden[:, t], fed)


def test_a_mask_of_a_sentence_is_the_same_at_all_steps() -> None:
    torch.manual_seed(1)
    dropout = SentenceDropout(0.25)
    x = torch.ones(200, 6, 50)
    kept = dropout(x)
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    assert set((kept * 0.75).flatten().tolist()) == {0.0, 1.0}
    assert float(kept.mean()) == pytest.approx(1, abs=0.05)
    assert not torch.equal(kept[0], kept[1])
    drop, other = dropout.for_steps(x[:, 0]), dropout.for_steps(x[:, 0])
    assert torch.equal(drop(x[:, 1]), drop(x[:, 2])) and not torch.equal(drop(x[:, 1]), other(x[:, 1]))
    assert torch.equal(dropout.eval()(x), x) and torch.equal(dropout.for_steps(x[:, 0])(x[:, 1]), x[:, 1])


def test_a_mask_of_a_step_is_another_at_each_step() -> None:
    torch.manual_seed(1)
    dropout = StepDropout(0.25)
    x = torch.ones(3, 50)
    drop = dropout.for_steps(x)
    assert not torch.equal(drop(x), drop(x))
    assert torch.equal(dropout.eval().for_steps(x)(x), x)


@pytest.mark.parametrize("input_feeding", [False, True])
def test_a_decoder_drops_the_same_at_all_steps_of_a_sentence(
    input_feeding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Record all masks while a target is decoded: embeddings, between the layers, before attention, and the output."""
    config = LuongConfig(**RNN, layers=3, input_feeding=input_feeding, dropout=0.5, dropout_mask="sentence")  # type: ignore[arg-type]
    torch.manual_seed(1)
    model = build_model(config, 11, 11).train()
    src, mask = random_batch([4, 3])
    tokens, _ = random_batch([6, 6], seed=3)
    memory = model.read(src, mask)
    masks: list[Tensor] = []

    def recorded(x: Tensor, p: float, *rest: Any) -> Tensor:
        assert p == 0.5 and (x == 1).all(), "masks are drawn, and then multiplied with the values of all steps"
        masks.append(torch.bernoulli(x * 0.5) * 2)
        return masks[-1]

    monkeypatch.setattr(torch.nn.functional, "dropout", recorded)
    model.decoder(tokens, memory)
    assert len(masks) == 5 and all(each.size(0) == 2 and each[0].numel() in (12, 16) for each in masks)


@pytest.mark.parametrize("key", ["residual", "layer_norm"])
@pytest.mark.parametrize(
    ("model", "layers"), [("luong", "layers"), ("rnn_encdec", "layers"), ("rnnsearch", "encoder_layers")]
)
def test_what_is_between_layers_needs_two(key: str, model: str, layers: str) -> None:
    given = [f"model={model}", f"model.{key}=true"]
    with pytest.raises(ConfigError, match=rf"model\.{key}=true .* set model\.{layers} above 1"):
        load_config("embedded", given)
    assert getattr(load_config("embedded", [*given, f"model.{layers}=2"]).model, key)


def test_the_first_layer_alone_reads_in_both_directions() -> None:
    config = LuongConfig(**RNN, layers=3, bidirectional=True, bidirectional_layers="first")  # type: ignore[arg-type]
    layers = build_model(config, 11, 11).encoder.rnn.layers
    assert [(layer.bidirectional, layer.hidden_size) for layer in layers] == [(True, 8), (False, 16), (False, 16)]
    with pytest.raises(ConfigError, match=r"bidirectional_layers=first needs model\.bidirectional=true"):
        load_config("embedded", ["model=luong", "model.bidirectional=false", "model.bidirectional_layers=first"])
