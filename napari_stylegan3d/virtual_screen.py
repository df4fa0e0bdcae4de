"""A screen in memory, for machines without a display."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

SIZE = "1600x1000x24"
MISSING = (
    "There is no display and Xvfb, which draws without one, is not installed: install it "
    "(apt-get install xvfb) or run this where there is a display."
)


class NoScreenError(Exception):
    """Neither a display nor a way to do without; the message says what to do."""


@contextmanager
def virtual_screen() -> Iterator[None]:
    """Run with an Xvfb of our own; its display is in the environment meanwhile.

    Raises
    ------
    NoScreenError
        If Xvfb is missing or does not start.
    """
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        raise NoScreenError(MISSING)
    reader, writer = os.pipe()
    # Xvfb chooses a free display number and writes it to this pipe once it is ready.
    command = [xvfb, "-displayfd", str(writer), "-screen", "0", SIZE, "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=(writer,), stderr=subprocess.DEVNULL)
    os.close(writer)
    try:
        with os.fdopen(reader) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise NoScreenError("Xvfb is installed but did not start: run Xvfb :99 to see why.")
        # An offscreen platform has no OpenGL of its own; the real X11 one draws on Xvfb.
        previous = {name: os.environ.get(name) for name in ("DISPLAY", "QT_QPA_PLATFORM")}
        os.environ.update(DISPLAY=f":{number}", QT_QPA_PLATFORM="xcb")
        try:
            yield
        finally:
            for name, value in previous.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
    finally:
        process.terminate()
        process.wait(timeout=10)
