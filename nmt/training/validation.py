"""Validation: the loss of held-out references, and sacreBLEU of real translations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from nmt.config.ranges import settled
from nmt.config.schema import Config
from nmt.data.batching import collate
from nmt.data.prepare import HeldOut
from nmt.device import autocast, undisturbed_randomness
from nmt.engines.native import NativeEngine
from nmt.evaluation.metrics import Score, corpus_bleu, score
from nmt.evaluation.tagged import rows_by_tag, target_language
from nmt.models.seq2seq import Seq2Seq
from nmt.training.distributed import World
from nmt.training.limits import Interrupted, Rank, Signals
from nmt.training.loss import batch_loss, perplexity
from nmt.translate import Translator
from nmt.translation.batches import batches

T = TypeVar("T")
Metric = Literal["bleu", "chrf", "loss"]

SAMPLES = 4  # translations shown
LEAST_SCORE = 1.0  # of BLEU and chrF, from 0 to 100, below which a score is chance
SHOWN_DIGITS = 2  # of BLEU and chrF, behind the point
HEATMAPS = 2  # sentences whose attention is shown
_HEATMAP_TOKENS = 40  # longer sentences are not chosen while there are others


@dataclass(frozen=True)
class Sample:
    """A sentence of the validation set and its translation."""

    source: str
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class AttentionMap:
    """Attention of one sentence pair, averaged over layers and heads."""

    weights: NDArray[np.float32]  # [tgt_len, src_len]
    source_tokens: list[str]
    target_tokens: list[str]


@dataclass(frozen=True)
class Validation:
    """What one validation found."""

    loss: float  # nats per target token, without smoothing
    bleu: Score
    chrf: Score
    samples: list[Sample]
    attention_maps: list[AttentionMap]  # none for a model that does not attend
    bleu_by_tag: dict[str, Score] = field(default_factory=dict)  # where the set has several; "" is none
    ranked_by: Metric = "bleu"

    @property
    def perplexity(self) -> float:
        """exp(loss)."""
        return perplexity(self.loss)

    @property
    def rank(self) -> Rank:
        """Return what checkpoints are ranked by.

        BLEU and chrF that look the same when they are shown are equal, and so are all below one point, which a model
        that knows nothing reaches by chance: of these the lower loss is the better one.
        """
        if self.ranked_by == "loss":
            return Rank(-self.loss, -self.loss)
        metric = self.bleu if self.ranked_by == "bleu" else self.chrf
        tells = metric.score >= LEAST_SCORE
        return Rank(round(metric.score, SHOWN_DIGITS) if tells else 0.0, -self.loss)


@dataclass(frozen=True)
class Share:
    """What one of several processes found on its part of the validation set."""

    nll: float  # summed, in nats
    hypotheses: list[str]  # of every so many lines
    attention_maps: list[AttentionMap]


class Validate(Protocol):
    """What the trainer asks for: the work, which each process does for its share, and what follows from all shares."""

    def share(self) -> Any:
        """Validate the model as it is now on this process's share, leaving it and the random numbers as they are."""
        ...

    def combine(self, shares: list[Any]) -> Validation:
        """The outcome of the shares of all processes, by rank."""
        ...


def validated(validate: Validate, signals: Signals, world: World) -> Validation:
    """What all processes together find; a signal to one of them raises Interrupted in all."""
    share = None
    with suppress(Interrupted), signals.interruptible():
        share = validate.share()
    shares = [share for share in world.gather(share) if share is not None]
    if len(shares) < world.size:
        raise Interrupted
    return validate.combine(shares)


