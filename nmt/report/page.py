"""How a page is made that opens offline: templates filled, text escaped, pictures inside, in light and dark."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt import __version__
from nmt.config.languages import html_language
from nmt.pictures.heatmap import INK, LINE
from nmt.report.plots import GRID, MUTED, SERIES

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
# The colours of pictures inside the page follow the page's theme.
THEME = {INK: "--ink", MUTED: "--muted", GRID: "--line", LINE: "--line"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES, start=1)
}


def render_page(template: str, **context: Any) -> str:
    """A page that needs nothing else."""
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return environment().get_template(template).render(**context, style=style, version=__version__)


def inline_svg(svg: str, name: str) -> str:
    """An SVG file as part of a page: no XML header, names of its own, no background, colours of the page's theme."""
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
    """The templates, with what they need to show numbers and text. HTML is escaped."""
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
    """A difference with its sign."""
    return f"{value:+.{places}f}".replace("-", "−")


def p_value(value: float) -> str:
    """A p-value to three places."""
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


def percent(part: float, whole: float) -> str:
    """A share to two places, told from none at all and from everything where rounding would hide it."""
    if whole == 0:
        return "–"
    share = 100 * part / whole
    if 0 < share < 0.01:
        return "< 0.01%"
    return "> 99.99%" if 99.99 < share < 100 else f"{share:.2f}%"


def visible(text: str) -> str:
    """Text with its control and format characters written out, so that none hides or turns what follows."""
    return "".join(
        character
        if character.isprintable() or unicodedata.category(character) == "Zs"
        else character.encode("unicode_escape").decode()
        for character in text
    )


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#~$])", r"\\\1", text)
