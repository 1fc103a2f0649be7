"""Train two layers of each mixer on small tasks, to see which it can do; write docs/results/probes.md and .json.

usage: python scripts/probes.py [--updates 400] [--only NAME ...] [--tasks TASK ...]

The model is an embedding, two layers with the mixer and a projection; nothing else moves information between positions.
Windows, blocks and landmarks are as small as in the study every_mixer. The model sees random tokens and has to predict
a token at some positions:

copy      causal   x | x: after the separator, the sequence again
reverse   both     causal: x | x from its last token to its first; in an encoder y_i = x_{n-1-i}
reorder   encoder  y_i = x_{(i+7) mod n}
recall    both     pairs of key and value, then some of the keys again: the value of each
count     both     how often token x_i occurs (causal: so far), at most 7 times
nearest   both     numbers: the other number (causal: the earlier one) that is nearest to x_i; with a tie, the smaller

Accuracy is the share of right predictions on new sequences, in percent.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
import yaml
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nmt.attention.mixers import make_mixer
from nmt.config.mechanisms import MixerName, Place, PlaceName
from nmt.config.models import TransformerConfig
from nmt.errors import ConfigError
from nmt.files import atomic_write
from nmt.models.embedding import TokenEmbedding
from nmt.models.feed_forward import make_feed_forward
from nmt.models.norms import Residual
from nmt.study.study import read_study

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
SYMBOLS = 16  # tokens 0 ... 15; 16 is the separator
SEPARATOR = SYMBOLS
LENGTH = 16
BATCH = 64
IGNORED = -100  # the target of positions without a prediction


class Examples(NamedTuple):
    """Sequences and what is to be predicted at each position, both [batch, length]."""

    tokens: Tensor
    targets: Tensor


def draw_copy(causal: bool, generator: torch.Generator, length: int = LENGTH) -> Examples:
    """Return x | x."""
    x = torch.randint(SYMBOLS, (BATCH, length), generator=generator)
    return after_separator(x, x)


def draw_reverse(causal: bool, generator: torch.Generator, length: int = LENGTH) -> Examples:
    """Return x | reversed x, or x with the token of the mirrored position."""
    x = torch.randint(SYMBOLS, (BATCH, length), generator=generator)
    return after_separator(x, x.flip(1)) if causal else Examples(x, x.flip(1))


def draw_reorder(causal: bool, generator: torch.Generator, length: int = LENGTH) -> Examples:
    """Return x with the token seven positions further on."""
    x = torch.randint(SYMBOLS, (BATCH, length), generator=generator)
    return Examples(x, x.roll(-7, dims=1))


def draw_recall(causal: bool, generator: torch.Generator, length: int = LENGTH) -> Examples:
    """Return pairs of different keys and any values, then the keys in another order, where values are predicted."""
    pairs, half = length // 2, SYMBOLS // 2
    keys = torch.stack([torch.randperm(half, generator=generator)[:pairs] for _ in range(BATCH)])
    values = torch.randint(half, SYMBOLS, keys.shape, generator=generator)
    order = torch.stack([torch.randperm(keys.size(1), generator=generator) for _ in range(BATCH)])
    tokens = torch.cat((torch.stack((keys, values), dim=2).flatten(1), keys.gather(1, order)), dim=1)
    targets = torch.full_like(tokens, IGNORED)
    targets[:, 2 * keys.size(1) :] = values.gather(1, order)
    return Examples(tokens, targets)


def draw_count(causal: bool, generator: torch.Generator, length: int = LENGTH) -> Examples:
    """Return x, and how often the token of each position occurs in x, or in x up to there."""
    x = torch.randint(SYMBOLS // 4, (BATCH, length), generator=generator)
    same = x.unsqueeze(2) == x.unsqueeze(1)
    return Examples(x, (same.tril() if causal else same).sum(2).clamp(max=7))


def draw_nearest(causal: bool, generator: torch.Generator, length: int = LENGTH) -> Examples:
    """Return different numbers, and for each the nearest of the others, or of those before."""
    x = torch.stack([torch.randperm(SYMBOLS, generator=generator)[: length // 2] for _ in range(BATCH)])
    distance = (x.unsqueeze(2) - x.unsqueeze(1)).abs() * SYMBOLS + x.unsqueeze(1)  # ties: the smaller number
    hidden = torch.eye(x.size(1), dtype=torch.bool)
    if causal:
        hidden = torch.ones_like(hidden).triu()
    nearest = x.gather(1, distance.masked_fill(hidden, SYMBOLS**3).argmin(2))
    if causal:
        nearest[:, 0] = IGNORED
    return Examples(x, nearest)


def after_separator(x: Tensor, y: Tensor) -> Examples:
    """Return x | y as a language model reads it: each token of y is predicted from all before it."""
    separator = torch.full_like(x[:, :1], SEPARATOR)
    tokens = torch.cat((x, separator, y[:, :-1]), dim=1)
    return Examples(tokens, torch.cat((torch.full_like(x, IGNORED), y), dim=1))


Draw = Callable[..., Examples]
TASKS: dict[str, dict[str, Draw]] = {
    "decoder_self": {
        "copy": draw_copy, "reverse": draw_reverse, "recall": draw_recall, "count": draw_count, "nearest": draw_nearest,
    },
    "encoder_self": {
        "reverse": draw_reverse, "reorder": draw_reorder, "recall": draw_recall, "count": draw_count,
        "nearest": draw_nearest,
    },
}  # fmt: skip


class Probe(nn.Module):
    """An embedding, layers of one mixer, and a projection to symbols."""

    def __init__(self, config: TransformerConfig, key: PlaceName) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(config, nn.Embedding(SYMBOLS + 1, config.model_dim))
        nn.init.normal_(self.embedding.embedding.weight, std=config.model_dim**-0.5)
        self.mixers = nn.ModuleList(make_mixer(config, Place(key, layer)) for layer in range(config.encoder_layers))
        self.feed_forwards = nn.ModuleList(make_feed_forward(config) for _ in self.mixers)
        self.residuals = nn.ModuleList(Residual(config) for _ in range(2 * len(self.mixers)))
        self.norm = nn.LayerNorm(config.model_dim)
        self.projection = nn.Linear(config.model_dim, SYMBOLS)
        self.causal = key == "decoder_self"

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits [batch, length, SYMBOLS] for tokens [batch, length]."""
        positions = torch.arange(tokens.size(1)).unsqueeze(0)
        mask = None if self.causal else torch.ones_like(tokens, dtype=torch.bool)
        x = self.embedding(tokens, positions)
        for layer, (mixer, feed_forward) in enumerate(zip(self.mixers, self.feed_forwards, strict=True)):
            one, other = self.residuals[2 * layer], self.residuals[2 * layer + 1]
            x = one.add(x, mixer(one.enter(x), positions, mask)[0])
            x = other.add(x, feed_forward(other.enter(x)))
        logits: Tensor = self.projection(self.norm(x))
        return logits


