"""Train single systems for quality on Multi30k, an hour each, side by side, and renew docs/results/quality_multi30k.*.

usage: python scripts/quality_multi30k.py FOLDER [key=value ...]

FOLDER has {train,val,test_2016_flickr}.{de,en}. The systems are the presets `quality_multi30k_*`, one for each
direction. Runs that are there already are used.
"""

from __future__ import annotations

import sys

from quality import Quality, System

TEST = {"test_2016_flickr": "test_2016_flickr (1,000)"}
SYSTEMS = {
    "German to English": System("quality_multi30k_de_en", TEST),
    "English to German": System("quality_multi30k_en_de", TEST),
}


def main() -> None:
    """Train, score and write."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder, *overrides = sys.argv[1:]
    command = " ".join(["python scripts/quality_multi30k.py FOLDER", *overrides])
    title = "Multi30k: single systems of an hour"
    quality = Quality("quality_multi30k", title, command, SYSTEMS, list(range(10, 61, 10)))
    quality.run([f"data.path={folder}", *overrides])


if __name__ == "__main__":
    main()
