"""A model taken apart for another program: each module by the writer of its type, and nothing left over.

A writer takes the children, weights and options of a module one by one, and says of which types a child may be. What no
writer takes (a module of another type, a subclass, a further child, weight or option) is refused by its name, so that
no export computes something else than the model does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nmt.inference.export.current import Inexpressible

Writer = Callable[["Part", Any], None]  # the part, and what to fill of the other program's
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_WRITERS: dict[type[nn.Module], Writer] = {}


def writes(kind: type[nn.Module], *unused: str) -> Callable[[Writer], Writer]:
    """Register the writer of exactly this type of module. `unused` options say nothing about what it computes."""

    def register(writer: Writer) -> Writer:
        def write(part: Part, spec: Any) -> None:
            part.left.difference_update(unused)
            writer(part, spec)

        _WRITERS[kind] = write
        return writer

    return register


class Part:
    """A module of a model, by its name in it, and what of it is not taken yet."""

    def __init__(self, module: nn.Module, name: str = "", common: dict[str, Any] | None = None) -> None:
        self.module = module
        self.name = name
        self._common = {} if common is None else common  # options of which there is one in the whole model
        children = {path for path, _ in module.named_modules(remove_duplicate=False) if path and "." not in path}
        weights = {path for path, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))}
        self.left: set[str] = children | weights | (vars(module).keys() - _OF_EVERY_MODULE)

    def write(self, spec: Any) -> None:
        """Fill `spec` by the writer of the module's type. Raises Inexpressible, naming what it leaves over."""
        _WRITERS[type(self.module)](self, spec)
        if self.left:
            self.refuse(f"has {', '.join(sorted(self.left))}", "which CTranslate2 has nothing for")

    def check_type(self, *kinds: type[nn.Module]) -> None:
        """Raise Inexpressible for a module that is of none of these types exactly."""
        if type(self.module) not in kinds:
            self.refuse(f"is of type {type(self.module).__name__}", "which CTranslate2 has no layer for")

    def child(self, name: str, *kinds: type[nn.Module]) -> Part:
        """Take a child, which is of one of these types."""
        module = self.option(name)
        if module is None:
            self.refuse(f"has no {name}", "which CTranslate2's layer has")
        part = Part(module, f"{self.name}.{name}".removeprefix("."), self._common)
        part.check_type(*kinds)
        return part

    def children(self, name: str, *kinds: type[nn.Module]) -> list[Part]:
        """Take the modules of a list, each of one of these types."""
        listed = self.child(name, nn.ModuleList)
        return [listed.child(str(index), *kinds) for index in range(len(cast(nn.ModuleList, listed.module)))]

    def option(self, name: str) -> Any:
        """Take an option."""
        self.left.discard(name)
        if not hasattr(self.module, name):
            self.refuse(f"has no {name}", "which CTranslate2's layer has")
        return getattr(self.module, name)

    def weight(self, name: str) -> NDArray[np.float32] | None:
        """Take a weight, in float32; None where the module does without."""
        value: Tensor | None = self.option(name)
        return None if value is None else value.detach().float().cpu().numpy()

    def one_for_all(self, name: str, value: Any) -> None:
        """Note an option that CTranslate2 has once for all layers; refuse a value other than that of the others."""
        if self._common.setdefault(name, value) != value:
            self.refuse(f"has {name}={value}", f"and another layer {self._common[name]}: CTranslate2 has one for all")

    def common(self, name: str) -> Any:
        """Return the value that `one_for_all` noted for an option."""
        return self._common[name]

    def refuse(self, what: str, why: str) -> NoReturn:
        """Raise Inexpressible about this part."""
        raise Inexpressible(f"{self.name or 'the model'} {what}, {why}")
