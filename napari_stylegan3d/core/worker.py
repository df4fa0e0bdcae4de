"""Background threads: renderings of which only the newest matters, and long jobs.

Both run plain functions in their own threads, at lower priority than the window where the system
supports it; results are delivered as Qt signals on the receiver's thread.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt, QTimer, Signal
from qtpy.QtWidgets import QDialog

from napari_stylegan3d.widgets.controls import SINGLE_SHOT, single_shot
from stylegan3d.base import Cancelled, Progress, duration
from stylegan3d.memory import give_back

K = TypeVar("K")
V = TypeVar("V")


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


NICENESS = 10
#: Milliseconds between two pictures of a job's progress: each has the whole window put together
#: anew, which without a graphics card takes the time of a step.
PROGRESS_MS = 100
#: Of a phase reported as a share of 1: what has to be done before the rest is estimated.
LEAST_SHARE = 0.002


def step_back(niceness: int = NICENESS) -> None:
    """Lower the priority of the calling thread (per-thread priorities exist only on Linux)."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)


class Newest(OrderedDict[K, V]):
    """Keeps the values that were set or asked for last.

    Parameters
    ----------
    most : int
        How many.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __setitem__(self, key: K, value: V) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        while len(self) > self.most:
            self.popitem(last=False)

    def get(self, key: K, default: Any = None) -> Any:
        """The value of a key, which is kept for longer; `default` if there is none."""
        if key in self:
            self.move_to_end(key)
        return super().get(key, default)


#: So long after work, what it has freed goes back to the kernel; not while a hand drags.
REST_MS = 1000


class _GuiThread(QObject):
    """Calls methods on the GUI thread, for threads that emit no signals themselves.

    A thread that emits a signal of an object which is deleted meanwhile ends the process. Windows
    and jobs may be deleted at any time; this is never.
    """

    _asked = Signal(object, bool)

    def __init__(self) -> None:
        super().__init__()
        self._asked.connect(self._run, Qt.ConnectionType.QueuedConnection)
        self._rest = single_shot(self, self._tidy, REST_MS)

    def call(self, owner: BackgroundWork, method: Callable[..., None], *args: Any) -> None:
        """Call an object's method soon, unless the object is deleted by then; from any thread."""
        self._asked.emit(lambda: method(*args) if isalive(owner) else None, owner.urgent)

    def _run(self, call: Callable[[], None], urgent: bool) -> None:
        call()
        if urgent or not self._rest.isActive():
            self._rest.start()

    def _tidy(self) -> None:
        threading.Thread(target=give_back, name="stylegan3d-memory").start()


_gui_thread = cache(_GuiThread)


class BackgroundWork(QObject):
    """Runs plain functions in a thread of its own, until `shutdown`.

    Parameters
    ----------
    parent : QObject or None
        Of the window, which ends all work in it: see `end_work`.
    urgent : bool
        Whether it runs at the priority of the window.
    **slots
        What is called on a signal, by the signal's name.
    """

    def __init__(
        self, parent: QObject | None, name: str, urgent: bool, **slots: Callable[..., object] | None
    ) -> None:
        super().__init__(parent)
        for signal, slot in slots.items():
            if slot is not None:
                getattr(self, signal).connect(slot)
        before = None if urgent else step_back
        self._executor = ThreadPoolExecutor(1, f"stylegan3d-{name}", initializer=before)
        self._gui, self.urgent = _gui_thread(), urgent
        #: Whether it was shut down.
        self.closed = False

    def shutdown(self) -> None:
        """Stop, drop what waits, and discard the result of what runs."""
        self.closed = True
        self._discard()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _run(self, key: Any, function: Callable[..., Any], *args: Any) -> None:
        """In the thread; what comes of it is given to `_on_done` beside a key."""
        result, failure = None, None
        try:
            result = function(*args)
        except Exception as error:
            failure = error
        self._gui.call(self, self._on_done, key, result, failure)

    def _discard(self) -> None:
        raise NotImplementedError

    def _on_done(self, key: Any, result: Any, error: Exception | None) -> None:
        raise NotImplementedError


