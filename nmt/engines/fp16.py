"""Linear maps with weights in 16-bit floats, for searching on a CPU with a model trained in 32."""

from __future__ import annotations

from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn

from nmt.errors import NmtError

_product = torch.ops.quantized.linear_dynamic_fp16.default._op  # itself, without a function of Python around it


def has_fbgemm() -> bool:
    """Whether torch has it for this processor."""
    return "fbgemm" in torch.backends.quantized.supported_engines


class HalfLinear(nn.Module):
    """y = x W^T + b with W rounded to float16; x, b and the sums stay float32.

    FBGEMM, which torch has for x86, keeps W packed as it reads it: half the memory, and products of few rows, such as
    the beam of one sentence, that take hardly longer than those of one.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """weight [out, in] and bias [out] in float32. Raises NmtError where there is no FBGEMM."""
        super().__init__()
        if not has_fbgemm():
            raise NmtError("fp16 needs an x86 processor with AVX2 or newer: choose --precision fp32")
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight, bias)

    @classmethod
    def of(cls, linear: nn.Linear) -> HalfLinear:
        """A linear map in float32, rounded."""
        return cls(linear.weight.detach().float(), None if linear.bias is None else linear.bias.detach().float())

    def narrow(self, ids: Tensor) -> HalfLinear:
        """The same map to some of its outputs, ids [n]."""
        return HalfLinear(
            self.weight.index_select(0, ids), None if self.bias is None else self.bias.index_select(0, ids)
        )

    @property
    def weight(self) -> Tensor:
        """What rounding has left of W [out, in], in float32."""
        return self._unpacked[0]

    @property
    def bias(self) -> Tensor | None:
        """b [out]."""
        return self._unpacked[1]

    @cached_property
    def _unpacked(self) -> tuple[Tensor, Tensor | None]:
        return cast("tuple[Tensor, Tensor | None]", torch.ops.quantized.linear_unpack_fp16(self._packed))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        y: Tensor = _product(x, self._packed)
        return y

    __call__ = forward  # without torch's way to it, which calls hooks: see nmt.engines.layout
