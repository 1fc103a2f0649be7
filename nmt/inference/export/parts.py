"""Export of a model module by module: a writer for each type of module, and a check that nothing is left out.

A writer takes the children, weights and options of its module one by one, and lists the types that each child may have.
Anything that no writer takes (a module of another type, a subclass, an additional child, weight or option) is an error
that names it. So an export can never compute something different from the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nmt.inference.export.current import Inexpressible

Writer = Callable[["Part", Any], None]  # called with a part and the other program's specification object to fill
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_WRITERS: dict[type[nn.Module], Writer] = {}


def writes(kind: type[nn.Module], *unused: str) -> Callable[[Writer], Writer]:
    """Register the decorated function as the writer of exactly this module type, subclasses excluded.

    `unused` names the options that do not affect the result and need not be taken.
    """

    def register(writer: Writer) -> Writer:
        def write(part: Part, spec: Any) -> None:
            part.left.difference_update(unused)
            writer(part, spec)

        _WRITERS[kind] = write
        return writer

    return register


class Part:
    """A module of the model, with the names of the children, weights and options that its writer has not taken yet."""

    def __init__(self, module: nn.Module, name: str = "", common: dict[str, Any] | None = None) -> None:
        self.module = module
        self.name = name
        self._common = {} if common is None else common  # options that must be the same in the whole model
        children = {path for path, _ in module.named_modules(remove_duplicate=False) if path and "." not in path}
        weights = {path for path, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))}
        self.left: set[str] = children | weights | (vars(module).keys() - _OF_EVERY_MODULE)

    def write(self, spec: Any) -> None:
        """Fill `spec` with the writer for the module's type. Raises Inexpressible if the writer leaves anything out."""
        _WRITERS[type(self.module)](self, spec)
        if self.left:
            self.refuse(f"has {', '.join(sorted(self.left))}", "which CTranslate2 does not support")

    def check_type(self, *kinds: type[nn.Module]) -> None:
        """Raise Inexpressible unless the module's type is exactly one of these."""
        if type(self.module) not in kinds:
            self.refuse(f"is of type {type(self.module).__name__}", "which CTranslate2 has no layer for")

    def child(self, name: str, *kinds: type[nn.Module]) -> Part:
        """Take the child module of this name and return it as a Part; its type must be one of `kinds`."""
        module = self.option(name)
        if module is None:
            self.refuse(f"has no {name}", "which CTranslate2's layer needs")
        part = Part(module, f"{self.name}.{name}".removeprefix("."), self._common)
        part.check_type(*kinds)
        return part

    def children(self, name: str, *kinds: type[nn.Module]) -> list[Part]:
        """Take the ModuleList of this name and return its modules as Parts; each type must be one of `kinds`."""
        listed = self.child(name, nn.ModuleList)
        return [listed.child(str(index), *kinds) for index in range(len(cast(nn.ModuleList, listed.module)))]

    def option(self, name: str) -> Any:
        """Take the attribute of this name and return its value."""
        self.left.discard(name)
        if not hasattr(self.module, name):
            self.refuse(f"has no {name}", "which CTranslate2's layer needs")
        return getattr(self.module, name)

    def weight(self, name: str) -> NDArray[np.float32] | None:
        """Take a weight and return it as a float32 array, or None if it is absent, such as a linear layer's bias."""
        value: Tensor | None = self.option(name)
        return None if value is None else value.detach().float().cpu().numpy()

    def one_for_all(self, name: str, value: Any) -> None:
        """Record an option that CTranslate2 has only once for all layers. Raises Inexpressible if layers differ."""
        if self._common.setdefault(name, value) != value:
            self.refuse(
                f"has {name}={value}",
                f"but another layer has {self._common[name]}: CTranslate2 has one value for all layers",
            )

    def common(self, name: str) -> Any:
        """Return the value that `one_for_all` recorded for an option."""
        return self._common[name]

    def refuse(self, what: str, why: str) -> NoReturn:
        """Raise Inexpressible with the name of this part, what is wrong and why."""
        raise Inexpressible(f"{self.name or 'the model'} {what}, {why}")