def end_work(*roots: QObject) -> None:
    """End all work that belongs to windows, and hide their dialogs."""
    for root in roots:
        for work in root.findChildren(BackgroundWork):
            work.shutdown()
        for timer in root.findChildren(QTimer, SINGLE_SHOT):
            timer.stop()
        for dialog in root.findChildren(QDialog):
            dialog.hide()


class LatestWins(BackgroundWork):
    """Runs `function(request)` for the newest request; superseded requests never run.

    One request is running and at most one is queued, or one of each `key(request)`, which are run
    in the order they were submitted. Signals arrive on the GUI thread. Interactive requests are
    `urgent`: while the window draws without a graphics card, a low-priority thread would make
    hardly any progress, and the picture would be outdated.
    """

    #: (request, result) of each request that was run.
    ready = Signal(object, object)
    #: (request, exception).
    failed = Signal(object, object)
    busyChanged = Signal(bool)

    def __init__(
        self,
        function: Callable[[Any], Any],
        parent: QObject | None = None,
        ready: Callable[..., object] | None = None,
        failed: Callable[..., object] | None = None,
        *,
        urgent: bool = False,
        key: Callable[[Any], Hashable] = lambda _: None,
    ) -> None:
        super().__init__(parent, "render", urgent, ready=ready, failed=failed)
        self._function, self._key = function, key
        #: Whether a request is running.
        self.busy = False
        self._waiting: dict[Hashable, Any] = {}
        self._running: tuple[Any, ...] = ()

    @property
    def overtaken(self) -> bool:
        """Whether the running request is superseded or shut down."""
        return self.closed or bool(self._waiting)

    @property
    def requests(self) -> tuple[Any, ...]:
        """Those that are queued, and the one that runs."""
        return (*self._waiting.values(), *self._running)

    def request_of(self, key: Hashable) -> Any:
        """The newest request of a key that is running or queued, else None."""
        return next((request for request in self.requests if self._key(request) == key), None)

    def submit(self, request: Any) -> None:
        """Queue this request, replacing any queued one of its key."""
        if self.closed:
            return
        if self.busy:
            self._waiting[self._key(request)] = request
            return
        self.busy, self._running = True, (request,)
        self.busyChanged.emit(True)
        self._executor.submit(self._run, request, self._function, request)

    def _discard(self) -> None:
        self._waiting.clear()

    def _on_done(self, request: Any, result: Any, error: Exception | None) -> None:
        if self.closed:
            return
        self.busy, self._running = False, ()
        if self._waiting:
            self.submit(self._waiting.pop(next(iter(self._waiting))))
        else:
            self.busyChanged.emit(False)
        if error is not None:
            self.failed.emit(request, error)
        else:
            self.ready.emit(request, result)


@dataclass(frozen=True)
class JobStatus:
    """How far a long job has come; `remaining_s` is None until it can be estimated."""

    done: float
    total: float
    text: str
    detail: str
    remaining_s: float | None

    @property
    def fraction(self) -> float:
        """0 to 1."""
        return self.done / self.total if self.total else 0.0

    @property
    def in_words(self) -> str:
        """What is done, and how long it will take."""
        known = self.remaining_s is not None and self.done < self.total
        left = f"about {duration(self.remaining_s or 0)} left" if known else ""
        return ", ".join(filter(None, (self.text, self.detail, left)))


