"""One style for the explorer, on top of napari's dark or light theme."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from napari.components import ViewerModel
from napari.utils.theme import get_system_theme, get_theme
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.widgets.controls import scaled


@dataclass(frozen=True)
class Palette:
    """Colours for a theme; each has a contrast of at least 4.5 : 1 to its background."""

    accent: str
    accent_hover: str
    strong: str
    hint: str
    error: str
    good: str
    caution: str
    line: str
    hover: str
    drop: str
    drop_line: str
    off: str
    off_text: str


DARK = Palette(
    accent="#4f6fdc",
    accent_hover="#6480e6",
    strong="#f0f1f2",
    hint="#9aa3ad",
    error="#ff8a80",
    good="#81c784",
    caution="#ffb74d",
    line="#3a3f47",
    hover="#414851",
    drop="#2c3450",
    drop_line="#6a7380",
    off="#39414d",
    off_text="#7a828c",
)
LIGHT = Palette(
    accent="#3a59c7",
    accent_hover="#4f6fdc",
    strong="#1b1c1f",
    hint="#555a61",
    error="#a3201a",
    good="#22652a",
    caution="#8a4600",
    line="#b4b0ae",
    hover="#cfcbc9",
    drop="#cdd6f4",
    drop_line="#8a8784",
    off="#c9c5c3",
    off_text="#84807d",
)

#: For what is painted on black, whatever the theme.
ACCENT, HINT, CAUTION, LINE = DARK.accent, DARK.hint, DARK.caution, DARK.line


class ThemedWidgets:
    """Keeps the style of some widgets in step with the viewer's theme; `close` lets go of it."""

    def __init__(self, viewer: ViewerModel, widgets: Sequence[QWidget]) -> None:
        self.viewer, self.widgets = viewer, list(widgets)
        viewer.events.theme.connect(self._follow)
        self._follow()

    @property
    def kind(self) -> str:
        """Whether the theme is a "dark" or a "light" one."""
        return kind_of(self.viewer.theme)

    def close(self) -> None:
        """Follow no longer."""
        self.viewer.events.theme.disconnect(self._follow)
        self.widgets.clear()

    def _follow(self, _: Any = None) -> None:
        sheet = style(LIGHT if self.kind == "light" else DARK)
        for widget in self.widgets:
            widget.setStyleSheet(sheet)


def kind_of(theme: str) -> str:
    """Whether napari's theme of a name is "dark" or "light"."""
    name = get_system_theme() if theme == "system" else theme
    return "light" if get_theme(name).type == "light" else "dark"


def style(colors: Palette) -> str:
    """The style sheet for a palette."""
    c = colors
    return f"""
QLabel {{ padding: 0; margin: 0; }}
QLabel[role="heading"] {{ font-weight: 600; font-size: {scaled(13)}px; color: {c.strong}; }}
QLabel[role="hint"] {{ color: {c.hint}; }}
QLabel[role="error"] {{ color: {c.error}; }}
QLabel[role="good"] {{ color: {c.good}; font-weight: 600; }}
QLabel[role="caution"] {{ color: {c.caution}; font-weight: 600; }}
QLabel[role="model"] {{ font-weight: 600; font-size: {scaled(14)}px; }}
QLabel[role="figure"] {{ font-weight: 600; }}
QFrame[role="line"] {{ background: {c.line}; border: none; }}
QFrame[role="drop"] {{
    border: 1px dashed {c.drop_line}; border-radius: 6px; background: transparent;
}}
QFrame[role="drop"][over="true"] {{ border: 1px solid {c.accent}; background: {c.drop}; }}
QFrame#views\\.settings {{ border: 1px solid {c.drop_line}; }}
QDialog#views\\.toast {{
    border: 1px solid {c.drop_line}; border-radius: 4px; background: {c.drop};
}}
QPushButton {{ padding: 5px 10px; border-radius: 4px; min-height: 16px; }}
QDialog#views\\.toast QPushButton#expand_button,
QDialog#views\\.toast QPushButton#close_button {{ padding: 0; }}
QPushButton[role="primary"] {{ background-color: {c.accent}; color: white; font-weight: 600; }}
QPushButton[role="primary"]:hover {{ background-color: {c.accent_hover}; }}
QPushButton[role="primary"]:disabled {{ background-color: {c.off}; color: {c.off_text}; }}
QPushButton:disabled {{ color: {c.off_text}; }}
QPushButton[role="link"], QPushButton[role="link"]:checked {{
    background: transparent; color: {c.hint}; padding: 0 2px; text-decoration: underline;
}}
QPushButton[role="link"]:hover {{ color: {c.strong}; }}
QWidget#project\\.looks QPushButton {{ padding: 5px; }}
QPushButton[role="segment"] {{ border-radius: 0; margin: 0; }}
QPushButton[role="segment"]:checked {{ background-color: {c.accent}; color: white; }}
QToolButton {{ border: none; background: transparent; padding: 2px; }}
QToolButton:hover {{ background: {c.hover}; border-radius: 3px; }}
QCheckBox::indicator {{ width: {scaled(16)}px; height: {scaled(16)}px; }}
QLineEdit, QComboBox, QSpinBox, QDoubleSpinBox {{ min-height: 20px; }}
QDoubleSpinBox {{ min-width: 0; padding: 1px 5px; }}
QDoubleSpinBox[role="caution"] {{ color: {c.caution}; font-weight: 600; }}
QTabBar {{ background: transparent; border: none; }}
QTabBar::tab {{
    background: transparent; border: none; border-bottom: 2px solid transparent;
    padding: 7px 5px 6px 5px; margin: 0; color: {c.hint};
}}
QTabBar::tab:hover {{ color: {c.strong}; background: transparent; }}
QTabBar::tab:selected {{
    background: transparent; color: {c.strong}; border-bottom: 2px solid {c.accent};
}}
QTabWidget::pane {{ border: none; border-top: 1px solid {c.line}; }}
QToolButton[role="menu"] {{ padding: 2px 6px; color: {c.hint}; }}
QToolButton#views\\.levels {{ padding: 2px; color: {c.strong}; }}
QToolButton[role="menu"]:hover {{ color: {c.strong}; }}
QToolButton[role="menu"]::menu-indicator {{ image: none; width: 0; }}
QToolButton[role="step"] {{ font-size: {scaled(18)}px; padding: 0 4px; }}
QScrollArea {{ border: none; background: transparent; }}
QProgressBar {{ border-radius: 3px; text-align: center; min-height: 14px; max-height: 14px; }}
QProgressBar::chunk {{ background-color: {c.accent}; border-radius: 3px; }}
QProgressBar#explorer\\.busy {{
    min-height: 3px; max-height: 3px; border: none; selection-background-color: {c.accent};
}}
"""
