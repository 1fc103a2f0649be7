"""Integers instead of floats: how far off, and that company changes nothing at all."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import nn

from nmt.engines import int8
from nmt.engines.int8 import Int8Linear, quantise_rows


@pytest.fixture(params=[False, True], ids=["of-signed", "in-pairs"])
def in_pairs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Both kinds of products, whichever the processor would take."""
    if request.param and platform.machine().lower() not in ("x86_64", "amd64"):
        pytest.skip("only x86 has it")
    monkeypatch.setattr(int8, "_adds_in_pairs", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize("bias", [True, False])
def test_the_error_is_that_of_rounding(bias: bool, in_pairs: bool) -> None:
    torch.manual_seed(1)
    linear = nn.Linear(96, 50, bias=bias)
    x = torch.randn(7, 3, 96) * torch.logspace(-3, 3, 7)[:, None, None]
    with torch.inference_mode():
        y, exact = Int8Linear.of(linear)(x), linear.double()(x.double())
    # half a step of each factor, times the other one
    weight = linear.weight.detach().abs()
    steps_x = x.abs().amax(-1, keepdim=True).double() / 254
    steps_w = weight.amax(1) / (128 if in_pairs else 254)
    bound = steps_x * weight.sum(1) + x.abs().double().sum(-1, keepdim=True) * steps_w + 96 * steps_x * steps_w
    assert ((y - exact).abs() <= bound * 1.001).all()
    assert (y - exact).abs().max() > 0


def test_integers_are_exact(in_pairs: bool) -> None:
    torch.manual_seed(2)
    largest = 64 if in_pairs else 127
    weight = torch.randint(-largest, largest + 1, (40, 64)).float()
    weight[:, 0] = largest
    x = torch.randint(-127, 128, (9, 64)).float()
    x[:, 1] = -127
    linear = nn.Linear(64, 40, bias=False)
    linear.weight.data = weight
    layer = Int8Linear.of(linear)
    torch.testing.assert_close(layer(x), x @ weight.t(), rtol=1e-6, atol=0)
    ids = torch.tensor([3, 1, 39])
    assert torch.equal(layer.narrow(ids)(x), layer(x)[:, ids])


def test_a_row_of_zeros_and_the_largest_values() -> None:
    ids, scale = quantise_rows(torch.tensor([[0.0, 0.0], [-2.54, 1.27], [1e-35, 0.0]]))
    assert ids.tolist() == [[0, 0], [-127, 64], [0, 0]]
    torch.testing.assert_close(scale[1], torch.tensor([0.02]))


@pytest.mark.usefixtures("in_pairs")
def test_a_row_does_not_depend_on_its_company() -> None:
    torch.manual_seed(3)
    layer = Int8Linear.of(nn.Linear(256, 600))
    x = torch.randn(37, 256)
    together = layer(x)
    assert all(torch.equal(together[row], layer(x[row : row + 1])[0]) for row in range(37))


def test_integers_are_exact_on_older_processors() -> None:
    """Without VNNI pairs of products are added in 16 bits; a row of ones and equal weights reaches the largest sums."""
    code = (
        "import torch; from torch import nn; from nmt.engines.int8 import Int8Linear;"
        "linear = nn.Linear(512, 32, bias=False); nn.init.constant_(linear.weight, 0.5);"
        "print(Int8Linear.of(linear)(torch.ones(40, 512)).sub(256).abs().max().item())"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert float(answer.stdout) < 1e-3
