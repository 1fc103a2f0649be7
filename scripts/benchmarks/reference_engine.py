"""What the other programs of PyTorch have in common: a run's weights in their model, searched in batches of theirs."""

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
    """Searches on the CPU by another program's own rules; see `nmt.inference.engines.engine.Engine`.

    Batches of more than `batch_size` sentences are divided evenly. Hypotheses have no scores.
    """

    streams = 1
    batch_size: int  # sentences

    def sharing(self, streams: int) -> AbstractContextManager[Callable[[], object]]:
        """Nothing to share: one stream has all cores."""
        return nullcontext(lambda: None)

    def check(self, options: SearchConfig) -> None:
        """Their rules are length_normalisation=power and stop=full or, what nmt has no option for, an end sooner."""
        del options  # each has but one way to search

    def search(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        n_best: int,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """The best hypothesis of each sentence of a batch."""
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
        """The best target ids of src [batch, src_len], at most `longest` of each."""


def hypothesis(ids: list[int]) -> Hypothesis:
    """Of ids up to the first end of sentence, or without the padding behind."""
    finished = EOS in ids
    return Hypothesis(ids[: ids.index(EOS)] if finished else [id for id in ids if id != PAD], 0.0, 0.0, finished)


def copy_weights(ours: Mapping[str, Tensor], name: str, theirs: nn.Module, *places: str) -> None:
    """Copy the weight and bias of a module of ours to theirs; to several, if theirs has its outputs apart.

    Raises KeyError where ours has no weight of that name.
    """
    if f"{name}.weight" not in ours:
        raise KeyError(name)
    for kind in ("weight", "bias"):
        if f"{name}.{kind}" in ours:
            for part, place in zip(ours[f"{name}.{kind}"].chunk(len(places)), places, strict=True):
                theirs.get_parameter(f"{place}.{kind}").data.copy_(part)
