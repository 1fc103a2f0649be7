"""Draw attention weights as heatmaps: source tokens along the top, target tokens down the side.

A figure has one map, or a grid of maps with a common scale, such as the layers and heads of a Transformer.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nmt.errors import NmtError
from nmt.messages import visible
from nmt.pictures.fonts import families_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = 0.2  # inches per token
SMALLEST_CELL = 0.11  # inches per token in a grid of many maps, where labels are 10 pixels high
WIDEST = 40.0  # inches; cells get smaller in a row of maps that would be wider
GAP = 0.25  # inches between maps
MOST_PIXELS = 200_000_000  # in a PNG: drawing takes at least four bytes per pixel
FONT_SIZE = 8.5
INK = "#0b0b0b"
LINE = "#c9c8c2"
HUE = (0.165, 0.384, 0.690)  # blue; weights go from transparent to opaque, visible on a light and a dark page


class Panel(NamedTuple):
    """One map in a figure."""

    title: str  # shown below the map
    weights: ArrayLike  # [tgt_len, src_len]


def heatmap(
    weights: ArrayLike, source_tokens: Sequence[str], target_tokens: Sequence[str], title: str | None = None
) -> Figure:
    """Draw weights [tgt_len, src_len] as one map; see `heatmaps`."""
    return heatmaps([[Panel("", weights)]], source_tokens, target_tokens, title)


def heatmaps(
    panels: Sequence[Sequence[Panel]],
    source_tokens: Sequence[str],
    target_tokens: Sequence[str],
    title: str | None = None,
    most: float | None = None,
) -> Figure:
    """Draw rows of maps of the same tokens; weights from 0 to `most` (default: the largest) share one colour scale.

    The figure grows with the number of tokens and maps, so that 60 tokens stay readable. Only in very wide figures do
    cells get smaller.
    """
    from matplotlib.figure import Figure

    rows, columns = len(target_tokens), len(source_tokens)
    for weights in (np.asarray(panel.weights) for row in panels for panel in row):
        if weights.shape != (rows, columns):
            raise ValueError(f"weights {weights.shape} do not fit {rows} x {columns} tokens")
    if most is None:
        most = max(float(np.asarray(panel.weights).max()) for row in panels for panel in row)
    cell = min(CELL, max(SMALLEST_CELL, WIDEST / (len(panels[0]) * columns)))
    look = _Look(families_for([*source_tokens, *target_tokens, title or ""]), FONT_SIZE * cell / CELL, max(most, 1e-9))
    figure = Figure()
    grid = [[look.draw(figure, panel, source_tokens, target_tokens) for panel in row] for row in panels]
    for row in grid:
        for axes in row[1:]:
            axes.set_yticklabels([])
    with _without_glyph_warnings():
        _place(figure, grid, cell * columns, cell * rows)
        look.draw_scale(figure, grid[0][-1])
        if title:
            top = figure.get_tightbbox().y1 / figure.get_figheight()
            style = {**look.text, "fontsize": FONT_SIZE + 1.5}
            figure.text(0, top + 0.12 / figure.get_figheight(), _clean(title), ha="left", va="bottom", **style)
    return figure


@dataclass(frozen=True)
class _Look:
    """The fonts and the scale that all maps of a figure share."""

    families: list[str]
    font_size: float
    most: float  # the weight that is drawn fully opaque

    @property
    def text(self) -> dict[str, Any]:
        return {"fontfamily": self.families, "fontsize": self.font_size, "color": INK, "parse_math": False}

    def draw(self, figure: Figure, panel: Panel, source_tokens: Sequence[str], target_tokens: Sequence[str]) -> Axes:
        """Draw one map with its labels and return its axes; `_place` moves the axes to their position later."""
        from matplotlib.colors import ListedColormap

        axes = figure.add_axes((0, 0, 1, 1), label=str(len(figure.axes)))
        colours = ListedColormap([(*HUE, alpha) for alpha in np.linspace(0, 1, 256)])
        values = np.asarray(panel.weights, dtype=float)
        axes.imshow(values, cmap=colours, vmin=0, vmax=self.most, aspect="auto", interpolation="none")
        axes.xaxis.tick_top()
        axes.set_xticks(range(len(source_tokens)), [_clean(token) for token in source_tokens], rotation=90, **self.text)
        axes.set_yticks(range(len(target_tokens)), [_clean(token) for token in target_tokens], **self.text)
        _draw_grid(axes, len(target_tokens), len(source_tokens))
        if panel.title:
            axes.set_xlabel(_clean(panel.title), labelpad=4, **self.text)
        return axes

    def draw_scale(self, figure: Figure, beside: Axes) -> None:
        """Draw the colour scale to the right of a map, at most as tall as the map and at most two inches."""
        width, height = figure.get_size_inches()
        box = beside.get_position()
        tall = min(box.height * height, 2.0)
        right = max(beside.bbox.x1, beside.xaxis.label.get_window_extent().x1) / figure.dpi / width
        axes = figure.add_axes((right + 0.12 / width, box.y1 - tall / height, 0.09 / width, tall / height))
        ramp = np.linspace(0, self.most, 256)[:, None]
        extent = (0.0, 1.0, 0.0, self.most)
        colours = beside.images[0].cmap
        axes.imshow(ramp, cmap=colours, origin="lower", extent=extent, aspect="auto", interpolation="none")
        ticks = [0.0, self.most / 2, self.most] if tall >= 0.6 else [0.0, self.most]
        axes.set_xticks([])
        axes.set_yticks(ticks, [f"{tick:.2g}" for tick in ticks], fontsize=FONT_SIZE - 1.5, color=INK)
        axes.yaxis.tick_right()
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)


def _place(figure: Figure, grid: Sequence[Sequence[Axes]], width: float, height: float) -> None:
    """Arrange maps of this width and height (inches) in rows, with space above each row for its labels."""
    figure.set_size_inches(width, height)
    first = grid[0][0]
    labels = first.get_tightbbox()
    assert labels is not None, "the axes are visible"
    around = (labels.height - min(first.bbox.height, labels.height)) / figure.dpi  # labels above and title below
    titles = max(axes.xaxis.label.get_window_extent().width for row in grid for axes in row) / figure.dpi
    across, down = max(width, titles) + GAP, height + around + GAP
    total = ((len(grid[0]) - 1) * across + width + 0.5, len(grid) * down - around - GAP)
    figure.set_size_inches(*total)
    for row, maps in enumerate(grid):
        for column, axes in enumerate(maps):
            corner = (column * across / total[0], 1 - (row * down + height) / total[1])
            axes.set_position((*corner, width / total[0], height / total[1]))


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """Return the figure as PNG bytes on white, large enough for its labels; raise NmtError if it is too large."""
    pixels = float(np.prod(figure.get_size_inches() * dpi))
    if pixels > MOST_PIXELS:
        raise NmtError(
            f"this picture would have {pixels / 1e6:,.0f} million pixels: draw fewer layers and heads, a shorter "
            "sentence, or SVG"
        )
    buffer = io.BytesIO()
    _save(figure, buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """Return the figure as SVG text on white.

    Glyphs are outlines, so no font is needed to show it. Equal figures give equal text. The labels are also in
    comments, where XML forbids control characters.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "nmt", "svg.fonttype": "path"}):
        _save(figure, buffer, format="svg", metadata={"Date": None})
    return visible(buffer.getvalue(), "\n")


