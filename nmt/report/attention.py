"""Draw attention as pictures with titles: the layers and heads of one system, or several systems side by side."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nmt.evaluation.sets import EvaluationSet
from nmt.inference.word_attention import BEGIN, DEFAULT, Selection, on_words, piece_attention
from nmt.pictures.heatmap import Panel, heatmaps
from nmt.report.systems import System

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nmt.data.tokenizer import Tokenizer
    from nmt.inference.word_attention import WordAttention
    from nmt.models.contract import AttentionKind
    from nmt.models.seq2seq import Seq2Seq

KINDS: dict[AttentionKind, str] = {
    "cross": "cross-attention",
    "encoder": "encoder self-attention",
    "decoder": "decoder self-attention",
}


@dataclass(frozen=True)
class Picture:
    """The attention of one system in one sentence: a row of maps for each layer, with one map for each head."""

    stem: str  # the file name without extension
    title: str
    panels: list[list[Panel]]
    keys: list[str]  # labels along the top: the words that are attended to
    queries: list[str]  # labels down the side: the words that attend

    @property
    def most(self) -> float:
        """The largest weight in all maps."""
        return max(float(np.max(panel.weights)) for row in self.panels for panel in row)

    def draw(self, most: float | None = None) -> Figure:
        """Draw the picture with a colour scale up to `most`, by default its largest weight."""
        return heatmaps(self.panels, self.keys, self.queries, self.title, most)


@dataclass(frozen=True)
class Map:
    """The attention of one system in one sentence and the system's own translation of it."""

    system: int  # index in the list of systems
    picture: Picture

    @property
    def name(self) -> str:
        """The file name and HTML id; the number keeps names distinct when special characters are replaced."""
        return f"attention-{self.system + 1}-{re.sub(r'[^A-Za-z0-9_.=+-]+', '_', self.picture.stem)}"


@dataclass(frozen=True)
class SentenceMaps:
    """A sentence and one map for each system that has attention."""

    line: int  # counted from 1
    source: str
    reference: str
    maps: list[Map]

    @property
    def most(self) -> float:
        """The largest weight in all maps, at which their common colour scale ends."""
        return max(shown.picture.most for shown in self.maps)


def pictures(
    name: str,
    model: Seq2Seq,
    tokenizer: Tokenizer,
    pairs: Sequence[tuple[int, str, str]],
    selection: Selection = DEFAULT,
    kind: AttentionKind = "cross",
    languages: Sequence[tuple[str, str]] | None = None,
    tags: Sequence[str | None] | None = None,
) -> list[Picture]:
    """Return pictures of the attention of a model, called `name`, when it is forced to produce each pair's target.

    Each pair is a line number (from 1), a source and a target. Punctuation at the edges of words has rows of its own.
    """
    from nmt.models.attention_heads import removed_of

    sources, targets = [source for _, source, _ in pairs], [target for _, _, target in pairs]
    found = piece_attention(model, tokenizer, sources, targets, lambda weights: weights, tags, kind)
    source_side, target_side = {"cross": (0, 1), "encoder": (0, 0), "decoder": (1, 1)}[kind]
    drawn = []
    for each, (line, _, _), spoken in zip(found, pairs, languages or [("", "")] * len(found), strict=True):
        words = on_words(each, (spoken[source_side], spoken[target_side]), punctuation_apart=True)
        special = model.implied_layers(kind), removed_of(model, kind)
        drawn.append(_picture(name, line, words, selection, kind, *special))
    return drawn


