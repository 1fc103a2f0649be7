"""Functions that take one text or many: a string gives one answer, a list of strings a list of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from nmt.errors import UsageError

Options = ParamSpec("Options")
Answer = TypeVar("Answer")


class OneOrMany(Protocol, Generic[Options, Answer]):
    """A function that returns one answer for one text, and a list of answers for a list of texts."""

    @overload
    def __call__(self, lines: str, *args: Options.args, **kwargs: Options.kwargs) -> Answer: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, lines: Sequence[str], *args: Options.args, **kwargs: Options.kwargs) -> list[Answer]: ...


class Method(Protocol, Generic[Options, Answer]):
    """A `OneOrMany` function as a method of a class."""

    def __get__(self, instance: Any, owner: Any = None) -> OneOrMany[Options, Answer]: ...


def one_or_many(method: Callable[Concatenate[Any, Sequence[str], Options], list[Answer]]) -> Method[Options, Answer]:
    """Let a method that takes a list of lines also take a single string, for which it returns a single answer.

    Raises UsageError if the lines are neither a string nor a list of strings.
    """

    @wraps(method)
    def answer(self: Any, lines: str | Sequence[str], *args: Options.args, **kwargs: Options.kwargs) -> Any:
        answers = method(self, list_of(lines), *args, **kwargs)
        return answers[0] if isinstance(lines, str) else answers

    return cast("Method[Options, Answer]", answer)


def list_of(texts: str | Iterable[str], what: str = "text") -> list[str]:
    """Return texts as a list; a single string becomes a list of one.

    Raises UsageError for anything but strings, and for collections without an order, such as sets. `what` is the name
    of the texts in its message.
    """
    if isinstance(texts, str):
        texts = [texts]
    if isinstance(texts, bytes | bytearray):
        raise UsageError(f"the {what} is bytes: decode it first, for example with {what}.decode('utf-8')")
    if not isinstance(texts, Iterable) or isinstance(texts, Mapping | Set):
        raise UsageError(f"the {what} must be a string or a list of strings, not {_kind(texts)}")
    listed = list(texts)
    for place, text in enumerate(listed):
        if not isinstance(text, str):
            raise UsageError(f"each {what} must be a string, but the one at index {place} of the list is {_kind(text)}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"the {what} at index {place} has half of a surrogate pair at character {error.start}, which is no "
                "Unicode text: was a file read with another encoding than its own?"
            ) from error
    return listed


def beside(texts: str | Iterable[str], lines: Sequence[str], what: str) -> list[str]:
    """Return the texts that belong to the lines, such as their translations, as a list of the same length.

    Raises UsageError if there are not as many texts as lines; `what` is the name of the texts in its message.
    """
    listed = list_of(texts, what)
    if len(listed) != len(lines):
        got = f"{_counted(len(lines), 'text')} and {_counted(len(listed), what)}"
        raise UsageError(f"each text needs its own {what}, but got {got}")
    return listed


def _counted(number: int, what: str) -> str:
    """Return a number with its noun, such as "1 text" or "2 prefixes"."""
    ending = "" if number == 1 else "es" if what.endswith("x") else "s"
    return f"{number:,} {what}{ending}"


def _kind(value: object) -> str:
    """Describe the type of a value, for error messages."""
    return "None" if value is None else f"of type {type(value).__name__}"
