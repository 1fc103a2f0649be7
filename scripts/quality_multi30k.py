"""Train the best single systems on Multi30k, an hour each, side by side; write docs/results/quality_multi30k.*.

usage: python scripts/quality_multi30k.py FOLDER [key=value ...]

FOLDER contains {train,val,test_2016_flickr}.{de,en}. The systems are the presets `quality_multi30k_*`, one for each
direction. Existing runs are reused.
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
    """Train and score the systems and write the page."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    folder, *overrides = sys.argv[1:]
    command = " ".join(["python scripts/quality_multi30k.py FOLDER", *overrides])
    title = (
        "How good does a system get in an hour on one CPU core?\n\nOn Multi30k, with presets that were tuned on the "
        "validation text, one for each direction:"
    )
    quality = Quality("quality_multi30k", title, command, SYSTEMS, list(range(10, 61, 10)))
    quality.run([f"data.path={folder}", *overrides])


if __name__ == "__main__":
    main()
