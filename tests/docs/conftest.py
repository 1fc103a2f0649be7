"""The runs of `make demo`, trained with tiny models, for docs/python.md and the notebook."""

from __future__ import annotations

from pathlib import Path

import pytest

import nmt
from tests.docs.workplace import copy_lines, write_corpus

RECURRENT = ["model.embedding_dim=16", "model.hidden_dim=16"]
SIZES = {
    "rnn_encdec": [*RECURRENT, "model.maxout_dim=16"],
    "rnnsearch": [*RECURRENT, "model.maxout_dim=16", "model.attention_dim=16"],
    "luong": ["model=luong", "model.layers=1", "model.share_embeddings=true", *RECURRENT],
    "transformer": ["model.model_dim=16", "model.ffn_dim=16"],
}
TINY = [
    "tokenizer.vocab_size=300", "training.tokens_per_update=300", "training.max_steps=6", "training.max_minutes=null",
    "training.validation_sentences=2", "training.device=cpu", "training.learning_rate=0.02",
    "training.schedule.warmup_steps=2", "search.max_length_ratio=1.0",
]  # fmt: skip


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train the runs of runs/demo, and one of Luong's system, in a folder with a small part of data/embedded."""
    folder = tmp_path_factory.mktemp("demo")
    text = folder / "data" / "embedded"
    write_corpus(text, train=120, val=2, test=8)
    copy_lines("test.align", text / "test.align", 8)
    places = [f"data.path={text}", f"data.cache={folder / 'data' / 'prepared'}"]
    for name, sizes in SIZES.items():
        preset = "demo_rnnsearch" if name == "luong" else f"demo_{name}"
        nmt.train(preset, [*places, *TINY, *sizes, f"run_dir={folder / 'runs' / 'demo' / name}"])
    return folder
