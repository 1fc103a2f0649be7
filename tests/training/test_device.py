"""Devices, precision, random numbers and memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import textwrap

import pytest
import torch

from nmt.config.schema import TrainingConfig
from nmt.device import (
    autocast,
    branch_random_state,
    choose_device,
    describe_hardware,
    has_bf16,
    limit_kernel_caches,
    random_state,
    resume_random_state,
    undisturbed_randomness,
)
from nmt.errors import ConfigError, NmtError

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


def test_a_card_is_chosen_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    assert choose_device("cuda:1") == torch.device("cuda", 1) and current == [torch.device("cuda", 1)]
    with pytest.raises(
        NmtError, match=r"no cuda:2 device here \(CUDA devices on this machine: 2\): choose cuda:0 to cuda:1"
    ):
        choose_device("cuda:2")
    for wrong in ("cuda:", "cuda:x", "cuda:-1", "cpu:1"):
        with pytest.raises(NmtError, match=f"there is no {wrong} device here"):
            choose_device(wrong)


def test_the_configuration_takes_the_same_names() -> None:
    for name in ("auto", "cuda", "cuda:1", "mps", "cpu"):
        TrainingConfig(max_steps=1, device=name).check()
    for wrong in ("gpu", "cuda:", "cuda:x", "cpu:0"):
        with pytest.raises(ConfigError, match=f"training.device={wrong}: expected auto, cuda, cuda:N"):
            TrainingConfig(max_steps=1, device=wrong).check()


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


@pytest.mark.parametrize(("flags", "dtype"), [("fpu avx512_bf16", torch.bfloat16), ("fpu avx512f", torch.float32)])
def test_native_precision_is_what_the_processor_is_made_for(
    flags: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nmt.device._cpu_flags", lambda: frozenset(flags.split()))
    with autocast(CPU, "native"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_limits_of_kernel_caches_are_set_unless_the_user_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    limit_kernel_caches()
    assert (os.environ["LRU_CACHE_CAPACITY"], os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) == ("7", "128")


@pytest.mark.skipif(platform.system() != "Linux", reason="reads /proc")
@pytest.mark.skipif(not has_bf16(CPU), reason="emulated bf16 has other kernels")
def test_shapes_that_never_come_back_leave_little_behind() -> None:
    """Compute bf16 products of 300 shapes, with and without a limit on the kernel caches."""
    script = """
        import resource, sys
        from pathlib import Path
        import torch
        from nmt.device import limit_kernel_caches

        def resident():
            return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() >> 20

        if sys.argv[1] == "limited":
            limit_kernel_caches()
        weight = torch.randn(256, 256, dtype=torch.bfloat16)
        before = resident()
        for rows in range(100, 400):
            torch.nn.functional.linear(torch.ones(rows, 256, dtype=torch.bfloat16), weight)
        print(resident() - before)
    """
    environment = {key: value for key, value in os.environ.items() if not key.endswith("CACHE_CAPACITY")}
    left = {}
    for how in ("limited", "unlimited"):
        command = [sys.executable, "-c", textwrap.dedent(script), how]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        left[how] = int(done.stdout)
    if left["unlimited"] < 60:
        pytest.skip("torch keeps no kernels for shapes on this processor")
    assert left["limited"] < 0.7 * left["unlimited"]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_memory_is_used_again() -> None:
    script = """
        import resource, sys
        import torch
        from nmt.device import reuse_memory

        if sys.argv[1] == "yes":
            reuse_memory()
        def fill():
            return torch.ones(16 << 20)  # 64 MiB: more than glibc keeps of itself
        for _ in range(16):  # until there is room for what malloc sets aside
            fill()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(8):
            fill()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    faults = {}
    for reuse in ("no", "yes"):
        command = [sys.executable, "-c", textwrap.dedent(script), reuse]
        faults[reuse] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert faults["yes"] * 10 < faults["no"]


def test_each_process_goes_on_with_its_own_random_numbers_and_a_further_one_has_new_ones() -> None:
    device = torch.device("cpu")
    torch.manual_seed(1)
    states = [random_state(device)]
    branch_random_state(1)
    states.append(random_state(device))
    drawn = []
    for process in range(3):
        resume_random_state(states, process, device)
        drawn.append(torch.rand(5))
    for process, state in enumerate(states):
        resume_random_state(state, 0, device)  # as a single process saved it
        assert torch.equal(torch.rand(5), drawn[process])
    resume_random_state(states[:1], 2, device)
    assert torch.equal(torch.rand(5), drawn[2])
    assert len({tuple(numbers.tolist()) for numbers in drawn}) == 3
