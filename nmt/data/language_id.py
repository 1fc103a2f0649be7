"""Language identification (Lui & Baldwin 2012) by py3langid, which is an optional extra and downloads nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from nmt.extras import import_extra


def identify(text: str) -> tuple[str, float]:
    """Return the most probable language of a text (ISO 639 code; zxx for no language) and its probability."""
    return classifier()(text)


@lru_cache(maxsize=1)
def classifier() -> Callable[[str], tuple[str, float]]:
    """Load the model, which takes a second, once per process; raises NmtError if the extra is not installed."""
    langid = import_extra("py3langid", "langid").langid
    classify: Callable[[str], tuple[str, float]] = langid.LanguageIdentifier.from_model_file(
        langid.MODEL_FILE, norm_probs=True
    ).classify
    return classify
