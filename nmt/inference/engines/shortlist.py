"""Search over a shortlist: for each sentence, only the target tokens that it is likely to need are scored.

The list of a sentence has the likely translations of each of its source tokens and the most frequent target tokens
(Jean et al. 2015; compared with other choices in L'Hostis et al. 2016). For a batch, logits are computed for all tokens
that are in any of its lists. Each sentence's probabilities are normalised over its own list only, so they do not depend
on the other sentences of the batch.

RUN_DIR/shortlist.safetensors    the likely translations, the frequent tokens and the tokenizer's fingerprint
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from nmt.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer
from nmt.errors import NmtError
from nmt.files import atomic_write
from nmt.models.contract import Decoded, Memory, State
from nmt.models.ensemble import Ensemble
from nmt.models.seq2seq import Seq2Seq, sayable
from nmt.reading import opened
from nmt.runs.run import SHORTLIST
from nmt.search.hypothesis import Hypothesis

SPECIALS = (PAD, UNK, BOS, EOS)  # in every list; as the lowest ids they also have the same numbers in every list


class Shortlist(NamedTuple):
    """The tables from which each sentence's list of target tokens is made: likely translations and frequent tokens."""

    likely: Tensor  # [source_size, best] target ids likely for each source token, padded with PAD
    frequent: Tensor  # [first] the most frequent target ids
    target_size: int  # size of the target vocabulary

    def save(self, run_dir: str | os.PathLike[str], tokenizer: Tokenizer) -> Path:
        """Write the shortlist, which uses the tokenizer's ids, into a run directory and return the path of the file.

        The file is written completely or not at all.
        """
        from safetensors.torch import save

        path = Path(run_dir) / SHORTLIST
        header = {"tokenizer": tokenizer.fingerprint, "digest": self.digest}
        with atomic_write(path, "wb") as file:
            file.write(
                save({"likely": self.likely.int(), "frequent": self.frequent.int()}, {"nmt": json.dumps(header)})
            )
        return path

    @classmethod
    def load(cls, run_dir: str | os.PathLike[str], tokenizer: Tokenizer) -> Shortlist:
        """Load the shortlist of a run. Raises NmtError if it is missing, damaged or made for another tokenizer."""
        path = Path(run_dir) / SHORTLIST
        again = f"run nmt-shortlist {path.parent}"
        if not path.is_file():
            raise NmtError(f"search.shortlist=true needs {path}, which is not there yet: {again}")
        with opened(path):  # a failure of the system is told here, and would be a SafetensorError below
            pass
        try:
            with safe_open(path, "pt") as file:
                header = json.loads((file.metadata() or {})["nmt"])
                likely, frequent = (file.get_tensor(name).long() for name in ("likely", "frequent"))
            shortlist = cls(likely, frequent, tokenizer.target_size)
            if header["digest"] != shortlist.digest:
                raise ValueError("its checksum does not match")
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise NmtError(f"{path} is truncated or corrupted ({error}): {again}") from error
        if header["tokenizer"] != tokenizer.fingerprint:
            raise NmtError(f"{path} was made for another vocabulary than that of {path.parent}: {again}")
        return shortlist

    @property
    def digest(self) -> str:
        """A checksum of the two tables."""
        state = blake2b(digest_size=16)
        for table in (self.likely.long().cpu(), self.frequent.long().cpu()):
            state.update(f"{list(table.shape)}".encode())
            state.update(table.numpy().tobytes())
        return state.hexdigest()

    def to(self, device: torch.device) -> Shortlist:
        """Return the shortlist on a device."""
        return Shortlist(self.likely.to(device), self.frequent.to(device), self.target_size)

    def of(self, src: Tensor, prefixes: Sequence[Sequence[int]] | None = None) -> Listing:
        """Return the lists of a batch of source ids [batch, src_len], padded with PAD.

        The list of a sentence also has the tokens of its prefix.
        """
        # target ids in each sentence's list [batch, target_size]
        listed = torch.zeros(src.size(0), self.target_size, dtype=torch.bool, device=src.device)
        listed.scatter_(1, self.likely[src].flatten(1), True)
        listed[:, self.frequent] = True
        listed[:, list(SPECIALS)] = True
        for row, prefix in enumerate(prefixes or ()):
            listed[row, list(prefix)] = True
        # target ids in any of the lists
        ids = listed.any(0).nonzero().flatten()
        outside = torch.zeros(listed.size(0), ids.numel(), device=src.device)
        return Listing(ids, outside.masked_fill_(~listed.index_select(1, ids), -math.inf))


