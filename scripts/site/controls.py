"""Print the controls of the window as Markdown: name, kind and tooltip of each."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_stylegan3d.app.window import has_display, open_window

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

sys.path.insert(0, str(Path(__file__).parents[1]))
from tour import virtual_screen

#: Parts of the window, as the names of their controls begin, in the order of the page.
PARTS = {
    "explorer": "Header",
    "views": "Views",
    "history": "History",
    "patients": "Patients",
    "browse": "Browse",
    "project": "Project",
    "mix": "Mix",
    "directions": "Directions",
    "compare": "Compare",
    "export": "Export",
    "measure": "Measure",
    "labels": "Labels",
}
NAME = re.compile(rf"({'|'.join(PARTS)})\.[a-z_.0-9]+")


def main() -> int:
    """Open the window with the bundled model, and print the tables."""
    if not has_display():
        virtual_screen()
    with tempfile.TemporaryDirectory() as folder:
        # Neither sessions nor settings of the person who builds the site are touched.
        os.environ["STYLEGAN3D_SESSIONS"] = folder
        os.environ["NAPARI_CONFIG"] = str(Path(folder) / "napari.yaml")
        viewer, explorer = open_window()
        from qtpy.QtCore import QEventLoop
        from qtpy.QtWidgets import QWidget

        loop = QEventLoop()
        explorer.ready.connect(loop.quit)
        loop.exec()
        roots = (explorer, explorer.views)
        print(tables(w for root in roots for w in root.findChildren(QWidget)))
        viewer.close()
    return 0


def tables(widgets: Iterable[QWidget]) -> str:
    """A table for each part of the window.

    Parameters
    ----------
    widgets : iterable of QWidget
        Texts and what has no name or tooltip are left out, and of numbered rows all but one.
    """
    from qtpy.QtWidgets import (
        QAbstractButton,
        QAbstractSlider,
        QAbstractSpinBox,
        QComboBox,
        QLabel,
        QLineEdit,
    )

    kinds = {
        QAbstractButton: "button",
        QAbstractSlider: "slider",
        QAbstractSpinBox: "number",
        QComboBox: "list",
        QLineEdit: "text field",
    }
    rows: dict[str, dict[str, str]] = {part: {} for part in PARTS}
    for widget in widgets:
        name = widget.objectName()
        if NAME.fullmatch(name) and widget.toolTip() and not isinstance(widget, QLabel):
            name = re.sub(r"\.\d+(?=\.|$)", ".N", name)
            kind = next((k for one, k in kinds.items() if isinstance(widget, one)), "part")
            rows[name.partition(".")[0]].setdefault(name, f"{kind} | {_line(widget.toolTip())}")
    lines = []
    for part, heading in PARTS.items():
        lines += [f"## {heading}", "", "| Name | Kind | What it does |", "|---|---|---|"]
        lines += [f"| `{name}` | {row} |" for name, row in rows[part].items()] + [""]
    return "\n".join(lines)


def _line(tip: str) -> str:
    """A tooltip in one line of a table."""
    return " ".join(re.sub(r"<[^>]+>", " ", tip).replace("|", "\\|").split())


if __name__ == "__main__":
    sys.exit(main())
