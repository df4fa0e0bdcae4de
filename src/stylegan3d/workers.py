"""Volumes or trainings side by side, each on a core of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from stylegan3d.memory import keep_large_blocks


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
