"""Common parts of the other PyTorch programs: the weights of a run in their model, searched in their batches."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import EOS, PAD
from nmt.search.hypothesis import Hypothesis


class ReferenceEngine(ABC):
    """An engine that searches on the CPU with the rules of another program (see nmt.inference.engines.engine.Engine).

    Batches of more than `batch_size` sentences are divided evenly. Hypotheses have no scores.
    """

    streams = 1
    batch_size: int  # in sentences

    def sharing(self, streams: int) -> AbstractContextManager[Callable[[], object]]:
        """Do nothing: there is one stream, which has all cores."""
        return nullcontext(lambda: None)

    def check(self, options: SearchConfig) -> None:
        """Accept all options: each program has only one way to search.

        Their rules are length_normalisation=power and stop=full, or an earlier end for which nmt has no option.
        """
        del options

    def search(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        n_best: int,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Return the best hypothesis of each sentence of a batch."""
        assert n_best == 1 and prefixes is None, "nothing else is measured"
        found: list[list[int]] = []
        size = math.ceil(len(sources) / math.ceil(len(sources) / self.batch_size))
        for first in range(0, len(sources), size):
            batch = sources[first : first + size]
            src = pad_sequence([torch.tensor(ids) for ids in batch], batch_first=True, padding_value=PAD)
            longest = max(options.longest(len(ids)) for ids in batch)
            with torch.inference_mode():
                found += self.decode(src, torch.tensor([len(ids) for ids in batch]), options, longest)
        return [[hypothesis(ids)] for ids in found]

    @abstractmethod
    def decode(self, src: Tensor, lengths: Tensor, options: SearchConfig, longest: int) -> list[list[int]]:
        """Return the best target ids of each sentence of src [batch, src_len], at most `longest` ids each."""


def hypothesis(ids: list[int]) -> Hypothesis:
    """Return the hypothesis of ids up to the first end of sentence, or without the padding at the end."""
    finished = EOS in ids
    return Hypothesis(ids[: ids.index(EOS)] if finished else [id for id in ids if id != PAD], 0.0, 0.0, finished)


def copy_weights(ours: Mapping[str, Tensor], name: str, theirs: nn.Module, *places: str) -> None:
    """Copy weight and bias of our module `name` to `places` in their model (several places split the output).

    Raise KeyError if our model has no weight of that name.
    """
    if f"{name}.weight" not in ours:
        raise KeyError(name)
    for kind in ("weight", "bias"):
        if f"{name}.{kind}" in ours:
            for part, place in zip(ours[f"{name}.{kind}"].chunk(len(places)), places, strict=True):
                theirs.get_parameter(f"{place}.{kind}").data.copy_(part)
