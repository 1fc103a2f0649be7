"""Devices: where the arithmetic happens, in which precision and with which random numbers."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from nmt.errors import NmtError

RandomState = dict[str, Tensor]  # the state of each generator: cpu, and cuda on a CUDA device

_KEPT_KERNELS = "128"  # more than the number of different shapes in an update
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # the numbers of these parameters in glibc's malloc.h


def choose_device(name: str = "auto") -> torch.device:
    """Return the device called `name`: auto (the first that exists of cuda, mps and cpu), cuda, cuda:N, mps or cpu.

    A CUDA device chosen by its number becomes the current one. Raises NmtError if the device does not exist.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, available in there.items() if available))
    kind, colon, index = name.partition(":")
    if not there.get(kind, False) or (colon and not (kind == "cuda" and index.isdecimal())):
        raise NmtError(f"there is no {name} device here: choose one of {', '.join(k for k, v in there.items() if v)}")
    if not colon:
        return torch.device(kind)
    if int(index) >= (cards := torch.cuda.device_count()):
        last = f" to cuda:{cards - 1}" if cards > 1 else ""
        raise NmtError(f"there is no {name} device here (CUDA devices on this machine: {cards}): choose cuda:0{last}")
    device = torch.device("cuda", int(index))
    torch.cuda.set_device(device)  # pinned memory, for example, belongs to the current device
    return device


def autocast(device: torch.device, precision: str = "auto") -> torch.autocast:
    """Return a context that computes in `precision`: bf16 autocast or fp32.

    auto means bf16 on CUDA and fp32 elsewhere; native means bf16 on every device that has instructions for it.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=computes_bf16(device, precision))


def computes_bf16(device: torch.device, precision: str) -> bool:
    """Return whether `precision` means bf16 on this device, rather than fp32."""
    if precision == "native":
        return has_bf16(device)
    return precision == "bf16" or (precision == "auto" and device.type == "cuda")


def has_bf16(device: torch.device) -> bool:
    """Return whether the device has bf16 instructions. A CPU without them is slower in bf16 than in fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(_cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def is_waited_for(device: torch.device) -> bool:
    """Return whether reading a tensor's value makes the program wait for the device. On a CPU it is there already."""
    return device.type != "cpu"


def is_cuda(device: torch.device) -> bool:
    """Return whether the device is a CUDA GPU."""
    return device.type == "cuda"


def computes_by_threads(device: torch.device) -> bool:
    """Return whether the device can compute several batches at the same time, each in its own thread."""
    return device.type == "cpu"


def takes_several_processes(device: torch.device) -> bool:
    """Return whether training with several processes can use this kind of device."""
    return device.type != "mps"


def has_fused_adam(device: torch.device) -> bool:
    """Return whether torch has a fused Adam for this device, which updates all weights in one kernel."""
    return device.type in ("cpu", "cuda")


def most_exact(device: torch.device) -> torch.dtype:
    """Return the most precise floating-point dtype that the device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def _cpu_flags() -> set[str]:
    """Return the processor's features as Linux lists them (x86: flags, ARM: Features); empty on other systems."""
    return set(_cpuinfo("flags", "Features").split())


@cache
def _cpuinfo(*names: str) -> str:
    """Return the first entry in Linux's /proc/cpuinfo under one of these names, or an empty string."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")


def describe_hardware(device: torch.device) -> str:
    """Return the name of the GPU, or of the processor with its number of cores, for a run's records."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpuinfo('model name') or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def random_state(device: torch.device) -> RandomState:
    """Return the state of the random generators from which training on `device` draws."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def resume_random_state(states: list[RandomState] | RandomState, process: int, device: torch.device) -> None:
    """Restore the random state of number `process` of several processes; `states` has one for each, or is the only one.

    If there are more processes now than states, an additional process gets its own random numbers, derived from the
    first state. A generator whose state was not saved keeps its seed.
    """
    states = states if isinstance(states, list) else [states]
    known = process < len(states)
    state = states[process if known else 0]
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
    if not known:
        branch_random_state(process)


def branch_random_state(number: int) -> None:
    """Give process `number` its own random numbers, derived from a state that all share; process 0 keeps this state."""
    if number:
        torch.manual_seed(int(torch.randint(2**62, ())) + number)


def undisturbed_randomness(device: torch.device) -> AbstractContextManager[None]:
    """Return a context that restores the random state at its end, whatever numbers the block draws."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def limit_kernel_caches() -> None:
    """Make oneDNN keep fewer of the kernels that it generates for each new shape.

    torch computes bf16 on a CPU with oneDNN. A kernel takes about half a megabyte. By default oneDNN keeps 1,024 of
    them, and torch's layer above it as many again. Both read their limit from the environment when they are first used.
    """
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, _KEPT_KERNELS)


def reuse_memory() -> None:
    """Let malloc keep the memory of freed tensors for the next tensors.

    By default glibc returns large blocks to Linux and has to get them again, page by page, at every update. Other
    allocators and systems are not changed.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            libc.mallopt(parameter, 2**31 - 1)
