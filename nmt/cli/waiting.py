"""How long the threads of a command look out for work before they sleep: a setting of OpenMP."""

from __future__ import annotations

from collections.abc import MutableMapping

# GNU's OpenMP, which torch brings on Linux (turns of a loop), and Intel's and LLVM's, which it brings elsewhere (ms)
_NO_SPINNING = {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
_SHORT_SPINNING = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
_CHOICES = ("OMP_WAIT_POLICY", *_NO_SPINNING)  # by which a user says how threads are to wait


def sleep_while_waiting(environment: MutableMapping[str, str]) -> bool:
    """Make threads that wait for work sleep, unless the environment says how they are to wait; return whether it did.

    By default they spin, for some hundred thousand turns. On a busy machine they then hold the core that the thread
    they wait for needs. OpenMP reads these variables when torch is imported.
    """
    if any(name in environment for name in _CHOICES):
        return False
    environment.update(_NO_SPINNING)
    return True


def spin_briefly(environment: MutableMapping[str, str]) -> None:
    """Make threads spin for a short while before they sleep.

    The search for a single sentence has steps so short that waking a thread takes longer than its part of a step
    (docs/results/waiting.md).
    """
    environment.update(_SHORT_SPINNING)
