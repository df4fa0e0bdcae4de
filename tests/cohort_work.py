"""Work for the tests of cohorts: quick, and able to fail, to hang around and to kill its process.

A module of its own, because worker processes import it.
"""

import os
import signal
import time
from pathlib import Path

from stylegan3d.base import ScanError
from stylegan3d.storage.files import write_together


def copy(settings, item, folder, overwrite):
    """Copy a "scan"; the log, one line per scan that was finished, shows who was done twice."""
    log, text = Path(settings["log"]), item.path.read_text()
    if text == "bad":
        raise ScanError(f"{item.path} is no scan; give another.")
    if text == "defect":
        raise ZeroDivisionError("of this program")
    once = log.with_name(f"{item.path.name}.killed")
    if text == "deadly" or (text == "killed once" and not once.exists()):
        once.touch()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "result.txt").write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30 if text == "slow" else settings.get("sleep", 0))
    result = folder / "result.txt"
    write_together({result: text.encode()}, overwrite=overwrite)
    with log.open("a") as stream:
        stream.write(f"{item.name}\n")
    return [result], {"ssim": 0.5, "psnr": 20.0, "ncc": 0.9, "reconstruction": "green"}
