"""Which devices and precisions this machine has, and which are fast."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from stylegan3d.errors import ModelError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@cache
def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 for feature maps where the hardware has it, else float32."""
    if device.type == "cuda" or (device.type == "cpu" and cpu_has_bfloat16()):
        return torch.bfloat16
    return torch.float32


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
