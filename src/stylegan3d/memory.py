"""Memory: allocation of large blocks by the C library, and out-of-memory errors."""

import ctypes
import errno
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

#: Lower-case messages of libraries without a dedicated exception.
_SIGNS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "bad_alloc",
    "bad alloc",
    "could not create a primitive",  # oneDNN
    "failed to map segment",  # a library that is being loaded
)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
#: From how many bytes blocks are mapped, and how many may be free at the end: where large blocks
#: are kept, by default, and for `lean`.
KEPT, DEFAULT, LEAN = (2**30, 2**31 - 1), (2**25, 2**27), (2**22, 2**22)


@cache
def keep_large_blocks() -> bool:
    """Let glibc reuse blocks above 32 MiB instead of returning each to the kernel.

    By default every feature map of that size is mapped, page-faulted and unmapped again, which
    takes longer than the convolution that fills it (measured: a filter over a batch of four took
    35 ms instead of 11). Returns whether it applied; other C libraries are left alone.
    """
    return _from_the_kernel(*KEPT)


@contextmanager
def lean() -> Iterator[None]:
    """Return large blocks to the kernel at once meanwhile, and all that is free afterwards.

    For work that takes memory once, in blocks of many sizes, which would leave gaps between those
    that `keep_large_blocks` keeps. Only blocks that do not fit where some were freed before are
    returned; other threads' large blocks take a little longer meanwhile.
    """
    _from_the_kernel(*LEAN)
    try:
        yield
    finally:
        kept = keep_large_blocks.cache_info().currsize > 0
        _from_the_kernel(*(KEPT if kept else DEFAULT))
        give_back()


def _from_the_kernel(least: int, trimmed: int) -> bool:
    """Blocks from `least` bytes on are mapped, more than `trimmed` free at the end given back."""
    mallopt = _of_glibc("mallopt")
    if mallopt is None:
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, least)) and bool(mallopt(M_TRIM_THRESHOLD, trimmed))


def give_back() -> bool:
    """Return freed memory to the kernel that `keep_large_blocks` has kept.

    For use after memory-intensive work. It may take a tenth of a second and blocks allocations: not
    for a thread that draws. Returns whether there was anything; other C libraries are left alone.
    """
    malloc_trim = _of_glibc("malloc_trim")
    return malloc_trim is not None and bool(malloc_trim(0))


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of glibc; None with another C library."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL("libc.so.6"), name)
    except (OSError, AttributeError):
        return None
    return function


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether something failed because there was not enough memory, of the machine or its GPU.

    torch raises a RuntimeError on a CPU, the system ENOMEM, C++ `bad_alloc`; errors raised from one
    of these count, too.
    """
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        told = isinstance(error, RuntimeError | ImportError)
        if told and any(sign in str(error).lower() for sign in _SIGNS):
            return True
        error = error.__cause__
    return False
