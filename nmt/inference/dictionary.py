"""The dictionary of a run: translations of single words, for words that are not in the model's vocabulary.

RUN_DIR/dictionary.tsv    one entry per line: a source word, a tab, its translation. It is made by nmt-shortlist
                          --dictionary, or put there by the user
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nmt.data.cleaning import normalise_whitespace
from nmt.data.compression import lines
from nmt.errors import NmtError
from nmt.files import atomic_write
from nmt.runs.run import DICTIONARY


def load_dictionary(run_dir: str | os.PathLike[str]) -> dict[str, str]:
    """Read the dictionary of a run; if a source word has several entries, the first one counts.

    Raises NmtError if the file is missing, is not UTF-8, or has a line that is not a source word, a tab and a
    translation.
    """
    path = Path(run_dir) / DICTIONARY
    if not path.is_file():  # a pipe would keep its reader waiting for ever
        raise NmtError(
            f"search.replace_unknown=dictionary needs {path}, which is {'no file' if path.exists() else 'not there'}: "
            f"run nmt-shortlist {path.parent} --dictionary, put a dictionary of your own there, or choose "
            "search.replace_unknown=copy"
        )
    found: dict[str, str] = {}
    for number, line in enumerate(lines(path), start=1):
        cells = list(map(normalise_whitespace, line.split("\t")))
        if len(cells) != 2 or not all(cells):
            raise NmtError(
                f"{path}, line {number}: a line of a dictionary has a source word, one tab and its translation, but "
                f"this one has {_described(cells)}: fix the line"
            )
        found.setdefault(*cells)
    return found


def save_dictionary(run_dir: str | os.PathLike[str], entries: Mapping[str, str]) -> Path:
    """Write the dictionary of a run, completely or not at all, and return the path of the file."""
    path = Path(run_dir) / DICTIONARY
    with atomic_write(path) as file:
        file.writelines(f"{source}\t{target}\n" for source, target in entries.items())
    return path


def _described(cells: list[str]) -> str:
    if len(cells) == 1:
        return "no tab"
    return f"{len(cells) - 1} tabs" if len(cells) > 2 else "nothing on one side of it"
