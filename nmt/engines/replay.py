"""A search's step as a CUDA graph: what a device does in it is recorded once, and replayed without Python.

A step of a small batch is some hundred kernels, which a GPU runs faster than Python can ask for them. Steps of the same
shapes differ in the contents of tensors alone (`nmt.attention.fixed_cache`), so one recording serves until sentences
leave the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from nmt.attention.cache import Cache
from nmt.attention.fixed_cache import FixedCache
from nmt.errors import NmtError
from nmt.models.seq2seq import Memory, State, Step, Tree, tree_map

# Records what a function does, without its being done, and returns its answer's tensors and what fills them.
Record = Callable[[Callable[[], Any]], tuple[Any, Callable[[], None]]]


class _Recording(NamedTuple):
    """A recorded step: what it reads, what it answers, and how to do it again."""

    given: list[Tensor]  # tokens and state, to be overwritten
    answer: Any
    replay: Callable[[], None]


class Replayed:
    """A step that is recorded when shapes come for the second time, and replayed from then on.

    An answer is overwritten by the next step.
    """

    def __init__(self, step: Step, record: Record) -> None:
        self._step = step
        self._record = record
        self._last: tuple[list[Tensor], list[torch.Size]] | None = None
        self._recording: _Recording | None = None

    def __call__(self, tokens: Tensor, memory: Memory, state: State) -> tuple[Tensor, State]:
        """See `nmt.models.seq2seq.Step`."""
        of_memory, given = leaves(memory), leaves((tokens, state))
        shapes = [leaf.shape for leaf in given]
        if not self._again(of_memory, shapes):
            self._last, self._recording = (of_memory, shapes), None
            return self._step(tokens, memory, state)
        if self._recording is None:
            own = copied((tokens, state))  # what replays read stays where it is
            answer, replay = self._record(lambda: self._step(own[0], memory, own[1]))
            self._recording = _Recording(leaves(own), answer, replay)
        else:
            for place, leaf in zip(self._recording.given, given, strict=True):
                if place is not leaf:
                    place.copy_(leaf)
        self._recording.replay()
        return cast(tuple[Tensor, State], self._recording.answer)

    def _again(self, memory: list[Tensor], shapes: list[torch.Size]) -> bool:
        """Whether the last step had this memory and these shapes."""
        if self._last is None or shapes != self._last[1]:
            return False
        return all(now is before for now, before in zip(memory, self._last[0], strict=True))


def fixed(state: State, room: int) -> State:
    """A state before its first token, with caches that have room for so many."""
    return tree_map(lambda leaf: FixedCache.of(leaf, room) if isinstance(leaf, Cache) else leaf, state)


def recorder(device: torch.device) -> Record:
    """What records the steps of one search on a device. Raises NmtError where nothing does."""
    if device.type != "cuda":
        raise NmtError(
            f"search.cuda_graphs=true needs a CUDA device, and the model is on {device.type}: leave it out, or add "
            "--search cuda_graphs=false"
        )
    # One pool for all recordings of a search, of which only the last is replayed; searches side by side share none.
    return partial(cuda_graph, device, torch.cuda.graph_pool_handle())


def cuda_graph(device: torch.device, pool: Any, function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
    """Records as a CUDA graph, with memory of the pool.

    torch.cuda.graph would do it, and first give all cached memory back, at every recording.
    """
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.device(device):
        torch.cuda.synchronize()
        with torch.cuda.stream(_capturing(device)):
            graph.capture_begin(pool=pool, capture_error_mode="thread_local")
            try:
                answer = function()
            finally:
                graph.capture_end()
    return answer, graph.replay


@cache
def _capturing(device: torch.device) -> torch.cuda.Stream:
    """The stream of a device that graphs are recorded on: libraries keep a workspace for each there is."""
    return torch.cuda.Stream(device)


def leaves(tree: Any) -> list[Tensor]:
    """All tensors of a tree of tuples, those of caches too."""
    if isinstance(tree, Tensor):
        return [tree]
    assert isinstance(tree, tuple), f"a state with {type(tree).__name__} cannot be recorded"
    return [leaf for part in tree for leaf in leaves(part)]


def copied(tree: Tree) -> Tree:
    """The tree with tensors of its own, laid out as they were."""
    if isinstance(tree, Tensor):
        return cast(Tree, tree.clone())
    parts = [copied(part) for part in cast(tuple[Any, ...], tree)]
    return cast(Tree, type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts))
