"""The OpenMP setting for how long idle threads spin before they sleep."""

from __future__ import annotations

from collections.abc import MutableMapping

# The first is for GNU's OpenMP, which torch uses on Linux (iterations of a loop), the second for Intel's and LLVM's,
# which it uses elsewhere (milliseconds).
_BRIEFLY = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
_CHOICES = ("OMP_WAIT_POLICY", *_BRIEFLY)  # the variables with which a user can choose how threads wait


def spin_briefly(environment: MutableMapping[str, str]) -> None:
    """Make idle threads spin for a moment and then sleep, unless `environment` already says how they wait.

    By default they spin for several hundred thousand iterations, and on a busy machine they then occupy the core that
    the thread they wait for needs. If they did not spin at all, each search step of a single sentence would have to
    wait for a thread to wake up (docs/results/waiting.md). OpenMP reads these variables when torch is imported.
    """
    if not any(name in environment for name in _CHOICES):
        environment.update(_BRIEFLY)
