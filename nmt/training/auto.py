"""Put a number in place of each `auto` in a configuration, before the first update.

Nothing here is measured on the machine, so that the same configuration and text always give the same training:
`training.max_minutes` is converted into the number of updates that a machine of nominal speed makes in that time. A
faster machine gets further through the same schedule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from nmt.config.load import config_from_dict, config_to_dict, config_to_flat
from nmt.config.models import ModelConfig, TransformerConfig
from nmt.config.ranges import Auto, settled
from nmt.config.schema import Config, TrainingConfig
from nmt.data.mixture import Mixture, Rows
from nmt.data.prepare import Prepared
from nmt.data.store import Store
from nmt.data.vocabulary import two_digits
from nmt.models.build import build_model

NOMINAL_FLOPS = {"cuda": 2e13}  # training speed per kind of device, a fraction of the maker's peak performance
_OF_A_CPU = 7e10  # speed of two cores in float32, which is also used for any other device
MOST_EPOCHS = 50  # maximum number of passes over the text that a training is planned for
VALIDATIONS = 10  # planned number of validations, if VALIDATION_SHARE allows that many
VALIDATION_SHARE = 0.1  # maximum fraction of the training time spent on validations

_GROWTH = 0.8  # tokens per update are sqrt(0.8 * tokens of the whole training): size and number of updates both grow
_LEAST_TOKENS, _MOST_TOKENS = 512, 25_000  # limits for tokens per update; the maximum is Vaswani et al. 2017, sec. 5.1
_WARMUP, _MOST_WARMUP = 1 / 6, 4000  # fraction of the updates, and maximum in updates (Vaswani et al. 2017, sec. 5.3)
_LEAST_WARMUP, _RECURRENT = 2000, 400  # in the peak rate (number * width of the model) ** -0.5; see `_learning_rate`
_LEAST_SENTENCES = 100  # minimum number of sentences for a meaningful BLEU
_VALIDATED = 4 / 3  # cost of a token in validation relative to training: forward pass for the loss, then translation
_WARMED_UP = ("inverse_sqrt", "linear", "cosine")  # schedules that start with a warm-up
_LEAST_DROPOUT, _MOST_DROPOUT = 0.1, 0.4  # for a text that is read once, and for one read MOST_EPOCHS times
_KEYS = (
    "tokenizer.vocab_size",
    "model.dropout",
    "training.tokens_per_update",
    "training.learning_rate",
    "training.schedule.warmup_steps",
    "training.validate_every",
    "training.validation_sentences",
)


class Text(NamedTuple):
    """The size of a text. The length of a pair is that of its longer side, as in training.tokens_per_update."""

    sentences: int
    tokens: int  # sum of the lengths of all pairs
    longest: int  # length of the longest pair

    @classmethod
    def of(cls, store: Store, rows: Rows | None = None) -> Text:
        """Return the size of a store, or of the given rows of it."""
        longer = np.maximum(store.source_lengths, store.target_lengths)
        chosen = longer if rows is None else longer[rows]
        return cls(len(chosen), int(chosen.sum()), int(longer.max()))


class Plan(NamedTuple):
    """The expected length of a training."""

    tokens_per_update: int
    updates: float  # number of updates
    an_hour: float  # updates per hour on a machine of nominal speed


def adopt(config: Config, before: Config) -> Config:
    """Return a configuration with the values of `before`, that of the resumed run, in place of each `auto`."""
    return _with(config, config_to_flat(before))


def resolve(config: Config, prepared: Prepared, device: str) -> Config:
    """Return a configuration with a number in place of each `auto`; all other values stay unchanged.

    `device` is the kind of device to train on, such as "cuda". Raises ConfigError if the resulting configuration is not
    valid.
    """
    training = config.training
    val, corpora = Text.of(prepared.val), len(prepared.val.corpora or [1])
    epoch = _epoch(config, prepared)
    plan = planned(training, epoch, _weights_multiplied(config, prepared), device)
    every = training.validate_every
    if every == "auto":
        every = _validate_every(plan, val, corpora, training.validation_sentences)
    warmup = training.schedule.warmup_steps
    if warmup == "auto":
        warmup = _warmup_steps(training, plan)
    found = {
        "tokenizer.vocab_size": max(prepared.tokenizer.source_size, prepared.tokenizer.target_size),
        "model.dropout": _dropout(plan, epoch),
        "training.tokens_per_update": plan.tokens_per_update,
        "training.learning_rate": _learning_rate(config.model, warmup),
        "training.schedule.warmup_steps": warmup,
        "training.validate_every": every,
        "training.validation_sentences": _validation_sentences(every * plan.tokens_per_update, val, corpora),
    }
    return _with(config, found)


def told(before: Config, after: Config) -> str:
    """Return one line with the values that replaced `auto`, or an empty string if there are none."""
    values = config_to_flat(after)
    found = [f"{key}={_shown(values[key])}" for key in _automatic(before) if values[key] != "auto"]
    return f"auto: {', '.join(found)}" if found else ""


def unreachable_peak(config: Config, prepared: Prepared, device: str) -> str:
    """Return a warning if the warm-up is longer than the training that the limits allow, or else an empty string."""
    training = config.training
    weights = _weights_multiplied(config, prepared)
    plan = planned(training, _epoch(config, prepared), weights, device, most_epochs=math.inf)
    warmup = settled(training.schedule.warmup_steps)
    if warmup <= plan.updates:
        return ""
    return (
        f"WARNING: training.schedule.warmup_steps={warmup} is more than the {two_digits(plan.updates):,} updates that "
        "are expected before this training ends, so the learning rate would never reach its peak: set "
        f"training.schedule.warmup_steps={two_digits(max(1, plan.updates * _WARMUP))} or auto, or train longer"
    )


def planned(training: TrainingConfig, epoch: Text, weights: int, device: str, most_epochs: float = MOST_EPOCHS) -> Plan:
    """Return the expected length of a training, and its tokens per update, which are computed here if they are `auto`.

    `weights` is the number of weights that each token is multiplied by: six operations each, forward and backward.
    """
    speed = NOMINAL_FLOPS.get(device, _OF_A_CPU) / (6 * weights)  # tokens per second
    tokens = float(min(most_epochs, training.max_epochs or math.inf) * epoch.tokens)
    if training.max_minutes is not None:
        tokens = min(tokens, 60 * training.max_minutes * speed)
    size = training.tokens_per_update
    if size == "auto":
        size = _tokens_per_update(training, epoch, tokens)
    filled = min(size, epoch.tokens)
    return Plan(size, max(1.0, min(tokens / filled, training.max_steps or math.inf)), 3600 * speed / filled)


def _weights_multiplied(config: Config, prepared: Prepared) -> int:
    """Count the weights that a token is multiplied by: all but embeddings that are not also the output projection."""
    sizes = (prepared.tokenizer.source_size, prepared.tokenizer.target_size)
    with torch.device("meta"):  # creates shapes without allocating weights
        model = build_model(config.model, *sizes)
    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    looked_up.discard(id(model.projection.weight))
    return sum(weight.numel() for weight in model.parameters() if id(weight) not in looked_up)


def _epoch(config: Config, prepared: Prepared) -> Text:
    """Return the size of an epoch, in which each corpus occurs according to its weight."""
    return Text.of(prepared.train, Mixture.of(config.data, prepared.train).rows(config.seed, 0))


def _tokens_per_update(training: TrainingConfig, epoch: Text, tokens: float) -> int:
    """Return the tokens per update for a training on `tokens` tokens in all; at least the longest sentence fits."""
    best = math.sqrt(_GROWTH * tokens)
    if training.max_steps is not None:
        best = min(best, _GROWTH * training.max_steps)
    size = two_digits(min(max(best, _LEAST_TOKENS), _MOST_TOKENS))
    return max(size, math.ceil(epoch.longest / 8) * 8)  # a CUDA device pads to 8


def _learning_rate(model: ModelConfig, warmup: int) -> float:
    """Return the peak learning rate: Vaswani et al. 2017, eq. 3 for transformers, a higher one for recurrent models.

    For transformers it is lower for a longer warm-up. A warm-up of less than 2,000 updates counts as 2,000, and none as
    4,000, which keeps the rate from becoming too high.
    """
    if isinstance(model, TransformerConfig):
        rate = (max(warmup or _MOST_WARMUP, _LEAST_WARMUP) * model.model_dim) ** -0.5
    else:
        rate = (_RECURRENT * model.hidden_dim) ** -0.5
    return float(f"{rate:.2g}")


def _dropout(plan: Plan, epoch: Text) -> float:
    """Return the dropout, which is higher the more often the text is repeated, to prevent overfitting."""
    passes = plan.updates * min(plan.tokens_per_update, epoch.tokens) / epoch.tokens
    return round(_LEAST_DROPOUT + (_MOST_DROPOUT - _LEAST_DROPOUT) * min(1.0, passes / MOST_EPOCHS), 2)


def _warmup_steps(training: TrainingConfig, plan: Plan) -> int:
    """Return the number of warm-up updates; 0 for a schedule without warm-up."""
    schedule = training.schedule
    if schedule.name not in _WARMED_UP:
        return 0
    end = schedule.horizon or training.max_steps or round(plan.updates)  # the warm-up has to end before this update
    return min(two_digits(max(1.0, min(plan.updates, end) * _WARMUP)), _MOST_WARMUP, max(0, end - 1))


def _validate_every(plan: Plan, val: Text, corpora: int, sentences: int | Auto | None) -> int:
    """Return the number of updates between validations: a tenth of all updates, but at most an hour.

    If that makes validations take more than VALIDATION_SHARE of the time, the number is higher.
    """
    each = _LEAST_SENTENCES if sentences == "auto" else sentences or val.sentences
    looked_at = min(each * corpora, val.sentences)
    least = _VALIDATED * looked_at * val.tokens / val.sentences / VALIDATION_SHARE / plan.tokens_per_update
    return two_digits(max(1.0, min(plan.updates / VALIDATIONS, plan.an_hour), least))


def _validation_sentences(tokens_between: int, val: Text, corpora: int) -> int:
    """Return the number of sentences of each corpus that can be validated within VALIDATION_SHARE of the time."""
    sentences = VALIDATION_SHARE * tokens_between / _VALIDATED / (val.tokens / val.sentences) / corpora
    return min(max(two_digits(max(1.0, sentences)), _LEAST_SENTENCES), val.sentences)


def _automatic(config: Config) -> list[str]:
    """Return the keys whose value is `auto`."""
    flat = config_to_flat(config)
    return [key for key in _KEYS if flat[key] == "auto"]


def _with(config: Config, values: Mapping[str, object]) -> Config:
    """Return the configuration with `values` for the keys that are `auto`."""
    nested = config_to_dict(config)
    for key in _automatic(config):
        *sections, name = key.split(".")
        section = nested
        for part in sections:
            section = section[part]
        section[name] = values[key]
    return config_from_dict(nested)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
