"""Train single systems on text larger than Multi30k, side by side, and write docs/results/quality_larger.*.

usage: python scripts/quality_larger.py [key=value ...]

The systems are the presets `canada_laws_en_fr` and `news_de_en`. Put their text into data/; configs/data/ has the file
names. Existing runs are reused.
"""

from __future__ import annotations

import sys

from quality import Quality, System

SYSTEMS = {
    "Canada's laws, English to French": System("canada_laws_en_fr", {"test": "laws (2,542)"}),
    "News, German to English": System(
        "news_de_en", {"newstest2014": "newstest2014 (3,003)", "tatoeba": "Tatoeba (1,648)"}
    ),
}

REMARKS = """What limits these systems:

- Canada's laws: training time. At about 1,500 target tokens per second, two hours are less than one pass over the
  506,438 pairs. The perplexity of validation text is no higher than that of training text, and the scores rise until
  the end.
- News: the amount of news text. Only 28,601 of the 193,301 pairs are news (test sets of other years); the others are
  short sentences from Tatoeba, and the system translates new sentences of that kind well. The perplexity of news is
  three times that of the training text. Published systems for newstest2014 have seen millions of pairs."""


def main() -> None:
    """Train and score the systems and write the page."""
    overrides = sys.argv[1:]
    if any("=" not in override for override in overrides):
        sys.exit(__doc__)
    command = " ".join(["python scripts/quality_larger.py", *overrides])
    title = (
        "How good does a system get in two hours on two CPU cores?\n\nOn text that is larger than Multi30k, with one "
        "core for each system:"
    )
    Quality("quality_larger", title, command, SYSTEMS, list(range(30, 151, 30)), REMARKS).run(overrides)


if __name__ == "__main__":
    main()
