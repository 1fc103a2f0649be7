"""Packages that only some of nmt needs: an extra of its installation, imported where it is used."""

from __future__ import annotations

import importlib
from typing import Any

from nmt.errors import NmtError


def import_extra(package: str, extra: str | None = None) -> Any:
    """A package of an extra (default: the one of its name). Raises NmtError, with one sentence, if not installed."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # installed, but without what it needs itself
            raise
        install = f"pip install 'nmt[{extra or package}]'"
        raise NmtError(f"this needs the package {package}, which is not installed: {install}") from error
