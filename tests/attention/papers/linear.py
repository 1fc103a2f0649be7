"""Linear attention, from Katharopoulos et al. 2020, in its quadratic form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tests.attention.papers.self_attention import Weights


def elu_plus_one(x: Tensor) -> Tensor:
    """Return phi(x) = elu(x) + 1 of a vector (eq. 7)."""
    elu = [each if each > 0 else torch.exp(each) - 1 for each in x]
    return torch.stack(elu) + 1


def kernel_attention(
    x: Tensor, weights: Weights, num_heads: int, causal: bool, phi: Callable[[Tensor], Tensor] = elu_plus_one
) -> tuple[Tensor, Tensor]:
    """Return the outputs [length, dim] and weights [heads, length, length] for one sentence x [length, dim].

    V'_i = sum_j phi(Q_i)^T phi(K_j) V_j / sum_j phi(Q_i)^T phi(K_j), where j runs to i if causal (eqs. 4 and 8).
    """
    length, head_dim = len(x), x.size(1) // num_heads
    shown = x.new_zeros(num_heads, length, length)
    heads = []
    for head in range(num_heads):
        rows = slice(head * head_dim, (head + 1) * head_dim)
        q = [phi(weights.query[rows] @ x[i] + weights.query_bias[rows]) for i in range(length)]
        k = [phi(weights.key[rows] @ x[j] + weights.key_bias[rows]) for j in range(length)]
        v = [weights.value[rows] @ x[j] + weights.value_bias[rows] for j in range(length)]
        attended = []
        for i in range(length):
            seen = range(i + 1 if causal else length)
            total = sum((q[i] * k[j]).sum() for j in seen)
            attended.append(sum((q[i] * k[j]).sum() / total * v[j] for j in seen))
            for j in seen:
                shown[head, i, j] = ((q[i] * k[j]).sum() / total).detach()
        heads.append(torch.stack(attended))
    outputs = [weights.output @ torch.cat([head[i] for head in heads]) + weights.output_bias for i in range(length)]
    return torch.stack(outputs), shown
