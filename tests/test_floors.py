"""Test the layers of docs/architecture.md: a module imports only from its own room and from the floors below.

Imports inside functions and those for type checkers count, too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# from the ground up; rooms on the same floor do not import from each other
FLOORS = [
    ["errors"],
    ["messages", "partials"],
    ["device", "extras", "files", "pictures", "progress", "resources"],
    ["reading"],
    ["checksums"],
    ["config"],
    ["data"],
    ["kernels"],
    ["attention"],
    ["models"],
    ["runs", "search"],
    ["inference.export"],
    ["inference.engines"],
    ["inference"],
    ["evaluation"],
    ["report", "training"],
    ["api"],
    ["study"],
    ["cli"],
]
ROOMS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "nmt").rglob("*.py")
}


def imports(path: Path) -> Iterator[str]:
    """Yield the modules of nmt that a file imports."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "nmt")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nmt":
            assert node.module is not None
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in whole)


def room_of(module: str) -> str:
    """Return the room of a module. It is "" for nmt itself, which has the version, and for modules without a room."""
    inside = module.removeprefix("nmt.")
    return next((room for room in sorted(ROOMS, reverse=True) if f"{inside}.".startswith(f"{room}.")), "")


def test_every_module_has_a_floor() -> None:
    assert [module for module in MODULES if module != "nmt" and not room_of(module)] == []


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"nmt"}))
def test_imports_go_downwards(module: str) -> None:
    own = room_of(module)
    upwards = {
        name
        for name in imports(MODULES[module])
        if (room := room_of(name)) and room != own and ROOMS[room] >= ROOMS[own]
    }
    assert not upwards, f"{module} ({own}) imports from its own floor or from above: {', '.join(sorted(upwards))}"


def test_an_import_from_above_would_be_found(tmp_path: Path) -> None:
    written = tmp_path / "module.py"
    written.write_text("def f():\n    from nmt.cli import train\n    from nmt.search.beam import beam_search\n")
    assert [room_of(name) for name in imports(written)] == ["cli", "search"]
    assert ROOMS["cli"] > ROOMS["training"] > ROOMS["search"]


def test_the_page_names_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    folders = {path.name for path in (ROOT / "nmt").iterdir() if (path / "__init__.py").is_file()}
    assert {name for name in folders if f"`{name}/`" not in page} == {"pictures"}, (
        "only `pictures/` may be missing: the diagram has it"
    )
