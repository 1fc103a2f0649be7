"""Measure how well and how fast the language of lines is identified, for files named PREFIX.LANGUAGE.

    python scripts/language_identification.py multi30k/test_2016_flickr.{de,en} tatoeba/test.{de,en}

By default it measures the identifier that nmt uses (py3langid). --identifier lingua measures that package, if it is
installed. Speed is in lines per CPU second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from nmt.data.compression import read_lines
from nmt.data.language_id import classifier
from nmt.report.table import format_table

Identify = Callable[[str], tuple[str, float]]


def lingua() -> Identify:
    """Return an identifier for all languages of lingua, with all models in memory."""
    from lingua import LanguageDetectorBuilder

    detector = LanguageDetectorBuilder.from_all_languages().with_preloaded_language_models().build()

    def identify(text: str) -> tuple[str, float]:
        best = detector.compute_language_confidence_values(text)[0]
        return best.language.iso_code_639_1.name.lower(), best.value

    return identify


def measure(path: Path, identify: Identify, probability: float, most: int) -> list[str]:
    """Return a row of the table: shares of lines right and surely right, number surely wrong, and lines per second."""
    language, lines = path.name.rsplit(".", 1)[-1], read_lines(path)[:most]
    started = time.process_time()
    found = [identify(line) for line in lines]
    seconds = time.process_time() - started
    sure = [code for code, value in found if value >= probability]
    right = sum(code == language for code, _ in found)
    return [
        str(Path(path.parent.name) / path.name),
        f"{len(lines):,}",
        f"{right / len(lines):.2%}",
        f"{sure.count(language) / len(lines):.1%}",
        f"{len(sure) - sure.count(language)}",
        f"{len(lines) / seconds:,.0f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="PREFIX.LANGUAGE")
    parser.add_argument("--identifier", choices=["py3langid", "lingua"], default="py3langid")
    parser.add_argument(
        "--probability", type=float, default=0.9, help="probability from which on an answer counts as sure (0.9)"
    )
    parser.add_argument("--lines", type=int, default=1000, help="number of lines per file, at most (1000)")
    arguments = parser.parse_args()
    identify = lingua() if arguments.identifier == "lingua" else classifier()
    rows = [measure(path, identify, arguments.probability, arguments.lines) for path in arguments.files]
    header = ["text", "lines", "right", "surely right", "surely another", "a second"]
    print(format_table(header, rows))


if __name__ == "__main__":
    main()
