"""Join consecutive lines of parallel text to long ones, on which efficient attention can show what it gains.

usage: python scripts/join_lines.py SOURCE TARGET OUTPUT SUFFIX SUFFIX [--words 400 1500] [--lines N] [--seed 1]
       python scripts/join_lines.py laws/train.en.gz laws/train.fr.gz long/train en fr    # writes long/train.{en,fr}

Each joined pair takes lines until its source has at least a number of words that is drawn between the two of --words.
Lines left at the end, which are too few, are left out. --lines ends after that many joined pairs.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from nmt.data.compression import read_lines
from nmt.errors import NmtError
from nmt.files import atomic_write


def joined(
    sources: list[str], targets: list[str], shortest: int, longest: int, seed: int = 1
) -> Iterator[tuple[str, str]]:
    """Yield pairs of joined lines, whose sources have at least as many words as is drawn for each pair."""
    draw = random.Random(seed)
    wanted, begin, words = draw.randint(shortest, longest), 0, 0
    for end, source in enumerate(sources, start=1):
        words += len(source.split())
        if words >= wanted:
            yield " ".join(sources[begin:end]), " ".join(targets[begin:end])
            wanted, begin, words = draw.randint(shortest, longest), end, 0


def main() -> None:
    """Join two files, and say how many pairs came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("suffixes", nargs=2, metavar="SUFFIX")
    parser.add_argument("--words", nargs=2, type=int, default=(400, 1500), metavar=("SHORTEST", "LONGEST"))
    parser.add_argument("--lines", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    try:
        sources, targets = read_lines(options.source), read_lines(options.target)
    except NmtError as error:
        parser.error(str(error))
    if len(sources) != len(targets):
        parser.error(f"{options.source} has {len(sources):,} lines, and {options.target} has {len(targets):,}")
    pairs = list(islice(joined(sources, targets, *options.words, options.seed), options.lines))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for side, suffix in enumerate(options.suffixes):
        with atomic_write(options.output.with_name(f"{options.output.name}.{suffix}")) as file:
            file.writelines(f"{pair[side]}\n" for pair in pairs)
    print(f"{len(pairs):,} pairs in {options.output}.{{{','.join(options.suffixes)}}}")


if __name__ == "__main__":
    main()