def _save(figure: Figure, buffer: io.BytesIO | io.StringIO, **options: Any) -> None:
    with _without_glyph_warnings():
        figure.savefig(buffer, bbox_inches="tight", pad_inches=0.08, facecolor="white", **options)


@contextmanager
def _without_glyph_warnings() -> Iterator[None]:
    """Suppress matplotlib's warning for each missing character: `fonts.missing_characters` lists them all."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def heatmap_array(
    weights: ArrayLike, source_tokens: Sequence[str], target_tokens: Sequence[str], title: str | None = None
) -> NDArray[np.uint8]:
    """Draw weights [tgt_len, src_len] and return the pixels [height, width, 3], for TensorBoard for example."""
    from PIL import Image

    png = to_png(heatmap(weights, source_tokens, target_tokens, title), dpi=100)
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


def _clean(token: str) -> str:
    """Return a token as a label: control characters and line breaks become dots, and so does an empty token."""
    return "".join(character if character.isprintable() else "·" for character in token) or "·"


def _draw_grid(axes: Axes, rows: int, columns: int) -> None:
    """Draw lines between the cells, as one artist; matplotlib's own grid would need a tick for each line."""
    from matplotlib.collections import LineCollection

    right, bottom = columns - 0.5, rows - 0.5
    lines = [[(x, -0.5), (x, bottom)] for x in np.arange(-0.5, columns)]
    lines += [[(-0.5, y), (right, y)] for y in np.arange(-0.5, rows)]
    axes.add_collection(LineCollection(lines, colors=LINE, linewidths=0.3), autolim=False)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_edgecolor(LINE)
        spine.set_linewidth(0.6)
