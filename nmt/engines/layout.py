"""How weights lie in memory: what a product takes its time for where there are few rows, as in a step of a search."""

from __future__ import annotations

from torch import nn


def lay_out(model: nn.Module) -> None:
    """Let the longer side of each linear map's weight lie consecutively in memory, for good.

    torch keeps weights [out, in] row by row. Where `out` is no smaller than `in`, products of one row to some dozens
    read them faster column by column on a CPU. The numbers stay what they are; a weight that is an embedding, too, is
    laid out as a copy, since tokens are looked up by rows.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.out_features >= module.in_features:
            columns = module.weight.detach().t().contiguous().t()
            module.weight = nn.Parameter(columns, requires_grad=False)
