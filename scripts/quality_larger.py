"""Train single systems on text larger than Multi30k, side by side, and renew docs/results/quality_larger.*.

usage: python scripts/quality_larger.py [key=value ...]

The systems are the presets `canada_laws_en_fr` and `news_de_en`, whose text lies in data/ (configs/data/ has the
names). Runs that are there already are used.
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

REMARKS = """What limits them:

- Canada's laws: time. At some 1,500 target tokens a second two hours are less than one pass over the 506,438 pairs; the
  model finds validation text no harder than what it is trained on, and the scores rise to the end.
- News: text. Of 193,301 pairs 28,601 are news, test sets of other years; the rest are Tatoeba's short sentences, of
  which it translates new ones well. News is three times as perplexing to it as what it is trained on. Published systems
  for newstest2014 have seen millions of pairs."""


def main() -> None:
    """Train, score and write."""
    overrides = sys.argv[1:]
    if any("=" not in override for override in overrides):
        sys.exit(__doc__)
    command = " ".join(["python scripts/quality_larger.py", *overrides])
    title = "Larger text: single systems of two hours on two CPU cores"
    Quality("quality_larger", title, command, SYSTEMS, list(range(30, 151, 30)), REMARKS).run(overrides)


if __name__ == "__main__":
    main()
