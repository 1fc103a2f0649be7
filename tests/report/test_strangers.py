"""Test that names and texts from somebody else are shown in a report as they are, and do nothing."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import markdown  # type: ignore[import-untyped]
import pytest

from nmt.cli.compare import main
from nmt.report.page import escape_markdown
from nmt.report.table import format_table
from tests.evaluation.runs import REFERENCES, make_run, write_lines, write_texts

NAME = "run<script>alert(1)<\x1b]0;owned\x07&lt;b> ![i](j) | $\\frac$ `c` *d*"
SHOWN = "run<script>alert(1)<\\x1b]0;owned\\x07&lt;b> ![i](j) | $\\frac$ `c` *d*"
OTHER = "x<img onerror>"
ALLOWED = {"h1", "h2", "h3", "p", "strong", "code", "ul", "li", "img", "table", "thead", "tbody", "tr", "th", "td"}


class Tags(HTMLParser):
    """The tags, the sources of the pictures and the visible text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.pictures: set[str | None] = set()
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.pictures |= {value for name, value in attributes if tag == "img" and name == "src"}
        self.handlers += [name for name, _ in attributes if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report on a run and a file whose names and translations are not meant well."""
    work = tmp_path_factory.mktemp("strangers")
    write_texts(work)
    run = make_run(work / NAME, "luong", work)
    answers = [f"{line} <img src=y onerror=alert(2)> \x1b[2J [a](b) |" for line in REFERENCES]
    file = write_lines(work / "other.txt", answers)
    arguments = [str(run), f"{OTHER}={file}", "-o", str(work / "report"), "--sentences", "2", "--device", "cpu"]
    assert main(arguments) == 0
    return work


def test_markdown_shows_names_and_translations_as_they_are(work: Path) -> None:
    """By Python-Markdown, which does not know a backslash before <."""
    text = (work / "report" / "report.md").read_text("utf-8")
    assert text.isprintable() is False and all(c.isprintable() or c == "\n" for c in text)
    page = Tags(markdown.markdown(text, extensions=["tables"]))
    figures = {f"figures/{path.name}" for path in (work / "report" / "figures").iterdir()}
    assert page.tags <= ALLOWED and page.pictures == figures and not page.handlers
    assert SHOWN in page.text.replace("\\$", "$") and OTHER in page.text  # another escape that it does not know
    assert f"{REFERENCES[0]} <img src=y onerror=alert(2)> \\x1b[2J [a](b) |" in page.text


def test_the_page_shows_them_as_they_are(work: Path) -> None:
    page = Tags((work / "report" / "index.html").read_text("utf-8"))
    assert not page.tags & {"script", "img", "b"} and not page.handlers
    assert OTHER in page.text and "run<script>alert(1)<" in page.text


def test_pictures_are_named_plainly_and_hold_no_markup_of_others(work: Path) -> None:
    figures = list((work / "report" / "figures").iterdir())
    assert any(path.name.startswith("attention-1-run_script_alert_1_") for path in figures)
    for path in figures:
        tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
        assert not tags & {"script", "img", "b", "foreignObject"}


def test_the_terminal_shows_control_characters_as_escapes(work: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [str(work / NAME), f"{OTHER}={work / 'other.txt'}", "-o", str(work / "again"), "--device", "cpu"]
    assert main(arguments) == 0
    printed = capfd.readouterr()
    for text in printed:
        assert "\\x1b]0;owned\\x07" in text and all(c.isprintable() or c == "\n" for c in text)


def test_columns_of_a_table_stay_in_line() -> None:
    first, second = format_table(["name", "n"], [["\x1b[2Ja\n", "1"]]).splitlines()
    assert (first, second) == ("name        n", "\\x1b[2Ja\\n  1")


def test_spelling_stays_in_markdown_and_orders_do_not() -> None:
    assert escape_markdown("می\u200cخواهم \u200f\u061c") == "می\u200cخواهم \u200f\u061c"
    assert escape_markdown("a\u202eb\n# c\udcff") == "a\\\\u202eb\\\\n\\# c\\\\udcff"
