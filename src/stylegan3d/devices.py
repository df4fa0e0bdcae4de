"""Available devices and precisions, and which are fast."""

import inspect
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from operator import length_hint
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F

from stylegan3d.base import SILENT, ModelError, Progress
from stylegan3d.memory import keep_large_blocks

R = TypeVar("R")
K = TypeVar("K", bound=torch.optim.Optimizer)
#: Environment variable that names what "auto" stands for; processes of jobs inherit it.
DEVICE = "STYLEGAN3D_DEVICE"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@cache
def cpu_has_bfloat16() -> bool:
    """Whether torch uses bfloat16 in hardware on this CPU (AVX-512 BF16 or AMX).

    If disabled by ONEDNN_MAX_CPU_ISA, bfloat16 takes seven times as long as float32.
    """
    return _cpu_has("avx512_bf16", "amx_bf16") and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _cpu_has(*features: str) -> bool:
    """Whether torch or the system reports one of these CPU features."""
    # Older torch versions report none; /proc/cpuinfo is Linux only and includes ARM features.
    listed: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    if any(listed.get(feature) for feature in features):
        return True
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return any(feature in flags for feature in features)


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 for feature maps if the hardware supports it, else float32.

    For optimisation: unlike float16 it has the range of float32, and unlike `measured_dtype`, which
    is for display, the answer does not depend on timing.
    """
    if device.type == "cuda":
        # Older GPUs (before Ampere) only emulate it.
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = device.type == "cpu" and cpu_has_bfloat16()
    return torch.bfloat16 if has else torch.float32


@cache
def measured_dtype(device: torch.device) -> torch.dtype:
    """The fastest precision for convolutions, measured once per process in tens of milliseconds.

    float32 unless another one takes less than nine tenths of its time.
    """
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        if device.type == "cpu" and not _cpu_multiplies(dtype):
            continue  # emulated, and noticeably slow even to try
        try:
            seconds[dtype] = _convolution_seconds(device, dtype)
        except RuntimeError:  # no kernel of this precision here
            continue
    fastest = min(seconds, key=lambda dtype: seconds[dtype])
    return fastest if seconds[fastest] < 0.9 * seconds[torch.float32] else torch.float32


@torch.no_grad()
def _convolution_seconds(device: torch.device, dtype: torch.dtype) -> float:
    """Shortest time of three convolutions of typical size."""
    layout = torch.channels_last_3d
    x = torch.ones(1, 32, 20, 28, 24, device=device, dtype=dtype).contiguous(memory_format=layout)
    weight = torch.ones(32, 32, 3, 3, 3, device=device, dtype=dtype).to(memory_format=layout)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        F.conv3d(x, weight, padding=1)
        wait_for(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def wait_for(device: torch.device) -> None:
    """Wait until the device has finished: GPUs run asynchronously."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _cpu_multiplies(dtype: torch.dtype) -> bool:
    """Whether this CPU may be fast in this precision and is worth measuring."""
    if dtype == torch.float16:  # AVX-512 FP16, AMX FP16, ARM
        return _cpu_has("avx512_fp16", "amx_fp16", "fphp", "asimdhp")
    # Known for x86; elsewhere (ARM bf16) it is measured.
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return dtype != torch.bfloat16 or not is_x86 or cpu_has_bfloat16()


def choose_device(name: str | torch.device) -> torch.device:
    """A torch device from its name; "auto" for the one in `DEVICE`, else the best available one."""
    name = os.environ.get(DEVICE, "auto") if name == "auto" else name
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
    name = "float32" if name == "auto" else name
    if name not in DTYPES:
        raise ModelError(f"The precision '{name}' is unknown; choose one of {', '.join(DTYPES)}.")
    return DTYPES[name]


@cache
def eager(optimiser: type[K]) -> type[K]:
    """A kind of optimiser that leaves torch's compiler, which takes over a second to import, alone.

    The same numbers: torch decorates these methods for what is compiled, and nothing is here.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")
    plain = {name: torch.no_grad()(inspect.unwrap(getattr(optimiser, name))) for name in names}
    return cast(type[K], type(optimiser.__name__, (optimiser,), plain))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, so that sums are added in the same order on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def workers(device: torch.device | str = "cpu") -> Iterator[Callable[..., Iterable[Any]]]:
    """A `map` over volumes that uses every core; the built-in one except on the CPU.

    Parallelising within a volume takes more than twice the time: most layers are too small for it.
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
            torch.set_num_threads(threads)  # part of the setting is global to the process


def computed(
    function: Callable[[Any], Any],
    items: Iterable[Any],
    device: torch.device | str = "cpu",
    progress: Progress = SILENT,
) -> list[Any]:
    """What a function makes of each of some volumes, in their order, by `workers`.

    Parameters
    ----------
    progress : Progress
        Called after each with how many are done and how many there are.
    """
    total, found = length_hint(items), []
    with workers(device) as mapped:
        for one in mapped(function, items):
            found.append(one)
            progress(len(found), total)
    return found
