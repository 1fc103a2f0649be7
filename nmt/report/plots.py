"""Draw the charts of reports: BLEU by source length, validation during training, and statistics of the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nmt.pictures.fonts import families_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Eight hues that colour-blind readers can distinguish, ordered so that neighbours differ most; more lines get dashes.
SERIES = ("#2a78d6", "#eb6834", "#1baf7a", "#eda100", "#e87ba4", "#008300", "#4a3aa7", "#e34948")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1.5, 1.5)))
INK, MUTED, GRID = "#0b0b0b", "#52514e", "#e1e0d9"


@dataclass(frozen=True)
class Line:
    """The points of one line in a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Histogram:
    """A small chart of the distribution of some values."""

    title: str  # title of the x axis
    edges: Sequence[float]  # edges of the bins, one more than bins
    shares: Sequence[Sequence[float]]  # the share of each bin, for each series
    logarithmic: bool = False  # logarithmic x axis, base 2


def length_chart(labels: Sequence[str], sentences: Sequence[int], lines: Sequence[Line], unit: str) -> Figure:
    """Draw BLEU over buckets of source length, one line per system; labels show the number of sentences per bucket."""
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
    """Draw histograms side by side, in percent; `names` are the series, which have the same colour in every panel."""
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
    """Draw frequency over rank on logarithmic axes (Zipf), one line for each vocabulary."""
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
    """Draw small charts side by side: each panel has the title of its x axis, of its y axis, and the systems' lines.

    `names` are all systems; each has the same colour in every panel.
    """
    figure, grid = _grid(len(panels))
    for axes, (x_title, y_title, lines) in zip(grid, panels, strict=True):
        for line in lines:
            every = math.ceil(len(line.x) / 8)
            axes.plot(line.x, line.y, **_style(names.index(line.name)), markevery=every)
        _finish(axes, x_title, y_title)
    _legend_of(figure, panels, names)
    return figure


def layers_chart(panels: Sequence[tuple[str, str, Sequence[Line]]], names: Sequence[str]) -> Figure:
    """Draw small charts like those of `training_chart`, but over layers, which are counted from 0."""
    from matplotlib.ticker import MaxNLocator

    figure, grid = _grid(len(panels))
    for axes, (x_title, y_title, lines) in zip(grid, panels, strict=True):
        for line in lines:
            axes.plot(line.x, line.y, **_style(names.index(line.name)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        _finish(axes, x_title, y_title)
    _legend_of(figure, panels, names)
    return figure


def _legend_of(figure: Figure, panels: Sequence[tuple[str, str, Sequence[Line]]], names: Sequence[str]) -> None:
    """Draw a legend of the systems that have a line in one of the panels; `names` are all systems."""
    shown = {line.name for _, _, lines in panels for line in lines}
    _legend(figure, [(index, name) for index, name in enumerate(names) if name in shown])


def _grid(panels: int) -> tuple[Figure, list[Any]]:
    """Return a figure with `panels` small charts, two per row, and their axes."""
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
    """Draw a legend above the charts; `systems` are indices, which determine colour and marker, with names."""
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
