"""The normalisations of the Transformer are those of their papers, at all places in the model."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from nmt.models.norms import Residual
from nmt.models.seq2seq import Seq2Seq
from tests.models.papers import rms_norm as paper
from tests.models.variants import VARIANTS, random_batch, tiny_model

VARIANT_OF = {"pre": "transformer-rms-pre", "post": "transformer-rms"}


def model_of(norm: str) -> Seq2Seq:
    """Return a model whose gains differ from one another."""
    model = tiny_model(VARIANT_OF[norm]).double()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.RMSNorm):
                module.weight.uniform_(0.5, 2)
    return model


def paper_s(norm: nn.Module, x: Tensor) -> Tensor:
    return torch.tensor([paper.of_rows(row, norm.weight, 1e-5) for row in x], dtype=torch.float64)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_residual_connection_normalises_as_in_the_paper(norm: Literal["pre", "post"]) -> None:
    model = model_of(norm)
    connections = [module for module in model.modules() if isinstance(module, Residual)]
    assert len(connections) == 10  # two for each encoder layer, three for each decoder layer
    x, output = torch.randn(2, 2, 3, 16, dtype=torch.float64)
    x = x + 0.7  # a mean, which is not subtracted
    for connection in connections:
        if norm == "pre":
            torch.testing.assert_close(connection.enter(x), paper_s(connection.norm, x))
            assert torch.equal(connection.add(x, output), x + output)
        else:
            assert torch.equal(connection.enter(x), x)
            torch.testing.assert_close(connection.add(x, output), paper_s(connection.norm, x + output))


def test_the_final_normalisation_matches_the_paper_too() -> None:
    """It also normalises all layers for transparent attention."""
    model = model_of("pre")
    src, mask = random_batch([5, 3])
    outputs: list[Tensor] = []
    model.encoder.embedding.register_forward_hook(lambda *called: outputs.append(called[2]))
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda *called: outputs.append(called[2][0]))
    encoded = model.encoder(src, mask, need_layers=True)
    for layer, x in zip(encoded.layers.unbind(1), outputs, strict=True):
        torch.testing.assert_close(layer, paper_s(model.encoder.norm, x))
    torch.testing.assert_close(encoded.states, paper_s(model.encoder.norm, outputs[-1]))


def test_models_have_one_kind_of_normalisation() -> None:
    for name, config in VARIANTS.items():
        if config.family == "transformer":
            kinds = {type(module) for module in tiny_model(name).modules() if "Norm" in type(module).__name__}
            expected = nn.RMSNorm if config.normalisation == "rms" else nn.LayerNorm
            assert expected in kinds
            assert len(kinds & {nn.LayerNorm, nn.RMSNorm}) == 1
