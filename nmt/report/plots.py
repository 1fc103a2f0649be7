"""The charts of reports: BLEU by source length, what happened during training, what the data is like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nmt.pictures.fonts import families_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Eight hues that stay apart for colour-blind readers, in an order in which neighbours differ most; then dashes.
SERIES = ("#2a78d6", "#eb6834", "#1baf7a", "#eda100", "#e87ba4", "#008300", "#4a3aa7", "#e34948")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1.5, 1.5)))
INK, MUTED, GRID = "#0b0b0b", "#52514e", "#e1e0d9"


@dataclass(frozen=True)
class Line:
    """One system's points in a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Histogram:
    """A small chart of how often values occur."""

    title: str  # of the x axis
    edges: Sequence[float]  # of the bins, one more than there are
    shares: Sequence[Sequence[float]]  # of each series, in each bin
    logarithmic: bool = False  # the x axis, to base 2


def length_chart(labels: Sequence[str], sentences: Sequence[int], lines: Sequence[Line], unit: str) -> Figure:
    """BLEU over buckets of source length, one line a system; each bucket says how many sentences it has."""
    figure = _figure(7.4, 3.6)
    axes = figure.add_axes((0.08, 0.19, 0.9, 0.77))
    for index, line in enumerate(lines):
        axes.plot(line.x, line.y, **_style(index))
    axes.set_xticks(range(len(labels)), [f"{label}\n{count:,}" for label, count in zip(labels, sentences, strict=True)])
    axes.set_xlim(-0.3, len(labels) - 0.7)
    axes.set_ylim(bottom=0)
    _finish(axes, f"source length in {unit}, and sentences of that length", "BLEU")
    _legend(figure, list(enumerate(line.name for line in lines)))
    return figure


def histogram_chart(panels: Sequence[Histogram], names: Sequence[str]) -> Figure:
    """Histograms side by side, in percent; `names` are the series, so that one has the same colour in every panel."""
    figure, grid = _grid(len(panels))
    for axes, panel in zip(grid, panels, strict=True):
        for index, shares in enumerate(panel.shares):
            colour = SERIES[index] if len(panel.shares) > 1 else MUTED
            heights = [100 * share for share in shares]
            axes.stairs(heights, panel.edges, fill=True, color=colour, alpha=0.22, linewidth=0)
            axes.stairs(heights, panel.edges, color=colour, linewidth=1.6)
        if panel.logarithmic:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlim(panel.edges[0], panel.edges[-1])
        axes.set_ylim(bottom=0)
        _finish(axes, panel.title, "% of the sentences")
    _legend(figure, list(enumerate(names)), marker="")
    return figure


def frequency_chart(lines: Sequence[Line]) -> Figure:
    """Frequency over rank, both logarithmic, after Zipf: one line for each vocabulary."""
    figure = _figure(7.4, 3.2)
    axes = figure.add_axes((0.08, 0.16, 0.9, 0.8))
    for index, line in enumerate(lines):
        axes.plot(line.x, line.y, **_style(index) | {"marker": ""})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    _finish(axes, "rank of the piece", "occurrences in training")
    _legend(figure, list(enumerate(line.name for line in lines)), marker="")
    return figure


def training_chart(panels: Sequence[tuple[str, str, Sequence[Line]]], names: Sequence[str]) -> Figure:
    """Small charts side by side: each panel is the title of its x axis, of its y axis, and the systems' lines.

    `names` are all the systems, so that a system has the same colour in every panel.
    """
    figure, grid = _grid(len(panels))
    for axes, (x_title, y_title, lines) in zip(grid, panels, strict=True):
        for line in lines:
            every = math.ceil(len(line.x) / 8)
            axes.plot(line.x, line.y, **_style(names.index(line.name)), markevery=every)
        _finish(axes, x_title, y_title)
    shown = {line.name for _, _, lines in panels for line in lines}
    _legend(figure, [(index, name) for index, name in enumerate(names) if name in shown])
    return figure


def _grid(panels: int) -> tuple[Figure, list[Any]]:
    """A figure with so many small charts, two in a row."""
    rows = math.ceil(panels / 2)
    figure = _figure(7.4, 2.7 * rows)
    grid = figure.subplots(rows, 2, squeeze=False, gridspec_kw={"wspace": 0.24, "hspace": 0.36})
    figure.subplots_adjust(left=0.08, right=0.98, top=0.97, bottom=0.16 / rows + 0.02)
    for axes in list(grid.flat)[panels:]:
        axes.set_visible(False)
    return figure, list(grid.flat)[:panels]


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))


def _style(index: int) -> dict[str, Any]:
    return {
        "color": SERIES[index % len(SERIES)],
        "marker": MARKERS[index % len(MARKERS)],
        "linestyle": DASHES[index // len(SERIES) % len(DASHES)],
        "linewidth": 1.8,
        "markersize": 5,
        "clip_on": False,
        "zorder": 3,
    }


def _finish(axes: Any, x_title: str, y_title: str) -> None:
    axes.set_xlabel(x_title, color=MUTED, fontsize=9)
    axes.set_ylabel(y_title, color=MUTED, fontsize=9)
    axes.tick_params(length=0, labelsize=8.5, labelcolor=MUTED)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(MUTED)
        spine.set_linewidth(0.7)


def _legend(figure: Figure, systems: Sequence[tuple[int, str]], **style: Any) -> None:
    """The systems' names, each with its place among all, above the charts in the colours and markers of their lines."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **_style(index) | style, label=name) for index, name in systems]
    legend = figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.07, 1.0),
        ncols=min(4, len(handles)),
        frameon=False,
        labelcolor=INK,
        prop=FontProperties(family=families_for(name for _, name in systems), size=9),
        handlelength=2.2,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
