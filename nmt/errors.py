"""The errors that make a command fail: exceptions whose text is a sentence for the user."""

from __future__ import annotations

import os


class NmtError(Exception):
    """An error that the user can fix. Its text is one sentence that names the file, line, key or input, and what to do.

    Commands print the sentence after their name on stderr and exit with status 1, without a traceback.
    """


class Damaged(NmtError):
    """A file whose content is not what was written. The sentence names the file.

    Only this error lets a caller fall back on another copy; a failure of the system, such as too many open files, is a
    plain NmtError.
    """


class Unfinished(NmtError):
    """The error for work that a full disk, the network or the death of a process has interrupted.

    The part that is done is kept. Running the same command again resumes the work.
    """


class ConfigError(NmtError):
    """An invalid configuration, refused before any data is read. The sentence names the key."""


def unreadable(path: str | os.PathLike[str], error: OSError) -> NmtError:
    """Return the error for a file that the system could not read, with the system's reason; not a sign of damage."""
    return NmtError(f"{os.fspath(path)} could not be read: {error.strerror or error}")


def returned_nan() -> NmtError:
    """Return the error for a model whose probabilities are not numbers."""
    return NmtError("the model returned NaN instead of probabilities: its weights are damaged or training diverged")


def require(condition: bool, sentence: str) -> None:
    """Raise ConfigError with `sentence` unless `condition` holds."""
    if not condition:
        raise ConfigError(sentence)


class UsageError(NmtError):
    """A command called with wrong arguments. It prints its usage line and the sentence, and exits with status 2."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: a MemoryError, torch.OutOfMemoryError, or an allocator's RuntimeError in torch.

    The check is by name, so that torch does not have to be imported.
    """
    names = [kind.__name__ for kind in type(error).__mro__]
    if "MemoryError" in names or "OutOfMemoryError" in names:
        return True
    return "RuntimeError" in names and any(sign in str(error) for sign in _OUT_OF_MEMORY)


# parts of the messages of the CPU allocator, of MPS and of CUDA's libraries
_OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "_STATUS_ALLOC_FAILED")