def config_of(name: str, key: PlaceName, dim: int = 64) -> TransformerConfig | None:
    """Return the configuration of a probe; None if the mixer cannot stand at that place."""
    config = TransformerConfig(
        model_dim=dim, ffn_dim=2 * dim, num_heads=4, encoder_layers=2, decoder_layers=2, norm="pre", dropout=0.0
    )
    config = replace(config, **{key: name})
    if options := options_of(name):
        config = replace(config, **{name: replace(getattr(config, name), **options)})
    try:
        config.check()
    except ConfigError:
        return None
    return config


def options_of(name: str) -> dict[str, Any]:
    """Return the options of a mixer in the study every_mixer, whose sentences are about as long as these tasks."""
    start = f"model.{name}."
    overrides = read_study("every_mixer", []).systems.get(name, [])
    chosen = [each.removeprefix(start).partition("=") for each in overrides if each.startswith(start)]
    return {key: yaml.safe_load(value) for key, _, value in chosen}


def accuracy(
    config: TransformerConfig, key: PlaceName, task: Draw, updates: int, length: int = LENGTH, seed: int = 1
) -> float:
    """Train a probe and return its accuracy on new sequences."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Probe(config, key)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=updates, pct_start=0.1)
    for _ in range(updates):
        examples = task(model.causal, generator, length)
        logits = model.train()(examples.tokens)
        loss = cross_entropy(logits.flatten(0, 1), examples.targets.flatten(), ignore_index=IGNORED)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    right = total = 0
    with torch.no_grad():
        for _ in range(8):
            examples = task(model.causal, generator, length)
            asked = examples.targets != IGNORED
            right += int((model.eval()(examples.tokens).argmax(2) == examples.targets)[asked].sum())
            total += int(asked.sum())
    return right / total


def main() -> None:
    """Run all probes and write the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--only", nargs="+", choices=get_args(MixerName), default=get_args(MixerName), metavar="NAME")
    known = sorted({task for tasks in TASKS.values() for task in tasks})
    parser.add_argument("--tasks", nargs="+", choices=known, metavar="TASK")
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "probes.json"
    kept = json.loads(path.read_text("utf-8")) if path.is_file() else {"updates": options.updates, "accuracy": {}}
    if kept["updates"] != options.updates:
        parser.error(f"{path} has rows of {kept['updates']} updates: remove it to measure with another number")
    found: dict[str, Any] = kept["accuracy"]
    for name in options.only:
        for key, tasks in TASKS.items():
            if (config := config_of(name, key)) is None:  # type: ignore[arg-type]
                continue
            row = found.setdefault(key, {}).setdefault(name, {})
            for task, draw in tasks.items():
                if options.tasks is None or task in options.tasks:
                    row[task] = accuracy(config, key, draw, options.updates)  # type: ignore[arg-type]
            print(name, key, {task: round(100 * share) for task, share in row.items()}, flush=True)
            with atomic_write(path) as file:
                json.dump({"updates": options.updates, "length": LENGTH, "accuracy": found}, file, indent=1)
            with atomic_write(RESULTS / "probes.md") as file:
                file.write(page(found, options.updates))


