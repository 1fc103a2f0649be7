"""Validation: the loss on held-out references, and BLEU and chrF of translations (computed with sacreBLEU)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Literal, TypeVar

import numpy as np
import torch

from nmt.config.ranges import settled
from nmt.config.schema import Config
from nmt.data.batch import collate
from nmt.data.prepare import HeldOut
from nmt.device import autocast, undisturbed_randomness
from nmt.evaluation.metrics import Score, corpus_bleu, score
from nmt.evaluation.tagged import rows_by_tag, target_language
from nmt.inference.batches import batches
from nmt.inference.engines.native import NativeEngine
from nmt.inference.translator import Translator
from nmt.models.seq2seq import Seq2Seq
from nmt.training.distributed import World
from nmt.training.limits import Interrupted, Rank, Signals
from nmt.training.loss import batch_loss, perplexity
from nmt.training.shown_attention import ShownAttention, shown_attention
from nmt.training.validation_set import drawn, spread, spread_over_each, unigram_entropy, validation_search

T = TypeVar("T")
Metric = Literal["bleu", "chrf", "loss"]

SAMPLES = 4  # number of translations shown
LEAST_SCORE = 1.0  # BLEU or chrF (0 to 100) below which a score is considered chance
SHOWN_DIGITS = 2  # decimal places of BLEU and chrF
_FAR = 0.5  # nats above the unigram loss; a loss this far above it need not be measured on the whole set
_MANY = 8  # minimum number of batches for measuring the loss on only a part of them
_TRIED = 48  # number of sentences translated to estimate the duration of a validation


@dataclass(frozen=True)
class Sample:
    """A sentence of the validation set and its translation."""

    source: str
    reference: str
    hypothesis: str


@dataclass(frozen=True)
class Translated:
    """The scores of the translated validation set, or of the translated part of it."""

    bleu: Score
    chrf: Score
    sentences: int  # number of translated sentences
    samples: list[Sample]
    bleu_by_tag: dict[str, Score] = field(default_factory=dict)  # BLEU per tag ("" for sentences without a tag)


@dataclass(frozen=True)
class Validation:
    """The result of one validation."""

    loss: float  # nats per target token, without smoothing
    translated: Translated | None  # None while the loss is above unigram_loss
    sentences: int  # number of sentences in the validation set
    loss_sentences: int  # number of sentences on which the loss was measured
    unigram_loss: float  # the loss of a model that knows only word frequencies, in nats per target token
    attention: ShownAttention
    ranked_by: Metric = "bleu"

    @property
    def perplexity(self) -> float:
        """The perplexity per target token, exp(loss)."""
        return perplexity(self.loss)

    @property
    def rank(self) -> Rank:
        """The rank of the validated checkpoint: its score according to `ranked_by`, then its loss.

        BLEU and chrF are rounded to the digits that are shown. Scores below one point, which an untrained model reaches
        by chance, count as zero, like a missing score. On equal scores the lower loss decides.
        """
        if self.ranked_by == "loss":
            return Rank(-self.loss, -self.loss)
        if self.translated is None:
            return Rank(0.0, -self.loss)
        metric = self.translated.bleu if self.ranked_by == "bleu" else self.translated.chrf
        tells = metric.score >= LEAST_SCORE
        return Rank(round(metric.score, SHOWN_DIGITS) if tells else 0.0, -self.loss)


class Validator:
    """Validates a model on the prepared validation set: its loss on stored token ids, BLEU and chrF on raw lines."""

    def __init__(
        self,
        config: Config,
        held_out: HeldOut,
        model: Seq2Seq,
        device: torch.device,
        tokens_per_device: int | None = None,
        world: World | None = None,
        say: Callable[[str], None] = lambda sentence: None,
        length_ratio: float | None = None,
    ) -> None:
        """Select the sentences to translate and to show, and set up the translator.

        `tokens_per_device` limits the batches for the loss; None stands for training.tokens_per_update. `say` receives
        a message if checkpoints cannot be ranked by training.best_metric. `length_ratio` limits the length
        of a translation relative to its source (`nmt.training.validation_set.length_ratio`); with None, the limit of
        the search configuration applies.
        """
        training = config.training
        self.world = world or World()
        self.model = model
        self.device = device
        self.precision = training.precision
        self.store = held_out.val
        self.tokenizer = held_out.tokenizer
        self.data = config.data
        rows = spread_over_each(self.store.corpora or [len(self.store)], settled(training.validation_sentences))
        self.lines = [held_out.val_lines[row] for row in rows]
        self.tags = [self.tokenizer.tag_of(int(self.store.source(row)[0])) for row in rows]
        lengths = np.maximum(self.store.source_lengths, self.store.target_lengths)[rows].tolist()
        budget = tokens_per_device or settled(training.tokens_per_update)
        self.loss_batches = [[rows[index] for index in batch] for batch in batches(lengths, budget)]
        self.translator = Translator(
            NativeEngine(model),
            self.tokenizer,
            validation_search(config.search, training.validation_beam_size, length_ratio),
            config.data.cleaning.max_tokens,
            warn=_not_while_training,
            language=config.data.source_language,
            always_tagged=config.data.always_tagged,
        )
        self.translator.check()
        self.ranked_by = self._ranked_by(training.best_metric, say)
        self.unigram_loss = unigram_entropy(self.store, self.tokenizer.target_size)
        self.shown = spread(len(self.lines), SAMPLES)
        self.mapped = drawn(self.store)

    def validate(self, signals: Signals, always: bool = False) -> Validation:
        """Validate the current model, without changing it or the random state. All processes have to call this.

        Nothing is translated while the loss is above `unigram_loss`, that of a model that knows only word frequencies,
        unless `always` is set. A signal to one of the processes raises Interrupted in all of them.
        """
        with self._evaluating():
            loss, sentences = self._loss(signals, always)
            return Validation(
                loss=loss,
                translated=self._translated(signals) if always or loss <= self.unigram_loss else None,
                sentences=len(self.store),
                unigram_loss=self.unigram_loss,
                attention=self._parts_of(self._shown_attention, signals)[0],
                ranked_by=self.ranked_by,
                loss_sentences=sentences,
            )

    def _parts_of(self, work: Callable[[], T], signals: Signals) -> list[T]:
        """Call `work` in each process and return all results by rank; a signal to one raises Interrupted in all."""
        mine: list[T] = []  # empty if a signal has interrupted the work
        with suppress(Interrupted), signals.interruptible():
            mine.append(work())
        of_ranks = self.world.gather(mine)
        if not all(of_ranks):
            raise Interrupted
        return [part for (part,) in of_ranks]

    def _loss(self, signals: Signals, always: bool) -> tuple[float, int]:
        """Return the loss and the number of sentences on which it was measured.

        If there are many batches, every fourth of them comes first; these cover all sentence lengths. If their loss is
        far above `unigram_loss`, the other batches are skipped, unless `always` is set.
        """
        every = self.loss_batches
        parts = [every]
        if len(every) >= _MANY:
            parts = [every[::4], [batch for index, batch in enumerate(every) if index % 4]]
        nll, loss = 0.0, math.inf
        rows: list[int] = []
        for part in parts:
            nll += sum(self._parts_of(partial(self.nll, part), signals))
            rows += chain.from_iterable(part)
            loss = nll / int(self.store.target_lengths[rows].sum())
            if not always and loss > self.unigram_loss + _FAR:
                break
        return loss, len(rows)

    def estimate(self) -> float:
        """Estimate the seconds that this process's share of a validation with translations takes.

        The estimate is based on a small part of the work: the loss of one batch, and a few dozen translations.
        """
        mine = self._mine(range(len(self.lines)))
        some = [mine[index] for index in spread(len(mine), _TRIED)]
        characters = [len(source) + 1 for source, _ in self.lines]
        share = sum(characters[row] for row in some) / max(1, sum(characters[row] for row in mine))
        middle = len(self.loss_batches) // 2
        tried = self.loss_batches[middle : middle + self.world.size]  # one per process
        with self._evaluating():
            started = time.monotonic()
            self.nll(tried)
            loss_done = time.monotonic()
            self._translations(some)
            translated = time.monotonic()
        return (loss_done - started) * len(self.loss_batches) / len(tried) + (translated - loss_done) / (share or 1)

    def _translated(self, signals: Signals) -> Translated:
        """Translate the validation lines, each process its share, and return the scores and samples."""
        parts = self._parts_of(lambda: self._translations(self._mine(range(len(self.lines)))), signals)
        hypotheses = [""] * len(self.lines)
        for rank, part in enumerate(parts):
            hypotheses[rank :: len(parts)] = part
        references = [reference for _, reference in self.lines]
        return Translated(
            **score(hypotheses, references, ("bleu", "chrf"), target_language(self.data, self.tags)),
            sentences=len(self.lines),
            samples=[Sample(*self.lines[index], hypotheses[index]) for index in self.shown],
            bleu_by_tag={tag: self._bleu(hypotheses, rows) for tag, rows in rows_by_tag(self.tags).items()},
        )

    def _translations(self, rows: Sequence[int]) -> list[str]:
        """Return the translations of some validation lines."""
        return self.translator.translate([self.lines[row][0] for row in rows], tag=[self.tags[row] for row in rows])

    def _shown_attention(self) -> ShownAttention:
        """Return the attention to show, or none in all processes but the main one."""
        if not self.world.is_main:
            return ShownAttention()
        return shown_attention(self.model, self.tokenizer, self.store, self.mapped, self.device)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Switch off dropout and gradients during the block; restore the model's mode and random state afterwards."""
        training = self.model.training
        self.model.eval()
        try:
            with undisturbed_randomness(self.device), torch.no_grad():
                yield
        finally:
            self.model.train(training)

    def _ranked_by(self, wanted: Metric, say: Callable[[str], None]) -> Metric:
        """Return the metric that checkpoints are ranked by: `wanted`, or chrF if BLEU would always be 0.

        If no reference has 4 tokens, BLEU is 0 even for translations that equal the references.
        """
        references = [reference for _, reference in self.lines]
        if wanted != "bleu" or self._bleu(references, range(len(references))).score > 0:
            return wanted
        say(
            "training.best_metric=bleu: no reference of the validation set has 4 tokens, and then BLEU is always 0, so "
            "checkpoints are ranked by chrF"
        )
        return "chrf"

    def nll(self, batches_of_all: list[list[int]]) -> float:
        """Return the summed negative log-likelihood, in nats, of this process's share of some batches of rows."""
        nll = torch.zeros((), device=self.device)
        for rows in self._mine(batches_of_all):
            batch = collate([self.store.source(row) for row in rows], [self.store.target(row) for row in rows])
            with autocast(self.device, self.precision):
                nll += batch_loss(self.model, batch, self.device).nll
        return float(nll)

    def _mine(self, items: Sequence[T]) -> Sequence[T]:
        """Return this process's share: every n-th item, so that all shares have sentences of all lengths."""
        return items[self.world.rank :: self.world.size]

    def _bleu(self, hypotheses: Sequence[str], rows: Sequence[int]) -> Score:
        language = target_language(self.data, [self.tags[row] for row in rows])
        return corpus_bleu([hypotheses[row] for row in rows], [self.lines[row][1] for row in rows], language)


def _not_while_training(warning: str) -> None:
    """Ignore a warning of the translator, because it would be repeated at every validation.

    Such a warning is about a line that is too long, for example, or a translation that does not end.
    """
