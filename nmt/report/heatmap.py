"""Attention weights as a picture: source tokens along the top, target tokens down the side."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nmt.report.fonts import families_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELL = 0.2  # inches a token
FONT_SIZE = 8.5
INK = "#0b0b0b"
LINE = "#c9c8c2"
HUE = (0.165, 0.384, 0.690)  # weights are this blue, from transparent to opaque, so they read on light and on dark


def heatmap(
    weights: ArrayLike, source_tokens: Sequence[str], target_tokens: Sequence[str], title: str | None = None
) -> Figure:
    """Draw weights [tgt_len, src_len]; the figure grows with the tokens so that 60 of them stay readable."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    values = np.asarray(weights, dtype=float)
    rows, columns = values.shape
    if (rows, columns) != (len(target_tokens), len(source_tokens)):
        raise ValueError(f"weights {values.shape} do not fit {len(target_tokens)} x {len(source_tokens)} tokens")
    families = families_for([*source_tokens, *target_tokens, title or ""])
    width, height = CELL * columns, CELL * rows
    figure = Figure(figsize=(width + 0.5, height))
    axes = figure.add_axes((0, 0, width / (width + 0.5), 1))
    ramp = np.linspace(0, 1, 256)
    colours = ListedColormap([(*HUE, alpha) for alpha in ramp])
    image = axes.imshow(
        values, cmap=colours, vmin=0, vmax=max(float(values.max()), 1e-9), aspect="auto", interpolation="none"
    )
    text: dict[str, Any] = {"fontfamily": families, "fontsize": FONT_SIZE, "color": INK, "parse_math": False}
    axes.xaxis.tick_top()
    axes.set_xticks(range(columns), [_clean(token) for token in source_tokens], rotation=90, **text)
    axes.set_yticks(range(rows), [_clean(token) for token in target_tokens], **text)
    _draw_grid(axes, rows, columns)
    _draw_scale(figure, image, width, height)
    if title:
        axes.set_xlabel(_clean(title), labelpad=8, **{**text, "fontsize": FONT_SIZE + 1})
    return figure


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as PNG bytes on white, as large as its labels need."""
    buffer = io.BytesIO()
    _save(figure, buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def to_svg(figure: Figure) -> str:
    """The figure as SVG text on white, glyphs as outlines so that it needs no font; equal figures give equal text."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "nmt", "svg.fonttype": "path"}):
        _save(figure, buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _save(figure: Figure, buffer: io.BytesIO | io.StringIO, **options: Any) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # `fonts.missing_characters` names them all
        figure.savefig(buffer, bbox_inches="tight", pad_inches=0.08, facecolor="white", **options)


def heatmap_array(
    weights: ArrayLike, source_tokens: Sequence[str], target_tokens: Sequence[str], title: str | None = None
) -> NDArray[np.uint8]:
    """The heatmap of weights [tgt_len, src_len] as pixels [height, width, 3], e.g. for TensorBoard."""
    from PIL import Image

    png = to_png(heatmap(weights, source_tokens, target_tokens, title), dpi=100)
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


def _clean(token: str) -> str:
    """A token that can be a label: no line breaks or control characters, and never nothing at all."""
    return "".join(character if character.isprintable() else "·" for character in token) or "·"


def _draw_grid(axes: Any, rows: int, columns: int) -> None:
    axes.set_xticks(np.arange(-0.5, columns), minor=True)
    axes.set_yticks(np.arange(-0.5, rows), minor=True)
    axes.grid(which="minor", color=LINE, linewidth=0.3)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_edgecolor(LINE)
        spine.set_linewidth(0.6)


def _draw_scale(figure: Figure, image: Any, width: float, height: float) -> None:
    """What the colours mean, at the right edge: no taller than the map, and no taller than two inches."""
    total = width + 0.5
    share = min(1.0, 2.0 / height)
    axes = figure.add_axes(((width + 0.12) / total, 1 - share, 0.09 / total, share))
    most = float(image.norm.vmax)
    ramp = np.linspace(0, most, 256)[:, None]
    axes.imshow(ramp, cmap=image.cmap, origin="lower", extent=(0, 1, 0, most), aspect="auto", interpolation="none")
    ticks = [0.0, most / 2, most] if height >= 0.6 else [0.0, most]
    axes.set_xticks([])
    axes.set_yticks(ticks, [f"{tick:.2g}" for tick in ticks], fontsize=FONT_SIZE - 1.5, color=INK)
    axes.yaxis.tick_right()
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
