"""Tests of the files in an export."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from nmt.config.data import TokenizerConfig
from nmt.data.vocabulary import train_tokenizer
from nmt.inference.export.ctranslate2 import export, pieces
from nmt.inference.export.record import ExportRecord
from nmt.runs.checkpoints import WEIGHTS
from nmt.runs.run import LoadedRun, load_run
from tests.inference.export.exported import KINDS, exportable_config, make_exportable
from tests.toy_run import MAX_TOKENS, made_up_lines

JOINT, SEPARATE = "post relu shared tied", "pre gelu separate tied"


def load(folder: Path, kind: str) -> LoadedRun:
    return load_run(make_exportable(folder / "run", kind))


@pytest.mark.parametrize(
    ("kind", "vocabularies"),
    [
        (JOINT, {"shared_vocabulary.json": "source"}),
        (SEPARATE, {"source_vocabulary.json": "source", "target_vocabulary.json": "target"}),
    ],
)
def test_files(kind: str, vocabularies: dict[str, str], tmp_path: Path) -> None:
    run = load(tmp_path, kind)
    folder = export(run)
    assert folder == run.path / "exports" / "ctranslate2"
    assert {path.name for path in folder.iterdir()} == {
        "checksums.json",
        "config.json",
        "model.bin",
        "nmt.json",
        *vocabularies,
    }
    for name, side in vocabularies.items():
        model = getattr(run.tokenizer, side)
        assert json.loads((folder / name).read_text("utf-8")) == model.pieces(range(model.size))


def test_tied_weights_are_written_once_and_in_float32(tmp_path: Path) -> None:
    for kind in KINDS:
        run = load(tmp_path / kind, kind)
        size = (export(run) / "model.bin").stat().st_size
        positions = ExportRecord.read(run.path / "exports" / "ctranslate2").positions
        numbers = sum(parameter.numel() for parameter in run.model.parameters())  # counts tied weights once
        numbers += positions * exportable_config(kind).model_dim
        # a second copy of a tied weight would make a larger difference
        assert abs(size - 4 * numbers) < 4 * run.model.projection.weight.numel(), kind


def test_the_record_tells_what_it_was_made_of(tmp_path: Path) -> None:
    run = load(tmp_path, JOINT)
    record = ExportRecord.read(export(run))
    weights = (run.checkpoint.path / WEIGHTS).read_bytes()
    assert record == ExportRecord(
        run.checkpoint.name, 12, hashlib.sha256(weights).hexdigest(), run.tokenizer.fingerprint, 1024
    )
    run.config.search.max_length_ratio = 100.0
    assert ExportRecord.read(export(run)).positions == 100 * MAX_TOKENS + run.config.search.max_length_offset


def test_pieces_of_words_are_told_apart() -> None:
    lines = [*made_up_lines(50, seed=4), "ba <unk> <pad> de", "<s> <unk> </s>"]
    words = train_tokenizer(TokenizerConfig(algorithm="word", vocab_size=30), lines, lines)
    names = pieces(words.source_pieces(range(words.source_size)))
    assert names[:4] == ["<pad>", "<unk>", "<s>", "</s>"]
    assert len(set(names)) == len(names) == words.source_size
