"""Which devices and precisions this machine has, and which are fast."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from stylegan3d.errors import ModelError
from stylegan3d.memory import keep_large_blocks

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@cache
def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX), and torch uses that.

    torch may be told to leave the newer instructions alone (ONEDNN_MAX_CPU_ISA); bfloat16 then
    takes seven times as long as float32.
    """
    return _cpu_has("avx512_bf16", "amx_bf16") and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _cpu_has(*features: str) -> bool:
    """Whether torch or the system lists one of these features of the CPU; no where none does."""
    # Older versions of torch list none; /proc/cpuinfo is Linux's, and knows ARM's features.
    listed: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    if any(listed.get(feature) for feature in features):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return any(feature in flags for feature in features)


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 for feature maps where the hardware has it, else float32.

    For what is fitted with gradients: it has float32's range, which float16 has not, and the answer
    is the same each time, which a stopwatch's is not. What is only shown asks `measured_dtype`.
    """
    if device.type == "cuda":
        # Older GPUs (before Ampere) only emulate it.
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = device.type == "cpu" and cpu_has_bfloat16()
    return torch.bfloat16 if has else torch.float32


@cache
def measured_dtype(device: torch.device) -> torch.dtype:
    """The precision in which this machine convolves fastest, tried once a process.

    float32 unless another one takes less than nine tenths of its time. A few tens of milliseconds.
    """
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        if device.type == "cpu" and not _cpu_multiplies(dtype):
            continue  # emulated: so slow that trying would be felt
        try:
            seconds[dtype] = _convolution_seconds(device, dtype)
        except RuntimeError:  # no kernel of this precision here
            continue
    fastest = min(seconds, key=lambda dtype: seconds[dtype])
    return fastest if seconds[fastest] < 0.9 * seconds[torch.float32] else torch.float32


@torch.no_grad()
def _convolution_seconds(device: torch.device, dtype: torch.dtype) -> float:
    """The shortest of three convolutions of the size of a network's."""
    layout = torch.channels_last_3d
    x = torch.ones(1, 32, 20, 28, 24, device=device, dtype=dtype).contiguous(memory_format=layout)
    weight = torch.ones(32, 32, 3, 3, 3, device=device, dtype=dtype)
    weight = weight.contiguous(memory_format=layout)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        F.conv3d(x, weight, padding=1)
        _wait_for(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def _wait_for(device: torch.device) -> None:
    """Return once the device has done what it was given: GPUs work while Python goes on."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _cpu_multiplies(dtype: torch.dtype) -> bool:
    """Whether this CPU may be fast in this precision, so that trying it is worth the time."""
    if dtype == torch.float16:  # AVX-512 FP16, AMX FP16, ARM
        return _cpu_has("avx512_fp16", "amx_fp16", "fphp", "asimdhp")
    # Of x86 it is known; elsewhere (ARM's bf16) trying tells.
    return dtype != torch.bfloat16 or not _is_x86() or cpu_has_bfloat16()


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def choose_device(name: str) -> torch.device:
    """A torch device from its name, "auto" for the best one there is."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"The device '{name}' is not available on this machine; choose cpu, cuda or mps."
        ) from error
    return device


def choose_dtype(name: str) -> torch.dtype:
    """A torch precision from its name; "auto" is float32."""
    if name == "auto":
        return torch.float32
    if name not in DTYPES:
        raise ModelError(f"The precision '{name}' is unknown; choose one of {', '.join(DTYPES)}.")
    return DTYPES[name]


@contextmanager
def workers(device: torch.device | str = "cpu") -> Iterator[Callable[..., Iterable[Any]]]:
    """A `map` that keeps every core busy; on another device than the CPU the usual one.

    Sharing a volume among cores takes more than twice the time: most layers are too small for it.
    """
    keep_large_blocks()
    threads = torch.get_num_threads()
    if torch.device(device).type != "cpu" or threads == 1:
        yield map
        return
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield pool.map
        finally:
            torch.set_num_threads(threads)  # part of the setting is the whole process's
