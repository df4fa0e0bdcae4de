"""The real window at work, to be killed: `python doomed_window.py FOLDER STAGE`, or `… look`.

FOLDER/inputs is of `doomed.make_inputs`; sessions and exports go to FOLDER. Each stage goes on and
on; what it does is printed, a line each. `look` opens the window again, restores the session that
is offered, and prints as JSON what there is.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: From "start" on there is a process, from then on a window.
STAGES = ("start", "drag", "project", "export", "save")
PATIENCE_S = 90.0
#: What is younger may be lost: changes are gathered for a second, and written later still on a
#: busy machine.
LATEST_S = 6.0
#: A window that has not come to its stage, or told what it found, by then: an error. A busy
#: machine takes minutes.
UNBEGUN_S = 900.0


def say(*words: object) -> None:
    """A line for whoever is going to kill this."""
    print(*words, flush=True)


class Doomed:
    """The window, and what is done in it."""

    def __init__(self, folder: Path) -> None:
        from napari_stylegan3d.app.window import open_window

        self.folder = folder
        say("start")
        self.viewer, self.explorer = open_window(folder / "inputs" / "model")
        explorer = self.explorer
        self.wait(lambda: explorer.comparison.picture is not None)
        self.wait(lambda: explorer.directions.rows and not explorer.models.warming.running)

    def find(self, name: str) -> Any:
        """The control of that object name."""
        from qtpy.QtWidgets import QWidget

        return self.explorer.findChild(QWidget, name)

    def wait(self, condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> bool:
        """Let the window work until something is so, or patience ends."""
        from qtpy.QtTest import QTest

        end = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > end:
                return False
            QTest.qWait(10)
        return True

    def change(self, number: int) -> None:
        """A step of the history."""
        self.find("browse.seed").setValue(number)
        self.wait(lambda: False, 0.05)
        say("states", len(self.explorer.session.states))

    def drag(self) -> None:
        """Seeds and a slider in motion."""
        slider = self.find("browse.truncation.slider")
        for number in itertools.count(1):
            slider.setSliderDown(True)
            for part in range(5):
                slider.setValue(round((0.2 + 0.1 * part) * slider.maximum()))
                self.wait(lambda: False, 0.02)
            slider.setSliderDown(False)
            self.change(number)

    def project(self) -> None:
        """A scan, projected again and again."""
        for number in itertools.count(1):
            self.change(number)
            self.explorer.open_scan(self.folder / "inputs" / "scan-0_T1w.nii.gz")
            self.wait(lambda: self.find("project.start").isEnabled())
            self.find("project.start").click()
            say("projecting")
            self.wait(lambda: not self.explorer.projecting.job.running)

    def export(self) -> None:
        """A volume, written over itself."""
        self.explorer.panel("Export")
        self.find("export.folder").setText(str(self.folder / "exports"))
        self.find("export.overwrite").setChecked(True)
        self.find("export.folder").editingFinished.emit()
        for number in itertools.count(1):
            self.change(number % 3)
            self.find("export.save").click()
            say("exporting")
            self.wait(lambda: not self.explorer.exporting.job.running)

    def save(self) -> None:
        """The session, as a file and by itself."""
        sessions = self.explorer.sessions
        for number in itertools.count(1):
            self.change(number)
            sessions.autosave.now()
            sessions.save_as(self.folder / "exports" / "session.sg3d")
            say("saving")
            self.wait(lambda: not sessions.files.running)

    def look(self) -> None:
        """What the next start finds."""
        explorer = self.explorer
        bar = explorer.sessions.bar
        self.wait(lambda: explorer.sessions.looking.running, 1.0)
        self.wait(lambda: not explorer.sessions.looking.running)
        offered = self.wait(bar.isVisible, 0.5)
        if offered:
            bar.restore.click()
            self.wait(lambda: len(explorer.session.states) > 1, 20.0)
            self.wait(lambda: explorer.comparison.recipe == explorer.session.recipe)
        told = {
            "offered": offered,
            "states": len(explorer.session.states),
            "message": explorer.message.text(),
        }
        say("found", json.dumps(told))
        self.viewer.close()
        self.wait(lambda: False, 0.1)


def kill(folder: Path, stage: str, after_s: float) -> int:
    """Kill the window so long after a stage has begun; how many states must have survived.

    A stage may have nothing to say for as long as it likes: a timer kills, not the next line.
    """
    words = [sys.executable, __file__, str(folder), stage]
    seen: list[tuple[float, int]] = []
    sign = {"start": "start", "drag": "states", "project": "projecting"}.get(stage, f"{stage[:3]}")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        killer = threading.Timer(UNBEGUN_S, process.kill)
        killer.start()
        begun = False
        for line in process.stdout:
            if line.startswith("states"):
                seen.append((time.monotonic(), int(line.split()[1])))
            if not begun and line.startswith(sign):
                begun = True
                killer.cancel()
                killer = threading.Timer(after_s, process.kill)
                killer.start()
        killed = time.monotonic()
        killer.cancel()
        status = process.wait()
    if not begun or status != -signal.SIGKILL:
        raise RuntimeError(f"The window ended by itself or never came to {stage!r}: {status}.")
    return max((count for when, count in seen if when < killed - LATEST_S), default=0)


def look(folder: Path) -> dict[str, Any]:
    """What the next start finds."""
    words = [sys.executable, __file__, str(folder), "look"]
    run = subprocess.run(words, capture_output=True, text=True, timeout=UNBEGUN_S, check=True)
    (found,) = [line for line in run.stdout.splitlines() if line.startswith("found")]
    return json.loads(found.removeprefix("found"))


def main() -> None:
    """Read the command line and be killed."""
    folder, stage = Path(sys.argv[1]), sys.argv[2]
    os.environ["STYLEGAN3D_SESSIONS"] = str(folder / "sessions")
    os.environ["XDG_CONFIG_HOME"] = str(folder / "settings")
    for name in ("exports", "temporary"):
        (folder / name).mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(folder / "temporary")
    say("begun")
    doomed = Doomed(folder)
    if stage == "start":
        while True:
            doomed.wait(lambda: False, 1.0)
    getattr(doomed, stage)()


if __name__ == "__main__":
    main()
