"""How the C library is told to keep memory, and to give it back."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HELD_MB = 400
#: In a process of its own: the setting lasts as long as a process does.
PROGRAM = f"""
import numpy as np
from stylegan3d.memory import give_back, keep_large_blocks, lean

def megabytes():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20

assert keep_large_blocks()
start = megabytes()
with lean():
    blocks = [np.ones(10 * 2**17) for _ in range({HELD_MB} // 10)]
    del blocks
    at_once = megabytes() - start
blocks = [np.ones(10 * 2**17) for _ in range({HELD_MB} // 10)]
last = np.ones(2**17)  # above them, so that the heap cannot shrink by itself
del blocks
kept = megabytes() - start
given = give_back()
print(kept, given, megabytes() - start, at_once)
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not Path("/proc/self/statm").exists(),
    reason="of glibc alone",
)
def test_what_was_freed_is_given_back():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=os.environ
    )
    if "AssertionError" in done.stderr:
        pytest.skip("another C library")
    kept, given, left, at_once = done.stdout.split()
    assert float(kept) > 0.9 * HELD_MB, "not lean any more"
    assert given == "True"
    assert float(left) < 0.2 * HELD_MB
    assert float(at_once) < 0.2 * HELD_MB
