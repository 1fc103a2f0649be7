"""Build a website from README.md and docs/ with Zensical: `python scripts/build_site.py [FOLDER]`.

The pages are written to be read in a checkout, where they link to source files and write formulas in LaTeX. This
script copies them into FOLDER/source, adds a page for each source file that they link to, and turns formulas into
MathML, which browsers draw by themselves. Zensical then writes FOLDER/html. A broken link fails the build. The pages
open from the folder and need no network, except for the diagram in architecture.md: browsers load the program that
draws it.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<=\])\(([^)\s#:]+)(#[^)\s]*)?\)")  # the file and the anchor of a link, without web addresses
FORMULA = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
LANGUAGES = {".py": "python", ".yaml": "yaml"}


class SiteError(Exception):
    """A mistake in a page, or a missing package, in one sentence."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Build a website from the project's pages.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "site", help="default: build/site")
    folder = parser.parse_args().folder
    try:
        build(ROOT, folder)
    except SiteError as error:
        sys.exit(f"build_site.py: error: {error}")
    print(folder / "html" / "index.html")


def build(root: Path, folder: Path) -> None:
    """Build the site of the pages under `root` in `folder`; raises SiteError."""
    for package in ("zensical", "latex2mathml"):
        if find_spec(package) is None:
            raise SiteError(f"{package} is not installed: pip install -c constraints.txt -e '.[site]'")
    source = folder / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(root / "docs", source / "docs", ignore=shutil.ignore_patterns("*.md", "*.toml"))
    for page in pages(root):
        write(source / page.relative_to(root), site_page(page, root, source))
    shutil.copy(root / "docs" / "zensical.toml", folder)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if built.returncode != 0:
        raise SiteError(f"zensical failed:\n{built.stdout}\n{built.stderr}")


def pages(root: Path) -> list[Path]:
    """Return every page of the site."""
    return sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])


def site_page(page: Path, root: Path, source: Path) -> str:
    """Return the text of a page for Zensical. Each source file that it links to gets a page under `source`."""

    def link(match: re.Match[str]) -> str:
        target = (page.parent / match[1]).resolve()
        if not target.is_file():
            raise SiteError(f"{page.relative_to(root)} links to {match[1]}, which is not a file")
        if target.suffix not in LANGUAGES:
            return match[0]
        name = target.relative_to(root)
        code = f"```{LANGUAGES[target.suffix]}\n{target.read_text('utf-8')}```\n"
        write(source / f"{name}.md", f"# {name}\n\n{code}")
        return f"({match[1]}.md)"

    parts = CODE.split(page.read_text("utf-8"))
    for index in range(0, len(parts), 2):  # the parts at odd places are code
        parts[index] = FORMULA.sub(lambda match: mathml(match[1]), LINK.sub(link, parts[index]))
    return "".join(parts)


def mathml(latex: str) -> str:
    """Return a displayed formula as MathML."""
    from latex2mathml.converter import convert  # of the extra `site`, as zensical is

    return convert(" ".join(latex.split()), display="block")


def write(path: Path, text: str) -> None:
    """Write a file, and the folders that lead to it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
