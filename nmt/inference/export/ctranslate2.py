"""A trained Transformer as a CTranslate2 model: the same weights and vocabularies, laid out as that program has them.

The folder is a model like any other of CTranslate2, over SentencePiece pieces; source sentences are given with their
end of sentence. Weights are in float32 and quantised when they are loaded, as the one who loads them asks.
"""

from __future__ import annotations

import os
from pathlib import Path

from nmt.files import atomic_directory
from nmt.inference.export.current import Inexpressible, check_family, exclusively, place_of_export, positions_for
from nmt.inference.export.layers import specification
from nmt.inference.export.record import ExportRecord
from nmt.runs.run import LoadedRun


def export(run: LoadedRun, folder: str | os.PathLike[str] | None = None) -> Path:
    """Write a run as a CTranslate2 model, with a record of what it was made of, and return the folder.

    It is RUN_DIR/exports/ctranslate2 where none is given, complete or absent, and replaces an older export. Raises
    NmtError for what CTranslate2 cannot compute, naming it, for what `place_of_export` refuses, and where CTranslate2
    is not installed.
    """
    check_family(run.path, run.config)
    path = place_of_export(run.path, folder)
    with exclusively(path):
        write(run, path)
    return path


def write(run: LoadedRun, path: Path) -> None:
    """Write a run into the folder `path`, as `export` does, where nobody else writes."""
    positions = positions_for(run.config)
    try:
        spec = specification(run.model, positions)
    except Inexpressible as error:
        raise Inexpressible(f"{run.path} cannot be exported for CTranslate2: {error}") from error
    spec.register_source_vocabulary(pieces(run.tokenizer.source.names))
    spec.register_target_vocabulary(pieces(run.tokenizer.target.names))
    spec.validate()
    spec.optimize(quantization="float32")  # also finds equal weights, such as tied ones, and keeps them once
    record = ExportRecord.of(run.checkpoint, run.tokenizer, positions)
    with atomic_directory(path) as temporary:
        spec.save(str(temporary))
        record.write(temporary)


def pieces(names: list[str]) -> list[str]:
    """The vocabulary of these names; a tokenizer of words shows its unknown one as one of several words."""
    special = ["<pad>", "<unk>", "<s>", "</s>"]  # nmt.data.tokenizer has no model without them
    return special + names[len(special) :]
