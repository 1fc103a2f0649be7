"""Feed-forward networks are those of their papers."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
import torch

from nmt.config.models import TransformerConfig
from nmt.models.build import build_model
from nmt.models.feed_forward import FeedForward, make_feed_forward
from tests.models.papers import feed_forward as paper

PLAIN = {"relu": paper.relu, "gelu": paper.gelu, "relu2": paper.squared_relu}
GATED = {"swiglu": paper.swish, "geglu": paper.gelu}


def network(activation: Any) -> FeedForward:
    torch.manual_seed(1)
    made = make_feed_forward(TransformerConfig(model_dim=4, ffn_dim=6, activation=activation)).double()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_()
    return made


@pytest.mark.parametrize("activation", get_args(get_type_hints(TransformerConfig)["activation"]))
def test_a_network_matches_the_paper(activation: str) -> None:
    """Compare the outputs, and by central differences the gradients of a sum of them."""
    made = network(activation)
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    names = ("inner", "gated", "outer") if activation in GATED else ("inner", "outer")
    parts = [part.detach() for name in names for part in made.get_submodule(name).parameters()]
    assert sum(part.numel() for part in parts) == sum(weight.numel() for weight in made.parameters())

    def outputs(x: torch.Tensor) -> torch.Tensor:
        weights = [part.tolist() for part in parts]
        rows = [
            paper.ffn_glu(row, GATED[activation], *weights) if activation in GATED
            else paper.ffn(row, PLAIN[activation], *weights)
            for row in x.flatten(0, 1).tolist()
        ]  # fmt: skip
        return torch.tensor(rows, dtype=torch.float64).view_as(x)

    torch.testing.assert_close(made(x), outputs(x))
    (gradient,) = torch.autograd.grad(made(x).sum(), x)
    for index in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[index] = 1e-6
        slope = (outputs(x + step) - outputs(x - step)).sum(-1) / 2e-6
        torch.testing.assert_close(gradient[..., index], slope, atol=1e-6, rtol=1e-6)


def test_ffn_dim_is_the_size_of_the_hidden_layer_with_gates_or_without() -> None:
    for activation in (*PLAIN, *GATED):
        made = network(activation)
        assert made.hidden(torch.randn(1, 2, 4, dtype=torch.float64)).shape == (1, 2, 6)


def test_two_thirds_of_the_hidden_layer_with_gates_have_as_many_parameters() -> None:
    """As Shazeer 2020, section 2, says."""

    def parameters(activation: Any, ffn_dim: int) -> int:
        config = TransformerConfig(model_dim=64, num_heads=4, ffn_dim=ffn_dim, activation=activation)
        return sum(weight.numel() for weight in build_model(config, 9, 9).parameters())

    assert parameters("swiglu", 128) == pytest.approx(parameters("relu", 192), rel=0.005)  # biases
    assert parameters("swiglu", 192) > 1.1 * parameters("relu", 192)
