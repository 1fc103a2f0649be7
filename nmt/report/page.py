"""Render HTML pages that work offline: styles and pictures are inside the page, with a light and a dark theme."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt import __version__
from nmt.config.languages import html_language
from nmt.messages import visible
from nmt.pictures.heatmap import INK, LINE
from nmt.report.plots import GRID, MUTED, SERIES

if TYPE_CHECKING:
    from jinja2 import Environment

_OF_SPELLING = "\u200c\u200d\u200e\u200f\u061c"  # zero-width joiners, and marks of direction without an end
TEMPLATES = Path(__file__).parent / "templates"
# CSS variables that replace the colours of pictures, so that these follow the theme of the page.
THEME = {INK: "--ink", MUTED: "--muted", GRID: "--line", LINE: "--line"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, start=1)
}


def render_page(template: str, **context: Any) -> str:
    """Fill a template and return the page as HTML that needs no other files."""
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return environment().get_template(template).render(**context, style=style, version=__version__)


def inline_svg(svg: str, name: str) -> str:
    """Prepare an SVG file for use inside a page: no XML header, unique ids, no background, colours of the theme."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = svg.replace("fill: #ffffff", "fill: none")
    for colour, variable in THEME.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg.replace("<svg ", '<svg role="img" ', 1)


def environment() -> Environment:
    """Return the jinja2 environment of the templates, with filters for numbers and text; HTML is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        decimals=lambda value, places: "–" if value is None else f"{value:.{places}f}",
        signed=signed,
        count=lambda value: "–" if value is None else f"{value:,}",
        percent=percent,
        p_value=p_value,
        visible=visible,
        html_language=html_language,
        text=escape_markdown,
        cell=lambda text: escape_markdown(text).replace("|", "\\|"),
    )
    return environment


def signed(value: float, places: int) -> str:
    """Format a difference with its sign."""
    return f"{value:+.{places}f}".replace("-", "−")


def p_value(value: float) -> str:
    """Format a p-value with three decimals."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def percent(part: float, whole: float) -> str:
    """Format part / whole as a percentage with two decimals, which is 0% or 100% only if it is exactly that."""
    if whole == 0:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.01:
        return "< 0.01%"
    return "> 99.99%" if 99.99 < share < 100 else f"{share:.2f}%"


def escape_markdown(text: str) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, no control characters.

    HTML is escaped by entities, which all renderers know; some do not know a backslash before <. Joiners and marks of
    direction, which belong to the spelling of some languages, stay.
    """
    shown = visible(text, _OF_SPELLING).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#~$])", r"\\\1", shown)
