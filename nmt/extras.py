"""Optional packages, which are installed as extras of nmt and imported only where they are used."""

from __future__ import annotations

import importlib
from typing import Any

from nmt.errors import NmtError


def import_extra(package: str, extra: str | None = None) -> Any:
    """Import a package that an extra in pyproject.toml installs; by default the extra has the package's name.

    Raises NmtError with the command to install it if the package is missing. This command names the source folder
    instead of a distribution, because the name `nmt` belongs to another project on the package index.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # the package is there, but another package that it needs is missing
            raise
        raise NmtError(
            f"this needs the package {package}, which is not installed: {install_command(extra or package)}"
        ) from error


def install_command(extra: str) -> str:
    """Return the command that installs an extra, as the end of a sentence."""
    return f"run pip install -e '.[{extra}]' in the folder of nmt's source"