def _picture(
    name: str,
    line: int,
    words: WordAttention,
    selection: Selection,
    kind: AttentionKind,
    implied: Sequence[int] = (),
    removed: Collection[tuple[int, int]] = (),
) -> Picture:
    """Return the picture of the selected layers and heads of weights [layers, heads, queries, keys], with a title.

    The title says so if the weights of any of these layers are implied. A head that is `removed` has an empty map.
    """
    weights = words.weights
    keys, queries = words.labels
    if kind == "decoder":  # the decoder's input begins with <s>, which `on_words` puts at the end
        keys, weights = [BEGIN, *words.source_words], np.roll(weights, 1, axis=-1)
    count = weights.shape[:2]
    attending = [layer for layer in range(count[0]) if weights[layer].any()]  # other layers (ssru) have no weights
    layers, heads = selection.groups(attending, count[1])
    panels = [
        [
            Panel(
                f"{_named('layer', layer)}, {_named_heads(layer, head, removed)}",
                (0 if _all_gone(layer, head, removed) else 1) * weights[layer][:, head].mean((0, 1)),
            )
            for head in heads
        ]
        for layer in layers
    ]
    title = f"{name}, sentence {line:,}: "
    parts = [name, f"sentence{line}", *([] if kind == "cross" else [kind])]
    if count == (1, 1):  # a single map, as in recurrent models
        title += "attention" if kind == "cross" else KINDS[kind]
    else:
        title += KINDS[kind]
        parts += [_short("layer", layers), _short("head", heads)]
        if len(layers) == len(heads) == 1:
            title += f", {panels[0][0].title}"
    if shown := [layer + 1 for group in layers for layer in group if layer in implied]:
        title += f" (layer {', '.join(map(str, shown))}: implied, mean of absolute values)"
    if len(layers) == len(heads) == 1:
        panels = [[Panel("", panels[0][0].weights)]]  # already part of the picture's title
    return Picture("-".join(parts), title, panels, keys, queries)


def _named(what: str, numbers: Sequence[int]) -> str:
    return f"{what} {numbers[0] + 1}" if len(numbers) == 1 else f"mean of {len(numbers)} {what}s"


def _named_heads(layers: Sequence[int], heads: Sequence[int], removed: Collection[tuple[int, int]]) -> str:
    """Return the part of a title that says which heads of these layers are shown, without those that are removed."""
    if _all_gone(layers, heads, removed):
        return f"{_named('head', heads)} (removed)"
    counts = {sum((layer, head) not in removed for head in heads) for layer in layers}
    if len(heads) == 1:
        return _named("head", heads)
    return f"mean of {counts.pop()} heads" if len(counts) == 1 else "mean of all heads"


def _all_gone(layers: Sequence[int], heads: Sequence[int], removed: Collection[tuple[int, int]]) -> bool:
    return all((layer, head) in removed for layer in layers for head in heads)


def _short(what: str, groups: Sequence[Sequence[int]]) -> str:
    """Return the part of a file name that says which layers or heads are shown."""
    if len(groups) > 1:
        return f"{what}s-all"
    return f"{what}{groups[0][0] + 1}" if len(groups[0]) == 1 else f"{what}s-mean"


def choose_sentences(lengths: Sequence[int], shown: Sequence[bool]) -> list[int]:
    """Return the line numbers (from 1) of a short, a median and a long sentence, among those marked in `shown`.

    `lengths` are source lengths; short is the 10th percentile, long the 95th.
    """
    order = sorted((index for index, usable in enumerate(shown) if usable), key=lambda index: (lengths[index], index))
    if not order:
        return []
    places = [int(share * (len(order) - 1)) for share in (0.1, 0.5, 0.95)]
    return [order[place] + 1 for place in sorted(set(places))]


def attention_maps(
    systems: Sequence[System],
    test_set: EvaluationSet,
    lines: Sequence[int],
    log: Callable[[str], None] = lambda line: None,
) -> list[SentenceMaps]:
    """Return the attention maps of the given lines (from 1), without those of systems whose translation is empty."""
    rows = [line - 1 for line in lines]
    maps: list[list[Map]] = [[] for _ in rows]
    for index, system in enumerate(systems):
        if system.run is None or not system.run.model.attends:
            continue
        log(f"{system.name}: reading its attention")
        given = [place for place, row in enumerate(rows) if system.hypotheses[row].strip()]
        tags = [None if test_set.tags is None else test_set.tags[rows[place]] for place in given]
        drawn = pictures(
            system.name,
            system.run.model,
            system.run.tokenizer,
            [(lines[place], test_set.sources[rows[place]], system.hypotheses[rows[place]]) for place in given],
            languages=[system.run.config.data.languages_of(tag) for tag in tags],
            tags=tags,
        )
        for place, picture in zip(given, drawn, strict=True):
            maps[place].append(Map(index, picture))
    return [
        SentenceMaps(line, test_set.sources[line - 1], test_set.references[line - 1], shown)
        for line, shown in zip(lines, maps, strict=True)
        if shown
    ]
