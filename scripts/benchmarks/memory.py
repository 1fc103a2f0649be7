"""Measure the memory of this process, without importing torch, which would take most of it."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_memory_mib() -> float:
    """Return the peak resident memory in MiB (ru_maxrss on Linux may be that of the parent process)."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # in bytes on macOS
