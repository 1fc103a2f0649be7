"""The folder in which a page's examples run: little text, and presets of tiny models under the usual names.

Groups of presets in the folder of a configuration go before those of the toolkit. So `model=rnnsearch` beside it is a
tiny RNNsearch, and what a page says is run as it stands.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from nmt.resources import embedded_corpus

SCHEDULE = "schedule: {warmup_steps: 3}"
TRAINING = f"tokens_per_update: 1000, learning_rate: 0.01, validate_every: 10, {SCHEDULE}"
RECURRENT = "embedding_dim: 16, hidden_dim: 16, dropout: 0.1, share_embeddings: true"
PRESETS = {
    "model/transformer_tiny": (
        "{family: transformer, model_dim: 16, ffn_dim: 32, num_heads: 2, encoder_layers: 2, decoder_layers: 2}"
    ),
    "model/rnnsearch": f"{{family: rnnsearch, {RECURRENT}, attention_dim: 16, maxout_dim: 16, tie_projection: true}}",
    "model/luong": f"{{family: luong, {RECURRENT}, layers: 1}}",
    **{
        f"training/{name}": f"# @package _global_\n{{training: {{{TRAINING}}}, tokenizer: {{vocab_size: 300}}}}"
        for name in ("transformer", "rnn")
    },
}


def write_presets(folder: Path) -> None:
    """Write the tiny presets into the folder of a configuration."""
    for name, text in PRESETS.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")


def copy_lines(source: Path, target: Path, count: int, skip: int = 0) -> None:
    """Copy so many lines of a text after the first `skip`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open(encoding="utf-8") as lines:
        target.write_text("".join(islice(lines, skip, skip + count)), encoding="utf-8")


def write_corpus(folder: Path, names: dict[str, str], sizes: dict[str, int], skip: int = 0) -> None:
    """Write corpora of a few pairs of the embedded text, German and English, under names of their own."""
    for name, split in names.items():
        for language in ("de", "en"):
            copy_lines(embedded_corpus() / f"{split}.{language}", folder / f"{name}.{language}", sizes[name], skip)


def write_my_text(folder: Path) -> None:
    """Write the text that configs/example.yaml reads: my_text/{train,val,test}.{de,en}."""
    write_corpus(
        folder / "my_text", {"train": "train", "val": "dev", "test": "test"}, {"train": 100, "val": 2, "test": 6}
    )
