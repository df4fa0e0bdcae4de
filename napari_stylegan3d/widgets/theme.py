"""One style for the explorer, on top of napari's dark or light theme."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import Any

from napari.components import ViewerModel
from napari.utils.theme import get_system_theme, get_theme
from qtpy.QtCore import QEvent, QObject, QRectF, Qt
from qtpy.QtGui import QColor, QGuiApplication, QKeyEvent, QPaintEvent, QPen, QWindow
from qtpy.QtWidgets import QApplication, QSlider, QStyle, QStyleOptionSlider, QWidget

from napari_stylegan3d.widgets.controls import Links, SliderRow, painting, scaled, stack


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
CAUTION, LINE = DARK.caution, DARK.line


class ThemedWidgets:
    """Keeps the style of some widgets in step with the viewer's theme."""

    def __init__(self, viewer: ViewerModel, widgets: Sequence[QWidget], links: Links) -> None:
        self.viewer, self.widgets = viewer, list(widgets)
        links.callback(self.widgets.clear)
        links.connect(viewer.events.theme, self._follow)
        self._follow()

    @property
    def kind(self) -> str:
        """Whether the theme is a "dark" or a "light" one."""
        return kind_of(self.viewer.theme)

    def _follow(self, _: Any = None) -> None:
        for widget in self.widgets:
            put_on(widget, self.viewer)


def put_on(widget: QWidget, viewer: ViewerModel) -> None:
    """Give a widget the style of the viewer's theme, unless it has it."""
    sheet = style(LIGHT if kind_of(viewer.theme) == "light" else DARK)
    if widget.styleSheet() != sheet:  # Qt would work through all its widgets again
        widget.setStyleSheet(sheet)


def kind_of(theme: str) -> str:
    """Whether napari's theme of a name is "dark" or "light"."""
    name = get_system_theme() if theme == "system" else theme
    return "light" if get_theme(name).type == "light" else "dark"


def style(colors: Palette) -> str:
    """The style sheet `theme.qss` in the colours of a palette and the size of the letters."""
    sheet = Path(__file__).with_name("theme.qss").read_text("utf-8")
    sizes = {f"px{size}": f"{scaled(size)}px" for size in (13, 14, 16, 18)}
    return Template(sheet).substitute(asdict(colors), **sizes)


# Two colours, since one alone is lost somewhere: the blue is seen on light, dark and black ground
# (3 : 1 or more), the white on buttons that are blue themselves.
RING, INNER = QColor("#2f6fe8"), QColor("#ffffff")
#: Held while a mouse is used, too.
HELD = (Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt, Qt.Key.Key_Meta)


