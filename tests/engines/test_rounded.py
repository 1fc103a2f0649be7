"""Weights of fewer bits: which linear maps have them, how far off a model is then, and where there are none."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nmt.config.load import override_search
from nmt.config.schema import SearchConfig
from nmt.engines.fp16 import HalfLinear
from nmt.engines.int8 import Int8Linear
from nmt.engines.native import NativeEngine
from nmt.engines.rounded import round_weights
from nmt.errors import NmtError
from tests.engines.rounding import PRECISIONS, needs_fbgemm
from tests.models.variants import VARIANTS, random_batch, tiny_model

KINDS = {"fp16": HalfLinear, "int8": Int8Linear}
MOST = {"fp16": 1e-3, "int8": 0.05}  # of the spread of log-probabilities


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_model_can_be_rounded_and_nearly_agrees(variant: str, precision: str) -> None:
    model = tiny_model(variant, 40)
    src, mask = random_batch([5, 3, 7], 40)
    tgt_in = torch.randint(4, 40, (3, 6))
    with torch.inference_mode():
        exact = model.projection(model(src, mask, tgt_in)).log_softmax(-1)
        round_weights(model, precision)
        rounded = model.projection(model(src, mask, tgt_in)).log_softmax(-1)
    assert isinstance(model.projection, KINDS[precision])
    assert not any(isinstance(module, nn.Linear) for layer in model.modules() if hasattr(layer, "qkv_projection")
                   for module in layer.children())  # fmt: skip
    difference = (rounded - exact).abs().mean()
    assert 0 < difference < MOST[precision] * exact.std()


@needs_fbgemm
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 5, 40])
def test_only_weights_are_rounded(bias: bool, rows: int) -> None:
    torch.manual_seed(1)
    linear = nn.Linear(96, 50, bias=bias)
    x = torch.randn(rows, 3, 96) * 100
    with torch.inference_mode():
        y = HalfLinear.of(linear)(x)
        linear.weight.data = linear.weight.half().float()
        exact = linear.double()(x.double())
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=1e-3)


@needs_fbgemm
def test_weights_that_lie_by_columns_are_the_same_and_some_outputs_are_those_of_all() -> None:
    torch.manual_seed(2)
    linear, x = nn.Linear(64, 90), torch.randn(3, 64)
    layer = HalfLinear.of(linear)
    linear.weight.data = linear.weight.data.t().contiguous().t()
    assert torch.equal(HalfLinear.of(linear)(x), layer(x))
    ids = torch.tensor([3, 1, 89])
    torch.testing.assert_close(layer.narrow(ids)(x), layer(x)[:, ids], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("variant", ["transformer-post", "transformer-pre"])
def test_company_changes_nothing_in_what_is_found(variant: str, precision: str, beam_size: int) -> None:
    model = tiny_model(variant, 40)
    round_weights(model, precision)
    options = override_search(
        SearchConfig(),
        [f"beam_size={beam_size}", "length_penalty=0.6", "max_length_ratio=1", "max_length_offset=3"],
    )
    engine = NativeEngine.alone(model, torch.device("cpu"))
    src, _ = random_batch([5, 3, 7, 2, 9, 4], 40)
    sources = [[token for token in row if token] for row in src.tolist()]
    together = engine.search(sources, options, 1)
    alone = [engine.search([source], options, 1)[0] for source in sources]
    assert [one[0].tokens for one in together] == [one[0].tokens for one in alone]
    assert len({tuple(one[0].tokens) for one in together}) > 1


def test_a_search_does_not_look_for_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at a packed weight would cost more than a small product."""
    model, enabled = tiny_model("transformer-pre", 40), []
    read = model.read
    monkeypatch.setattr(
        model, "read", lambda *given: enabled.append(torch._C._is_torch_function_enabled()) or read(*given)
    )
    NativeEngine(model).search([[5, 6, 3]], SearchConfig(beam_size=1), 1)
    assert enabled == [False] and torch._C._is_torch_function_enabled()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_other_devices_are_refused(precision: str) -> None:
    with pytest.raises(NmtError, match=f"{precision} is for CPUs: on meta choose --precision bf16, or --device cpu"):
        round_weights(tiny_model("transformer-pre", 40).to("meta"), precision)


def test_a_processor_without_fbgemm_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.engines.fp16.has_fbgemm", lambda: False)
    with pytest.raises(NmtError, match="fp16 needs an x86 processor with AVX2 or newer: choose --precision fp32"):
        HalfLinear.of(nn.Linear(8, 8))
