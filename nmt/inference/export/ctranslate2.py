"""Export of a trained Transformer to CTranslate2: the same weights and vocabularies in that program's format.

The exported folder is an ordinary CTranslate2 model over SentencePiece pieces. Source sentences must be given with
their end of sentence. Weights are stored in float32; CTranslate2 can quantise them when it loads them.
"""

from __future__ import annotations

import os
from pathlib import Path

from nmt.checksums import seal
from nmt.files import atomic_directory
from nmt.inference.export.current import Inexpressible, check_family, exclusively, place_of_export, positions_for
from nmt.inference.export.layers import specification
from nmt.inference.export.record import ExportRecord
from nmt.runs.run import LoadedRun


def export(run: LoadedRun, folder: str | os.PathLike[str] | None = None) -> Path:
    """Export a run as a CTranslate2 model and return the folder, by default RUN_DIR/exports/ctranslate2.

    The folder, which includes an `ExportRecord`, is written completely or not at all, and replaces an older export.
    Raises NmtError if CTranslate2 cannot compute some part of the model, if the folder cannot be used (see
    `place_of_export`), or if CTranslate2 is not installed.
    """
    check_family(run.path, run.config)
    path = place_of_export(run.path, folder)
    with exclusively(path):
        write(run, path)
    return path


def write(run: LoadedRun, path: Path) -> None:
    """Write the CTranslate2 model of a run to the folder `path`; the caller has to hold the lock (`exclusively`)."""
    positions = positions_for(run.config)
    try:
        spec = specification(run.model, positions)
    except Inexpressible as error:
        raise Inexpressible(f"{run.path} cannot be exported for CTranslate2: {error}") from error
    spec.register_source_vocabulary(pieces(run.tokenizer.source.names))
    spec.register_target_vocabulary(pieces(run.tokenizer.target.names))
    spec.validate()
    spec.optimize(quantization="float32")  # also stores equal weights, such as tied ones, only once
    record = ExportRecord.of(run.checkpoint, run.tokenizer, positions)
    with atomic_directory(path) as temporary:
        spec.save(str(temporary))
        record.write(temporary)
        seal(temporary)


def pieces(names: list[str]) -> list[str]:
    """Return the vocabulary for CTranslate2: the given names with the special tokens in the spelling it expects.

    Word tokenizers name the unknown token differently.
    """
    special = ["<pad>", "<unk>", "<s>", "</s>"]  # the first four ids of every tokenizer in nmt.data.tokenizer
    return special + names[len(special) :]
