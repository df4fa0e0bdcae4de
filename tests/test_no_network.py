"""Nothing that the program does at run time asks the network for anything.

A process of its own, in which every way to open or resolve a connection raises and is written
down: local sockets, which systems and libraries use between processes and threads, stay.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

GUARD = """
import os, socket, sys, json
asked = []
ALLOWED = {getattr(socket, "AF_UNIX", None)}

def hear(event, arguments):
    if event == "socket.bind" and arguments[1] == ("::1", 0):
        return  # how urllib3, imported by pydicom, finds out whether there is IPv6: nobody is asked
    if event in ("socket.connect", "socket.sendto", "socket.bind"):
        if arguments[0].family not in ALLOWED:
            asked.append(f"{event} {arguments[1]}")
            raise PermissionError("the network is closed for this test")
    elif event.startswith(("socket.getaddrinfo", "socket.gethostby", "socket.getnameinfo",
                           "urllib.Request", "http.client.connect", "ftplib.connect",
                           "smtplib.connect", "webbrowser.open")):
        asked.append(f"{event} {arguments[0]}")
        raise PermissionError("the network is closed for this test")

sys.addaudithook(hear)
"""
# Native code does not raise Python's events: what it connects to shows in the system's own list.
ENDING = """
import psutil
remote = [c.raddr for c in psutil.Process().net_connections("inet") if c.raddr]
print("ASKED " + json.dumps([asked, [str(r) for r in remote]]))
"""


def run(program, folder, **environment):
    """What a program asked for, by the guard's list and the system's."""
    source = GUARD + textwrap.dedent(program) + ENDING
    kept = {
        "HOME": str(folder),
        "PYTHONPATH": str(Path(__file__).parent),
        "XDG_CONFIG_HOME": str(folder),
        "XDG_CACHE_HOME": str(folder),
    }
    kept |= {"XDG_DATA_HOME": str(folder), "XDG_STATE_HOME": str(folder)}
    ended = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, **kept, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    line = next(x for x in ended.stdout.splitlines() if x.startswith("ASKED "))
    return json.loads(line.removeprefix("ASKED "))


def test_the_guard_hears_what_asks(tmp_path):
    asked, _ = run(
        """
        import urllib.request
        for address in ("http://127.0.0.1:9", "http://example.org"):
            try:
                urllib.request.urlopen(address, timeout=1)
            except OSError:
                pass
        """,
        tmp_path,
    )
    assert len(asked) >= 2


#: What the command line, Python and a cluster do without.
WINDOW = ("magicgui", "napari", "qtpy", "superqt", "vispy", "PyQt5", "PyQt6", "PySide6")


def test_the_engine_asks_nobody_and_needs_no_package_of_the_window(tmp_path):
    """Import all of it, open a model, make a brain, edit it, project a scan, label tissues."""
    scan = Path(__file__).parent / "scans/mean-brain-4mm.nii.gz"
    asked = run(
        f"""
        import contextlib, importlib, io, pkgutil

        sys.modules.update(dict.fromkeys({WINDOW!r}))
        import stylegan3d
        from stylegan3d.cli import main
        from stylegan3d.scans import scan

        for module in pkgutil.walk_packages(stylegan3d.__path__, "stylegan3d."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        scan.ITERATIONS = (1,)  # of N4, which asks nobody and takes two seconds
        for words in (
            ["edit", "--seed", "1", "--edit", "PC 1=1", "--out", "made"],
            ["project", {str(scan)!r}, "--steps", "2", "--out", "projected"],
            ["info"],
        ):
            try:
                main(words)
            except SystemExit as end:
                assert not end.code, (words, end.code)
        assert "torch._dynamo" not in sys.modules  # takes long to import, and nothing is compiled

        from napari_stylegan3d.app.window import main

        with contextlib.redirect_stderr(io.StringIO()) as told:
            try:
                sys.exit(main([]))
            except SystemExit as end:
                assert end.code == 2, end.code
        assert told.getvalue().startswith("The window needs napari")
        assert told.getvalue().count("\\n") == 1
        """,
        tmp_path,
        DISPLAY=":77",
    )
    assert asked == [[], []]
    assert list(tmp_path.glob("made/*.nii.gz"))
    assert list(tmp_path.glob("projected/*.nii.gz"))


@pytest.mark.gui
def test_the_window_asks_nobody(tmp_path):
    """The whole window opens with its first brain."""
    asked = run(
        """
        import napari
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication
        from napari_stylegan3d.app.explorer import Explorer
        from tiny import tiny_generator

        viewer = napari.Viewer(show=False)
        explorer = Explorer(viewer, tiny_generator())
        ends = QTimer()
        ends.setSingleShot(True)
        ends.timeout.connect(QApplication.instance().quit)
        ends.start(3000)
        QApplication.instance().exec()
        assert explorer.session is not None
        viewer.close()
        """,
        tmp_path,
        QT_QPA_PLATFORM=os.environ.get("QT_QPA_PLATFORM", "offscreen"),
        NAPARI_CONFIG=str(tmp_path / "settings.yaml"),
    )
    assert asked == [[], []]
