"""The one way a command fails: an exception whose text is a sentence for the user."""


class NmtError(Exception):
    """Something the user can mend: one clear sentence that names the file, line, key or sentence, and what to do.

    Commands print it after their name on stderr and exit with status 1, without a traceback.
    """


class ConfigError(NmtError):
    """A configuration that is refused before any data is read; the sentence names the key."""


class UsageError(NmtError):
    """A command called wrongly; it prints its usage line and this sentence, and exits with status 2."""
