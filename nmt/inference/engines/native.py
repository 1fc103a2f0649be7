"""The native engine: this toolkit's own search, in PyTorch, which works with every model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nmt.config.schema import SearchConfig
from nmt.data.batch import Batch, collate
from nmt.data.tokenizer import BOS, EOS, PAD
from nmt.device import autocast, computes_by_threads
from nmt.errors import NmtError, returned_nan
from nmt.inference.engines.shortlist import Shortlist
from nmt.models.contract import SearchState, Step
from nmt.models.ensemble import Ensemble
from nmt.models.evaluating import evaluating
from nmt.models.seq2seq import Seq2Seq
from nmt.search.beam import beam_search
from nmt.search.constraints import Constraints
from nmt.search.coverage import covering, uncovered
from nmt.search.distribution import Sampling
from nmt.search.forced import Forced
from nmt.search.greedy import greedy_search
from nmt.search.hypothesis import Hypothesis
from nmt.search.penalties import LengthPenalty, coverage_penalty
from nmt.search.sampling import sample, uniform_numbers

_MOST_STREAMS = 4  # with more threads than this, they mostly wait for Python's global lock


class NativeEngine:
    """An engine that searches with a PyTorch model on the model's device; see `nmt.inference.engines.engine.Engine`.

    The model is put in evaluation mode during a search, and afterwards back in the mode it was in. The state of torch's
    random number generators is not changed.
    """

    def __init__(
        self, model: Seq2Seq | Ensemble, streams: int = 1, load_shortlist: Callable[[], Shortlist] | None = None
    ) -> None:
        """Make an engine for a model; `streams` must be 1 for a model that is still being trained.

        With several streams, batches are searched in parallel by threads that share the cores. load_shortlist is called
        once, at the first search with search.shortlist=true.
        """
        self.model = model
        self.streams = streams
        self._load_shortlist = load_shortlist

    @classmethod
    def on(
        cls,
        model: Seq2Seq | Ensemble,
        device: torch.device,
        load_shortlist: Callable[[], Shortlist] | None = None,
        streams: int | None = None,
    ) -> NativeEngine:
        """Move a model that is not being trained to a device and return an engine for it.

        The default number of streams is one per core, at most 4, on a CPU; on other devices there is always one.
        """
        model.to(device).eval()
        asked = streams or min(torch.get_num_threads(), _MOST_STREAMS)
        return cls(model, asked if computes_by_threads(device) else 1, load_shortlist)

    @contextmanager
    def sharing(self, streams: int) -> Iterator[Callable[[], None]]:
        """Divide the cores equally among `streams` threads that search in parallel; see `Engine.sharing`.

        Yields a function that limits the calling thread to its share. On a CPU, two searches with one core each are
        faster than one search with two cores.
        """
        threads = torch.get_num_threads()
        try:
            yield partial(torch.set_num_threads, max(1, threads // streams))
        finally:
            torch.set_num_threads(threads)  # the last value set is also the default for threads started later

    def check(self, options: SearchConfig) -> None:
        """Raise NmtError if a shortlist is asked for but the run has none, or attention that the model lacks."""
        if options.shortlist:
            _ = self._shortlist  # loads it
        self._check_attends("replace_unknown", "none", options)
        self._check_attends("coverage_penalty", 0, options)

    def search(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        n_best: int,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Return up to n_best hypotheses for each sentence of a batch; see `Engine.search`."""
        device = self._device
        src, mask, lengths = self._batch(sources)
        # shortlist: search over numbers in the list instead of token ids
        listing = self._shortlist.of(src, prefixes) if options.shortlist else None
        numbered = prefixes if listing is None else listing.numbers(prefixes)
        max_lengths, longest, constraints = _limits(sources, options, numbered, device)
        # greedy search for a beam of 1, otherwise beam search
        search: Callable[..., list[list[Hypothesis]]] = greedy_search
        if options.beam_size > 1:
            search = partial(beam_search, beam_size=options.beam_size, n_best=n_best, stop=options.stop)
        with evaluating(self.model), autocast(device, options.precision):
            model = self.model if listing is None else listing.narrow(self.model)
            # encoder
            memory = model.read(src, mask, lengths)
            state: SearchState = model.init_state(memory, longest)
            # decoder, one step at a time; the coverage penalty also needs its attention weights
            step: Step = model.step
            if options.coverage_penalty:
                step, coverage = covering(model.weighted_step, options.coverage_penalty)
                search, state = partial(search, coverage=coverage), uncovered(state, mask)
            found = search(
                step,
                memory,
                state,
                bos=BOS,
                max_lengths=max_lengths,
                constraints=constraints,
                length_penalty=LengthPenalty.of(options),
            )
        return found if listing is None else listing.hypotheses(found)

    def sample(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        sampling: Sampling,
        samples: int,
        keys: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Draw `samples` translations of each sentence in a batch; see `FullEngine.sample`."""
        device = self._device
        src, mask, lengths = self._batch(sources)
        max_lengths, longest, constraints = _limits(sources, options, prefixes, device)
        with evaluating(self.model), autocast(device, options.precision):
            memory = self.model.read(src, mask, lengths)
            state = self.model.init_state(memory, longest)
            return sample(
                self.model.step,
                memory,
                state,
                bos=BOS,
                uniforms=uniform_numbers(sampling.seed, keys, samples, longest),
                max_lengths=max_lengths,
                constraints=constraints,
                sampling=sampling,
                length_penalty=LengthPenalty.of(options),
            )

    def score(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], options: SearchConfig
    ) -> list[Forced]:
        """Return the log-probabilities of each target in a batch, by teacher forcing; see `FullEngine.score`."""
        batch = collate(sources, targets).to(self._device)
        log_probs, weights = self._force(batch, options, need_weights=options.coverage_penalty > 0)
        if log_probs.isnan().any():
            raise returned_nan()
        # coverage penalty, which unfinished hypotheses do not have
        penalties = torch.zeros(len(targets))
        if weights is not None:
            tgt_mask = (batch.tgt_out != PAD).unsqueeze(2)
            coverage = weights.masked_fill(~tgt_mask, 0.0).sum(1)  # [batch, src_len]
            finished = (batch.tgt_out == EOS).any(1)
            penalties = coverage_penalty(coverage, batch.src_mask, options.coverage_penalty) * finished
        return [
            Forced(row[: len(target)], penalty)
            for row, target, penalty in zip(log_probs.tolist(), targets, penalties.tolist(), strict=True)
        ]

    def attention(
        self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], options: SearchConfig
    ) -> list[NDArray[np.float32]]:
        """Return the attention weights of each target in a batch, by teacher forcing; see `FullEngine.attention`."""
        batch = collate(sources, targets).to(self._device)
        _, weights = self._force(batch, options, need_weights=True)
        assert weights is not None, "the model has attention"
        found = weights.float().cpu().numpy()
        return [row[: len(target), : len(source)] for row, source, target in zip(found, sources, targets, strict=True)]

    def _force(self, batch: Batch, options: SearchConfig, *, need_weights: bool) -> tuple[Tensor, Tensor | None]:
        """Return the log-probabilities of the targets of a batch, and attention weights; see `Seq2Seq.force`."""
        src, src_mask, tgt_in, tgt_out, lengths, _ = batch
        with evaluating(self.model), autocast(self._device, options.precision):
            return self.model.force(src, src_mask, tgt_in, tgt_out, lengths, need_weights=need_weights)

    @cached_property
    def _shortlist(self) -> Shortlist:
        if self._load_shortlist is None:
            raise NmtError("search.shortlist=true needs a run directory with a shortlist: make one with nmt-shortlist")
        return self._load_shortlist().to(self._device)

    @cached_property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _batch(self, sources: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Return source ids [batch, src_len] and their mask, on the model's device, and their lengths on the CPU."""
        src = pad_sequence([torch.tensor(ids) for ids in sources], batch_first=True, padding_value=PAD)
        lengths = torch.tensor([len(ids) for ids in sources])
        mask = torch.arange(src.size(1)) < lengths.unsqueeze(1)
        return src.to(self._device), mask.to(self._device), lengths

    def _check_attends(self, key: str, without: object, options: SearchConfig) -> None:
        """Raise NmtError if a search key needs attention that the model lacks; with the value `without` it does not."""
        if getattr(options, key) != without and not self.model.attends:
            raise NmtError(
                f"search.{key} needs attention, but this model reads the source as one fixed vector: set "
                f"search.{key}={without}"
            )


def _limits(
    sources: Sequence[Sequence[int]],
    options: SearchConfig,
    prefixes: Sequence[Sequence[int]] | None,
    device: torch.device,
) -> tuple[Tensor, int, Constraints]:
    """Return the maximum length of each sentence's hypotheses [batch], the largest of these, and further constraints.

    The limit of a sentence with a prefix leaves room for at least max_length_offset tokens after the prefix. PAD and
    BOS are banned.
    """
    most, least, begun = [options.longest(len(ids)) for ids in sources], None, None
    if options.min_length_ratio:
        least = torch.tensor([options.shortest(len(ids)) for ids in sources], device=device)
    if prefixes is not None and any(prefixes):
        most = [max(limit, len(ids) + options.max_length_offset) for limit, ids in zip(most, prefixes, strict=True)]
        begun = pad_sequence([torch.tensor(ids, dtype=torch.long) for ids in prefixes], True, -1).to(device)
    return torch.tensor(most, device=device), max(most), Constraints(EOS, (PAD, BOS), least, begun)
