"""Limits the cores a thread computes on, so that one remains for the window.

A layer's work is divided evenly among the cores and finishes with the slowest. If the window draws
on one of them (without a graphics card that takes a core), all others wait: on two cores a preview
took ten times as long as on one.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def beside_the_window() -> AbstractContextManager[Any]:
    """Limit the calling thread to all cores but one."""
    import torch

    return on_cores(max(torch.get_num_threads() - 1, 1))


def on_cores(count: int) -> AbstractContextManager[Any]:
    """Limit the calling thread to `count` cores.

    Takes effect with the call; ends with the `with` block, if any.
    """
    import torch

    # torch sets a thread's number of cores at its first use there, overriding earlier settings.
    torch.get_num_threads()
    limits: AbstractContextManager[Any] = _pools().limit(limits=count, user_api="openmp")
    return limits


@cache
def _pools() -> Any:
    """The multithreaded libraries; looked up once, which takes a while."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
