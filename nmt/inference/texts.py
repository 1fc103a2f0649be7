"""One text or many: a string is answered by one answer, a list of strings by a list of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from nmt.errors import UsageError

Options = ParamSpec("Options")
Answer = TypeVar("Answer")


class OneOrMany(Protocol, Generic[Options, Answer]):
    """A function of one text, which gives one answer, or of several, which gives a list of answers."""

    @overload
    def __call__(self, lines: str, *args: Options.args, **kwargs: Options.kwargs) -> Answer: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, lines: Sequence[str], *args: Options.args, **kwargs: Options.kwargs) -> list[Answer]: ...


class Method(Protocol, Generic[Options, Answer]):
    """Such a function as a method."""

    def __get__(self, instance: Any, owner: Any = None) -> OneOrMany[Options, Answer]: ...


def one_or_many(method: Callable[Concatenate[Any, Sequence[str], Options], list[Answer]]) -> Method[Options, Answer]:
    """Let a method that answers a list of lines by a list answer a single line, given as a string, by one answer.

    What is neither a string nor a list of strings is refused with a sentence.
    """

    @wraps(method)
    def answer(self: Any, lines: str | Sequence[str], *args: Options.args, **kwargs: Options.kwargs) -> Any:
        answers = method(self, list_of(lines), *args, **kwargs)
        return answers[0] if isinstance(lines, str) else answers

    return cast("Method[Options, Answer]", answer)


def list_of(texts: str | Iterable[str], what: str = "text") -> list[str]:
    """Return texts as a list; a string is a list of one.

    Raises UsageError, which calls them `what`, for anything but strings, and for what has no order.
    """
    if isinstance(texts, str):
        return [texts]
    if isinstance(texts, bytes | bytearray):
        raise UsageError(f"the {what} is bytes: decode it first, such as by {what}.decode('utf-8')")
    if not isinstance(texts, Iterable) or isinstance(texts, Mapping | Set):
        raise UsageError(f"the {what} must be a string or a list of strings, not {_kind(texts)}")
    listed = list(texts)
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise UsageError(f"each {what} must be a string: that at place {place} of the list is {_kind(text)}")
    return listed


def beside(texts: str | Iterable[str], lines: Sequence[str], what: str) -> list[str]:
    """Return what stands beside each of the lines, such as its translation: as many as there are lines."""
    listed = list_of(texts, what)
    if len(listed) != len(lines):
        got = f"{_counted(len(lines), 'text')} but {_counted(len(listed), what)}"
        raise UsageError(f"each text needs its own {what}, and there are {got}")
    return listed


def _counted(number: int, what: str) -> str:
    """A number of things, such as 1 text or 2 prefixes."""
    ending = "" if number == 1 else "es" if what.endswith("x") else "s"
    return f"{number:,} {what}{ending}"


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
