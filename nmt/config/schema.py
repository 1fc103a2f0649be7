"""All configuration keys as typed dataclasses, one for each section of a configuration file.

`nmt.config.load` turns YAML and overrides into a `Config` and back, and checks types and ranges. The `check` methods
here check combinations of values and raise `ConfigError`. The comments of the fields are the reference that users read
in docs/configuration.md.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from nmt.config.byte_vocabulary import check_byte_size
from nmt.config.data import DataConfig, TokenizerConfig
from nmt.config.guided_attention import GuidedAttentionConfig
from nmt.config.models import ModelConfig, RnnEncDecConfig, dropouts
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

DEVICE = re.compile("auto|cuda(:[0-9]+)?|mps|cpu")  # valid names of devices
PRECISIONS = Literal["auto", "fp32", "bf16", "native"]  # native: bf16 if the device has instructions for it
UNKNOWN = Literal["none", "copy", "dictionary"]


# -- training -----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class OptimizerConfig:
    """Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019) or Muon (Jordan et al. 2024).

    adamw applies weight decay to the weights, not to the gradient. muon is for the matrices of linear layers and
    recurrent units, and comes with adamw for all other weights; both take the same learning rate.
    """

    name: Literal["adam", "adamw", "muon"] = "adam"  # the method
    betas: list[Rate] = field(default_factory=lambda: [0.9, 0.98])  # decay rates of the gradient's two running means
    eps: Annotated[float, Range(1e-30, 1)] = 1e-9  # added to the denominator for numerical stability
    weight_decay: Annotated[float, Range(0, 100)] = 0.0  # applied to matrices only, not to biases and gains
    momentum: Rate = 0.95  # muon: decay rate of the gradient's running mean

    def check(self) -> None:
        """Raise ConfigError unless there are two betas."""
        require(len(self.betas) == 2, "training.optimizer.betas must be two numbers")


@dataclass(kw_only=True)
class ScheduleConfig:
    """The learning rate of each update; its peak is training.learning_rate.

    After the warm-up, inverse_sqrt falls as 1 / sqrt(update), and linear and cosine fall to min_factor at the horizon.
    plateau multiplies the rate by decay_factor when validation stops improving; constant keeps it.
    """

    name: Literal["constant", "inverse_sqrt", "linear", "cosine", "plateau"] = "inverse_sqrt"  # shape after the warm-up
    warmup_steps: Natural | Auto = 4000  # updates in which the rate rises linearly to its peak; auto: a sixth of all
    horizon: Count | None = None  # the update at which linear and cosine reach min_factor; null: training.max_steps
    min_factor: Annotated[float, Range(0, 1)] = 0.0  # share of the peak at which linear, cosine and plateau stop
    decay_factor: Factor = 0.5  # plateau: factor by which the rate is multiplied
    plateau_patience: Count = 3  # plateau: validations without improvement before that


@dataclass(kw_only=True)
class TrainingConfig:
    """The training: when it ends, what an update is, what is validated and which checkpoints are kept.

    It ends at the first limit reached: max_steps, max_epochs, max_minutes or patience; one of them has to be set. The
    tokens of an update or a forward pass are those of the longer side, source or target, padding included. Which
    sentences are in an update depends on seed, epoch and position alone; tokens_per_device only splits it into parts.
    """

    max_steps: Count | None = None  # updates after which training ends; null: no limit
    max_epochs: Count | None = None  # passes over the training text after which training ends; null: no limit
    max_minutes: Positive | None = None  # minutes (wall clock, validation included) after which it ends; null: no limit
    validate_every: Count | Auto = 1000  # updates between validations; auto: a tenth of the expected updates
    checkpoint_every: Count | None = None  # updates between checkpoints; null: as validate_every
    log_every: Count = 50  # updates between two lines of the log
    tokens_per_update: Count | Auto = 4096  # most tokens in an update, over all devices; auto: from text and limits
    tokens_per_device: Count | Auto | None = None  # most tokens per forward pass; null: a whole update; auto: what fits
    precision: PRECISIONS = "auto"  # auto: bf16 autocast on CUDA, else fp32; native: bf16 on any device built for it
    device: str = "auto"  # cuda, cuda:1 (the second card), mps or cpu; auto: the first available of cuda, mps and cpu
    threads: Processes | None = None  # CPU threads of each process; null: as many as PyTorch chooses
    workers: Annotated[int, Range(0, 1024)] = 0  # processes that build batches; 0: a thread of the training process
    compile: bool = False  # compile the model with torch.compile
    learning_rate: Annotated[float, Range(0, 100, above=True)] | Auto = 7e-4  # peak; auto: by model size and warm-up
    label_smoothing: Rate = 0.1  # share of the target probability that is spread evenly over the vocabulary
    rdrop: Weight | None = None  # weight of R-Drop's loss, which takes twice the time and memory; null: off
    guided_attention: GuidedAttentionConfig = field(default_factory=GuidedAttentionConfig)  # use of word alignments
    subword_sampling: Share | None = None  # segment words at random; unigram: alpha; bpe: dropout rate; null: off
    subword_sampling_sides: Literal["both", "source", "target"] = "both"  # which sides that applies to
    clip_norm: Positive | None = 1.0  # largest norm of the gradient, which is scaled down to it; null: no limit
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)  # the optimizer's settings
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)  # how the learning rate changes
    best_metric: Literal["bleu", "chrf", "loss"] = "bleu"  # score that ranks checkpoints; on a tie the lower loss wins
    patience: Count | None = None  # validations without improvement after which training ends; null: no limit
    keep_best: Count = 1  # how many of the best checkpoints are kept
    keep_last: Count = 2  # how many of the newest checkpoints are kept in addition
    average: Literal["best", "last"] | None = None  # at the end, average the kept best or last checkpoints; null: off
    ema_decay: Factor | None = None  # decay of the weights' moving average, used to validate and translate; null: off
    max_rollbacks: Natural = 3  # times that a diverging training goes back to its last checkpoint before it gives up
    rollback_factor: Factor = 0.5  # factor by which each of these lowers the learning rate
    validation_sentences: Count | Auto | None = None  # per corpus; null: all; auto: what a tenth of the time allows
    validation_beam_size: BeamSize = 1  # beam size in validation; all else is as in the search section

    def check(self) -> None:
        """Raise ConfigError for combinations of values that cannot work."""
        require(
            DEVICE.fullmatch(self.device) is not None,
            f"training.device={self.device}: expected auto, cuda, cuda:N with the number of a card, mps or cpu",
        )
        require(
            any(limit is not None for limit in (self.max_steps, self.max_epochs, self.max_minutes, self.patience)),
            "training would never end: set training.max_steps, max_epochs, max_minutes or patience",
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
                "training.schedule.horizon must be greater than training.schedule.warmup_steps",
            )
        self.optimizer.check()


@dataclass(kw_only=True)
class FineTuneConfig:
    """Fine-tuning: training that starts from the weights and the vocabulary of a trained run, with the same model."""

    run: str | None = None  # directory of the trained run; null: start from random weights
    checkpoint: str | Natural | None = None  # best, last, averaged, a step or a folder; null: averaged, else best
    freeze: list[str] = field(default_factory=list)  # parts that are not trained, such as encoder or decoder.layers.0

    def __post_init__(self) -> None:
        """Replace `~` at the beginning of the path by the home folder."""
        self.run = self.run and from_home(self.run)

    def check(self) -> None:
        """Raise ConfigError for keys that have no effect without a run to start from."""
        for name, unused in (("checkpoint", None), ("freeze", [])):
            require(
                self.run is not None or getattr(self, name) == unused,
                f"fine_tune.{name} belongs to a run to start from: set fine_tune.run=RUN_DIR",
            )


# -- search -------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class SearchConfig:
    """The search for translations, in validation and whenever the trained system translates."""

    beam_size: BeamSize = 5  # hypotheses kept for each sentence; 1: greedy search
    length_penalty: LengthPenalty = 1.2  # alpha; higher values prefer longer translations; 0: none
    length_normalisation: Literal["power", "gnmt"] = "power"  # divide by length^alpha, or ((5 + length) / 6)^alpha
    coverage_penalty: Ratio = 0.0  # beta of Wu et al. 2016, eq. 14; 0: none; needs a model with attention
    stop: Literal["full", "exact"] = "full"  # end when beam_size have finished (full) or none can improve (exact)
    min_length_ratio: Ratio = 0.0  # a translation has at least min_length_ratio x source tokens
    max_length_ratio: Ratio = 2.0  # a translation has at most max_length_ratio x source tokens + max_length_offset
    max_length_offset: Annotated[int, Range(1, 100_000)] = 10  # in tokens; see max_length_ratio
    tokens_per_batch: Count = 8192  # most source tokens in a batch, padding included, times beam_size
    precision: PRECISIONS = "auto"  # auto: bf16 autocast on CUDA, else fp32; native: bf16 on any device built for it
    shortlist: bool = False  # score only tokens that are likely for the source; needs nmt-shortlist to have been run
    replace_unknown: UNKNOWN = "none"  # write `<unk>` as ⁇ (none), the source word (copy) or its dictionary entry

    def check(self) -> None:
        """Raise ConfigError if the minimum length is above the maximum."""
        require(
            self.min_length_ratio <= self.max_length_ratio,
            "search.min_length_ratio must not exceed search.max_length_ratio",
        )

    def longest(self, source_tokens: int) -> int:
        """Return the most tokens that a translation of this many source tokens may have, end of sentence included."""
        return int(source_tokens * self.max_length_ratio) + self.max_length_offset

    def shortest(self, source_tokens: int) -> int:
        """Return the least tokens that a translation of this many source tokens must have, end of sentence included."""
        return math.ceil(source_tokens * self.min_length_ratio - 1e-9)  # 10 x 0.7 is slightly above 7


@dataclass(kw_only=True)
class Config:
    """A whole experiment."""

    model: ModelConfig  # the architecture and its sizes
    data: DataConfig  # the text and the languages
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)  # how text is split into tokens
    training: TrainingConfig = field(default_factory=TrainingConfig)  # how the model is trained
    fine_tune: FineTuneConfig = field(default_factory=FineTuneConfig)  # a trained run to start from
    search: SearchConfig = field(default_factory=SearchConfig)  # how translations are searched for
    seed: Seed = 1  # seed of the random numbers: initial weights, order of the text, dropout
    run_dir: str | None = None  # folder of the run; null: runs/NAME, after the preset or file and the overrides

    def __post_init__(self) -> None:
        """Replace `~` at the beginning of the path by the home folder."""
        self.run_dir = self.run_dir and from_home(self.run_dir)

    def check(self, loaded: bool = False) -> None:
        """Raise ConfigError, naming the key, for combinations of values that cannot work.

        `loaded` says that the tokenizer of tokenizer.path or fine_tune.run was loaded, so that the section describes
        it. Before, what depends on the tokenizer is not checked.
        """
        own = self.tokenizer.path is None and self.fine_tune.run is None
        known = loaded or own
        for part in (self.model, self.data, self.tokenizer, self.training, self.fine_tune, self.search):
            part.check()
        self.training.guided_attention.check(self.data, self.model)
        if self.fine_tune.run is None:  # otherwise the vocabulary also has the tags of that run
            self.data.check_tags()
            check_byte_size(self.tokenizer, len(self.data.tags))
        require(
            self.tokenizer.joint or not self.model.share_embeddings or not known,
            "model.share_embeddings needs one vocabulary for both languages: set tokenizer.joint=true, or "
            "model.share_embeddings=false",
        )
        require(
            self.training.subword_sampling is None or self.tokenizer.algorithm in ("unigram", "bpe") or not known,
            f"training.subword_sampling cannot be combined with tokenizer.algorithm={self.tokenizer.algorithm}, which "
            "has only one segmentation of a sentence: set tokenizer.algorithm=unigram or bpe",
        )
        require(
            self.training.rdrop is None or any(dropouts(self.model)),
            "training.rdrop compares two passes that differ in their dropout, and without dropout they are equal: "
            "set model.dropout above 0",
        )
        self._check_search(own)

    def _check_search(self, own: bool) -> None:
        """Raise ConfigError for a search that the model or `own`, a tokenizer that is trained here, does not support.

        With another tokenizer, the translator refuses to replace unknown words if it is not of words.
        """
        require(
            self.search.coverage_penalty == 0 or not isinstance(self.model, RnnEncDecConfig),
            f"search.coverage_penalty={self.search.coverage_penalty:g} needs attention, but model.family=rnn_encdec "
            "reads the source as one fixed vector: choose another model, or set search.coverage_penalty=0",
        )
        replaces = f"search.replace_unknown={self.search.replace_unknown}"
        replaced = self.search.replace_unknown != "none"
        require(
            not replaced or self.tokenizer.algorithm == "word" or not own,
            f"{replaces} replaces whole words, but tokenizer.algorithm={self.tokenizer.algorithm} cuts words into "
            "pieces: set tokenizer.algorithm=word, or search.replace_unknown=none",
        )
        require(
            not replaced or not isinstance(self.model, RnnEncDecConfig),
            f"{replaces} needs attention to find the source word, but model.family=rnn_encdec reads the source as one "
            "fixed vector: choose another model, or set search.replace_unknown=none",
        )
