"""Draw the pictures of docs/tour.md from the runs that `make demo` leaves.

usage: python scripts/tour_pictures.py [RUNS [FOLDER]]      default: runs/demo docs/tour
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

import nmt
from nmt.attention.heads import Heads
from nmt.attention.mixers.softmax import SelfAttention
from nmt.attention.mixers.ssru import Ssru
from nmt.attention.multihead import attention_weights
from nmt.attention.patterns import causal
from nmt.attention.positions.alibi import LinearBiases
from nmt.attention.positions.base import Positions
from nmt.attention.positions.sinusoidal import frequencies, sinusoids
from nmt.attention.scores import make_score
from nmt.config.models import LuongConfig
from nmt.data.alignments import read_gold
from nmt.data.compression import read_lines
from nmt.evaluation.alignment_error import alignment_scores
from nmt.resources import embedded_corpus

SENTENCE = "Sie darf Julia neunzehn alte Notizen empfehlen."
NAMES = {"rnn_encdec": "one fixed vector", "rnnsearch": "RNNsearch", "transformer": "Transformer"}


def fixed_vector(runs: Path) -> Figure:
    """Draw BLEU over the length of the source, from the comparison report."""
    results = json.loads((runs / "report" / "results.json").read_text("utf-8"))
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    labels = [each["label"] for each in results["buckets"]["ranges"]]
    for system in results["systems"]:
        axes.plot(labels, system["buckets"], marker="o", label=NAMES.get(system["name"], system["name"]))
    axes.set(xlabel="words in the source", ylabel="BLEU", ylim=(0, 100))
    axes.legend()
    return figure


def alignment(runs: Path) -> Figure:
    """Draw the attention of RNNsearch while it translates the sentence."""
    return nmt.load(runs / "rnnsearch", device="cpu").attention(SENTENCE).draw()


def heads(runs: Path) -> Figure:
    """Draw the heads of a Transformer decoder's last layer side by side."""
    shown = nmt.load(runs / "transformer", device="cpu").attention(SENTENCE)
    layers, count = shown.weights.shape[:2]
    figure, grid = plt.subplots(1, count, figsize=(2.6 * count, 3.4), sharey=True, layout="constrained")
    for head, axes in enumerate(grid):
        axes.imshow(shown.weights[layers - 1, head], cmap="Blues", vmin=0, vmax=1)
        axes.set_title(f"head {head + 1}", fontsize=9)
        axes.set_xticks(range(len(shown.source)), shown.source, rotation=90, fontsize=7)
        axes.set_yticks(range(len(shown.target)), shown.target, fontsize=7)
    return figure


def scores(_: Path) -> Figure:
    """Draw three scores of one query with every key of a plane."""
    torch.manual_seed(2)
    axis = torch.linspace(-2, 2, 81)
    keys = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).reshape(1, -1, 2)
    query = torch.tensor([[[1.0, 0.5]]])
    figure, grid = plt.subplots(1, 3, figsize=(8.4, 3), sharey=True, layout="constrained")
    for axes, name in zip(grid, ("dot", "general", "additive"), strict=True):
        score = make_score(LuongConfig(score=name), 2, 2, 8)  # type: ignore[arg-type]
        for weight in score.parameters():
            torch.nn.init.normal_(weight)
        with torch.no_grad():
            plane = score(query, score.keys(keys)).reshape(81, 81).numpy()
        axes.contourf(axis, axis, plane, levels=12, cmap="Blues")
        axes.plot(*query.flatten().tolist(), marker="o", color="black")
        axes.set(title=name, xlabel="key, first number", aspect="equal")
    grid[0].set_ylabel("key, second number")
    return figure


def patterns(_: Path) -> Figure:
    """Draw which words a word may look at: in the encoder, in the decoder, and from the decoder to the source."""
    source, target = ["Sie", "darf", "gehen"], ["<s>", "She", "may", "go"]
    places = torch.arange(len(target)).unsqueeze(0)
    allowed = {
        "encoder self-attention": (source, source, torch.ones(3, 3)),
        "decoder self-attention": (target, target, causal(places, places)[0, 0].exp()),
        "cross-attention": (target, source, torch.ones(4, 3)),
    }
    figure, grid = plt.subplots(1, 3, figsize=(8.4, 2.6), layout="constrained")
    for axes, (title, (queries, keys, seen)) in zip(grid, allowed.items(), strict=True):
        axes.pcolormesh(seen.numpy(), cmap="Blues", vmin=0, vmax=1.6, edgecolors="white", linewidth=2)
        axes.set_xticks([place + 0.5 for place in range(len(keys))], keys)
        axes.set_yticks([place + 0.5 for place in range(len(queries))], queries)
        axes.set(title=title, aspect="equal")
        axes.invert_yaxis()
    return figure


