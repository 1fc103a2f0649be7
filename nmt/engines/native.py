"""The engine that every model has: this toolkit's own search over the model as it was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch.nn.utils.rnn import pad_sequence

from nmt.config.schema import SearchConfig
from nmt.data.tokenizer import BOS, EOS, PAD
from nmt.device import autocast
from nmt.models.seq2seq import Seq2Seq
from nmt.search.beam import beam_search
from nmt.search.greedy import greedy_search
from nmt.search.hypothesis import Hypothesis


class NativeEngine:
    """Searches with a model where it is, on its device; see `nmt.engines.engine.Engine`.

    The model is put in evaluation mode while searching, and back. No random numbers are drawn.
    """

    def __init__(self, model: Seq2Seq) -> None:
        self.model = model

    def search(self, sources: Sequence[Sequence[int]], options: SearchConfig, n_best: int) -> list[list[Hypothesis]]:
        """Up to n_best hypotheses of each sentence of a batch."""
        device = next(self.model.parameters()).device
        src = pad_sequence([torch.tensor(ids) for ids in sources], batch_first=True, padding_value=PAD)
        lengths = torch.tensor([len(ids) for ids in sources])
        mask = torch.arange(src.size(1)) < lengths.unsqueeze(1)
        max_lengths = (lengths * options.max_length_ratio).long() + options.max_length_offset
        search: Callable[..., list[list[Hypothesis]]] = greedy_search
        if options.beam_size > 1:
            search = partial(beam_search, beam_size=options.beam_size, n_best=n_best)
        with self._evaluating(), autocast(device, options.precision):
            memory = self.model.read(src.to(device), mask.to(device))
            return search(
                self.model.step,
                memory,
                self.model.init_state(memory, int(max_lengths.max())),
                bos=BOS,
                eos=EOS,
                max_lengths=max_lengths.to(device),
                length_penalty=options.length_penalty,
                banned=(PAD, BOS),
            )

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation mode without gradients, and back to the mode before."""
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(training)
