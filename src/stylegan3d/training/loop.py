"""The loop of all training: step by step, written down now and then, stopped cleanly."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from stylegan3d.storage.files import output_errors

#: A line of figures now and then, in the run's folder.
LOG = "log.jsonl"


class Training(Protocol):
    """What the loop trains.

    Attributes
    ----------
    unsaved : bool
        Whether something would be lost without `save`.
    """

    unsaved: bool

    def finished(self) -> bool:
        """Whether the last step is done."""

    def step(self) -> None:
        """Do the next step."""

    def save(self) -> None:
        """Write the checkpoint."""

    def report(self) -> None:
        """Say how far the training is."""


def go_on(
    training: Training,
    save_seconds: float,
    should_stop: Callable[[], bool] | None = None,
    *,
    agree: Callable[[bool], bool] = lambda stop: stop,
) -> None:
    """Train until the last step, or until asked to stop: then nothing is lost.

    SIGTERM and SIGINT ask for it, too; the step at work is finished and written.

    Parameters
    ----------
    training : Training
        To go on with.
    save_seconds : float
        Between two checkpoints.
    should_stop : callable or None
        Asked before every step.
    agree : callable
        Whether to stop, where several processes must do so together.
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
    """Whether SIGTERM or SIGINT was sent, which do not end the program in this block."""
    asked: list[int] = []
    previous = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            previous[number] = signal.signal(number, lambda n, _: asked.append(n))
        except ValueError:  # not the main thread: whoever runs the loop has `should_stop`
            break
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def write_log(folder: Path, row: dict[str, Any]) -> None:
    """Add a line to the log of a run."""
    with output_errors(folder / LOG), (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
