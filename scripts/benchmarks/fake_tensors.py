"""Run models on tensors that have a device but no values, to find mixed devices and waits without a GPU.

PyTorch's `FakeTensorMode` computes shapes, types and devices. It raises an error if an operation mixes tensors of two
devices or reads a value (`item`, `tolist`, `bool`, `nonzero`). `NoWaiting` also finds copies that wait for the device.
Not covered are cuDNN's RNNs and fused attention, which inspect the device itself, and the backward pass, which needs a
real device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from nmt.config.models import ModelConfig
from nmt.data.batch import Batch
from nmt.data.tokenizer import EOS
from nmt.models.build import build_model
from nmt.models.contract import select
from nmt.models.seq2seq import Seq2Seq
from nmt.training.loss import batch_loss

ROWS, LENGTH = 3, 5


class NoWaiting(TorchDispatchMode):
    """A mode that raises RuntimeError for a copy between two devices that waits for the device."""

    SOURCE = MappingProxyType(
        {torch.ops.aten._to_copy.default: 0, torch.ops.aten.copy_.default: 1}
    )  # index of the argument that is copied

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        answer = func(*args, **kwargs)
        if func in self.SOURCE and not (kwargs.get("non_blocking") or any(args[2:])):
            source = args[self.SOURCE[func]].device
            if source != answer.device:
                raise RuntimeError(f"a copy from {source.type} to {answer.device.type} waits for the device")
        return answer


def go_through(config: ModelConfig, vocabulary: int, device: torch.device, precision: str) -> None:
    """Run a loss, steps of a beam search and forced targets; raise an error for mixed devices or waits."""
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        sdpa_kernel(SDPBackend.MATH),
        _without_rnns(),
        _autocast(device, precision),
    ):
        with device:
            model = build_model(config, vocabulary, vocabulary)
        ids = torch.full((ROWS, LENGTH), EOS)
        batch = Batch(ids, ids != 0, ids, ids, torch.full((ROWS,), LENGTH))
        positions = torch.arange(ids.numel())
        with NoWaiting(), patch("nmt.training.loss.target_positions", lambda batch: positions):
            batch_loss(model.train(), batch, device, 0.1, rdrop=1.0)
            with torch.no_grad():
                there = batch.to(device)
                _search(model.eval(), there)
                given = (there.src, there.src_mask, there.tgt_in, there.tgt_out, there.src_lengths)
                model.force(*given, need_weights=model.attends)


def _search(model: Seq2Seq, batch: Batch) -> None:
    """Run the first steps of a search with two hypotheses per sentence."""
    memory = model.read(batch.src, batch.src_mask, batch.src_lengths)
    state = model.init_state(memory, LENGTH)
    rows = batch.src.new_zeros(2 * ROWS)  # serve as tokens and as indices of parents
    for step in (model.step, model.step, *([model.weighted_step] if model.attends else [])):
        state = step(rows, memory, select(state, rows))[-1]


@contextmanager
def _autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Do the same as `torch.autocast`, which would look for a GPU first."""
    if precision != "bf16":
        yield
        return
    torch.set_autocast_dtype(device.type, torch.bfloat16)
    torch.set_autocast_enabled(device.type, True)
    try:
        yield
    finally:
        torch.set_autocast_enabled(device.type, False)


@contextmanager
def _without_rnns() -> Iterator[None]:
    """Replace cuDNN's RNNs, and the packing around them, by functions that return tensors of the right shapes."""

    def forward(rnn: nn.RNNBase, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        directions = 2 if rnn.bidirectional else 1
        last = x.new_empty(rnn.num_layers * directions, x.size(0), rnn.hidden_size)
        output = x.new_empty(*x.shape[:2], directions * rnn.hidden_size)
        return output, (last, last) if isinstance(rnn, nn.LSTM) else last

    with (
        patch.object(nn.RNNBase, "flatten_parameters", lambda rnn: None),
        patch.object(nn.GRU, "forward", forward),
        patch.object(nn.LSTM, "forward", forward),
        patch("nmt.models.sequences.pack_padded_sequence", lambda x, lengths, batch_first: x),
        patch("nmt.models.sequences.pad_packed_sequence", lambda x, batch_first, total_length: (x, None)),
    ):
        yield
