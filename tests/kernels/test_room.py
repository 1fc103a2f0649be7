"""Only nmt/kernels and nmt/device.py ask for the kind of device, and no code uses private parts of torch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

NMT = Path(__file__).parents[2] / "nmt"
ASKING = {"is_cpu", "is_cuda"}
SWAPPED = {"__class__", "__dict__"}


def offences(source: str) -> Iterator[str]:
    """Yield the lines that ask for a device, write an object's class or __dict__, or use private parts of torch."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(attr=name) if name in ASKING:
                yield f"{node.lineno}: asks {name}"
            case ast.Compare() if any(_is_kind(side) for side in (node.left, *node.comparators)):
                yield f"{node.lineno}: compares a device's type"
            case ast.Subscript(slice=index) if _is_kind(index):
                yield f"{node.lineno}: chooses by a device's type"
            case ast.Attribute(attr=name, ctx=ast.Store()) if name in SWAPPED:
                yield f"{node.lineno}: writes {name}"
            case ast.Subscript(value=ast.Attribute(attr="__dict__"), ctx=ast.Store()):
                yield f"{node.lineno}: writes into __dict__"
            case ast.Call(
                func=ast.Attribute(value=ast.Attribute(attr="__dict__"), attr="update" | "setdefault" | "pop")
            ):
                yield f"{node.lineno}: writes into __dict__"
            case ast.Attribute(attr=name) if name.startswith("_") and not name.startswith("__") and _of_torch(node):
                yield f"{node.lineno}: uses torch's private {name}"
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] == "torch" and "._" in module:
                yield f"{node.lineno}: imports from torch's private {module}"


def _is_kind(node: ast.expr) -> bool:
    """Return whether an expression is `device.type` or `anything.device.type`."""
    match node:
        case ast.Attribute(value=ast.Name(id="device") | ast.Attribute(attr="device"), attr="type"):
            return True
    return False


def _of_torch(node: ast.expr) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id == "torch"


def test_no_other_room_asks_for_a_device() -> None:
    asking = (NMT / "device.py", *(NMT / "kernels").glob("*.py"))
    files = [path for path in sorted(NMT.rglob("*.py")) if path not in asking]
    assert len(files) > 100
    assert [f"{path.relative_to(NMT)}:{found}" for path in files for found in offences(path.read_text("utf-8"))] == []


@pytest.mark.parametrize(
    "source",
    [
        "x.is_cpu",
        "x.weight.is_cuda",
        "device.type == 'cpu'",
        "'cuda' != x.device.type",
        "self.device.type in ('cpu',)",
        "LOOK_EVERY[x.device.type]",
        "x.__class__ = Other",
        "x.__dict__ = {}",
        "x.__dict__['a'] = 1",
        "x.__dict__.update(a=1)",
        "torch._foreach_lerp_(a, b, c)",
        "torch.nn._reduction.f()",
        "from torch._subclasses import fake_tensor",
    ],
)
def test_each_offence_is_found(source: str) -> None:
    assert len(list(offences(source))) == 1


@pytest.mark.parametrize(
    "source", ["is_cuda(device)", "say(device.type)", "x.__class__.__name__", "self._torch._x", "node.type == 1"]
)
def test_what_is_allowed_is_not(source: str) -> None:
    assert list(offences(source)) == []
