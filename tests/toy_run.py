"""A run directory that is made without training: a real tokenizer of made-up words, and random weights."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import torch

from nmt.config.data import CleaningConfig, DataConfig, TokenizerConfig
from nmt.config.load import save_config
from nmt.config.schema import Config, SearchConfig, TrainingConfig
from nmt.data.tokenizer import Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.models.build import build_model
from nmt.models.seq2seq import Seq2Seq
from nmt.runs.checkpoints import set_pointer
from nmt.training.checkpoint import save_checkpoint
from tests.models.variants import VARIANTS

MAX_TOKENS = 24


def made_up_lines(count: int, seed: int, longest: int = 9) -> list[str]:
    """Return sentences of 1 to `longest` words that are made of random syllables."""
    source = random.Random(seed)
    word = ["".join(source.choice(["ba", "de", "ki", "lo", "mu"]) for _ in range(n % 3 + 1)) for n in range(40)]
    return [" ".join(source.choices(word, k=source.randint(1, longest))) + "." for _ in range(count)]


@cache
def toy_tokenizer() -> Tokenizer:
    lines = made_up_lines(300, seed=1)
    return train_tokenizer(TokenizerConfig(algorithm="bpe", vocab_size=60), lines, lines)


def toy_model(variant: str, seed: int = 5) -> Seq2Seq:
    """Build a model for the toy vocabulary, with doubled weights, so that its outputs depend on the source."""
    torch.manual_seed(seed)
    model = build_model(VARIANTS[variant], toy_tokenizer().source_size, toy_tokenizer().target_size)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
    return model.eval()


def toy_config(variant: str) -> Config:
    return Config(
        model=VARIANTS[variant],
        data=DataConfig(
            source_language="aa", target_language="bb", path="nowhere", cleaning=CleaningConfig(max_tokens=MAX_TOKENS)
        ),
        tokenizer=TokenizerConfig(algorithm="bpe", vocab_size=60),
        training=TrainingConfig(max_steps=12),
        search=SearchConfig(beam_size=3, max_length_ratio=1.0, max_length_offset=3),
    )


def make_run(folder: Path, variant: str = "transformer-post", step: int = 12) -> Path:
    """Write a complete run directory, whose only checkpoint is both last and best."""
    save_config(toy_config(variant), folder / "config.yaml")
    toy_tokenizer().save(folder / "tokenizer")
    save_checkpoint(folder, step, toy_model(variant), {"step": step})
    set_pointer(folder, "best", step)
    return folder
