"""Sums over all positions so far take time in proportion to the length, also for their gradients."""

from __future__ import annotations

import torch

from nmt.attention.running import CHUNK, running_sums


def test_no_gradient_of_a_chunk_is_as_long_as_the_whole() -> None:
    """The gradient of a slice is filled up with zeros, so that of n / CHUNK slices costs n^2 / CHUNK."""
    query, key, value = (torch.randn(1, 1, 5 * CHUNK, 2, requires_grad=True) for _ in range(3))
    levels = torch.zeros(1, 1, 5 * CHUNK + 1)
    sums, s = running_sums(query, key, value, torch.zeros(1, 1, 2, 2), levels[..., 1:], levels)
    waiting, seen = [sums.grad_fn, s.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    names = [node.name() for node in seen]
    assert names.count("SplitBackward0") == 3
    assert "SliceBackward0" not in names
