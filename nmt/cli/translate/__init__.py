"""nmt-translate: raw text in, translations out, line by line."""

from nmt.cli.translate.command import main

__all__ = ["main"]
