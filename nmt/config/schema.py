"""Every key a user may set, as typed dataclasses: one for each concern, each the owner of its keys.

`nmt.config.load` turns YAML and overrides into a `Config` and back. Types are checked there; what a type
cannot say (ranges, combinations) is checked by the `check` methods here, which raise `ConfigError`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nmt.config.data import DataConfig, TokenizerConfig
from nmt.config.models import ModelConfig, dropouts
from nmt.errors import require

PRECISIONS = Literal["auto", "fp32", "bf16", "native"]  # native: bf16 where the device has instructions for it


# -- training -----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class OptimizerConfig:
    """Adam (Kingma & Ba 2015) or AdamW (Loshchilov & Hutter 2019)."""

    name: Literal["adam", "adamw"] = "adam"
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    eps: float = 1e-9
    weight_decay: float = 0.0

    def check(self) -> None:
        """Refuse impossible moments."""
        require(
            len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas),
            "training.optimizer.betas must be two numbers from 0 to below 1",
        )


@dataclass(kw_only=True)
class ScheduleConfig:
    """The learning rate over updates; training.learning_rate is its peak."""

    name: Literal["constant", "inverse_sqrt", "linear", "cosine", "plateau"] = "inverse_sqrt"
    warmup_steps: int = 4000  # updates of linear rise from zero
    horizon: int | None = None  # updates at which linear and cosine reach min_factor; default: training.max_steps
    min_factor: float = 0.0  # the least share of the peak that linear, cosine and plateau go down to
    decay_factor: float = 0.5  # plateau: multiplied in ...
    plateau_patience: int = 3  # ... after this many validations without improvement


@dataclass(kw_only=True)
class TrainingConfig:
    """How to train. One update is formed from seed, epoch and position alone; tokens_per_device only splits it."""

    max_steps: int | None = None
    max_epochs: int | None = None
    max_minutes: float | None = None  # wall clock from the first update, validation included
    validate_every: int = 1000  # updates
    checkpoint_every: int | None = None  # updates; default: validate_every
    log_every: int = 50  # updates
    tokens_per_update: int = 4096  # padded tokens of the longer side, over all devices
    tokens_per_device: int | Literal["auto"] | None = None  # of one forward pass; null: a whole update; auto: what fits
    precision: PRECISIONS = "auto"  # auto: bf16 autocast on CUDA, else fp32; native: bf16 on CPUs made for it too
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    threads: int | None = None  # CPU threads; default: torch's choice
    workers: int = 0  # processes that build batches; 0: a thread of the trainer
    compile: bool = False  # torch.compile
    learning_rate: float = 7e-4
    label_smoothing: float = 0.1
    rdrop: float | None = None  # R-Drop's weight of the divergence between two passes; twice the time and memory
    subword_sampling: float | None = None  # unigram: alpha of subword regularisation; bpe: how often a merge is skipped
    subword_sampling_sides: Literal["both", "source", "target"] = "both"
    clip_norm: float | None = 1.0
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    best_metric: Literal["bleu", "chrf", "loss"] = "bleu"  # what checkpoints are ranked by; ties go to the lower loss
    patience: int | None = None  # validations without improvement before stopping
    keep_best: int = 1  # checkpoints kept for their score ...
    keep_last: int = 2  # ... and the last so many besides
    average: Literal["best", "last"] | None = None  # at the end, average the checkpoints kept as such
    ema_decay: float | None = None  # of an exponential moving average of the weights, which validates and translates
    max_rollbacks: int = 3  # times that training goes back to a checkpoint after a loss or gradient that explodes ...
    rollback_factor: float = 0.5  # ... each time with a learning rate so many times lower
    validation_sentences: int | None = None  # validate BLEU on the first N sentences of each corpus; default: all

    def check(self) -> None:
        """Refuse limits, rates and combinations that cannot work."""
        require(
            any(limit is not None for limit in (self.max_steps, self.max_epochs, self.max_minutes, self.patience)),
            "training has no end: set training.max_steps, max_epochs, max_minutes or patience",
        )
        for name in ("validate_every", "checkpoint_every", "log_every", "keep_best", "keep_last",
                     "tokens_per_update", "tokens_per_device", "threads", "max_steps", "max_epochs", "max_minutes",
                     "patience", "validation_sentences", "rdrop"):  # fmt: skip
            value = getattr(self, name)
            require(value in (None, "auto") or value > 0, f"training.{name} must be above 0")
        for kind, kept in (("best", self.keep_best), ("last", self.keep_last)):
            require(
                self.average != kind or kept >= 2, f"training.average={kind} needs training.keep_{kind} of at least 2"
            )
        for name in ("workers", "max_rollbacks"):
            require(getattr(self, name) >= 0, f"training.{name} must be at least 0")
        for name in ("ema_decay", "rollback_factor"):
            value = getattr(self, name)
            require(value is None or 0 < value < 1, f"training.{name} must lie between 0 and 1")
        require(self.learning_rate > 0, "training.learning_rate must be above 0")
        require(0 <= self.label_smoothing < 1, "training.label_smoothing must be from 0 to below 1")
        require(
            self.subword_sampling is None or 0 < self.subword_sampling <= 1,
            "training.subword_sampling must be above 0 and at most 1, or null for none",
        )
        require(self.clip_norm is None or self.clip_norm > 0, "training.clip_norm must be above 0, or null for none")
        require(
            not isinstance(self.tokens_per_device, int) or self.tokens_per_device <= self.tokens_per_update,
            "training.tokens_per_device must not exceed training.tokens_per_update",
        )
        schedule = self.schedule
        if schedule.name in ("linear", "cosine"):
            require(
                (schedule.horizon or self.max_steps) is not None,
                f"training.schedule.name={schedule.name} needs an end: "
                "set training.schedule.horizon or training.max_steps",
            )
            require(
                (schedule.horizon or self.max_steps or 0) > schedule.warmup_steps,
                "training.schedule.horizon must lie beyond training.schedule.warmup_steps",
            )
        self.optimizer.check()


@dataclass(kw_only=True)
class FineTuneConfig:
    """Start from a trained run: its weights, and its vocabulary instead of a new one. The model is that run's."""

    run: str | None = None  # the run directory; null: train from scratch
    checkpoint: str | int | None = None  # best, last, averaged or a step; default: averaged if there is one, or best
    freeze: list[str] = field(default_factory=list)  # parts whose weights stay: encoder, decoder.layers.0, ...

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

    beam_size: int = 5  # 1 = greedy
    length_penalty: float = 1.0  # alpha of Wu et al. 2016, eq. 14; 0 = none
    length_normalisation: Literal["gnmt", "power"] = "gnmt"  # ((5 + length) / 6) ** alpha, or length ** alpha
    coverage_penalty: float = 0.0  # beta of Wu et al. 2016, eq. 14; needs a model with attention
    stop: Literal["exact", "full"] = "exact"  # when no open hypothesis can win, or when beam_size have finished
    min_length_ratio: float = 0.0  # a hypothesis has at least ratio * source tokens, the end of sentence included
    max_length_ratio: float = 2.0  # a hypothesis has at most ratio * source tokens + max_length_offset tokens
    max_length_offset: int = 10
    tokens_per_batch: int = 8192  # padded source tokens times beam_size
    precision: PRECISIONS = "auto"  # auto: bf16 on CUDA, fp32 elsewhere
    shortlist: bool = False  # score only the tokens that nmt-shortlist found likely for the source
    draft: bool = False  # greedy search of a sentence alone takes several guessed tokens in a step (nmt-draft)
    cuda_graphs: bool = False  # record steps on a CUDA device and replay them without Python

    def check(self) -> None:
        """Refuse sizes out of range."""
        require(self.beam_size >= 1, "search.beam_size must be at least 1")
        require(0 <= self.length_penalty <= 10, "search.length_penalty must be from 0 to 10")
        require(self.coverage_penalty >= 0, "search.coverage_penalty must be at least 0")
        require(
            0 <= self.min_length_ratio <= self.max_length_ratio,
            "search.min_length_ratio must be from 0 to search.max_length_ratio",
        )
        require(self.max_length_offset >= 1, "search.max_length_offset must be at least 1")
        require(self.tokens_per_batch >= 1, "search.tokens_per_batch must be at least 1")

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
    seed: int = 1
    run_dir: str | None = None  # default: runs/ and the name of the preset or file, with the overrides

    def check(self) -> None:
        """Refuse impossible values and combinations, naming the key."""
        for part in (self.model, self.data, self.tokenizer, self.training, self.fine_tune, self.search):
            part.check()
        if self.fine_tune.run is None:  # else the vocabulary has that run's tags, too
            self.data.check_tags()
        require(
            self.tokenizer.joint or not self.model.share_embeddings,
            "model.share_embeddings needs one vocabulary for both languages: set tokenizer.joint=true",
        )
        algorithm = self.tokenizer.algorithm
        require(
            self.training.subword_sampling is None or algorithm in ("unigram", "bpe"),
            f"training.subword_sampling cannot be had with tokenizer.algorithm={algorithm}, which has one segmentation "
            "of a sentence: set tokenizer.algorithm=unigram or bpe",
        )
        require(
            self.training.rdrop is None or any(dropouts(self.model).values()),
            "training.rdrop compares two passes that differ in their dropout, and without it they are equal: "
            "set model.dropout above 0",
        )
