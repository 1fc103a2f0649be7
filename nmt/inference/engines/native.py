"""The engine that every model has: this toolkit's own search over the model as it was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nmt.config.schema import SearchConfig
from nmt.data.batching import collate
from nmt.data.tokenizer import BOS, EOS, PAD
from nmt.device import autocast, computes_by_threads
from nmt.errors import NmtError
from nmt.inference.engines.shortlist import Shortlist
from nmt.models.contract import SearchState, Step
from nmt.models.ensemble import Ensemble
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

_MOST_STREAMS = 4  # beyond it threads wait for each other's Python


class NativeEngine:
    """Searches with a model where it is, on its device; see `nmt.inference.engines.engine.Engine`.

    The model is put in evaluation mode while searching, and back. torch's random numbers are left alone.
    """

    def __init__(
        self, model: Seq2Seq | Ensemble, streams: int = 1, load_shortlist: Callable[[], Shortlist] | None = None
    ) -> None:
        """Batches searched side by side in threads share the cores; a model in training has one stream.

        load_shortlist is called once, when search.shortlist first asks for it.
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
        """Return the engine of a model that only searches, on that device.

        streams=None: on a CPU one for each core, 4 at most; elsewhere one.
        """
        model.to(device).eval()
        best = min(torch.get_num_threads(), _MOST_STREAMS) if computes_by_threads(device) else 1
        return cls(model, streams or best, load_shortlist)

    @contextmanager
    def sharing(self, streams: int) -> Iterator[Callable[[], None]]:
        """Give each search its share of the cores: on a CPU two searches with a core each outrun one with two."""
        threads = torch.get_num_threads()
        try:
            yield partial(torch.set_num_threads, max(1, threads // streams))
        finally:
            torch.set_num_threads(threads)  # for threads to come, whose default it has become

    def check(self, options: SearchConfig) -> None:
        """Raise NmtError where the run lacks what an option needs."""
        if options.shortlist:
            _ = self._shortlist

    def search(
        self,
        sources: Sequence[Sequence[int]],
        options: SearchConfig,
        n_best: int,
        prefixes: Sequence[Sequence[int]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Up to n_best hypotheses of each sentence of a batch, each beginning with its prefix."""
        self._check_coverage(options)
        device = self._device
        src, mask, lengths = self._batch(sources)
        listing = self._shortlist.of(src, prefixes) if options.shortlist else None
        numbered = prefixes if listing is None else listing.numbers(prefixes)
        max_lengths, longest, constraints = _limits(sources, options, numbered, device)
        search: Callable[..., list[list[Hypothesis]]] = greedy_search
        if options.beam_size > 1:
            search = partial(beam_search, beam_size=options.beam_size, n_best=n_best, stop=options.stop)
        with self._evaluating(), autocast(device, options.precision):
            model = self.model if listing is None else listing.narrow(self.model)
            memory = model.read(src, mask, lengths)
            state: SearchState = model.init_state(memory, longest)
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
        """So many samples of each sentence of a batch, each beginning with its prefix.

        They follow from the sampling (its seed with it), the sentence and its key alone; see `nmt.search.sampling`.
        """
        device = self._device
        src, mask, lengths = self._batch(sources)
        max_lengths, longest, constraints = _limits(sources, options, prefixes, device)
        with self._evaluating(), autocast(device, options.precision):
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
        """What each target of a batch (ids, with the end of sentence where it has one) is worth, by teacher forcing."""
        self._check_coverage(options)
        batch = collate(sources, targets).to(self._device)
        with self._evaluating(), autocast(self._device, options.precision):
            log_probs, weights = self.model.force(*batch, need_weights=options.coverage_penalty > 0)
        penalties = torch.zeros(len(targets))
        if weights is not None:
            said = (batch.tgt_out != PAD).unsqueeze(2)
            coverage = weights.masked_fill(~said, 0.0).sum(1)
            finished = (batch.tgt_out == EOS).any(1)
            penalties = coverage_penalty(coverage, batch.src_mask, options.coverage_penalty) * finished
        return [
            Forced(row[: len(target)], penalty)
            for row, target, penalty in zip(log_probs.tolist(), targets, penalties.tolist(), strict=True)
        ]

    @cached_property
    def _shortlist(self) -> Shortlist:
        if self._load_shortlist is None:
            raise NmtError("search.shortlist=true needs a run directory, which nmt-shortlist has made a shortlist for")
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

    def _check_coverage(self, options: SearchConfig) -> None:
        if options.coverage_penalty and not self.model.attends:
            raise NmtError(
                "search.coverage_penalty needs attention, and this model reads the source as one fixed vector"
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


def _limits(
    sources: Sequence[Sequence[int]],
    options: SearchConfig,
    prefixes: Sequence[Sequence[int]] | None,
    device: torch.device,
) -> tuple[Tensor, int, Constraints]:
    """Return how long each sentence's hypotheses may be [batch], the most of these, and what else they must keep to.

    A prefix never uses up what may follow it; PAD and BOS are never said.
    """
    most, least, begun = [options.longest(len(ids)) for ids in sources], None, None
    if options.min_length_ratio:
        least = torch.tensor([options.shortest(len(ids)) for ids in sources], device=device)
    if prefixes is not None and any(prefixes):
        most = [max(limit, len(ids) + options.max_length_offset) for limit, ids in zip(most, prefixes, strict=True)]
        begun = pad_sequence([torch.tensor(ids, dtype=torch.long) for ids in prefixes], True, -1).to(device)
    return torch.tensor(most, device=device), max(most), Constraints(EOS, (PAD, BOS), least, begun)
