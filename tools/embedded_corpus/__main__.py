"""Generate the embedded corpus with `python -m tools.embedded_corpus FOLDER`, or measure it with --statistics."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tools.embedded_corpus.corpus import ALIGNED, generate, statistics, write_corpus


def main() -> int:
    """Write the corpus into a folder, or check a folder against a new corpus and print its statistics."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded_corpus", description=__doc__)
    parser.add_argument("folder", type=Path, help="folder to write to, or to read from with --statistics")
    parser.add_argument(
        "--statistics", action="store_true", help="check and measure the corpus in the folder instead of writing it"
    )
    parser.add_argument(
        "--train-alignment", action="store_true", help="also write train.align, which does not come with the corpus"
    )
    arguments = parser.parse_args()
    splits = generate()
    if not arguments.statistics:
        for path in write_corpus(splits, arguments.folder, splits if arguments.train_alignment else ALIGNED):
            print(path, file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory() as fresh:
        for path in write_corpus(splits, Path(fresh)):
            other = arguments.folder / path.name
            if not other.is_file() or other.read_bytes() != path.read_bytes():
                print(f"{other} differs from what the grammar generates: generate the corpus again", file=sys.stderr)
                return 1
    for name, figure in statistics(splits).items():
        print(f"{name}\t{figure}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
