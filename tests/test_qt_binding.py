"""The window refuses a Qt that would take it down, before any Qt is imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_stylegan3d.app import qt_binding

PYTHON = ".".join(map(str, sys.version_info[:2]))
DIES = sys.version_info < (3, 12)


def binding(folder: Path, name: str, package: str, version: str) -> None:
    """A binding of that version which ends the process if anybody imports it."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text("import os\nos._exit(99)\n")
    about = folder / f"{package}-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")


def start(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the bindings in `folder` come before the installed one."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "DISPLAY": ":77", **environment}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
WINDOW = "import sys; from napari_stylegan3d.__main__ import main; sys.exit(main([]))"
TOUR = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from tour import main; sys.exit(main(['--out', 'x']))"  # noqa: E501


@pytest.mark.skipif(not DIES, reason="None is not counted from Python 3.12 on")
@pytest.mark.parametrize("package", ["PySide6", "pyside6_essentials"])
@pytest.mark.parametrize("code", [WINDOW, TOUR], ids=["window", "tour"])
def test_the_broken_pyside_is_refused_in_a_sentence(
    tmp_path: Path, package: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    binding(tmp_path, "PySide6", package, "6.12.0")
    result = start(tmp_path, code, QT_API="pyside6")
    assert result.returncode == 2
    assert result.stderr == (
        f"PySide6 6.12.0 crashes on Python {PYTHON}: install another version "
        '(pip install "PySide6!=6.12.0"), PyQt6, or Python 3.12 or newer.\n'
    )


@pytest.mark.parametrize(
    ("found", "version", "environment", "broken"),
    [
        ("PySide6", "6.12.0", "pyside6", DIES),
        ("PySide6", "6.11.2", "pyside6", False),
        ("PySide6", "6.12.1", "pyside6", False),
        ("PySide6", "6.12.0", "pyqt6", False),  # PyQt6 is installed too and comes first
        ("PySide6", "6.12.0", "", False),
    ],
)
def test_only_the_broken_pyside_on_the_old_python_is_refused(
    tmp_path: Path, found: str, version: str, environment: str, broken: bool
) -> None:
    binding(tmp_path, found, "PySide6", version)
    code = (
        "from napari_stylegan3d.app.qt_binding import *; print(chosen_binding(), broken_binding())"
    )
    result = start(tmp_path, code, QT_API=environment)
    chosen, _, why = result.stdout.strip().partition(" ")
    assert chosen == ("PySide6" if environment == "pyside6" else "PyQt6")
    assert bool(why) == broken


def test_the_plugin_says_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_stylegan3d.app import explorer

    monkeypatch.setattr(qt_binding, "broken_binding", lambda: "It would crash.")
    with pytest.raises(qt_binding.BrokenBindingError, match=r"^It would crash\.$"):
        explorer.Explorer(None)


def test_no_qt_at_all_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in qt_binding.BINDINGS:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(qt_binding, "find_spec", lambda name: True if name == "napari" else None)
    assert qt_binding.broken_binding() == qt_binding.MISSING
