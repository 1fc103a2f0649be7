"""Devices, precision, random numbers and memory."""

from __future__ import annotations

import platform
import subprocess
import sys
import textwrap

import pytest
import torch

from nmt.device import autocast, choose_device, describe_hardware, undisturbed_randomness
from nmt.errors import NmtError

CPU = torch.device("cpu")


def test_auto_takes_the_fastest_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda")
    assert choose_device("cpu") == CPU


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NmtError, match="no cuda device here"):
        choose_device("cuda")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16)]
)
def test_precision(precision: str, dtype: torch.dtype) -> None:
    with autocast(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_random_numbers_go_on_as_if_nothing_had_been_drawn() -> None:
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    with pytest.raises(ValueError, match="x"), undisturbed_randomness(CPU):
        torch.rand(3)
        raise ValueError("x")
    assert torch.equal(torch.rand(4), expected)


def test_the_hardware_has_a_name() -> None:
    assert "cores" in describe_hardware(CPU)


@pytest.fixture(scope="module")
def memory() -> dict[str, tuple[int, int]]:
    """Page faults of 20 large tensors, and MB that bf16 products of 300 shapes leave, with the tuning and without."""
    script = """
        import resource, sys
        from pathlib import Path
        import torch
        from nmt.device import tune_cpu_allocator

        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20

        if sys.argv[1] == "tuned":
            tune_cpu_allocator()
        faults = []
        for _ in range(20):
            tensor = torch.empty(48 << 18).fill_(1)
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
            del tensor
        before = resident()
        weight = torch.randn(256, 256, dtype=torch.bfloat16)
        for rows in range(100, 400):
            torch.nn.functional.linear(torch.ones(rows, 256, dtype=torch.bfloat16), weight)
        print(faults[-1] - faults[0], resident() - before)
    """
    found = {}
    for how in ("tuned", "plain"):
        command = [sys.executable, "-c", textwrap.dedent(script), how]
        faults, left = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        found[how] = int(faults), int(left)
    return found


glibc_only = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is glibc's")


@glibc_only
def test_large_tensors_use_their_memory_again(memory: dict[str, tuple[int, int]]) -> None:
    """Without the tuning each of them faults in its 48 MiB anew."""
    assert memory["tuned"][0] < 0.5 * memory["plain"][0]


@glibc_only
def test_shapes_that_never_come_back_leave_little_behind(memory: dict[str, tuple[int, int]]) -> None:
    if memory["plain"][1] < 60:
        pytest.skip("torch keeps no code for shapes on this processor")
    assert memory["tuned"][1] < 0.7 * memory["plain"][1]
