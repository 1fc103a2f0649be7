"""Attention heatmaps of chosen sentences, for every system that has attention, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nmt.evaluation.align import WordAttention, word_attention
from nmt.evaluation.sets import EvaluationSet
from nmt.report.systems import System

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Map:
    """One system's attention on one sentence, while it gives its own translation."""

    system: int  # index
    attention: WordAttention


@dataclass(frozen=True)
class SentenceMaps:
    """A sentence and the maps of the systems that have attention."""

    line: int  # counted from 1
    source: str
    reference: str
    maps: list[Map]


def choose_sentences(lengths: Sequence[int], shown: Sequence[bool]) -> list[int]:
    """Line numbers (from 1) of a short, a median and a long sentence, among those every system has an answer to.

    lengths in words; short is the 10th percentile, long the 95th.
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
    languages: tuple[str, str],
    log: Callable[[str], None] = lambda line: None,
) -> list[SentenceMaps]:
    """The maps of the given lines (from 1); a system's empty translation has none."""
    rows = [line - 1 for line in lines]
    maps: list[list[Map]] = [[] for _ in rows]
    for index, system in enumerate(systems):
        if system.run is None or not system.run.model.attends:
            continue
        log(f"{system.name}: reading its attention")
        given = [place for place, row in enumerate(rows) if system.hypotheses[row].strip()]
        attentions = word_attention(
            system.run.model,
            system.run.tokenizer,
            [test_set.sources[rows[place]] for place in given],
            [system.hypotheses[rows[place]] for place in given],
            languages=languages,
            tags=None if test_set.tags is None else [test_set.tags[rows[place]] for place in given],
        )
        for place, attention in zip(given, attentions, strict=True):
            maps[place].append(Map(index, attention))
    return [
        SentenceMaps(line, test_set.sources[line - 1], test_set.references[line - 1], shown)
        for line, shown in zip(lines, maps, strict=True)
        if shown
    ]


def draw(attention: WordAttention) -> Figure:
    """The heatmap of one system's attention."""
    from nmt.report.heatmap import heatmap

    source_labels, target_labels = attention.labels
    return heatmap(attention.weights, source_labels, target_labels)
