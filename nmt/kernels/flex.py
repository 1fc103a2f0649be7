"""Attention patterns on a GPU by torch's FlexAttention, which skips blocks of queries and keys that no query may see.

The mask is the pattern's own `allows`. It is evaluated once to find the blocks that any query sees, and again within
the blocks that are seen only in part.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.compiler import config as compiler
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

LONG = 1024  # from this length on FlexAttention is used; chosen without a measurement
SMALLEST_HEAD = 16  # components of a head, at least
COMPILED = 64  # forms that can be compiled: one for each pattern and dtype, with and without gradients or padding
KEPT = 8  # block masks

# (query positions, key positions, lengths of the sentences or None) -> whether the query may attend to the key
Allows = Callable[[Tensor, Tensor, Tensor | None], Tensor]

_masks: dict[Hashable, BlockMask] = {}


def pays(device: torch.device, dtype: torch.dtype, length: int, head_dim: int) -> bool:
    """Return whether FlexAttention works for such queries, and is expected to be faster than attention to all keys.

    It works on CUDA: on a CPU it has no gradients and computes all scores. Its kernels are compiled by Triton, which
    not all builds of torch have, and which needs a GPU with bf16. They need float32 or less and heads that are not
    tiny. A model that is compiled as a whole (`training.compile`) does without them, since that is not tested.
    """
    return (
        length >= LONG
        and device.type == "cuda"
        and dtype in (torch.float32, torch.bfloat16, torch.float16)
        and head_dim >= SMALLEST_HEAD
        and not torch.compiler.is_compiling()
        and _has_triton()
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def pattern_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    positions: Tensor,
    allows: Allows,
    name: Hashable,
    *,
    mask: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """Return softmax(Q K^T / sqrt(head_dim)) V over the keys that `allows` accepts: [rows, heads, length, head_dim].

    query is [rows, heads, length, head_dim] at positions [rows or 1, length]; key and value may have fewer heads, each
    of which serves as many neighbouring heads of queries. mask [rows, length] is False at padding, whose queries attend
    to all real keys. `causal` hides later keys. A query that may attend to no key has a context of zero. Equal names
    mean equal `allows`.
    """
    attend = _compiled()[1] if query.device.type == "cuda" else flex_attention
    blocks = block_mask(positions, allows, name, mask=mask, causal=causal)
    context: Tensor = attend(query, key, value, block_mask=blocks, enable_gqa=key.size(1) != query.size(1))
    return context


def block_mask(
    positions: Tensor, allows: Allows, name: Hashable, *, mask: Tensor | None = None, causal: bool = False
) -> BlockMask:
    """Return the blocks of queries and keys to compare; the arguments are those of `pattern_attention`.

    All layers of a stack that have the same pattern share one, since they are given the same tensors of positions and
    padding. The length alone would not do: positions may start anywhere, and reading them would wait for the GPU.
    """
    found = name, positions, mask, causal  # tensors are equal here only if they are the same object
    if found not in _masks:
        create = _compiled()[0] if positions.device.type == "cuda" else create_block_mask
        rows, length = (positions if mask is None else mask).shape
        allowed = _allowed(positions, allows, mask, causal)
        _masks[found] = create(allowed, rows, None, length, length, device=positions.device)
        while len(_masks) > KEPT:
            del _masks[next(iter(_masks))]
    return _masks[found]


def _allowed(positions: Tensor, allows: Allows, mask: Tensor | None, causal: bool) -> Callable[..., Tensor]:
    """Return a function of the row, head and indices of a query and a key: whether the query may attend to the key."""
    lengths = None if mask is None else mask.sum(dim=1)
    shared = positions.size(0) == 1

    def allowed(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        own = 0 if shared else row
        i, j = positions[own, query], positions[own, key]  # int64, also where the indices are int32
        seen = allows(i, j, None if lengths is None else lengths[row])
        if mask is not None:
            seen = (seen | ~mask[row, query]) & mask[row, key]
        return seen & (j <= i) if causal else seen

    return allowed


@cache
def _compiled() -> tuple[Any, Any]:
    """Return `create_block_mask` and `flex_attention`, compiled for all lengths.

    Past the limit of compiled forms, torch would silently compute all scores. `fullgraph` makes that an error.
    """
    compiler.recompile_limit = max(compiler.recompile_limit, COMPILED)
    return (
        torch.compile(create_block_mask, dynamic=True, fullgraph=True),
        torch.compile(flex_attention, dynamic=True, fullgraph=True),
    )


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
