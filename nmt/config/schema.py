"""Every key a user may set, as typed dataclasses: one for each concern, each the owner of its keys.

`nmt.config.load` turns YAML and overrides into a `Config` and back. Types and the ranges beside them are checked there;
what values may not be together is checked by the `check` methods here, which raise `ConfigError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from nmt.config.data import DataConfig, TokenizerConfig
from nmt.config.models import ModelConfig, dropouts
from nmt.config.ranges import (
    Auto,
    BeamSize,
    Count,
    Factor,
    LengthPenalty,
    Natural,
    Positive,
    Processes,
    Range,
    Rate,
    Ratio,
    Seed,
    Share,
    Weight,
)
from nmt.errors import require
from nmt.files import from_home

DEVICE = re.compile("auto|cuda(:[0-9]+)?|mps|cpu")  # what a device may be called
PRECISIONS = Literal["auto", "fp32", "bf16", "native"]  # native: bf16 where the device has instructions for it


# -- training -----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class OptimizerConfig:
    """Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019)."""

    name: Literal["adam", "adamw"] = "adam"
    betas: list[Rate] = field(default_factory=lambda: [0.9, 0.98])
    eps: Annotated[float, Range(1e-30, 1)] = 1e-9
    weight_decay: Annotated[float, Range(0, 100)] = 0.0

    def check(self) -> None:
        """Refuse anything but two moments."""
        require(len(self.betas) == 2, "training.optimizer.betas must be two numbers")


@dataclass(kw_only=True)
class ScheduleConfig:
    """The learning rate over updates; training.learning_rate is its peak."""

    name: Literal["constant", "inverse_sqrt", "linear", "cosine", "plateau"] = "inverse_sqrt"
    warmup_steps: Natural | Auto = 4000  # updates of linear rise from zero; auto: a sixth of those expected
    horizon: Count | None = None  # updates at which linear and cosine reach min_factor; default: training.max_steps
    min_factor: Annotated[float, Range(0, 1)] = 0.0  # the share of the peak that linear, cosine and plateau go down to
    decay_factor: Factor = 0.5  # plateau: multiplied in ...
    plateau_patience: Count = 3  # ... after this many validations without improvement


@dataclass(kw_only=True)
class TrainingConfig:
    """How to train. One update is formed from seed, epoch and position alone; tokens_per_device only splits it."""

    max_steps: Count | None = None
    max_epochs: Count | None = None
    max_minutes: Positive | None = None  # wall clock from the first update, validation included
    validate_every: Count | Auto = 1000  # updates; auto: a tenth of those expected
    checkpoint_every: Count | None = None  # updates; default: validate_every
    log_every: Count = 50  # updates
    tokens_per_update: Count | Auto = 4096  # padded, of the longer side, over all devices; auto: by limits and text
    tokens_per_device: Count | Auto | None = None  # of a forward pass; null: a whole update; auto: what fits
    precision: PRECISIONS = "auto"  # auto: bf16 autocast on CUDA, else fp32; native: bf16 on CPUs made for it too
    device: str = "auto"  # cuda, cuda:1 (the second card), mps or cpu; auto: the first of cuda, mps and cpu there is
    threads: Processes | None = None  # CPU threads; default: torch's choice
    workers: Annotated[int, Range(0, 1024)] = 0  # processes that build batches; 0: a thread of the trainer
    compile: bool = False  # torch.compile
    learning_rate: Annotated[float, Range(0, 100, above=True)] | Auto = (
        7e-4  # at its peak; auto: by the model's size and the warm-up
    )
    label_smoothing: Rate = 0.1
    rdrop: Weight | None = None  # R-Drop's weight of the divergence between two passes; twice the time and memory
    subword_sampling: Share | None = None  # unigram: alpha of subword regularisation; bpe: how often a merge is skipped
    subword_sampling_sides: Literal["both", "source", "target"] = "both"
    clip_norm: Positive | None = 1.0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    best_metric: Literal["bleu", "chrf", "loss"] = "bleu"  # what checkpoints are ranked by; ties go to the lower loss
    patience: Count | None = None  # validations without improvement before stopping
    keep_best: Count = 1  # checkpoints kept for their score ...
    keep_last: Count = 2  # ... and the last so many besides
    average: Literal["best", "last"] | None = None  # at the end, average the checkpoints kept as such
    ema_decay: Factor | None = None  # of an exponential moving average of the weights, which validates and translates
    max_rollbacks: Natural = 3  # times to go back to a checkpoint after a loss or gradient that explodes ...
    rollback_factor: Factor = 0.5  # ... each time with a learning rate so many times lower
    validation_sentences: Count | Auto | None = None  # of each corpus; null: all; auto: what a tenth of the time takes
    validation_beam_size: BeamSize = 1  # of validation's translations; the rest of their search is that of search

    def check(self) -> None:
        """Refuse combinations that cannot work."""
        require(
            DEVICE.fullmatch(self.device) is not None,
            f"training.device={self.device}: expected auto, cuda, cuda:N with the number of a card, mps or cpu",
        )
        require(
            any(limit is not None for limit in (self.max_steps, self.max_epochs, self.max_minutes, self.patience)),
            "training has no end: set training.max_steps, max_epochs, max_minutes or patience",
        )
        for kind, kept in (("best", self.keep_best), ("last", self.keep_last)):
            require(
                self.average != kind or kept >= 2, f"training.average={kind} needs training.keep_{kind} of at least 2"
            )
        schedule = self.schedule
        if schedule.name in ("linear", "cosine"):
            require(
                (schedule.horizon or self.max_steps) is not None,
                f"training.schedule.name={schedule.name} needs an end: "
                "set training.schedule.horizon or training.max_steps",
            )
            require(
                schedule.warmup_steps == "auto" or (schedule.horizon or self.max_steps or 0) > schedule.warmup_steps,
                "training.schedule.horizon must lie beyond training.schedule.warmup_steps",
            )
        self.optimizer.check()


@dataclass(kw_only=True)
class FineTuneConfig:
    """Start from a trained run: its weights, and its vocabulary instead of a new one. The model is that run's."""

    run: str | None = None  # the run directory; null: train from scratch
    checkpoint: str | Natural | None = None  # best, last, averaged, a step or its folder; default: averaged, else best
    freeze: list[str] = field(default_factory=list)  # parts whose weights stay: encoder, decoder.layers.0, ...

    def __post_init__(self) -> None:
        """Take a tilde for the home folder."""
        self.run = self.run and from_home(self.run)

    def check(self) -> None:
        """Refuse what means nothing without a run to start from."""
        for name in ("checkpoint", "freeze"):
            require(
                self.run is not None or not getattr(self, name),
                f"fine_tune.{name} belongs to a run to start from: set fine_tune.run=RUN_DIR",
            )


