"""Put a number in place of each `auto` in a configuration, before the first update.

Nothing here is measured, so that one configuration and one text mean one training: `training.max_minutes` counts as the
updates that a machine of nominal speed makes in that time. A faster machine gets further through the same schedule.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from torch import nn

from nmt.config.load import config_from_dict, config_to_dict, config_to_flat
from nmt.config.models import ModelConfig, TransformerConfig
from nmt.config.ranges import Auto, settled
from nmt.config.schema import Config, TrainingConfig
from nmt.data.prepare import Prepared
from nmt.data.store import Store
from nmt.data.vocabulary import two_digits
from nmt.models.seq2seq import Seq2Seq

NOMINAL_FLOPS = {"cuda": 2e13}  # of training, in a second, by the kind of device: a fraction of what its makers state
_OF_A_CPU = 7e10  # two cores in float32; so for any other device too
MOST_EPOCHS = 50  # that a training is planned for, where its limits lie further off
VALIDATIONS = 10  # that a training is planned to have, where their share of the time allows
VALIDATION_SHARE = 0.1  # of the time, at most

_GROWTH = 0.8  # an update has sqrt(0.8 * tokens of the whole training), so that both its size and their number grow
_LEAST_TOKENS, _MOST_TOKENS = 512, 25_000  # of an update; the latter as Vaswani et al. 2017, section 5.1
_WARMUP, _MOST_WARMUP = 1 / 6, 4000  # as a share of the updates, and in updates (Vaswani et al. 2017, section 5.3)
_TRANSFORMER, _RECURRENT = 4000, 400  # the peak rate is (this times the model's width) ** -0.5 (there, too)
_LEAST_SENTENCES = 100  # on which BLEU tells something
_VALIDATED = 4 / 3  # what a token costs in validation, where training costs 1: forward for the loss, then translated
_WARMED_UP = ("inverse_sqrt", "linear", "cosine")  # schedules that begin with a warm-up
_KEYS = (
    "tokenizer.vocab_size",
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
    def of(cls, store: Store) -> Text:
        """Return the size of a store."""
        longer = np.maximum(store.source_lengths, store.target_lengths)
        return cls(len(longer), int(longer.sum()), int(longer.max()))


class Plan(NamedTuple):
    """How long a training is expected to be."""

    tokens_per_update: int
    updates: float


def adopt(config: Config, before: Config) -> Config:
    """Return a configuration with the values of the run that it goes on with in place of each `auto`."""
    return _with(config, config_to_flat(before))


def resolve(config: Config, prepared: Prepared, model: Seq2Seq, device: str) -> Config:
    """Return a configuration with a number in place of each `auto`; what is set stays as it is.

    `device` is the kind on which it trains, such as "cuda". Raises ConfigError where the outcome cannot work.
    """
    training = config.training
    train, val = Text.of(prepared.train), Text.of(prepared.val)
    plan = planned(training, train, _weights_multiplied(model), device)
    every = training.validate_every
    if every == "auto":
        every = _validate_every(plan, val, training.validation_sentences)
    found = {
        "tokenizer.vocab_size": max(prepared.tokenizer.source_size, prepared.tokenizer.target_size),
        "training.tokens_per_update": plan.tokens_per_update,
        "training.learning_rate": _learning_rate(config.model),
        "training.schedule.warmup_steps": _warmup_steps(training, plan),
        "training.validate_every": every,
        "training.validation_sentences": _validation_sentences(every * plan.tokens_per_update, val),
    }
    return _with(config, found)


def told(before: Config, after: Config) -> str:
    """Return one line that says what stands in place of each `auto`; nothing where there was none."""
    values = config_to_flat(after)
    found = [f"{key}={_shown(values[key])}" for key in _automatic(before)]
    return f"auto: {', '.join(found)}" if found else ""


def unreachable_peak(config: Config, prepared: Prepared, model: Seq2Seq, device: str) -> str:
    """Return a sentence about a warm-up that is longer than the training is expected to be; else nothing."""
    training = config.training
    plan = planned(training, Text.of(prepared.train), _weights_multiplied(model), device)
    warmup = settled(training.schedule.warmup_steps)
    if warmup < plan.updates:
        return ""
    return (
        f"WARNING: training.schedule.warmup_steps={warmup} is more than the {_about(plan.updates)} updates that are "
        "expected before this training ends, so the learning rate would never reach its peak: set "
        f"training.schedule.warmup_steps={max(1, two_digits(max(1, plan.updates * _WARMUP)))} or auto, or train longer"
    )


def planned(training: TrainingConfig, text: Text, weights: int, device: str) -> Plan:
    """Return how long a training is expected to be, with its tokens in an update, found where they are `auto`.

    `weights` counts those that each token is multiplied by: six operations each, forward and backward.
    """
    tokens = float(min(MOST_EPOCHS, training.max_epochs or math.inf) * text.tokens)
    if training.max_minutes is not None:
        tokens = min(tokens, 60 * training.max_minutes * NOMINAL_FLOPS.get(device, _OF_A_CPU) / (6 * weights))
    size = training.tokens_per_update
    if size == "auto":
        size = _tokens_per_update(training, text, tokens)
    return Plan(size, max(1.0, min(tokens / size, training.max_steps or math.inf)))


def _tokens_per_update(training: TrainingConfig, text: Text, tokens: float) -> int:
    """The size that a training on so many tokens has its updates of; the longest sentence fits into it."""
    best = math.sqrt(_GROWTH * tokens)
    if training.max_steps is not None:
        best = min(best, _GROWTH * training.max_steps)
    divided = training.tokens_per_device
    return max(
        two_digits(min(max(best, _LEAST_TOKENS), _MOST_TOKENS)),
        math.ceil(text.longest / 8) * 8,  # as a CUDA device pads
        divided if isinstance(divided, int) else 0,
    )


def _learning_rate(model: ModelConfig) -> float:
    """The rate that Vaswani et al. 2017, eq. 3, reaches after 4,000 updates; recurrent models want three times of it."""
    if isinstance(model, TransformerConfig):
        rate = (_TRANSFORMER * model.model_dim) ** -0.5
    else:
        rate = (_RECURRENT * model.hidden_dim) ** -0.5
    return float(f"{rate:.2g}")


def _warmup_steps(training: TrainingConfig, plan: Plan) -> int:
    schedule = training.schedule
    if schedule.name not in _WARMED_UP:
        return 0
    updates = min(plan.updates, schedule.horizon or math.inf)
    return min(two_digits(max(1.0, updates * _WARMUP)), _MOST_WARMUP)


def _validate_every(plan: Plan, val: Text, sentences: int | Auto | None) -> int:
    """A tenth of the updates, or as many more as a validation that translates so many sentences takes."""
    translated = min(_LEAST_SENTENCES if sentences == "auto" else sentences or val.sentences, val.sentences)
    cost = _VALIDATED * translated * val.tokens / val.sentences
    return two_digits(max(1.0, plan.updates / VALIDATIONS, cost / VALIDATION_SHARE / plan.tokens_per_update))


def _validation_sentences(tokens_between: int, val: Text) -> int:
    """As many sentences as the share of validation in the time allows, of what is trained between two of them."""
    sentences = VALIDATION_SHARE * tokens_between / _VALIDATED / (val.tokens / val.sentences)
    return min(max(two_digits(max(1.0, sentences)), _LEAST_SENTENCES), val.sentences)


def _weights_multiplied(model: Seq2Seq) -> int:
    """The weights that a token is multiplied by: those of embeddings are looked up, unless they project, too."""
    looked_up = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    looked_up.discard(id(model.projection.weight))
    return sum(weight.numel() for weight in model.parameters() if id(weight) not in looked_up)


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


def _about(updates: float) -> str:
    return f"{two_digits(updates):,}"