class Validator:
    """Validates a model on the prepared validation set: loss on its stored ids, BLEU and chrF on its raw lines."""

    def __init__(
        self,
        config: Config,
        held_out: HeldOut,
        model: Seq2Seq,
        device: torch.device,
        tokens_per_device: int | None = None,
        world: World | None = None,
        say: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        """tokens_per_device bounds the batches of the loss; None: training.tokens_per_update.

        `say` is told where checkpoints cannot be ranked by training.best_metric.
        """
        training = config.training
        self.world = world or World()
        self.model = model
        self.device = device
        self.precision = training.precision
        self.store = held_out.val
        self.tokenizer = held_out.tokenizer
        self.data = config.data
        rows = _first_of_each(self.store.corpora or [len(self.store)], settled(training.validation_sentences))
        self.lines = [held_out.val_lines[row] for row in rows]
        self.tags = [self.tokenizer.tag_of(int(self.store.source(row)[0])) for row in rows]
        self.tokens_per_batch = tokens_per_device or settled(training.tokens_per_update)
        self.translator = Translator(
            NativeEngine(model),
            self.tokenizer,
            # a shortlist is made after training; graphs would be recorded while batches are prefetched
            dataclasses.replace(config.search, shortlist=False, draft=False, cuda_graphs=False),
            config.data.cleaning.max_tokens,
            warn=_not_while_training,
            language=config.data.source_language,
            always_tagged=config.data.always_tagged,
        )
        self.ranked_by = self._ranked_by(training.best_metric, say)
        self.shown = _spread(len(self.lines), SAMPLES)
        self.mapped = self._choose_heatmaps()

    def share(self) -> Share:
        """Validate the model as it is now on this process's share, leaving it and the random numbers as they are."""
        training = self.model.training
        self.model.eval()
        try:
            with undisturbed_randomness(self.device), torch.no_grad():
                nll = self.nll()
                sources = [source for source, _ in self._mine(self.lines)]
                hypotheses = self.translator.translate(sources, tag=self._mine(self.tags))
                mapped = self.mapped if self.world.is_main and self.model.attends else []
                return Share(nll, hypotheses, [self.attention_map(row) for row in mapped])
        finally:
            self.model.train(training)

    def combine(self, shares: list[Share]) -> Validation:
        """The outcome of the shares of all processes, by rank."""
        hypotheses = [""] * len(self.lines)
        for rank, share in enumerate(shares):
            hypotheses[rank :: len(shares)] = share.hypotheses
        loss = sum(share.nll for share in shares) / int(self.store.target_lengths.sum())
        references = [reference for _, reference in self.lines]
        return Validation(
            loss=loss,
            **score(hypotheses, references, ("bleu", "chrf"), target_language(self.data, self.tags)),
            samples=[Sample(*self.lines[index], hypotheses[index]) for index in self.shown],
            attention_maps=shares[0].attention_maps,
            bleu_by_tag={tag: self._bleu(hypotheses, rows) for tag, rows in rows_by_tag(self.tags).items()},
            ranked_by=self.ranked_by,
        )

    def _ranked_by(self, wanted: Metric, say: Callable[[str], None]) -> Metric:
        """The metric that checkpoints are ranked by: the one asked for, unless it is BLEU and BLEU cannot rise here.

        BLEU is 0 where no reference has 4 tokens, even for translations equal to the references.
        """
        references = [reference for _, reference in self.lines]
        if wanted != "bleu" or self._bleu(references, range(len(references))).score > 0:
            return wanted
        say(
            "training.best_metric=bleu: no reference of the validation set has the 4 tokens without which BLEU stays "
            "at 0, so checkpoints are ranked by chrF"
        )
        return "chrf"

    def nll(self) -> float:
        """Negative log-likelihood of this process's share of the references, summed, in nats."""
        lengths = np.maximum(self.store.source_lengths, self.store.target_lengths).tolist()
        nll = torch.zeros((), device=self.device)
        for rows in self._mine(list(batches(lengths, self.tokens_per_batch))):
            batch = collate([self.store.source(row) for row in rows], [self.store.target(row) for row in rows])
            with autocast(self.device, self.precision):
                nll += batch_loss(self.model, batch, self.device).nll
        return float(nll)

    def _mine(self, items: list[T]) -> list[T]:
        """This process's share: every so many, as neighbours are of like length."""
        return items[self.world.rank :: self.world.size]

    def _bleu(self, hypotheses: Sequence[str], rows: Sequence[int]) -> Score:
        language = target_language(self.data, [self.tags[row] for row in rows])
        return corpus_bleu([hypotheses[row] for row in rows], [self.lines[row][1] for row in rows], language)

    def attention_map(self, row: int) -> AttentionMap:
        """The attention of a stored pair, its reference forced."""
        source, target = self.store.source(row), self.store.target(row)
        batch = collate([source], [target]).to(self.device)
        weights = self.model.attention(batch.src, batch.src_mask, batch.tgt_in)[0]  # [layers, heads, tgt_len, src_len]
        return AttentionMap(
            weights.float().mean((0, 1)).cpu().numpy(),
            self.tokenizer.source_pieces(source.tolist()),
            self.tokenizer.target_pieces(target.tolist()),
        )

    def _choose_heatmaps(self) -> list[int]:
        """Sentences that fit a picture, spread over the set."""
        lengths = np.maximum(self.store.source_lengths, self.store.target_lengths)
        fitting = np.flatnonzero(lengths <= _HEATMAP_TOKENS)
        if not len(fitting):
            fitting = np.argsort(lengths, kind="stable")[:HEATMAPS]
        return [int(fitting[index]) for index in _spread(len(fitting), HEATMAPS)]


def _not_while_training(warning: str) -> None:
    """Lines too long, or translations without an end as those of early updates, are no news at every validation."""


def _first_of_each(corpora: Sequence[int], count: int | None) -> list[int]:
    """The rows of the first `count` sentences of each corpus, given the sentences of each; None: all."""
    ends = accumulate(corpora)
    return [row for end, size in zip(ends, corpora, strict=True) for row in range(end - size, end)[:count]]


def _spread(length: int, count: int) -> Sequence[int]:
    """Up to `count` indices spread evenly over range(length)."""
    return [length * index // count for index in range(count)] if length >= count else range(length)
