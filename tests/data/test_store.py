"""Test that the memory-mapped store returns what was written, and refuses incomplete files."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from nmt.checksums import CHECKSUMS
from nmt.data.store import Store
from nmt.data.store_writer import StoreWriter
from nmt.errors import Damaged, NmtError

PAIRS = [
    ([5, 9, 3], [7, 3], "ein Ö", "a"),
    ([3], [8, 8, 8, 3], "", "b b b"),
    ([399, 3], [3], "x", ""),
]  # fmt: skip


def write(folder: Path, pairs: Sequence[tuple[list[int], list[int], str, str]] = PAIRS, size: int = 400) -> Store:
    folder.mkdir()
    with StoreWriter(folder, size, 400) as writer:
        for pair in pairs:
            writer.add(*pair)
    return Store(folder)


@pytest.mark.parametrize(("size", "dtype"), [(400, np.uint16), (65535, np.uint16), (65536, np.int32)])
def test_what_is_written_is_read(tmp_path: Path, size: int, dtype: type) -> None:
    pairs = [*PAIRS, ([size - 1, 3], [3], "last id", "end")]
    store = write(tmp_path / "store", pairs, size)
    assert len(store) == len(pairs)
    for index, (source, target, source_text, target_text) in enumerate(pairs):
        assert store.source(index).tolist() == source
        assert store.target(index).tolist() == target
        assert store.source_text(index) == source_text
        assert store.target_text(index) == target_text
    assert store.source(0).dtype == dtype
    assert store.source_lengths.tolist() == [len(pair[0]) for pair in pairs]
    assert store.target_lengths.tolist() == [len(pair[1]) for pair in pairs]
    for index in (len(pairs), -1):
        with pytest.raises(IndexError):
            store.source(index)


def test_a_store_travels_as_its_path(tmp_path: Path) -> None:
    store = write(tmp_path / "store", PAIRS * 1000)
    packed = pickle.dumps(store)
    assert len(packed) < 1000
    assert pickle.loads(packed).target(1000).tolist() == PAIRS[1][1]


def test_fingerprint_follows_content(tmp_path: Path) -> None:
    first = write(tmp_path / "first").fingerprint
    assert write(tmp_path / "same").fingerprint == first
    others = [
        PAIRS[:-1],
        [PAIRS[1], PAIRS[0], PAIRS[2]],
        [([5, 9], [3, 7, 3], *PAIRS[0][2:]), *PAIRS[1:]],  # an id moved to the other side
        [(*PAIRS[0][:2], "ein Ö", "A"), *PAIRS[1:]],
    ]
    assert len({write(tmp_path / str(n), pairs).fingerprint for n, pairs in enumerate(others)} | {first}) == 5


def test_an_empty_store(tmp_path: Path) -> None:
    store = write(tmp_path / "store", [])
    assert len(store) == len(store.source_lengths) == 0


def test_an_incomplete_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NmtError, match="not a complete store"):
        Store(tmp_path / "nowhere")
    folder = tmp_path / "broken"
    folder.mkdir()
    with pytest.raises(RuntimeError), StoreWriter(folder, 400, 400) as writer:
        writer.add(*PAIRS[0])
        raise RuntimeError("in the middle")
    with pytest.raises(NmtError, match="not a complete store"):
        Store(folder)
    names = [path.name for path in write(tmp_path / "whole").folder.iterdir()]
    for number, name in enumerate(names):
        folder = write(tmp_path / str(number)).folder
        (folder / name).write_bytes((folder / name).read_bytes()[:-2])
        with pytest.raises(Damaged, match=f"{folder}"):
            Store(folder).verify(400, 400)


def test_a_flipped_bit_is_found_in_every_file(tmp_path: Path) -> None:
    names = [path.name for path in write(tmp_path / "whole").folder.iterdir()]
    for number, name in enumerate(names):
        folder = write(tmp_path / str(number)).folder
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        with pytest.raises(Damaged, match=f"{folder}"):
            Store(folder).verify(400, 400)


@pytest.mark.parametrize("sizes", [(8, 400), (400, 7)])
def test_ids_outside_of_the_vocabulary_are_refused_without_checksums(sizes: tuple[int, int], tmp_path: Path) -> None:
    store = write(tmp_path / "store")
    (store.folder / CHECKSUMS).unlink()
    store.verify(400, 400)
    with pytest.raises(Damaged, match="outside of the vocabulary"):
        store.verify(*sizes)


def test_a_failure_of_the_system_is_not_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write(tmp_path / "store")

    def fail(path: Path, *_: object, **__: object) -> None:
        raise OSError(24, "Too many open files", str(path))

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(NmtError, match=r"could not be read: Too many open files$") as caught:
        Store(store.folder)
    assert not isinstance(caught.value, Damaged)
