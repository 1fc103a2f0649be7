"""Where the arithmetic happens, in which precision and with which random numbers."""

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

RandomState = dict[str, Tensor]  # by generator: cpu, and cuda where there is one

_KEPT_KERNELS = "128"  # more than an update has shapes
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's malloc.h


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name: auto (the first there is of cuda, mps and cpu), cuda, cuda:N, mps or cpu.

    A card that is named by its number becomes the current one. Raises NmtError for a device that is not there.
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
        raise NmtError(f"there is no {name} device here, which has {cards} of that kind: choose cuda:0{last}")
    device = torch.device("cuda", int(index))
    torch.cuda.set_device(device)  # pinned memory and the like belong to the current one
    return device


def autocast(device: torch.device, precision: str = "auto") -> torch.autocast:
    """A context for the arithmetic of `precision`: bf16 autocast, or fp32.

    auto takes bf16 on CUDA and fp32 elsewhere; native takes bf16 wherever the device has instructions for it.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=computes_bf16(device, precision))


def computes_bf16(device: torch.device, precision: str) -> bool:
    """Whether `precision` means bf16 on this device, and not fp32."""
    if precision == "native":
        return has_bf16(device)
    return precision == "bf16" or (precision == "auto" and device.type == "cuda")


def has_bf16(device: torch.device) -> bool:
    """Whether the device computes bf16 by itself: a CPU without such instructions is slower in it than in fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(_cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def is_waited_for(device: torch.device) -> bool:
    """Return whether reading a tensor's value makes the program wait; on a CPU it is computed already."""
    return device.type != "cpu"


def is_cuda(device: torch.device) -> bool:
    """Return whether the device is a graphics card that runs CUDA."""
    return device.type == "cuda"


def computes_by_threads(device: torch.device) -> bool:
    """Return whether the device computes several batches side by side, each in a thread of its own."""
    return device.type == "cpu"


def takes_several_processes(device: torch.device) -> bool:
    """Return whether training by several processes can use this kind of device."""
    return device.type != "mps"


def has_fused_adam(device: torch.device) -> bool:
    """Return whether torch updates all weights on this device by one kernel."""
    return device.type in ("cpu", "cuda")


def most_exact(device: torch.device) -> torch.dtype:
    """Return the most precise floating point that the device has."""
    return torch.float32 if device.type == "mps" else torch.float64


def _cpu_flags() -> set[str]:
    """What the processor says it can do (x86: flags, ARM: Features); nothing where Linux does not tell."""
    return set(_cpuinfo("flags", "Features").split())


@cache
def _cpuinfo(*names: str) -> str:
    """What Linux tells of the processor under any of these names; nothing where it does not."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(names)), "")


def describe_hardware(device: torch.device) -> str:
    """The processor (with its cores) or the graphics card, for the record."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpuinfo('model name') or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def random_state(device: torch.device) -> RandomState:
    """The state of the random numbers that training on `device` draws."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def resume_random_state(states: list[RandomState] | RandomState, process: int, device: torch.device) -> None:
    """Continue the random numbers of one of several processes, whose states are given; a single one counts as a list.

    A process beyond those that there were gets numbers of its own, made from the state of the first. A generator whose
    state was not kept goes on as seeded.
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
    """Random numbers of their own for process `number`, made from a state that all have; process 0 goes on with it."""
    if number:
        torch.manual_seed(int(torch.randint(2**62, ())) + number)


def undisturbed_randomness(device: torch.device) -> AbstractContextManager[None]:
    """Whatever the block draws, the random numbers after it are those that would have come without it."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def limit_kernel_caches() -> None:
    """Keep fewer of the kernels that oneDNN, torch's way to compute bf16 on a CPU, generates for every shape it meets.

    Each takes about half a megabyte. oneDNN keeps 1,024 of them, and torch's layer above it as many again; both read
    their limit from the environment when they are first used.
    """
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, _KEPT_KERNELS)


def reuse_memory() -> None:
    """Let malloc keep the memory of freed tensors for the next ones.

    By default glibc gives large pieces back to Linux, which takes them in anew, page by page, at every update. Other
    allocators and systems are left as they are.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter in (_TRIM_THRESHOLD, _MMAP_THRESHOLD):
            libc.mallopt(parameter, 2**31 - 1)
