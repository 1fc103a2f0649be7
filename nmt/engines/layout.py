"""A model made ready, for good, for searching on a CPU: how its weights lie in memory and how its parts are called."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.attention.multihead import CrossAttention
from nmt.engines.absorbed import AbsorbingAttention
from nmt.engines.int8 import Int8Linear
from nmt.engines.single_layer import SingleLayer
from nmt.models.transformer import DecoderLayer, Residual

_FEW_ROWS = 32
_WORTH_THREADS = 1 << 17  # weights of a linear map: with fewer, threads take longer to meet than to work


def lay_out(model: nn.Module) -> None:
    """Lay the weights of linear maps out for products of few rows, and shorten the way to the parts of modules.

    torch keeps weights [out, in] row by row. Where `out` is no smaller than `in`, products of one row to some dozens
    read them faster column by column. The numbers stay what they are; a weight that is an embedding, too, is laid out
    as a copy, since tokens are looked up by rows.

    torch looks a module's parts up in a function of Python, which is asked for what an instance's own attributes lack,
    and calls them through two more. So parts become attributes, those that only compute become functions, as does what
    surrounds a sublayer with norms inside, and others are called directly: hooks are passed by, and the model has to
    stay on its device.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.out_features >= module.in_features:
            columns = module.weight.detach().t().contiguous().t()
            module.weight = nn.Parameter(columns, requires_grad=False)
    for module in model.modules():
        for name, part in module.named_children():
            module.__dict__[name] = _shortened(part)
    for module in model.modules():
        if type(module) is DecoderLayer:
            module.__class__ = SingleLayer
        if isinstance(module, Residual) and module.pre:
            module.__dict__.update(enter=module.norm, add=torch.add)
    kinds = {type(module) for module in model.modules()}
    direct = {kind: type(kind.__name__, (kind,), {"__call__": kind.forward}) for kind in kinds}
    for module in model.modules():
        module.__class__ = direct[type(module)]


def _shortened(part: nn.Module) -> Any:
    """What may be called in place of a part, with its weights where others read them."""
    if type(part) is nn.Linear:
        return Product(part.weight.detach(), None if part.bias is None else part.bias.detach())
    if type(part) is nn.Embedding:
        return partial(torch.embedding, part.weight)
    if type(part) is nn.LayerNorm:
        shape, weight, bias, eps = part.normalized_shape, part.weight, part.bias, part.eps
        return partial(torch.layer_norm, normalized_shape=shape, weight=weight, bias=bias, eps=eps)
    if type(part) is CrossAttention and not isinstance(part.query_projection, Int8Linear):
        return AbsorbingAttention(part)
    return part


class Product:
    """A linear map as a function: x W^T + b.

    Libraries share products out among threads, but not that of a single row, and badly those of few. Here they are made
    of as many parts, of outputs, as there are threads, or of fewer where that does not divide the outputs.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight = weight  # [out, in], by rows or columns
        self.bias = bias  # [out]
        self.out_features, self.in_features = weight.shape
        self._parts = 1
        self._single = torch.Size((1, 1, self.in_features))
        if weight.device.type == "cpu" and weight.numel() >= _WORTH_THREADS:
            self._parts = _divisor(self.out_features, torch.get_num_threads())
            self._weights = weight.unflatten(0, (self._parts, -1)).mT  # [parts, in, out / parts]
            self._biases = weight.new_zeros(1) if bias is None else bias.view(self._parts, 1, -1)

    def narrow(self, ids: Tensor) -> Product:
        """The same map to some of its outputs, ids [n]; weights lie as they did."""
        weight = self.weight
        chosen = weight.index_select(0, ids) if weight.is_contiguous() else weight.t().index_select(1, ids).t()
        return Product(chosen, None if self.bias is None else self.bias.index_select(0, ids))

    def __call__(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        if self._parts == 1 or torch.get_num_threads() == 1:
            return functional.linear(x, self.weight, self.bias)
        if x.shape == self._single:
            return torch.baddbmm(self._biases, x.expand(self._parts, -1, -1), self._weights).view(1, 1, -1)
        rows = x.numel() // self.in_features
        if rows > _FEW_ROWS:
            return functional.linear(x, self.weight, self.bias)
        shape = (*x.shape[:-1], self.out_features)
        if x.dim() != 3 or x.size(0) != 1:
            x = x.reshape(1, rows, self.in_features)
        products = torch.baddbmm(self._biases, x.expand(self._parts, -1, -1), self._weights)
        return products.view(shape) if rows == 1 else products.transpose(0, 1).reshape(shape)


def _divisor(number: int, most: int) -> int:
    """The largest number up to `most` that divides `number`."""
    return next(parts for parts in range(min(most, number), 0, -1) if number % parts == 0)
