"""nmt: neural machine translation from the RNN encoder-decoder to the Transformer, end to end.

The names in `__all__` are imported when they are first used, so that `import nmt` does not wait for torch to load.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nmt.api import evaluate, load, prepare, train
    from nmt.config.load import load_config
    from nmt.errors import NmtError
    from nmt.inference.translator import Translator
    from nmt.search.distribution import Sampling

__version__ = "0.1.0"
__all__ = ["NmtError", "Sampling", "Translator", "evaluate", "load", "load_config", "prepare", "train"]

_HOMES = {
    "load_config": "nmt.config.load",
    "NmtError": "nmt.errors",
    "Sampling": "nmt.search.distribution",
    "Translator": "nmt.inference.translator",
}  # the modules of the names that are not in nmt.api


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "nmt.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
