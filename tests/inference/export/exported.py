"""Run directories with tiny Transformers of every kind that can be exported."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import torch

from nmt.config.data import TokenizerConfig
from nmt.config.load import save_config
from nmt.config.models import TransformerConfig
from nmt.data.tokenizer import EOS, Tokenizer
from nmt.data.vocabulary import train_tokenizer
from nmt.models.build import build_model
from nmt.models.seq2seq import Seq2Seq
from nmt.runs.checkpoints import set_pointer
from nmt.training.checkpoint import save_checkpoint
from tests.models.variants import TRANSFORMER
from tests.toy_run import made_up_lines, toy_config

KINDS: dict[str, dict[str, Any]] = {
    "post relu shared tied": {},
    "pre gelu separate tied": {"norm": "pre", "activation": "gelu", "share_embeddings": False},
    "post gelu shared untied": {"activation": "gelu", "tie_projection": False},
    "pre relu separate untied": {"norm": "pre", "share_embeddings": False, "tie_projection": False},
}
# how strongly each model prefers the end of sentence: most sentences end, but few at once
ENDS = dict(zip(KINDS, (10.5, 12.0, 6.0, 8.0), strict=True))
LINES = made_up_lines(40, seed=3)


@cache
def tokenizer(joint: bool) -> Tokenizer:
    source, target = made_up_lines(300, seed=1), [line.replace("a", "o") for line in made_up_lines(300, seed=2)]
    return train_tokenizer(
        TokenizerConfig(algorithm="bpe", vocab_size=60 if joint else 50, joint=joint), source, target
    )


def exportable_model(kind: str, words: Tokenizer, seed: int = 5) -> Seq2Seq:
    """Return a model with random weights, whose translations depend on the source and usually end before the limit."""
    config = exportable_config(kind)
    torch.manual_seed(seed)
    model = build_model(config, words.source_size, words.target_size).eval()
    last = model.get_submodule(
        "decoder.norm" if config.norm == "pre" else "decoder.layers.0.feed_forward_residual.norm"
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2.0)
        end = model.projection.weight[EOS]
        last.bias += ENDS[kind] * end / (end @ end)
    return model


def exportable_config(kind: str) -> TransformerConfig:
    return TransformerConfig(**(TRANSFORMER | {"decoder_layers": 1} | KINDS[kind]))


def make_exportable(folder: Path, kind: str, step: int = 12, seed: int = 5) -> Path:
    """Make a run directory with a model of this kind and return it."""
    model_config = exportable_config(kind)
    words = tokenizer(model_config.share_embeddings)
    config = dataclasses.replace(toy_config("transformer-post"), model=model_config)
    config.search.length_normalisation, config.search.stop = "power", "full"  # rules that both engines have
    config.tokenizer.joint = words.joint
    save_config(config, folder / "config.yaml")
    words.save(folder / "tokenizer")
    save_checkpoint(folder, step, exportable_model(kind, words, seed), {"step": step})
    set_pointer(folder, "best", step)
    return folder
