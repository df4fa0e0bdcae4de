"""The real window, driven, how late its event loop is, and the memory it has asked for."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_stylegan3d.app.window import open_window

BEAT_MS = 10
PATIENCE_S = 120.0


class Driver:
    """The window, its controls by name, and when its views were drawn.

    Attributes
    ----------
    drawn : when each of the four views last finished drawing, in seconds, by the view's name.
    waiting : moves that the 2D views do not show yet: when, and the recipe.
    latencies : how long each of the others took, in seconds.
    frames : how often the window was put together, whatever of it was drawn.
    """

    def __init__(self, model: Path | None) -> None:
        self.viewer, self.explorer = open_window(model)
        explorer = self.explorer
        self.wait(lambda: explorer.comparison.picture is not None)
        self.wait(lambda: explorer.directions.rows and not explorer.models.warming.running)
        self.names = [view.name for view in explorer.views.views]
        self.drawn: dict[str, float] = {}
        self.waiting: list[tuple[float, Any]] = []
        self.latencies: list[float] = []
        self.frames = 0
        self._shown: list[tuple[float, Any]] = []
        for view in explorer.views.views:
            swapped = view.canvas.canvas.native.frameSwapped
            swapped.connect(lambda name=view.name: self._on_drawn(name))
        explorer.rendering.shown.connect(self._on_shown)

    def find(self, name: str) -> Any:
        """The control of that object name."""
        from qtpy.QtWidgets import QWidget

        return self.explorer.findChild(QWidget, name)

    def wait(self, condition: Callable[[], Any]) -> None:
        """Let the window work until something is so."""
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > end:
                raise SystemExit("The window did not come to rest: try again on a quiet machine.")
            self.rest(0.005)

    @staticmethod
    def rest(seconds: float) -> None:
        """Let the window work for a while."""
        from qtpy.QtTest import QTest

        QTest.qWait(max(round(1000 * seconds), 1))

    def settle(self) -> None:
        """Wait for the full volume of the current recipe, and for the 3D view."""
        explorer = self.explorer
        self.wait(
            lambda: (
                not explorer.rendering.busy
                and explorer.comparison.recipe == explorer.session.recipe
                and not explorer.comparison.is_preview
            )
        )
        explorer.views.view("3D").follower.settle()
        self.rest(0.3)

    def _on_drawn(self, name: str) -> None:
        """Moves whose picture, or a newer one, all 2D views have drawn wait no longer."""
        self.drawn[name] = time.perf_counter()
        self.frames += name == self.names[0]
        flat = min(self.drawn.get(name, 0.0) for name in self.names if name != "3D")
        seen = [recipe for when, recipe in self._shown if when < flat]
        self._shown = [entry for entry in self._shown if entry[0] >= flat]
        places = [i for i, (_, recipe) in enumerate(self.waiting) if recipe in seen]
        if places:
            done, self.waiting = self.waiting[: places[-1] + 1], self.waiting[places[-1] + 1 :]
            self.latencies += [flat - when for when, _ in done]

    def _on_shown(self, recipe: Any, _: Any) -> None:
        self._shown.append((time.perf_counter(), recipe))


class Heartbeat:
    """How late the event loop is: a timer that should fire every 10 ms.

    Attributes
    ----------
    delays : how late each beat was, in seconds.
    worked : processor time of the window's own thread since the beat before, in seconds; on a busy
        machine it says how much of a delay is its own.
    """

    def __init__(self) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.delays: list[float] = []
        self.worked: list[float] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)

    def __enter__(self) -> Heartbeat:
        self._due = time.perf_counter() + BEAT_MS / 1000
        self._before = time.thread_time()
        self._timer.start(BEAT_MS)
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.delays.append(max(now - self._due, 0.0))
        self._due = now + BEAT_MS / 1000
        before, self._before = self._before, time.thread_time()
        self.worked.append(self._before - before)


def in_use() -> int:
    """Bytes that glibc has given out; 0 with other C libraries."""

    class Info(ctypes.Structure):
        names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
        _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

    try:
        mallinfo = ctypes.CDLL("libc.so.6").mallinfo2
    except (OSError, AttributeError):
        return 0
    mallinfo.restype = Info
    info = mallinfo()
    return int(info.uordblks + info.hblkhd)


def virtual_screen(*, lasting: bool = False) -> Any:
    """A display for this process and its children, to its last client's end or until stopped."""
    from pyvirtualdisplay import Display

    screen = Display(
        size=(1600, 1000), color_depth=24, extra_args=["-noreset" if lasting else "-terminate"]
    )
    screen.start()
    os.environ["QT_QPA_PLATFORM"] = "xcb"
    return screen