class Listing(NamedTuple):
    """The lists of a batch's sentences. Search uses the union of the lists as its vocabulary, numbered from 0."""

    ids: Tensor  # [listed], ascending: the target id for each number of the vocabulary
    outside: Tensor  # [batch, listed]: minus infinity for tokens that are not in the sentence's own list, else 0

    def numbers(self, prefixes: Sequence[Sequence[int]] | None) -> list[list[int]] | None:
        """Convert prefixes from target ids to numbers."""
        if prefixes is None:
            return None
        number = {id: number for number, id in enumerate(self.ids.tolist())}
        return [[number[id] for id in prefix] for prefix in prefixes]

    def hypotheses(self, found: list[list[Hypothesis]]) -> list[list[Hypothesis]]:
        """Convert the tokens of hypotheses from numbers to target ids."""
        ids = self.ids.tolist()
        return [[one._replace(tokens=[ids[number] for number in one.tokens]) for one in each] for each in found]

    def narrow(self, model: Seq2Seq | Ensemble) -> Seq2Seq | Ensemble:
        """Return `model` restricted to this batch's lists, with numbers for target ids; most weights are shared."""
        if isinstance(model, Ensemble):
            return Ensemble([Narrowed(cast(Seq2Seq, one), self) for one in model.models])
        return Narrowed(model, self)


class ListedMemory(NamedTuple):
    """A decoder's memory and `Listing.outside`, together so that finished sentences are removed from both."""

    memory: Memory
    outside: Tensor  # [batch, listed]


class Narrowed(Seq2Seq):
    """A model whose target vocabulary is reduced to the lists of a batch, with numbers instead of target ids."""

    def __init__(self, model: Seq2Seq, listing: Listing) -> None:
        super().__init__(model.encoder, model.decoder, narrow(model.projection, listing.ids))
        self.listing = listing

    def read(self, src: Tensor, src_mask: Tensor, lengths: Tensor | None = None) -> ListedMemory:
        """Encode src [batch, src_len] and return the decoder's memory, with the mask of the sentences' lists."""
        return ListedMemory(super().read(src, src_mask, lengths), self.listing.outside)

    def init_state(self, memory: ListedMemory, max_len: int) -> State:
        """Return the decoder's state before the first token; see `Seq2Seq.init_state`."""
        return super().init_state(memory.memory, max_len)

    def _decode(
        self, tokens: Tensor, memory: ListedMemory, state: State, need_weights: bool = False
    ) -> tuple[Decoded, State]:
        return super()._decode(self.listing.ids[tokens], memory.memory, state, need_weights)

    def _logits(self, hidden: Tensor, memory: ListedMemory) -> Tensor:
        logits = sayable(self.projection(hidden))  # [..., listed]; works because special tokens keep their ids
        # exclude tokens that are only in the lists of other sentences
        logits.view(memory.outside.size(0), -1, logits.size(-1)).add_(memory.outside.unsqueeze(1))
        return logits


def narrow(projection: nn.Linear, ids: Tensor) -> nn.Linear:
    """Return a linear layer that computes only the outputs `ids` [n] of `projection`."""
    weight, bias = projection.weight, projection.bias
    part = nn.Linear(weight.size(1), len(ids), bias=bias is not None, device="meta")
    part.weight = nn.Parameter(weight.detach().index_select(0, ids), requires_grad=False)
    if bias is not None:
        part.bias = nn.Parameter(bias.detach().index_select(0, ids), requires_grad=False)
    return part
