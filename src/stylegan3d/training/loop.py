"""The training loop, with checkpoints and clean stopping."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from stylegan3d.plain import Json
from stylegan3d.storage.files import output_errors

#: Log file in the run's folder.
LOG = "log.jsonl"


class Steps(Protocol):
    """What the loop needs of a training: its steps, saving and reporting.

    Attributes
    ----------
    unsaved : bool
        Whether there are unsaved steps.
    """

    unsaved: bool

    def finished(self) -> bool:
        """Whether the last step is done."""

    def step(self) -> None:
        """Do the next step."""

    def save(self) -> None:
        """Write the checkpoint."""

    def report(self) -> None:
        """Report progress."""


def run_steps(
    training: Steps,
    save_seconds: float,
    should_stop: Callable[[], bool] | None = None,
    *,
    agree: Callable[[bool], bool] = lambda stop: stop,
) -> None:
    """Train until the last step or until stopped, without losing steps.

    SIGTERM and SIGINT also stop it, after finishing and saving the current step.

    Parameters
    ----------
    training : Training
        The training.
    save_seconds : float
        Interval between checkpoints.
    should_stop : callable or None
        Checked before every step.
    agree : callable
        Synchronises the decision to stop between processes.
    """
    saved = time.monotonic()
    with stop_signals() as asked:
        while not training.finished():
            if agree(asked() or bool(should_stop and should_stop())):
                break
            training.step()
            if time.monotonic() - saved > save_seconds or training.finished():
                training.save()
                saved = time.monotonic()
            training.report()
        if training.unsaved:
            training.save()


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Catch SIGTERM and SIGINT in this block; yields a function that says whether one arrived."""
    asked: list[int] = []
    previous = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            previous[number] = signal.signal(number, lambda n, _: asked.append(n))
        except ValueError:  # not the main thread: use `should_stop` instead
            break
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def write_log(folder: Path, row: Json) -> None:
    """Append a line to the log of a run."""
    with output_errors(folder / LOG), (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
