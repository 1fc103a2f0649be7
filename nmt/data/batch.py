"""A batch of sentence pairs as padded tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmt.data.links import PairLinks
from nmt.data.mixture import Rows
from nmt.data.tokenizer import BOS, PAD


class Batch(NamedTuple):
    """A batch of sentence pairs as int64 ids, filled up with PAD."""

    src: Tensor  # [batch, src_len], with EOS
    src_mask: Tensor  # [batch, src_len] bool, True for tokens and False for padding
    tgt_in: Tensor  # [batch, tgt_len], BOS and the target without its EOS
    tgt_out: Tensor  # [batch, tgt_len], the target with its EOS
    src_lengths: Tensor  # [batch], always on the CPU, as cuDNN requires for packed sequences
    # [batch, tgt_len, src_len] bool, True between pieces of linked words (tgt_out and src); None unless requested
    links: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device; from pinned memory it is copied asynchronously."""
        stays = self.src_lengths
        return self._map(lambda tensor: tensor if tensor is stays else tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return a copy of the batch in pinned memory."""
        return self._map(Tensor.pin_memory)

    def twice(self) -> Batch:
        """Return a batch with all rows, and then all rows again."""
        return self._map(lambda tensor: torch.cat((tensor, tensor)))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Batch:
        return Batch(*[None if tensor is None else function(tensor) for tensor in self])  # type: ignore[arg-type]

    def __reduce__(self) -> tuple[Callable[..., Batch], tuple[NDArray[np.generic] | None, ...]]:
        # arrays are pickled faster than tensors
        return from_arrays, tuple(None if tensor is None else tensor.numpy() for tensor in self)


def collate(
    sources: Sequence[Sequence[int] | Rows],
    targets: Sequence[Sequence[int] | Rows],
    multiple: int = 1,
    links: Sequence[PairLinks] | None = None,
) -> Batch:
    """Build a batch from source ids (with EOS) and target ids (with EOS, without BOS).

    Both lengths are padded to a multiple of `multiple`. `links` are those of each pair, if the batch is to have them.
    """
    src, tgt_out = _pad(sources, multiple), _pad(targets, multiple)
    lengths = np.array([len(ids) for ids in sources])
    tgt_in = np.full_like(tgt_out, PAD)
    for row, ids in enumerate(targets):
        tgt_in[row, 0] = BOS
        tgt_in[row, 1 : len(ids)] = ids[:-1]
    src_mask = np.arange(src.shape[1]) < lengths[:, None]
    linked = None
    if links is not None:
        linked = np.zeros((*tgt_out.shape, src.shape[1]), dtype=np.bool_)
        for row, of_pair in enumerate(links):
            for start, end, first, last in of_pair.pieces.tolist():
                linked[row, first:last, start:end] = True
    return from_arrays(src, src_mask, tgt_in, tgt_out, lengths, linked)


def from_arrays(*arrays: NDArray[np.generic] | None) -> Batch:
    """Return a batch of the given fields, in their order."""
    return Batch(*[None if array is None else torch.from_numpy(array) for array in arrays])  # type: ignore[arg-type]


def _pad(sentences: Sequence[Sequence[int] | Rows], multiple: int) -> NDArray[np.int64]:
    longest = max(len(ids) for ids in sentences)
    padded = np.full((len(sentences), -(-longest // multiple) * multiple), PAD, dtype=np.int64)
    for row, ids in enumerate(sentences):
        padded[row, : len(ids)] = ids
    return padded
