"""How many of the machine's cores a thread computes on, so that the window keeps one for itself.

A layer is divided evenly among the cores and is done when the last one is. Where the window draws
on one of them (without a graphics card that takes a core), all the others wait for it: on two cores
a preview took ten times as long as on one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def beside_the_window() -> AbstractContextManager[Any]:
    """Let the calling thread, and no other, compute on all cores but one."""
    import torch

    return on_cores(max(torch.get_num_threads() - 1, 1))


def on_cores(count: int) -> AbstractContextManager[Any]:
    """Let the calling thread, and no other, compute on so many cores.

    It holds from the call on, and until the end of a `with` where there is one.
    """
    import torch

    # torch chooses a thread's number of cores at its first use there, over any choice before it.
    torch.get_num_threads()
    limits: AbstractContextManager[Any] = _pools().limit(limits=count, user_api="openmp")
    return limits


@cache
def _pools() -> Any:
    """The libraries that compute on several cores; looked up once, for that takes a while."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
