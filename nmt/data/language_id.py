"""Which language a line of text is in (Lui & Baldwin 2012, by py3langid): an extra, without any download."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from nmt.extras import import_extra


def identify(text: str) -> tuple[str, float]:
    """The most probable language of a text (ISO 639; zxx for none) and its probability among all those known."""
    return classifier()(text)


@lru_cache(maxsize=1)
def classifier() -> Callable[[str], tuple[str, float]]:
    """Loads the model, a second's work, once a process. Raises NmtError where the extra is not installed."""
    langid = import_extra("py3langid", "langid").langid
    classify: Callable[[str], tuple[str, float]] = langid.LanguageIdentifier.from_model_file(
        langid.MODEL_FILE, norm_probs=True
    ).classify
    return classify
