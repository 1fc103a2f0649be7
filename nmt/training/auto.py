"""Put a number in place of each `auto` in a configuration, before the first update.

Nothing here is measured, so that one configuration and one text mean one training: `training.max_minutes` counts as the
updates that a machine of nominal speed makes in that time. A faster machine gets further through the same schedule.
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

NOMINAL_FLOPS = {"cuda": 2e13}  # of training, in a second, by the kind of device: a fraction of what its makers state
_OF_A_CPU = 7e10  # two cores in float32; so for any other device too
MOST_EPOCHS = 50  # passes over the text that a training is planned for at most
VALIDATIONS = 10  # that a training is planned to have, where their share of the time allows
VALIDATION_SHARE = 0.1  # of the time, at most

_GROWTH = 0.8  # an update has sqrt(0.8 * tokens of the whole training), so that both its size and their number grow
_LEAST_TOKENS, _MOST_TOKENS = 512, 25_000  # of an update; the latter as Vaswani et al. 2017, section 5.1
_WARMUP, _MOST_WARMUP = 1 / 6, 4000  # as a share of the updates, and in updates (Vaswani et al. 2017, section 5.3)
_LEAST_WARMUP, _RECURRENT = 2000, 400  # the rate is (this times the model's width) ** -0.5; see `_learning_rate`
_LEAST_SENTENCES = 100  # on which BLEU tells something
_VALIDATED = 4 / 3  # what a token costs in validation, where training costs 1: forward for the loss, then translated
_WARMED_UP = ("inverse_sqrt", "linear", "cosine")  # schedules that begin with a warm-up
_LEAST_DROPOUT, _MOST_DROPOUT = 0.1, 0.4  # for a text that is read once, and as often as a training is planned for
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
    """The size of a text in tokens of each pair's longer side, as updates are padded to them."""

    sentences: int
    tokens: int  # of all sentences
    longest: int

    @classmethod
    def of(cls, store: Store, rows: Rows | None = None) -> Text:
        """Return the size of a store, or of some rows of it."""
        longer = np.maximum(store.source_lengths, store.target_lengths)
        chosen = longer if rows is None else longer[rows]
        return cls(len(chosen), int(chosen.sum()), int(longer.max()))


class Plan(NamedTuple):
    """The expected length of a training."""

    tokens_per_update: int
    updates: float
    an_hour: float  # updates of the machine of nominal speed


def adopt(config: Config, before: Config) -> Config:
    """Return a configuration with the values of the run that it goes on with in place of each `auto`."""
    return _with(config, config_to_flat(before))


