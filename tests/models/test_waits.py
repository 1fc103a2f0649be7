"""Every mechanism on a device other than the CPU: an update never waits for it, and all tensors are on that device.

On a GPU a wait would only be slow. Here the device is torch's `meta`, whose tensors have no values, so that reading a
value is an error. The results on a GPU are checked by scripts/check_device.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from nmt.config.models import LuongConfig
from nmt.data.batch import collate
from nmt.models.build import build_model
from nmt.models.luong import FeedingDecoder
from nmt.training.loss import batch_loss
from tests.models.variants import COVERING, RNN, VARIANTS, VOCABULARY

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from benchmarks.fake_tensors import NoWaiting, go_through

META = torch.device("meta")


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable autocast, because the `meta` device does not have it and raises an error."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)
    monkeypatch.setattr(torch, "autocast", lambda device, enabled: nullcontext())


@pytest.mark.parametrize("name", COVERING)
def test_an_update_waits_for_no_device(name: str) -> None:
    with META:
        model = build_model(VARIANTS[name], VOCABULARY, VOCABULARY)
    pairs = [[5, 6, 3], [5, 3], [5, 6, 7, 8, 3]]
    with NoWaiting():
        loss = batch_loss(model.train(), collate(pairs, pairs[::-1], 8), META, 0.1, rdrop=1.0)
        loss.smoothed.backward()
    assert {part.device for part in (loss.smoothed, loss.nll, *loss.terms)} == {META}
    assert all(weight.grad is not None and weight.grad.is_meta for weight in model.parameters())


@pytest.mark.parametrize("name", COVERING)
def test_tensors_are_of_one_device(name: str) -> None:
    """Check training, the steps of a search and forced targets."""
    go_through(VARIANTS[name], VOCABULARY, META, "fp32")


FAULTS: dict[str, tuple[Callable[[Tensor], object], str]] = {
    "a value": (lambda x: x.sum().item(), "DataDependent|_local_scalar_dense|meta"),
    "values": (lambda x: x.sum(dim=(1, 2)).tolist(), "DataDependent|_local_scalar_dense|meta"),
    "a decision": (lambda x: bool((x > 0).any()), "DataDependent|_local_scalar_dense|meta"),
    "a count": (lambda x: x[x > 0], "nonzero|DynamicOutputShape"),
    "a copy to the CPU": (lambda x: x.cpu(), "a copy from meta to cpu waits"),
    "a copy from the CPU": (lambda x: torch.ones(3).to(x.device), "a copy from cpu to meta waits"),
    "another device": (lambda x: x + torch.ones(x.shape), "two devices, meta and cpu"),
    "an index of another device": (
        lambda x: x.index_select(0, torch.zeros(2, dtype=torch.long)),
        "two devices, meta and cpu",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a fault in the decoder; the test above has to find it."""
    forward = FeedingDecoder.forward
    action, message = FAULTS[fault]

    def faulty(self: FeedingDecoder, tokens: Tensor, *rest: object, **options: object) -> object:
        action(self.embedding(tokens))
        return forward(self, tokens, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FeedingDecoder, "forward", faulty)
    with pytest.raises(Exception, match=message):
        go_through(LuongConfig(**RNN, layers=1), VOCABULARY, META, "fp32")
