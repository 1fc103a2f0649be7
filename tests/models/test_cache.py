"""The cache against the plain way: each row's keys and values in a tensor of their own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.attention.cache import Cache
from nmt.attention.fixed_cache import FixedCache
from nmt.attention.joined_cache import JoinedCache
from nmt.attention.kernels import bias_of, full_attention

HEADS, DIM = 2, 4


class Plain:
    """Rows [batch * hypotheses, heads, length, dim] that are copied whenever they change places."""

    def __init__(self, rows: Tensor, hypotheses: int) -> None:
        self.rows, self.hypotheses = rows, hypotheses

    def attended(self, query: Tensor) -> Tensor:
        """What query [rows, heads, tokens, dim] of the last tokens makes of all."""
        tokens, length = query.size(2), self.rows.size(2)
        causal = torch.ones(tokens, length, dtype=torch.bool).tril(length - tokens)
        return full_attention(query, self.rows, 2 * self.rows, bias=bias_of(causal))

    def reordered(self, parents: Tensor) -> Plain:
        return Plain(self.rows[parents.flatten()], parents.size(1))


def start(batch: int) -> tuple[Cache, Plain]:
    return Cache.empty(torch.zeros(batch, HEADS, DIM, 3), layers=1), Plain(torch.zeros(batch, HEADS, 0, DIM), 1)


def step(cache: Any, plain: Plain, tokens: int, random: torch.Generator) -> tuple[Any, Plain]:
    """So many further tokens of each row, with which both must answer alike."""
    hypotheses = plain.hypotheses
    new, query = (torch.randn(plain.rows.size(0), HEADS, tokens, DIM, generator=random) for _ in range(2))
    plain = Plain(torch.cat((plain.rows, new), dim=2), hypotheses)

    def grouped(x: Tensor) -> Tensor:
        return x.unflatten(0, (cache.batch, -1)).transpose(1, 2).flatten(2, 3)

    cache = cache.extended(tokens)
    keys, values = cache.write(0, grouped(new), 2 * grouped(new))
    answer = full_attention(grouped(query), keys, values, bias=cache.pasts(tokens)[0].bias)
    torch.testing.assert_close(answer, grouped(plain.attended(query)), atol=1e-5, rtol=1e-5)
    return cache, plain


def joined(batch: int) -> JoinedCache:
    return JoinedCache.empty(1, batch, torch.device("cpu"))


@pytest.mark.parametrize("kind", ["growing", "fixed", "joined"])
@pytest.mark.parametrize("seed", range(20))
def test_hypotheses_keep_their_past(seed: int, kind: str) -> None:
    """Beams of changing width, parents at random, sentences that leave, rows taken one by one."""
    random = torch.Generator().manual_seed(seed)

    def number(least: int, most: int) -> int:
        return int(torch.randint(least, most + 1, (), generator=random))

    cache: Any
    cache, plain = start(batch=4)
    if kind == "fixed":
        cache = FixedCache.of(cache, room=48)
    if kind == "joined":
        cache = joined(batch=4)
    for _ in range(12):
        cache, plain = step(cache, plain, number(1, 4), random)
        rows = plain.rows.size(0)
        if number(1, 5) == 1:
            chosen = torch.randint(rows, (number(2, 6),), generator=random)
            cache, plain = cache.select(chosen), Plain(plain.rows[chosen], 1)
            continue
        stay = torch.arange(rows // plain.hypotheses)
        if len(stay) > 1 and number(1, 4) == 1:
            stay = stay[stay != number(0, len(stay) - 1)]
        parents = torch.randint(plain.hypotheses, (len(stay), number(1, 4)), generator=random)
        parents = parents + stay.unsqueeze(1) * plain.hypotheses
        cache, plain = cache.reorder(parents), plain.reordered(parents)
    assert int(cache.length) == plain.rows.size(2) >= 12


@pytest.mark.parametrize("kind", ["growing", "joined"])
def test_two_may_go_on_from_one(kind: str) -> None:
    random = torch.Generator().manual_seed(1)
    cache, plain = start(2)
    first = step(joined(2) if kind == "joined" else cache, plain, 3, random)
    one = step(*first, 1, random)
    other = step(*first, 2, random)
    step(*one, 1, random)
    step(*other, 1, random)
    step(*first, 1, random)


@pytest.mark.parametrize("kind", ["growing", "joined"])
def test_a_past_goes_back(kind: str) -> None:
    random = torch.Generator().manual_seed(1)
    cache: Any
    cache, plain = start(2)
    cache, plain = step(joined(2) if kind == "joined" else cache, plain, 5, random)
    for length in (3, 1):
        cache, plain = step(cache.until(length), Plain(plain.rows[:, :, :length], 1), 2, random)
        assert cache.length == length + 2
        cache, plain = step(cache, plain, 1, random)


def test_no_memory_is_copied_where_hypotheses_change_places() -> None:
    random = torch.Generator().manual_seed(1)
    nothing = torch.zeros(2, HEADS, 2, DIM)
    cache, plain = step(*start(2), 1, random)
    parents = torch.tensor([[0, 0], [1, 1]])
    cache, plain = step(cache.reorder(parents), plain.reordered(parents), 1, random)
    before = cache.write(0, nothing, nothing)
    parents = torch.tensor([[1, 0], [3, 3]])
    after = cache.reorder(parents).extended(1).write(0, nothing, nothing)
    assert [leaf.data_ptr() for leaf in before] == [leaf.data_ptr() for leaf in after]


def test_no_shape_tells_of_the_length_where_all_room_is_there() -> None:
    random = torch.Generator().manual_seed(1)
    growing, plain = start(2)
    cache: FixedCache = FixedCache.of(growing, 9)
    seen = []
    for _ in range(2):
        cache, plain = step(cache, plain, 1, random)
        coming = cache.extended(1)
        seen.append([*coming.write(0, *torch.zeros(2, 2, HEADS, 1, DIM)), coming.bias(1), coming.places])
    assert [leaf.shape for leaf in seen[0]] == [leaf.shape for leaf in seen[1]]
    assert [leaf.data_ptr() for leaf in seen[0][:2]] == [leaf.data_ptr() for leaf in seen[1][:2]]
    keys, values, *_ = seen[0]
    assert keys.is_contiguous() and values.is_contiguous()