def resolve(config: Config, prepared: Prepared, device: str) -> Config:
    """Return a configuration with a number in place of each `auto`; what is set stays as it is.

    `device` is the kind on which it trains, such as "cuda". Raises ConfigError where the outcome cannot work.
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
    """Return one line that says what has come in place of `auto`; nothing where nothing has."""
    values = config_to_flat(after)
    found = [f"{key}={_shown(values[key])}" for key in _automatic(before) if values[key] != "auto"]
    return f"auto: {', '.join(found)}" if found else ""


def unreachable_peak(config: Config, prepared: Prepared, device: str) -> str:
    """Return a sentence about a warm-up that is longer than the limits allow for; else nothing."""
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
    """Return how long a training is expected to be, with its tokens in an update, found where they are `auto`.

    `weights` counts those that each token is multiplied by: six operations each, forward and backward.
    """
    speed = NOMINAL_FLOPS.get(device, _OF_A_CPU) / (6 * weights)  # tokens a second
    tokens = float(min(most_epochs, training.max_epochs or math.inf) * epoch.tokens)
    if training.max_minutes is not None:
        tokens = min(tokens, 60 * training.max_minutes * speed)
    size = training.tokens_per_update
    if size == "auto":
        size = _tokens_per_update(training, epoch, tokens)
    filled = min(size, epoch.tokens)
    return Plan(size, max(1.0, min(tokens / filled, training.max_steps or math.inf)), 3600 * speed / filled)


def _weights_multiplied(config: Config, prepared: Prepared) -> int:
    """Count the weights that a token is multiplied by: embeddings are looked up, unless they project, too."""
    sizes = (prepared.tokenizer.source_size, prepared.tokenizer.target_size)
    with torch.device("meta"):  # the shapes without the weights
        model = build_model(config.model, *sizes)
    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    looked_up.discard(id(model.projection.weight))
    return sum(weight.numel() for weight in model.parameters() if id(weight) not in looked_up)


def _epoch(config: Config, prepared: Prepared) -> Text:
    """Return the size of an epoch, in which corpora come by their weights."""
    return Text.of(prepared.train, Mixture.of(config.data, prepared.train).rows(config.seed, 0))


def _tokens_per_update(training: TrainingConfig, epoch: Text, tokens: float) -> int:
    """The size that a training on so many tokens has its updates of; the longest sentence fits into it."""
    best = math.sqrt(_GROWTH * tokens)
    if training.max_steps is not None:
        best = min(best, _GROWTH * training.max_steps)
    size = two_digits(min(max(best, _LEAST_TOKENS), _MOST_TOKENS))
    return max(size, math.ceil(epoch.longest / 8) * 8)  # a CUDA device pads to 8


def _learning_rate(model: ModelConfig, warmup: int) -> float:
    """The peak of Vaswani et al. 2017, eq. 3, which is lower for a longer warm-up; recurrent models want a higher rate.

    A warm-up of less than 2,000 updates counts as 2,000, and none as 4,000: so high a rate needs one.
    """
    if isinstance(model, TransformerConfig):
        rate = (max(warmup or _MOST_WARMUP, _LEAST_WARMUP) * model.model_dim) ** -0.5
    else:
        rate = (_RECURRENT * model.hidden_dim) ** -0.5
    return float(f"{rate:.2g}")


def _dropout(plan: Plan, epoch: Text) -> float:
    """Return more dropout the more often the text is read, so that the loss on other text does not rise again."""
    passes = plan.updates * min(plan.tokens_per_update, epoch.tokens) / epoch.tokens
    return round(_LEAST_DROPOUT + (_MOST_DROPOUT - _LEAST_DROPOUT) * min(1.0, passes / MOST_EPOCHS), 2)


def _warmup_steps(training: TrainingConfig, plan: Plan) -> int:
    schedule = training.schedule
    if schedule.name not in _WARMED_UP:
        return 0
    end = schedule.horizon or training.max_steps or round(plan.updates)  # before which a warm-up must be over
    return min(two_digits(max(1.0, min(plan.updates, end) * _WARMUP)), _MOST_WARMUP, max(0, end - 1))


def _validate_every(plan: Plan, val: Text, corpora: int, sentences: int | Auto | None) -> int:
    """A tenth of the updates, but within an hour, or as many more as a validation of so many sentences takes."""
    each = _LEAST_SENTENCES if sentences == "auto" else sentences or val.sentences
    looked_at = min(each * corpora, val.sentences)
    least = _VALIDATED * looked_at * val.tokens / val.sentences / VALIDATION_SHARE / plan.tokens_per_update
    return two_digits(max(1.0, min(plan.updates / VALIDATIONS, plan.an_hour), least))


def _validation_sentences(tokens_between: int, val: Text, corpora: int) -> int:
    """As many sentences of each corpus as the share of validation in the time allows."""
    sentences = VALIDATION_SHARE * tokens_between / _VALIDATED / (val.tokens / val.sentences) / corpora
    return min(max(two_digits(max(1.0, sentences)), _LEAST_SENTENCES), val.sentences)


def _automatic(config: Config) -> list[str]:
    flat = config_to_flat(config)
    return [key for key in _KEYS if flat[key] == "auto"]


def _with(config: Config, values: Mapping[str, object]) -> Config:
    """The configuration with values for the keys that say `auto`."""
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
