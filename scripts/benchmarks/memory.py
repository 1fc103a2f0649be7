"""How much memory this process has taken; needs no torch, which would be most of it."""

from __future__ import annotations

import resource
from pathlib import Path


def peak_memory_mib() -> float:
    """The most resident memory this process has had (Linux' ru_maxrss may be that of the process it came from)."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes, on macOS
