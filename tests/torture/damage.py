"""Ways to damage a file: what disks, copies and people do to it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

Damage = Callable[[Path, Random], None]


def flip_a_bit(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def set_high_bits(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    start = random.randrange(len(content) + 1)
    content[start : start + 16] = bytes(byte | 0x80 for byte in content[start : start + 16])
    path.write_bytes(content)


def zero_a_block(path: Path, random: Random) -> None:
    content = bytearray(path.read_bytes())
    start = random.randrange(len(content) + 1)
    stop = min(start + 4096, len(content))
    content[start:stop] = bytes(stop - start)
    path.write_bytes(content)


def cut(path: Path, random: Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.randrange(len(content) + 1)])


def empty(path: Path, random: Random) -> None:
    path.write_bytes(b"")


def append(path: Path, random: Random) -> None:
    path.write_bytes(path.read_bytes() + random.randbytes(random.randrange(1, 64)))


def fill_with_noise(path: Path, random: Random) -> None:
    path.write_bytes(random.randbytes(max(path.stat().st_size, 1)))


def remove(path: Path, random: Random) -> None:
    path.unlink()


def become_a_folder(path: Path, random: Random) -> None:
    path.unlink()
    path.mkdir()


def become_a_pipe(path: Path, random: Random) -> None:
    path.unlink()
    os.mkfifo(path)


def become_a_dangling_link(path: Path, random: Random) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def become_other_json(path: Path, random: Random) -> None:
    """Replace a value somewhere in a JSON document, or all of it, by one of another type."""
    others = [None, [], {}, "text", -1, 1e999, True, [[[]]], {"a": "\udcff"}]
    try:
        document = json.loads(path.read_text("utf-8").splitlines()[-1 if path.suffix == ".jsonl" else 0])
    except (ValueError, IndexError):
        try:
            document = json.loads(path.read_text("utf-8"))
        except ValueError:
            document = None
    if isinstance(document, dict) and document and random.random() < 0.8:
        place = document
        key = random.choice(list(place))
        while isinstance(place[key], dict) and place[key] and random.random() < 0.7:
            place = place[key]
            key = random.choice(list(place))
        place[key] = random.choice(others)
    else:
        document = random.choice(others)
    path.write_text(json.dumps(document) + "\n", "utf-8")


def nest_deeply(path: Path, random: Random) -> None:
    depth = random.choice([1_000, 100_000])
    path.write_text("[" * depth + "]" * depth, "utf-8")


ANY: list[Damage] = [
    flip_a_bit, flip_a_bit, flip_a_bit, set_high_bits, zero_a_block, cut, empty, append, fill_with_noise,
    remove, become_a_folder, become_a_pipe, become_a_dangling_link,
]  # fmt: skip
JSON: list[Damage] = [become_other_json, become_other_json, nest_deeply]


def ways_for(path: Path) -> list[Damage]:
    """Return the kinds of damage to try on a file."""
    return [*ANY, *JSON, *JSON] if path.suffix in (".json", ".jsonl") else ANY


def copy(folder: Path, to: Path) -> Path:
    """Copy a folder, links and all, to a place where nothing is."""
    return Path(shutil.copytree(folder, to, symlinks=True))
