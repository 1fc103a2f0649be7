"""Linear maps in 8-bit integers, for searching on a CPU with a model trained in floating point."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from nmt.device import has_vnni

_LARGEST = 127
_LARGEST_IN_PAIRS = 64  # of weights: 2 * 255 * 64 fits into 16 bits
_OFFSET = 128

Product = Callable[[Tensor], Tensor]  # rows [rows, in] int8 -> rows times weight times scale, [rows, out] float32


class Int8Linear(nn.Module):
    """y = x W^T + b with W and x rounded to integers from -127 to 127, each row of both with a scale of its own.

    The scale is a row's largest magnitude over 127 ("absmax", as in Dettmers et al. 2022, section 2). Sums of products
    of integers are exact, so a row's answer does not depend on the rows beside it. On x86 without VNNI, W is rounded to
    integers from -64 to 64 for that.
    """

    weight: Tensor  # [out, in] int8, column by column
    scale: Tensor  # [out]
    bias: Tensor | None  # [out]

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.t().contiguous().t())
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)
        self._times = (_product_in_pairs if _adds_in_pairs() else _product)(self.weight, scale)

    @classmethod
    def of(cls, linear: nn.Linear) -> Int8Linear:
        """A linear map in floating point, rounded."""
        largest = _LARGEST_IN_PAIRS if _adds_in_pairs() else _LARGEST
        weight, scale = quantise_rows(linear.weight.detach().float(), largest)
        bias = None if linear.bias is None else linear.bias.detach().float()
        return cls(weight, scale.squeeze(1), bias)

    def narrow(self, ids: Tensor) -> Int8Linear:
        """The same map to some of its outputs, ids [n]."""
        return Int8Linear(self.weight[ids], self.scale[ids], None if self.bias is None else self.bias[ids])

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        rows, scale = quantise_rows(x.reshape(-1, x.size(-1)).float())
        y = self._times(rows)
        y = y.mul_(scale) if self.bias is None else torch.addcmul(self.bias, y, scale, out=y)
        return y.view(*x.shape[:-1], -1)


def _product(weight: Tensor, scale: Tensor) -> Product:
    """By torch's product of signed integers."""

    def times(rows: Tensor) -> Tensor:
        products = torch._int_mm(rows, weight.t())  # [rows, out] int32
        y = products.view(torch.float32)  # as wide, so that each number is converted where it stands:
        y.copy_(products)  # memory is what this takes its time for
        return y.mul_(scale)

    return times


def _product_in_pairs(weight: Tensor, scale: Tensor) -> Product:
    """By oneDNN's product of unsigned with signed integers: such processors have no fast one of signed integers."""
    packed = torch.ops.onednn.qlinear_prepack(weight.contiguous(), None)  # strides would be ignored
    zeros = torch.zeros(len(scale), dtype=torch.long)

    def times(rows: Tensor) -> Tensor:
        unsigned = rows.view(torch.uint8).bitwise_xor(_OFFSET)  # two's complement + 128
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            unsigned, 1.0, _OFFSET, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )
        return y

    return times


@cache
def _adds_in_pairs() -> bool:
    """Whether the processor adds products in pairs of 16 bits, which saturate: x86 without VNNI."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    most = torch.full((64, 64), _LARGEST, dtype=torch.int8)  # oneDNN can be told to do without, too
    return not has_vnni() or int(torch._int_mm(most, most)[0, 0]) != 64 * _LARGEST**2


def quantise_rows(x: Tensor, largest: int = _LARGEST) -> tuple[Tensor, Tensor]:
    """x [rows, dim] as int8 and the scales [rows, 1] that bring it back; a row of zeros stays one."""
    scale = x.abs().amax(dim=1, keepdim=True).clamp_(min=1e-30) / largest
    return (x / scale).round_().to(torch.int8), scale
