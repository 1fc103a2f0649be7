"""A setting for OpenMP, by which the threads of a command sleep while they wait for work."""

from __future__ import annotations

from collections.abc import MutableMapping

# GNU's OpenMP, which torch brings on Linux, and Intel's and LLVM's, which it brings elsewhere
_NO_SPINNING = {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
_CHOICES = ("OMP_WAIT_POLICY", *_NO_SPINNING)  # by which a user says how threads are to wait


def sleep_while_waiting(environment: MutableMapping[str, str]) -> None:
    """Make threads that wait for work sleep, unless the environment says how they are to wait.

    By default they spin, for some hundred thousand turns. On a busy machine they then hold the core that the thread
    they wait for needs. OpenMP reads these variables when torch is imported.
    """
    if not any(name in environment for name in _CHOICES):
        environment.update(_NO_SPINNING)
