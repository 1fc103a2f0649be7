"""The cost of a system, computed before it is trained: parameters, FLOP, and updates or minutes at a nominal speed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from nmt.config.byte_vocabulary import BYTE_VOCABULARY
from nmt.config.schema import Config
from nmt.models.build import build_model
from nmt.models.flops import forward_flops

LENGTH = 20  # tokens of source and target in the pair whose FLOP are counted
NOMINAL_FLOPS = 3.5e10  # of one thread: the speed by which nmt.training.auto plans, for two cores 7e10
_SIZED = ("unigram", "bpe")  # tokenizers whose vocabulary has exactly the size that is asked for

Sizes = tuple[int, int]  # of the source and target vocabularies


@dataclass(frozen=True)
class Cost:
    """The size of a model and the work of an update."""

    parameters: int
    flop: float | None  # of an update of pairs of LENGTH tokens, without padding; None: its size is found from the text


def sizes_from(config: Config) -> Sizes | None:
    """Return the sizes of the vocabularies if the configuration alone tells them, or else None."""
    tokenizer, data = config.tokenizer, config.data
    if tokenizer.algorithm == "byte" and tokenizer.path is None and config.fine_tune.run is None:
        return BYTE_VOCABULARY + len(data.tags), BYTE_VOCABULARY + (len(data.tags) if tokenizer.joint else 0)
    if (
        tokenizer.path is not None
        or tokenizer.vocab_size == "auto"
        or tokenizer.algorithm not in _SIZED
        or config.fine_tune.run is not None
        or data.tags
    ):
        return None
    return tokenizer.vocab_size, tokenizer.vocab_size


def parameters_of(config: Config, sizes: Sizes) -> int:
    """Return the number of parameters of a configuration's model; shared ones count once."""
    with torch.device("meta"):  # shapes without memory
        model = build_model(config.model, *sizes)
    return sum(parameter.numel() for parameter in model.parameters())


def cost_of(config: Config, sizes: Sizes) -> Cost:
    """Return the cost of a configuration's model."""
    size = config.training.tokens_per_update
    if size == "auto":
        return Cost(parameters_of(config, sizes), None)
    model = build_model(config.model, *sizes).eval()
    pairs = size / LENGTH
    return Cost(parameters_of(config, sizes), 3 * pairs * forward_flops(model, LENGTH, LENGTH))
