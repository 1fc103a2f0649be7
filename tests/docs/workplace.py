"""The files that the examples of a page need: a little text, and presets of tiny models under the usual names.

Presets next to a configuration file take precedence over those of the toolkit. So `model=rnnsearch` selects a tiny
RNNsearch there, and the commands of a page can be run unchanged.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nmt.resources import embedded_corpus

SCHEDULE = "schedule: {warmup_steps: 3}"
TRAINING = f"tokens_per_update: 20000, learning_rate: 0.01, validate_every: 1000, checkpoint_every: 10, {SCHEDULE}"
RECURRENT = "embedding_dim: 16, hidden_dim: 16, dropout: 0.1, share_embeddings: true"
PRESETS = {
    "model/transformer_tiny": (
        "{family: transformer, model_dim: 16, ffn_dim: 32, num_heads: 2, encoder_layers: 2, decoder_layers: 2}"
    ),
    "model/rnnsearch": f"{{family: rnnsearch, {RECURRENT}, attention_dim: 16, maxout_dim: 16, tie_projection: true}}",
    "model/luong": f"{{family: luong, {RECURRENT}, layers: 1}}",
    **{
        f"training/{name}": f"# @package _global_\n{{training: {{{TRAINING}}}, tokenizer: {{vocab_size: 200}}}}"
        for name in ("transformer", "rnn")
    },
}


def write_presets(folder: Path) -> None:
    """Write the tiny presets into a folder, for the configuration files in it."""
    for name, text in PRESETS.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")


@cache
def short_lines(split: str) -> list[int]:
    """Return the numbers, from 0, of the lines of a split that have at most 8 words in both languages."""
    sides = [_read(f"{split}.{language}") for language in ("de", "en")]
    return [number for number, pair in enumerate(zip(*sides, strict=True)) if max(map(len, map(str.split, pair))) <= 8]


def copy_lines(name: str, target: Path, count: int, skip: int = 0) -> None:
    """Copy `count` short lines of a file of the embedded corpus, after skipping the first `skip` of them."""
    lines = _read(name)
    target.parent.mkdir(parents=True, exist_ok=True)
    chosen = short_lines(name.split(".")[0])[skip : skip + count]
    target.write_text("".join(f"{lines[number]}\n" for number in chosen), encoding="utf-8")


def write_corpus(folder: Path, train: int, val: int, test: int, skip: int = 0) -> None:
    """Write {train,val,test}.{de,en} with the given numbers of short pairs of the embedded corpus."""
    for name, split, count in (("train", "train", train), ("val", "dev", val), ("test", "test", test)):
        for language in ("de", "en"):
            copy_lines(f"{split}.{language}", folder / f"{name}.{language}", count, skip)


def write_my_text(folder: Path) -> None:
    """Write the text that configs/example.yaml reads: my_text/{train,val,test}.{de,en}."""
    write_corpus(folder / "my_text", train=100, val=2, test=6)


def _read(name: str) -> list[str]:
    return (embedded_corpus() / name).read_text("utf-8").splitlines()