# -- search -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class SearchConfig:
    """How translations are searched for."""

    beam_size: BeamSize = 5  # 1 = greedy
    length_penalty: LengthPenalty = 1.2  # alpha: a higher one prefers longer translations; 0 = none
    length_normalisation: Literal["power", "gnmt"] = "power"  # length ** alpha, or ((5 + length) / 6) ** alpha
    coverage_penalty: Ratio = 0.0  # beta of Wu et al. 2016, eq. 14; needs a model with attention
    stop: Literal["full", "exact"] = "full"  # when beam_size have finished, or when no open hypothesis can win
    min_length_ratio: Ratio = 0.0  # a hypothesis has at least ratio * source tokens, the end of sentence included
    max_length_ratio: Ratio = 2.0  # a hypothesis has at most ratio * source tokens + max_length_offset tokens
    max_length_offset: Annotated[int, Range(1, 100_000)] = 10
    tokens_per_batch: Count = 8192  # padded source tokens times beam_size
    precision: PRECISIONS = "auto"  # auto: bf16 on CUDA, fp32 elsewhere
    shortlist: bool = False  # score only the tokens that nmt-shortlist found likely for the source

    def check(self) -> None:
        """Refuse lengths between which there is none."""
        require(
            self.min_length_ratio <= self.max_length_ratio,
            "search.min_length_ratio must not exceed search.max_length_ratio",
        )

    def longest(self, source_tokens: int) -> int:
        """How many tokens, with the end of sentence, a translation of so many source tokens may have."""
        return int(source_tokens * self.max_length_ratio) + self.max_length_offset

    def shortest(self, source_tokens: int) -> int:
        """How many it must have at least."""
        return int(source_tokens * self.min_length_ratio)


@dataclass(kw_only=True)
class Config:
    """A whole experiment."""

    model: ModelConfig
    data: DataConfig
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    fine_tune: FineTuneConfig = field(default_factory=FineTuneConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    seed: Seed = 1
    run_dir: str | None = None  # default: runs/ and the name of the preset or file, with the overrides

    def __post_init__(self) -> None:
        """Take a tilde for the home folder."""
        self.run_dir = self.run_dir and from_home(self.run_dir)

    def check(self) -> None:
        """Refuse impossible combinations, naming the key."""
        for part in (self.model, self.data, self.tokenizer, self.training, self.fine_tune, self.search):
            part.check()
        if self.fine_tune.run is None:  # else the vocabulary has that run's tags, too
            self.data.check_tags()
        require(
            self.tokenizer.joint or not self.model.share_embeddings,
            "model.share_embeddings needs one vocabulary for both languages: set tokenizer.joint=true, or "
            "model.share_embeddings=false",
        )
        algorithm = self.tokenizer.algorithm
        require(
            self.training.subword_sampling is None or algorithm in ("unigram", "bpe"),
            f"training.subword_sampling cannot be had with tokenizer.algorithm={algorithm}, which has one segmentation "
            "of a sentence: set tokenizer.algorithm=unigram or bpe",
        )
        require(
            self.training.rdrop is None or any(dropouts(self.model)),
            "training.rdrop compares two passes that differ in their dropout, and without it they are equal: "
            "set model.dropout above 0",
        )
