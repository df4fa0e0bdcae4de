"""A virtual screen for machines without a display."""

from __future__ import annotations

import os
import shutil
import subprocess

SIZE = (1600, 1000)
MISSING = (
    "There is no display and Xvfb, which draws without one, is not installed: install it "
    "(apt-get install xvfb) or run this where there is a display."
)


class NoScreenError(Exception):
    """Neither a display nor Xvfb; the message explains the remedy."""


def start_virtual_screen(
    size: tuple[int, int] = SIZE, *, lasting: bool = False
) -> subprocess.Popen[bytes]:
    """Start Xvfb, so many pixels wide and high, as the display of this process and its children.

    It terminates with this process, its only client; stopping it earlier would crash Qt. A
    `lasting` one serves several processes, and must be stopped by the caller.

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
    screen_size = "{}x{}x24".format(*size)
    command = [xvfb, "-displayfd", str(writer), "-screen", "0", screen_size, "-nolisten", "tcp"]
    # A separate session, so that Ctrl+C does not reach Xvfb.
    screen = subprocess.Popen(
        [*command, "-noreset" if lasting else "-terminate"],
        pass_fds=(writer,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(writer)
    with os.fdopen(reader) as pipe:
        number = pipe.readline().strip()
    if not number:
        raise NoScreenError("Xvfb is installed but did not start: run Xvfb :99 to see why.")
    # Qt's offscreen platform has no OpenGL of its own; the X11 one draws on Xvfb.
    os.environ.update(DISPLAY=f":{number}", QT_QPA_PLATFORM="xcb")
    return screen