class FocusRing(QObject):
    """Outlines what keys lead to in our part of the window and in our dialogs, until a click.

    napari's style takes away Qt's own mark. Drawing over the control leaves all sizes as they are,
    and those who use the mouse see nothing of it.

    Parameters
    ----------
    roots : sequence of QWidget
        Ours is what is in them, or in a dialog that belongs to one of them.
    links : Links
        Of what ends it.
    """

    def __init__(self, roots: Sequence[QWidget], links: Links) -> None:
        super().__init__()
        self._roots = list(roots)
        self._window: QWindow | None = None
        self._outline: _Outline | None = None
        self._by_keyboard = False
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        links.callback(self._roots.clear)
        links.callback(self._drop)
        links.callback(self._watch, None)
        links.connect(application.focusWindowChanged, self._watch)
        links.connect(application.focusChanged, self._follow)
        self._watch(QGuiApplication.focusWindow())

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:
        """See whether the keyboard or the mouse is used."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            self._by_keyboard |= event.key() not in HELD
        elif event.type() == QEvent.Type.MouseButtonPress:
            self._by_keyboard = False
            self._drop()
        return False

    def _watch(self, window: QWindow | None) -> None:
        if self._window is not None:
            self._window.removeEventFilter(self)
            self._window.destroyed.disconnect(self._forget_window)
        self._window = window
        if window is not None:
            window.installEventFilter(self)
            window.destroyed.connect(self._forget_window)

    def _forget_window(self) -> None:
        self._window = None

    def _follow(self, _before: QWidget | None, now: QWidget | None) -> None:
        self._drop()
        if self._by_keyboard and now is not None and self._is_ours(now):
            self._outline = _Outline(now)
            self._outline.destroyed.connect(self._forget_outline)

    def _is_ours(self, widget: QWidget) -> bool:
        above: QWidget | None = widget
        while above is not None and above not in self._roots:
            above = above.parentWidget()
        return above is not None

    def _drop(self) -> None:
        if self._outline is not None:
            self._outline.destroyed.disconnect(self._forget_outline)
            self._outline.hide()
            self._outline.deleteLater()
        self._outline = None

    def _forget_outline(self) -> None:
        self._outline = None


def is_outlined(control: QWidget) -> bool:
    """Whether keys led to this control, which they are therefore meant for."""
    direct = Qt.FindChildOption.FindDirectChildrenOnly
    return control.findChild(_Outline, "focus", direct) is not None


class _Outline(QWidget):
    """A frame inside the edges of a control, whatever is drawn there; clicks go through."""

    def __init__(self, control: QWidget) -> None:
        super().__init__(control)
        self.setObjectName("focus")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setStyleSheet("background: transparent")
        self._control = control
        control.installEventFilter(self)
        if isinstance(control, QSlider):
            control.valueChanged.connect(self.update)
        self.setGeometry(control.rect())
        self.raise_()
        self.show()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Keep the size of the control."""
        if event.type() == QEvent.Type.Resize:
            self.setGeometry(self._control.rect())
        return super().eventFilter(watched, event)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Blue outside, white inside."""
        with painting(self) as painter:
            edge, radius = QRectF(self.rect()), 3.0
            if isinstance(self._control, QSlider):  # its handle, which a frame would cover
                option, style = QStyleOptionSlider(), self._control.style()
                self._control.initStyleOption(option)
                assert style is not None
                kind, part = QStyle.ComplexControl.CC_Slider, QStyle.SubControl.SC_SliderHandle
                edge = QRectF(style.subControlRect(kind, option, part, self._control))
                radius = edge.height() / 2
            for color, inset, width in ((RING, 1.0, 2.0), (INNER, 2.5, 1.0)):
                painter.setPen(QPen(color, width))
                painter.drawRoundedRect(edge.adjusted(inset, inset, -inset, -inset), radius, radius)


#: Half of a slider's handle, which the ends of its way keep from its border.
HALF_HANDLE = 8
OPACITY = 120
MARK_PX = 2


class SliderRange(QWidget):
    """Lies over the slider of a row.

    Parameters
    ----------
    row : SliderRow
        The row; its ends may change.
    mark : float or None
        A value to mark.
    """

    def __init__(self, row: SliderRow, mark: float | None = None) -> None:
        super().__init__(row.slider)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        stack(self, on=row.slider)
        self._row, self._mark = row, mark
        self.known = row.ends

    def show_known(self, first: float, last: float) -> None:
        """The values that are known, in the unit of the row."""
        self.known = (first, last)
        self.update()

    def place(self, value: float) -> int:
        """A value as pixels from the left."""
        low, high = self._row.ends
        room = self.width() - 2 * HALF_HANDLE
        return HALF_HANDLE + round(room * (min(max(value, low), high) - low) / (high - low))

    def spans(self) -> list[tuple[int, int]]:
        """What is coloured, as pixels from the left: (begin, end) of up to two parts."""
        low, high = self._row.ends
        first, last = self.known
        parts = [(0, self.place(first) if first > low else 0)]
        parts.append((self.place(last) if last < high else self.width(), self.width()))
        return [(begin, end) for begin, end in parts if end > begin]

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint over the groove."""
        with painting(self, smooth=False) as painter:
            colour = QColor(CAUTION)
            colour.setAlpha(OPACITY)
            for begin, end in self.spans():
                painter.fillRect(begin, 2, end - begin, self.height() - 4, colour)
            if self._mark is not None:
                left = self.place(self._mark) - MARK_PX // 2
                painter.fillRect(left, 1, MARK_PX, self.height() - 2, QColor(DARK.drop_line))
