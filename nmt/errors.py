"""The one way a command fails: an exception whose text is a sentence for the user."""


class NmtError(Exception):
    """Something the user can mend: one clear sentence that names the file, line, key or sentence, and what to do.

    Commands print it after their name on stderr and exit with status 1, without a traceback.
    """


class Unfinished(NmtError):
    """Work that a full disk, the network or the death of a process ended: what is done is kept, the rest can be tried
    again."""


class ConfigError(NmtError):
    """A configuration that is refused before any data is read; the sentence names the key."""


def require(condition: bool, sentence: str) -> None:
    """Refuse a configuration with `sentence` unless `condition` holds."""
    if not condition:
        raise ConfigError(sentence)


class UsageError(NmtError):
    """A command called wrongly; it prints its usage line and this sentence, and exits with status 2."""


def is_out_of_memory(error: BaseException) -> bool:
    """MemoryError, torch.OutOfMemoryError, and the RuntimeErrors of torch's other allocators (told without torch)."""
    names = [kind.__name__ for kind in type(error).__mro__]
    if "MemoryError" in names or "OutOfMemoryError" in names:
        return True
    return "RuntimeError" in names and any(sign in str(error) for sign in _OUT_OF_MEMORY)


_OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory", "_STATUS_ALLOC_FAILED")  # of CPU, MPS, and CUDA's libraries