def page(found: Mapping[str, Mapping[str, Mapping[str, float]]], updates: int) -> str:
    """Return the page: a table for decoders and one for encoders."""
    titles = {"decoder_self": "In a decoder, which sees what came before", "encoder_self": "In an encoder"}
    lines = [
        "# Which mixer can do what?",
        "",
        f"Two layers of each mixer were trained for {updates} updates on sequences of 8 to 32 tokens; nothing else",
        "moves information between positions. The figures are the shares of right predictions on new",
        "sequences, in percent. A mixer that fails here lacks something, or learns it slowly. Windows,",
        "blocks and landmarks are as small as in [every_mixer](../../configs/study/every_mixer.yaml).",
        "",
    ]
    for key, rows in found.items():
        tasks = list(TASKS[key])
        lines += [f"## {titles[key]}", "", f"| mixer | {' | '.join(tasks)} |", "|---|" + "---:|" * len(tasks)]
        for name, row in rows.items():
            cells = [f"{100 * row[task]:.0f}" if task in row else "" for task in tasks]
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
        lines.append("")
    lines += [
        "- copy: x | x, the sequence again after a separator. reverse: the same from its end to its",
        "  start; in an encoder, the token of the mirrored position. reorder: the token seven positions",
        "  further on; after the last position, counting goes on at the first.",
        "- recall: the input has pairs of a key and a value, then the keys in another order; the value of",
        "  each key has to be predicted.",
        "- count: how often the token of this position occurs, in a decoder up to here.",
        "- nearest: which of the other numbers (in a decoder, of the earlier ones) is closest to this one.",
        "",
        "```",
        "python scripts/probes.py",
        "```",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
