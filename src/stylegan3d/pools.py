"""Where work on many scans or subjects is done: here, in several processes, or on a Dask cluster.

One item is one task; whoever gives them out keeps what is done, so that a later run goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from stylegan3d.base import StyleGAN3DError

# Result of an item whose process died on every attempt.
LOST: dict[str, Any] = {"status": "lost"}
ATTEMPTS = 3
CONNECT_S, WAIT_FOR_WORKERS_S = 20.0, 60.0

Function = Callable[[Any, Any], Any]


class Here:
    """This process."""

    loss = ""

    def each(self, function: Function, job: Any, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield (item, function(job, item)) in order of completion."""
        for item in items:
            yield item, function(job, item)


class _Processes:
    """Local processes. If one is killed, only its scan is retried."""

    loss = (
        f"The process that worked on it was killed {ATTEMPTS} times, most likely for lack of "
        "memory; run again with fewer --jobs."
    )

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs

    def each(self, function: Function, job: Any, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        waiting, tried = deque(items), Counter[Any]()
        others = set(multiprocessing.active_children())
        # One executor per process, so that a broken one does not affect the others.
        free = [self._process() for _ in range(self.jobs)]
        flying: dict[Future, tuple[Any, ProcessPoolExecutor]] = {}
        try:
            while waiting or flying:
                while waiting and free:
                    item, process = waiting.popleft(), free.pop()
                    flying[process.submit(function, job, item)] = item, process
                for future in wait(flying, return_when=FIRST_COMPLETED).done:
                    item, process = flying.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        process.shutdown(wait=False)
                        process = self._process()
                        tried[item] += 1
                        result = LOST
                    free.append(process)
                    if result is LOST and tried[item] < ATTEMPTS:
                        waiting.append(item)
                    else:
                        yield item, result
        except BaseException:  # interrupted, or told to stop: nobody waits for what is running
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise
        finally:
            for process in [*free, *(process for _, process in flying.values())]:
                process.shutdown(cancel_futures=True)

    def _process(self) -> ProcessPoolExecutor:
        threads = max(1, (os.cpu_count() or 1) // self.jobs)
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, _use_threads, (threads,))


def _use_threads(count: int) -> None:
    """Limit the threads of this process, also of torch if it is imported later."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


@contextmanager
def _cluster(address: str) -> Iterator[Pool]:
    """The workers of a Dask scheduler; StyleGAN3DError if there are none."""
    try:
        from distributed import Client
    except ImportError as error:
        raise StyleGAN3DError(
            "A Dask cluster needs another package: install it with "
            "`pip install 'napari-stylegan3d[cluster]'`, here and on the workers."
        ) from error
    try:
        if ":" not in address:
            raise ValueError(address)  # it would be looked for until the time is up
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise StyleGAN3DError(
            f"No Dask scheduler answers at {address}; start one with `dask scheduler` and give the "
            "address that it shows, such as tcp://host:8786."
        ) from error
    try:
        yield _Dask(client, address)
    finally:
        client.close()


class _Dask:
    """A cluster. At most one scan per worker is submitted, so that new workers get their share.

    If a worker is lost, the scheduler reassigns its scan; one that fails is tried once more.
    """

    loss = "The workers that tried it were lost, most likely for lack of memory."

    def __init__(self, client: Any, address: str) -> None:
        self.client, self.address = client, address

    def each(self, function: Function, job: Any, items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        waiting, submit = deque(items), self.client.submit
        flying: dict[Any, Any] = {}
        while waiting or flying:
            workers = self._workers()
            while waiting and len(flying) < workers:
                item = waiting.popleft()
                flying[submit(_on_worker, function, job, item, pure=False, retries=1)] = item
            for future in self._done(list(flying)):
                yield flying.pop(future), self._result(future)

    def _done(self, futures: Sequence[Any]) -> Sequence[Any]:
        """Finished futures, after a few seconds at most, since there may be new workers."""
        from distributed import wait as wait_for

        with self.client.as_current():
            try:
                return wait_for(futures, timeout=5, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                return []

    def _result(self, future: Any) -> Any:
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker:
            return LOST

    def _workers(self) -> int:
        """Current number of workers; waits for the first one with a timeout."""
        until = time.monotonic() + WAIT_FOR_WORKERS_S
        while not (count := len(self.client.scheduler_info(n_workers=-1)["workers"])):
            if time.monotonic() > until:
                raise StyleGAN3DError(
                    f"The Dask scheduler at {self.address} has no workers; start some with "
                    f"`dask worker {self.address}`; what is done is kept."
                )
            time.sleep(0.2)
        return count


#: `loss` explains LOST results.
Pool = Here | _Processes | _Dask


@contextmanager
def open_pool(jobs: int, scheduler: str | None, work: int) -> Iterator[Pool]:
    """A pool of local processes, or the cluster of a scheduler."""
    if scheduler is not None:
        with _cluster(scheduler) as pool:
            yield pool
    elif jobs > 1 and work > 1:
        yield _Processes(min(jobs, work))
    else:
        yield Here()


def _on_worker(function: Function, job: Any, item: Any) -> Any:
    """Run with the worker's number of threads."""
    from distributed import get_worker

    _use_threads(max(1, get_worker().state.nthreads))
    return function(job, item)
