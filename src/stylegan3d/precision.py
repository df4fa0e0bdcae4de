"""Which precision this machine multiplies fast."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch


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