class JobProgress(Progress):
    """Progress of a job: estimates what remains; a report after the job was cancelled raises."""

    def __init__(
        self,
        emit: Callable[[JobStatus], None],
        hand_over: Callable[[Any], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stop, self._pause = threading.Event(), threading.Event()
        super().__init__(cancelled=self._stop.is_set, paused=self._pause.is_set, take=hand_over)
        self._emit, self._clock = emit, clock
        self._paused_at, self._lost_s = 0.0, 0.0
        self._phase: tuple[str, float, float] = ("", 0, self._clock())

    def __call__(self, done: float, total: float = 1.0, text: str = "", detail: str = "") -> None:
        """Report `done` of `total`; a new `text` starts a phase with its own clock.

        Raises
        ------
        Cancelled
            If the user has cancelled the job.
        """
        self.check()
        now = self._clock() - self._lost_s
        if text != self._phase[0]:
            self._phase = (text, done, now)
        _, first, since = self._phase
        known = done - first >= (2 if total > 1 else LEAST_SHARE)
        remaining = (now - since) * (total - done) / (done - first) if known else None
        self._emit(JobStatus(done, total, text, detail, remaining))

    def pause(self, paused: bool) -> None:
        """Pause the job after its next step, or resume it; pauses do not count in estimates."""
        if paused == self._pause.is_set():
            return
        if paused:
            self._paused_at = self._clock()
            self._pause.set()
        else:
            self._lost_s += self._clock() - self._paused_at
            self._pause.clear()

    def stop(self) -> None:
        """Cancel the job at its next step."""
        self._stop.set()


class LongJob(BackgroundWork):
    """One job at a time that reports progress and can be cancelled.

    `start(function, *args)` calls `function(report, *args)` in a thread, at low priority unless
    `urgent`.
    """

    #: JobStatus: the first of each phase, within one at most every `PROGRESS_MS`, and the last.
    progressed = Signal(object)
    #: What the function handed over before its end.
    came = Signal(object)
    #: What the function returned.
    finished = Signal(object)
    #: The exception.
    failed = Signal(object)
    cancelled = Signal()
    runningChanged = Signal(bool)

    def __init__(
        self,
        parent: QObject | None = None,
        finished: Callable[..., object] | None = None,
        failed: Callable[..., object] | None = None,
        *,
        urgent: bool = False,
        **slots: Callable[..., object],
    ) -> None:
        super().__init__(parent, "job", urgent, finished=finished, failed=failed, **slots)
        self._report: JobProgress | None = None
        self._progress: JobStatus | None = None  # has come too soon after the last
        self._phase = ""
        self._pace = single_shot(self, self._show_progress, PROGRESS_MS)

    @property
    def running(self) -> bool:
        """Whether a job runs (a cancelled one counts until it has stopped)."""
        return self._report is not None

    def start(self, function: Callable[..., Any], *args: Any) -> None:
        """Run a function; ignored while another runs, and after the end."""
        if self.running or self.closed:
            return
        report = JobProgress(
            lambda progress: self._gui.call(self, self._on_progress, report, progress),
            lambda part: self._gui.call(self, self._on_part, report, part),
        )
        self._report = report
        self.runningChanged.emit(True)
        self._executor.submit(self._run, report, function, report, *args)

    def cancel(self) -> None:
        """Cancel the job at its next step."""
        if self._report is not None:
            self._report.stop()

    def pause(self, paused: bool) -> None:
        """Pause or resume the job, if it supports that."""
        if self._report is not None:
            self._report.pause(paused)

    def _discard(self) -> None:
        self.cancel()
        self._report = self._progress = None
        self._pace.stop()

    def _on_progress(self, report: JobProgress, progress: JobStatus) -> None:
        if report is self._report and not report.cancelled:
            self._progress = progress
            if progress.text != self._phase or not self._pace.isActive():
                self._show_progress()

    def _show_progress(self) -> None:
        """Pass on the newest progress, if it is not yet."""
        progress, self._progress = self._progress, None
        if progress is not None and self._report is not None and not self._report.cancelled:
            self._phase = progress.text
            self._pace.start()
            self.progressed.emit(progress)

    def _on_part(self, report: JobProgress, part: Any) -> None:
        if report is self._report:
            self.came.emit(part)

    def _on_done(self, report: JobProgress, result: Any, error: Exception | None) -> None:
        if report is not self._report:
            return
        self._show_progress()
        self._pace.stop()
        self._report = None
        self.runningChanged.emit(False)
        if isinstance(error, Cancelled) or report.cancelled:
            self.cancelled.emit()
        elif error is not None:
            self.failed.emit(error)
        else:
            self.finished.emit(result)
