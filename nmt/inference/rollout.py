"""Attention through several layers: rollout and flow (Abnar and Zuidema 2020).

The weights of a layer say which positions of the layer below a position reads. But each of those positions already
holds a mixture of the positions that it has read further down. Both methods follow attention through all layers to the
source tokens. They take the mean W of the heads of a layer, and treat the residual connection as attention of a
position to itself: A = 0.5 W + 0.5 I (section "Attention rollout and flow").
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nmt.errors import NmtError

Weights = NDArray[np.floating]
_UNITS = 2**40  # in a capacity of one: networkx needs whole numbers, as rounding errors could confuse its search
How = Literal["rollout", "flow"]


def through_layers(how: How, weights: Weights, layers: Sequence[int]) -> Weights:
    """Return how much each position of some layers attends to each source token: [number of these layers, n, n].

    weights [all layers, heads, n, n] are those of an encoder's self-attention to n tokens; layers are counted from 0.
    Raises NmtError if weights do not sum to one, so that they are no shares of what a position reads.
    """
    with_residual = residual(weights)
    if how == "rollout":
        return rollout(with_residual)[list(layers)]
    return np.stack([flow(with_residual[: layer + 1]) for layer in layers])


def residual(weights: Weights) -> Weights:
    """Return A = 0.5 W + 0.5 I [layers, queries, keys] of each layer, where W is the mean of its heads.

    Raises NmtError if the weights of a layer do not sum to one.
    """
    mean = weights.mean(axis=1)
    for layer, of_layer in enumerate(mean, start=1):
        if (of_layer < 0).any() or not np.allclose(of_layer.sum(axis=-1), 1, atol=1e-3):
            raise NmtError(
                f"attention cannot be followed through layer {layer}, whose weights do not sum to one or are missing: "
                "draw the weights themselves (--map weights)"
            )
    both: Weights = 0.5 * mean + 0.5 * np.eye(mean.shape[-1], dtype=mean.dtype)
    return both


def rollout(with_residual: Weights) -> Weights:
    """Return attention from each layer to the tokens, the product A_l ... A_1 [layers, queries, tokens] (eq. 1)."""
    products = [with_residual[0]]
    for of_layer in with_residual[1:]:
        products.append(of_layer @ products[-1])
    return np.stack(products)


def flow(with_residual: Weights) -> Weights:
    """Return the maximum flow from each position of the last layer to each token [queries, tokens].

    In the graph, each layer has a node for each position, and an edge leads from position i of a layer to position j of
    the layer below, with the capacity A_ij. The tokens are the layer below the first one.
    """
    from networkx import DiGraph, maximum_flow_value
    from networkx.algorithms.flow import build_residual_network, preflow_push

    layers, length, _ = with_residual.shape
    graph = DiGraph()
    for layer, of_layer in enumerate((with_residual.astype(float) * _UNITS).round().astype(int), start=1):
        for i, j in zip(*of_layer.nonzero(), strict=True):
            graph.add_edge((layer, int(i)), (layer - 1, int(j)), capacity=int(of_layer[i, j]))
    network = build_residual_network(graph, "capacity")  # once for all pairs
    flows = np.zeros((length, length))
    for i in range(length):
        for j in range(length):
            ends = (layers, i), (0, j)
            if ends[1] in graph:
                flows[i, j] = maximum_flow_value(graph, *ends, flow_func=preflow_push, residual=network)
    return flows / _UNITS
