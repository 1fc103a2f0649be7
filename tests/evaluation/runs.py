"""Run directories with tiny untrained models, for tests of everything that uses a run."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from nmt.config.data import CorpusConfig, DataConfig, TokenizerConfig
from nmt.config.load import save_config
from nmt.config.models import LuongConfig, ModelConfig, RnnEncDecConfig, RnnSearchConfig, TransformerConfig
from nmt.config.schema import Config, SearchConfig, TrainingConfig
from nmt.data.vocabulary import train_tokenizer
from nmt.models.build import build_model
from nmt.runs.checkpoints import set_pointer
from nmt.training.checkpoint import save_checkpoint

MODELS: dict[str, ModelConfig] = {
    "rnn_encdec": RnnEncDecConfig(embedding_dim=8, hidden_dim=8),
    "rnnsearch": RnnSearchConfig(embedding_dim=8, hidden_dim=8, attention_dim=8, maxout_dim=8),
    "luong": LuongConfig(embedding_dim=8, hidden_dim=8, layers=1),
    "transformer": TransformerConfig(model_dim=16, ffn_dim=16, num_heads=4, encoder_layers=1, decoder_layers=3),
}
SOURCES = [
    "Der grüne Hut hängt über der Tür.",
    "Ein Mann läuft.",
    "Die Straße ist heute sehr lang und schön, sagt der alte Mann.",
    "Wir hören Musik.",
    "Sie <b>kauft</b> $5 Äpfel | Birnen.",
    "Der Hund schläft auf dem roten Sofa im Haus.",
]
REFERENCES = [
    "The green hat hangs above the door.",
    "A man is running.",
    "The street is very long and beautiful today, says the old man.",
    "We hear music.",
    "She <b>buys</b> $5 apples | pears.",
    "The dog sleeps on the red sofa in the house.",
]
GOLD = ["0-0 1-1 2?2", "0-0", "0-0 1-1", "0-0 1?1", "0-0", "0-0 1-1"]  # links


def write_lines(path: Path, lines: list[str]) -> Path:
    """Write lines of text to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def write_texts(folder: Path) -> tuple[Path, Path]:
    """Write the source and the reference file of a test set and return their paths."""
    return write_lines(folder / "text.de", SOURCES), write_lines(folder / "text.en", REFERENCES)


def make_run(path: Path, family: str, texts: Path, seed: int = 1) -> Path:
    """Make the run directory of a tiny model; its test set `test` is text.de and text.en in the folder `texts`."""
    corpus = CorpusConfig(prefix=str(texts / "text"))
    config = Config(
        model=MODELS[family],
        data=DataConfig(source_language="de", target_language="en", train=[corpus], val=corpus, test={"test": corpus}),
        tokenizer=TokenizerConfig(algorithm="bpe", vocab_size=90, byte_fallback=False),
        training=TrainingConfig(max_steps=2),
        search=SearchConfig(beam_size=2, max_length_ratio=1.0, max_length_offset=4),
        seed=seed,
        run_dir=str(path),
    )
    path.mkdir(parents=True)
    save_config(config, path / "config.yaml")
    tokenizer = train_tokenizer(config.tokenizer, SOURCES, REFERENCES)
    tokenizer.save(path / "tokenizer")
    torch.manual_seed(seed)
    model = build_model(config.model, tokenizer.source_size, tokenizer.target_size)
    save_checkpoint(path, 2, model, {})
    set_pointer(path, "best", 2)
    events = [
        {"event": "train", "step": 1, "loss": 5.0, "minutes": 0.0},
        {"event": "validation", "step": 1, "loss": 4.5, "bleu": 0.5, "minutes": 0.5},
        {"event": "validation", "step": 2, "loss": 4.0, "bleu": 1.5, "minutes": 1.25},
        {"event": "end", "step": 2, "minutes": 1.5, "reason": "max_steps", "parameters": 1},
    ]
    write_lines(path / "metrics.jsonl", [json.dumps(event) for event in events])
    return path
