"""A setting of OpenMP: for how long the idle threads of a command spin before they sleep."""

from __future__ import annotations

from collections.abc import MutableMapping

# GNU's OpenMP, which torch brings on Linux (turns of a loop), and Intel's and LLVM's, which it brings elsewhere (ms)
_BRIEFLY = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
_CHOICES = ("OMP_WAIT_POLICY", *_BRIEFLY)  # by which a user says how threads are to wait


def spin_briefly(environment: MutableMapping[str, str]) -> None:
    """Make threads that wait for work spin for a moment and then sleep, unless the environment says how they wait.

    By default they spin for some hundred thousand turns: on a busy machine they then hold the core that the thread they
    wait for needs. Without spinning at all, each step of a search for a single sentence would wait for a thread to wake
    up (docs/results/waiting.md). OpenMP reads these variables when torch is imported.
    """
    if not any(name in environment for name in _CHOICES):
        environment.update(_BRIEFLY)
