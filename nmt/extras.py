"""Packages that only some of nmt needs: an extra of its installation, imported where it is used."""

from __future__ import annotations

import importlib
from typing import Any

from nmt.errors import NmtError


def import_extra(package: str, extra: str | None = None) -> Any:
    """Import a package that an extra of pyproject.toml installs; the extra has the package's name unless given.

    Raises NmtError, with the command that installs it, where the package is missing. The command names the source
    folder and not a distribution: the name `nmt` belongs to another project on the package index.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # installed, but without what it needs itself
            raise
        raise NmtError(
            f"this needs the package {package}, which is not installed: {install_command(extra or package)}"
        ) from error


def install_command(extra: str) -> str:
    """Return what to type to install an extra, as the end of a sentence."""
    return f"run pip install -e '.[{extra}]' in the folder of nmt's source"