def saturation(_: Path) -> Figure:
    """Draw the largest of 20 softmax weights for random queries and keys of growing size."""
    torch.manual_seed(1)
    sizes = [2**power for power in range(2, 11)]
    largest: dict[str, list[float]] = {"dot product": [], "divided by the root of the size": []}
    for size in sizes:
        query, keys = torch.randn(1, 1, 2000, size), torch.randn(1, 1, 20, size)
        scaled = attention_weights(query, keys)
        plain = attention_weights(query * math.sqrt(size), keys)
        for label, weights in zip(largest, (plain, scaled), strict=True):
            largest[label].append(float(weights.amax(-1).mean()))
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    for label, values in largest.items():
        axes.plot(sizes, values, marker="o", label=label)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="size of queries and keys", ylabel="largest of 20 weights", ylim=(0, 1.05))
    axes.legend()
    return figure


def positions(_: Path) -> Figure:
    """Draw products of sinusoids and ALiBi's biases over all pairs of positions."""
    places = torch.arange(40).unsqueeze(0)
    encoded = sinusoids(places[0], frequencies(128))
    nothing = torch.zeros(1, 4, 40, 1)
    bias = LinearBiases(4).bias(nothing, nothing, places, places)[0, 1]
    figure, grid = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
    for axes, values, title in zip(
        grid, ((encoded @ encoded.T).numpy(), bias.numpy()), ("sinusoids: PE(i) · PE(j)", "ALiBi, head 2"), strict=True
    ):
        figure.colorbar(axes.imshow(values, cmap="viridis"), ax=axes, shrink=0.8)
        axes.set(xlabel="position j", ylabel="position i")
        axes.set_title(title, fontsize=9)
    return figure


def cost(_: Path) -> Figure:
    """Draw the size of a decoder layer's state over the number of tokens."""
    lengths = [2**power for power in range(4, 14)]
    mixers = {
        "self-attention: keys and values": SelfAttention(512, Heads(512, 8), Positions(), causal=True),
        "SSRU: one vector": Ssru(512),
    }
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    for label, mixer in mixers.items():
        axes.plot(lengths, [mixer.state_bytes(length) / 2**10 for length in lengths], marker="o", label=label)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set(xlabel="tokens", ylabel="KiB for each layer, 512 wide")
    axes.legend()
    return figure


def agreement(runs: Path) -> Figure:
    """Draw the alignment error rate of each head of a Transformer's decoder, on 200 sentences with gold links."""
    count = 200
    text = [read_lines(embedded_corpus() / f"test.{language}")[:count] for language in ("de", "en")]
    gold = read_gold(embedded_corpus() / "test.align")[:count]
    translator = nmt.load(runs / "transformer", device="cpu")
    layers, heads = translator.attention(SENTENCE).weights.shape[:2]
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    for layer in range(1, layers + 1):
        rates = [
            alignment_scores(translator.align(*text, layer=layer, head=head), gold).aer for head in range(1, heads + 1)
        ]
        axes.bar(
            [head + 0.8 * layer / layers for head in range(heads)], rates, width=0.7 / layers, label=f"layer {layer}"
        )
    axes.set_xticks([head + 0.6 for head in range(heads)], [f"head {head + 1}" for head in range(heads)])
    axes.set(ylabel="alignment error rate", ylim=(0, 1))
    axes.legend()
    return figure


PICTURES: list[Callable[[Path], Figure]] = [
    fixed_vector,
    alignment,
    scores,
    saturation,
    patterns,
    heads,
    positions,
    cost,
    agreement,
]


def main(arguments: list[str]) -> int:
    """Draw every picture into the folder."""
    runs, folder = map(Path, [*arguments, *["runs/demo", "docs/tour"][len(arguments) :]])
    folder.mkdir(parents=True, exist_ok=True)
    for draw in PICTURES:
        path = folder / f"{draw.__name__}.png"
        draw(runs).savefig(path, dpi=110, bbox_inches="tight")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
