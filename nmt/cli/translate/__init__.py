"""nmt-translate: translate raw text line by line."""

from nmt.cli.translate.command import main

__all__ = ["main"]
