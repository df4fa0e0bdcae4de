"""The few building blocks all panels share."""

import random
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from qtpy.QtCore import QEvent, QObject, QPoint, QRect, QSignalBlocker, QSize, Qt, QTimer, Signal
from qtpy.QtGui import QFont, QFontInfo, QFontMetrics, QPaintDevice, QPainter, QValidator
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QBoxLayout,
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QSpinBox,
    QStyle,
    QStyleOptionSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from napari_stylegan3d.widgets.elided import InWords, WrappedLabel

#: Wide enough to measure what is beside the text, and what a line edit leaves at its sides.
WIDE_PX, TEXT_MARGIN_PX = 300, 4


#: Object name of the timers that a window stops as it closes.
SINGLE_SHOT = "single shot"


@cache
def _tables() -> dict[str, list[list[Any]]]:
    return tomllib.loads(Path(__file__).with_name("texts.toml").read_text("utf-8"))


@cache
def _buttons() -> dict[str, list[str]]:
    return {name: words for name, *words in _tables()["buttons"]}


def texts(table: str) -> tuple[tuple[Any, ...], ...]:
    """The rows of a table of `texts.toml`."""
    return tuple(map(tuple, _tables()[table]))


def single_shot(parent: QObject | None, slot: Callable[[], object], ms: int = 0) -> QTimer:
    """A timer that calls a function once, `ms` milliseconds after it was last started."""
    timer = QTimer(parent)
    timer.setObjectName(SINGLE_SHOT)
    timer.setSingleShot(True)
    timer.setInterval(ms)
    timer.timeout.connect(slot)
    return timer


class Links(ExitStack):
    """What is to be undone when its owner closes: the newest first, by `close`."""

    def connect(self, signal: Any, *slots: Callable[..., Any]) -> None:
        """Connect a signal until then."""
        for slot in slots:
            signal.connect(slot)
            self.callback(signal.disconnect, slot)

    def watch(self, watcher: QObject, *watched: QObject) -> None:
        """Let an object filter the events of others until then."""
        for one in watched:
            one.installEventFilter(watcher)
            self.callback(one.removeEventFilter, watcher)


class DecimalBox(QDoubleSpinBox):
    """Shows numbers in the system's locale and accepts either decimal separator.

    Qt's own box skips the sign it does not expect: 0.7 typed on a German system, or 0,7 on an
    English one, is 7 there.
    """

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """As Qt's, with the sign of the decimals put right while it is typed or pasted.

        Numbers beyond the range can be typed: `fixup` says what becomes of them.
        """
        state, text, position = super().validate(self._own(text), position)
        if state == QValidator.State.Invalid and self._number(text) is not None:
            state = QValidator.State.Intermediate
        return state, text, position

    def fixup(self, text: str) -> str:
        """The nearest number within the range, which a note beside the box gives."""
        number = self._number(self._own(text))
        if number is None:
            return super().fixup(text)
        low, high = (self._in_words(value) for value in (self.minimum(), self.maximum()))
        sentence = "{number:g} is outside the range: {low} to {high}."
        below = self.mapToGlobal(QPoint(0, self.height()))
        QToolTip.showText(below, sentence.format(number=number, low=low, high=high), self)
        return self._in_words(min(max(number, self.minimum()), self.maximum()))

    def minimumSizeHint(self) -> QSize:
        """Room for the longest number in bold with its unit; Qt forgets a style sheet's buttons."""
        option = QStyleOptionSpinBox()
        self.initStyleOption(option)
        option.rect = QRect(0, 0, WIDE_PX, 2 * self.fontMetrics().height())
        style = self.style()
        assert style is not None
        field = style.subControlRect(
            QStyle.ComplexControl.CC_SpinBox, option, QStyle.SubControl.SC_SpinBoxEditField, self
        )
        texts = self.specialValueText(), *map(self._in_words, (self.minimum(), self.maximum()))
        bold = QFont(self.font())
        bold.setBold(True)
        longest = max(map(QFontMetrics(bold).horizontalAdvance, texts))
        width = longest + 2 * TEXT_MARGIN_PX + WIDE_PX - field.width()
        return QSize(width, super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        """No smaller than that."""
        return super().sizeHint().expandedTo(self.minimumSizeHint())

    def _in_words(self, value: float) -> str:
        return f"{self.prefix()}{self.textFromValue(value)}{self.suffix()}"

    def _number(self, text: str) -> float | None:
        """The number in a text, whatever its size; None for another text."""
        inside = text.removeprefix(self.prefix()).removesuffix(self.suffix())
        number, is_number = self.locale().toDouble(inside.strip())
        return number if is_number else None

    def valueFromText(self, text: str) -> float:
        """The number a text represents."""
        return super().valueFromText(self._own(text))

    def _own(self, text: str) -> str:
        """The text with this system's sign; prefixes and suffixes stay as they are."""
        prefix, suffix = self.prefix(), self.suffix()
        start = len(prefix) if text.startswith(prefix) else 0
        end = len(text) - (len(suffix) if suffix and text.endswith(suffix) else 0)
        number = text[start:end].replace(".", ",").replace(",", self.locale().decimalPoint())
        return text[:start] + number + text[end:]


#: A cell of numbers that is not the first of its row.
NUMBERS = re.compile(r"(?m)(?<=\t)[-+.\de ]+(?=\t|$)")


def copy_table(rows: Iterable[Sequence[str]]) -> None:
    """Copy a table for a spreadsheet, which reads numbers with this system's decimal sign only."""
    sign, text = QWidget().locale().decimalPoint(), "".join("\t".join(row) + "\n" for row in rows)
    QApplication.clipboard().setText(NUMBERS.sub(lambda cell: cell[0].replace(".", sign), text))


RESET_GLYPH = "↺"
#: Pixels of the letters that sizes in pixels are meant for.
USUAL_LETTERS_PX = 12
#: Letters of a list that are seen at least.
SHORTEST_ENTRY = 5

AnyWidget = TypeVar("AnyWidget", bound=QWidget)
AnyParent = TypeVar("AnyParent", bound=QWidget)
AnySpinBox = TypeVar("AnySpinBox", QSpinBox, DecimalBox)
AnyBox = TypeVar("AnyBox", QHBoxLayout, QVBoxLayout)
#: An entry of a list: (text, what it stands for) or (text, what it stands for, tooltip).
Entry = tuple[str, object] | tuple[str, object, str]


def scaled(pixels: int) -> int:
    """A length that was meant for the usual letters, for the size of the application's font."""
    return round(pixels * max(QFontInfo(QApplication.font()).pixelSize() / USUAL_LETTERS_PX, 1.0))


def fit_window(window: QWidget) -> None:
    """Make a window as large as its content, within its screen.

    Qt's own `adjustSize` stops at two thirds of the screen and lets the content overlap.
    """
    layout = window.layout()
    assert layout is not None
    layout.activate()
    wanted = layout.totalSizeHint()
    height = layout.totalHeightForWidth(wanted.width())
    screen = window.screen()
    assert screen is not None
    room = screen.availableSize()
    window.resize(wanted.expandedTo(QSize(0, height)).boundedTo(room))


class SliderRow(QWidget):
    """A label, a slider, its number with unit, and a reset.

    Parameters
    ----------
    name : str
        Qt object name of the row; its parts are `name.slider`, `name.value` and `name.reset`.
    label : str
        Plain text; empty for none.
    limits : tuple of float
        (lowest, highest, step, default) in the unit.
    unit : str
        Written after the number.
    tip : str
        Tooltip of the whole row.
    """

    #: (value, live): `live` while the slider is held.
    valueChanged = Signal(float, bool)

    def __init__(
        self,
        name: str,
        label: str,
        limits: tuple[float, float, float, float],
        unit: str = "",
        tip: str = "",
        label_width: int = 0,
    ) -> None:
        super().__init__()
        self.setObjectName(name)
        self._low, self._high, self._step, self.default = limits
        self.label = QLabel(label, self)
        self.label.setHidden(not label)
        self.slider = named(QSlider(Qt.Orientation.Horizontal), f"{name}.slider")
        self.slider.setRange(0, round((self._high - self._low) / self._step))
        self.spin = number(f"{name}.value", "", limits[:3], unit, width=58)
        self.spin.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.reset = tool_button(f"{name}.reset", RESET_GLYPH, "Reset this value.")
        self.setToolTip(tip)
        if label_width:
            self.label.setFixedWidth(scaled(label_width))
        self.label.setBuddy(self.slider)
        name = label or tip.partition("\n")[0].rstrip(".")
        self.slider.setAccessibleName(name)
        self.spin.setAccessibleName(f"{name}{unit and ','}{unit}")
        self.reset.setAccessibleName(f"{name}: reset")
        self.setLayout(row(self.label, self.slider, self.spin, self.reset, stretch=1))
        self.set_value(self.default)
        self.slider.valueChanged.connect(self._on_slider)
        self.slider.sliderReleased.connect(lambda: self.valueChanged.emit(self.value(), False))
        self.spin.valueChanged.connect(self.change_to)
        self.reset.clicked.connect(lambda: self.change_to(self.default))

    def value(self) -> float:
        """The number shown, in the unit."""
        return self.spin.value()

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest value of the slider, in the unit."""
        return self._low, self._high

    def set_ends(self, low: float, high: float) -> None:
        """Other ends of the slider, in the unit; not while it is held."""
        if (low, high) == self.ends or self.slider.isSliderDown():
            return
        self._low, self._high = low, high
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, round((high - low) / self._step))
        self.set_value(self.value())

    def set_value(self, value: float) -> None:
        """Show a value without emitting signals."""
        with QSignalBlocker(self.slider), QSignalBlocker(self.spin):
            # A recipe may hold any number; the slider is then at its end.
            tick = min(max((value - self._low) / self._step, -1.0), self.slider.maximum() + 1.0)
            self.slider.setValue(round(tick))
            self.spin.setValue(value)
        self.reset.setEnabled(abs(self.value() - self.default) > self._step / 2)

    def change_to(self, value: float) -> None:
        """Set a value as the user would, in one gesture."""
        self.set_value(value)
        self.valueChanged.emit(self.value(), False)

    def _on_slider(self, tick: int) -> None:
        self.set_value(self._low + tick * self._step)
        self.valueChanged.emit(self.value(), self.slider.isSliderDown())


def name_for_readers(root: QWidget) -> None:
    """Give controls that show no words a name for screen readers: how their tooltip begins."""
    for widget in (root, *root.findChildren(QWidget)):
        parent = widget.parentWidget()
        told = widget.toolTip() or (parent.toolTip() if parent is not None else "")
        words = widget.text() if isinstance(widget, QAbstractButton) else ""
        named = widget.accessibleName() or any(sign.isalpha() for sign in words)
        if told and not named and widget.focusPolicy() != Qt.FocusPolicy.NoFocus:
            widget.setAccessibleName(told.partition("\n")[0].rstrip("."))


def join_tab_order(before: QWidget, *roots: QWidget) -> None:
    """Let Tab lead from a control to all that is in `roots`, which was made later, then on."""
    for root in roots:
        for widget in root.findChildren(QWidget):
            # A list's entries, which come up when it is opened, are a window of their own.
            here = widget.window() is before.window()
            if here and widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
                QWidget.setTabOrder(before, widget)
                before = widget


class WheelGuard(QObject):
    """Leaves the wheel to the panel that scrolls: a value changes by it only with the focus."""

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Pass the wheel on, unless the control has the focus."""
        wheel = event is not None and event.type() == QEvent.Type.Wheel
        if event is None or not wheel or not isinstance(watched, QWidget) or watched.hasFocus():
            return False
        event.ignore()
        return True


WHEEL_GUARD = WheelGuard()


def named(widget: AnyWidget, name: str, tip: str = "") -> AnyWidget:
    """A widget with its Qt object name and its tooltip, by default that of `texts.toml`.

    No value slips by the wheel, and a list may be narrower than its longest entry, such as the name
    of a file: where there is no room for an entry, whole words are left out.
    """
    widget.setObjectName(name)
    widget.setToolTip(tip or _buttons().get(name, [""])[-1])
    if isinstance(widget, QComboBox | QAbstractSpinBox | QAbstractSlider):
        widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # the wheel gives none
        widget.installEventFilter(WHEEL_GUARD)
    if isinstance(widget, QComboBox):
        policy = QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        widget.setSizeAdjustPolicy(policy)  # at once: Qt keeps the width of the first entries
        widget.setMinimumContentsLength(SHORTEST_ENTRY)
        InWords(widget)
    return widget


def tool_button(name: str, *words: str, checkable: bool = False) -> QToolButton:
    """A small flat button; a `checkable` one stays pressed.

    `words` are its text and its tooltip, by default those of `texts.toml`, as for all buttons.
    """
    text, tip = words or _buttons()[name]
    button = named(QToolButton(), name, tip)
    button.setText(text)
    button.setAutoRaise(True)
    button.setCheckable(checkable)
    return button


def folding(part: QWidget, name: str, tip: str, unfolded: bool = False) -> QToolButton:
    """A button with an arrow that shows or hides a part."""
    button = named(QToolButton(), name, tip)
    button.setCheckable(True)

    def point(unfolded: bool) -> None:
        button.setArrowType(Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow)

    button.setChecked(unfolded)
    for slot in (part.setVisible, point):
        button.toggled.connect(slot)
    if not unfolded:  # one that has no parent yet would be a window of its own
        part.hide()
    point(unfolded)
    return button


def push_button(name: str, *words: str, role: str = "", checkable: bool = False) -> QPushButton:
    """A button; `role` "primary" is the panel's main action, a `checkable` one stays pressed."""
    text, tip = words or _buttons()[name]
    button = named(QPushButton(text), name, tip)
    button.setProperty("role", role)
    button.setCheckable(checkable)
    return button


def check(name: str, *words: str, on: bool = False) -> QCheckBox:
    """A box to tick."""
    text, tip = words or _buttons()[name]
    box = named(QCheckBox(text), name, tip)
    box.setChecked(on)
    return box


def combo(name: str, tip: str = "", entries: Iterable[Entry] = ()) -> QComboBox:
    """A list to choose one entry of: its text, what it stands for and, if any, its tooltip."""
    box = named(QComboBox(), name, tip)
    fill(box, entries)
    return box


def fill(box: QComboBox, entries: Iterable[Entry], current: object = None) -> None:
    """Replace the entries of a list and select one, else the first, without emitting signals."""
    with QSignalBlocker(box):
        box.clear()
        for index, (text, data, *tip) in enumerate(entries):
            box.addItem(text, data)
            if tip:
                box.setItemData(index, tip[0], Qt.ItemDataRole.ToolTipRole)
    show_value(box, current)


def number(
    name: str,
    tip: str,
    limits: tuple[float, float] | tuple[float, float, float],
    unit: str = "",
    *,
    value: float | None = None,
    width: int = 0,
    decimals: int | None = None,
) -> DecimalBox:
    """A box for a number.

    Parameters
    ----------
    name, tip : str
        Qt object name and tooltip.
    limits : tuple of float
        (lowest, highest) or (lowest, highest, step); the step is 1 if not given.
    unit : str
        Written after the number.
    value : float, optional
        The number at first; the lowest if None.
    width : int
        In pixels for the usual letters, without buttons then; 0 for Qt's own.
    decimals : int, optional
        As many as the step needs if None.
    """
    box = named(DecimalBox(), name, tip)
    low, high, step = limits if len(limits) == 3 else (*limits, 1.0)
    needed = 0 if step >= 1 else 2 if step < 0.1 else 1
    box.setDecimals(needed if decimals is None else decimals)
    return limited(box, low, high, step, unit, value, width)


def whole_number(
    name: str, tip: str, limits: tuple[int, int], *, value: int | None = None
) -> QSpinBox:
    """A box for a whole number; see `number`."""
    return limited(named(QSpinBox(), name, tip), *limits, 1, "", value)


def limited(
    box: AnySpinBox, low: Any, high: Any, step: Any, unit: str, value: Any = None, width: int = 0
) -> AnySpinBox:
    """A field for numbers from `low` to `high`; one of a fixed width, in pixels, has no arrows."""
    box.setRange(low, high)
    box.setSingleStep(step)
    box.setSuffix(unit)
    box.setKeyboardTracking(False)
    if value is not None:
        box.setValue(value)
    if width:
        box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
        box.setFixedWidth(scaled(width))
    return box


@contextmanager
def painting(on: QPaintDevice, *, smooth: bool = True) -> Iterator[QPainter]:
    """Paint on a widget or picture, with smooth edges if wanted, and end."""
    painter = QPainter(on)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, smooth)
    try:
        yield painter
    finally:
        painter.end()


def set_letters(painter: QPainter, pixels: int, *, bold: bool = False) -> QFontMetrics:
    """Write with letters of a size in pixels; their measures."""
    font = QFont(painter.font())
    font.setPixelSize(pixels)
    font.setBold(bold)
    painter.setFont(font)
    return QFontMetrics(font)


def set_bold(shown: QWidget | QTableWidgetItem, bold: bool = True) -> None:
    """Show a text in bold or normal letters."""
    font = QFont(shown.font())
    font.setBold(bold)
    shown.setFont(font)


def discard(*widgets: QWidget) -> None:
    """Take widgets away for good."""
    for widget in widgets:
        widget.setParent(None)
        widget.deleteLater()


def show_value(widget: QWidget, value: Any) -> None:
    """Show a value without emitting signals.

    A list shows the entry that stands for the value, else the first; a box or button to tick
    whether it is true; a box for numbers or text the value.
    """
    with QSignalBlocker(widget):
        if isinstance(widget, QComboBox):
            # Qt compares Python objects by identity in some bindings, by value in others.
            entries = [widget.itemData(index) for index in range(widget.count())]
            widget.setCurrentIndex(entries.index(value) if value in entries else 0)
        elif isinstance(widget, QAbstractButton):
            widget.setChecked(value)
        elif isinstance(widget, QSpinBox | QDoubleSpinBox | QAbstractSlider):
            widget.setValue(value)
        elif isinstance(widget, QLineEdit):
            widget.setText(value)
        else:
            raise TypeError(f"{type(widget).__name__} shows no value.")


def set_role(widget: QWidget, role: str) -> None:
    """Draw a widget in the style of another role, such as "caution" or "error"."""
    widget.setProperty("role", role)
    widget.style().unpolish(widget)
    widget.style().polish(widget)


def show_text(label: QLabel | QAbstractButton, text: str) -> None:
    """Show a text; without one the label is hidden."""
    label.setText(text)
    label.setVisible(bool(text))


def enable(on: bool, *widgets: QWidget) -> None:
    """Let widgets be used, or not."""
    for widget in widgets:
        widget.setEnabled(on)


def allow(why_not: str, *widgets: QWidget) -> None:
    """Let widgets be used, or say in their tooltip `why_not` in place of what they do."""
    for widget in widgets:
        widget.setProperty("tip", widget.property("tip") or widget.toolTip())
        widget.setToolTip(why_not or widget.property("tip"))
        widget.setEnabled(not why_not)


def reveal(shown: bool, *widgets: QWidget) -> None:
    """Show or hide widgets."""
    for widget in widgets:
        widget.setVisible(shown)


def above(widget: QObject, kind: type[AnyParent]) -> AnyParent | None:
    """The nearest of a kind that holds a widget."""
    parent = widget.parent()
    while parent is not None and not isinstance(parent, kind):
        parent = parent.parent()
    return parent


def segments(
    name: str,
    entries: Iterable[tuple[str, str, str]],
    chosen: Callable[[str], object],
    role: str = "segment",
) -> dict[str, QPushButton]:
    """Buttons of which one is pressed.

    Parameters
    ----------
    name : str
        Qt object names are it, a dot and the key.
    entries : iterable of (str, str, str)
        Key, words and tooltip of each.
    chosen : callable
        Called with the key of the one that was clicked.
    role : str
        Style.

    Returns
    -------
    dict of str to QPushButton
        By key.
    """
    buttons: dict[str, QPushButton] = {}
    for key, text, tip in entries:
        button = buttons[key] = push_button(f"{name}.{key}", text, tip, role=role, checkable=True)
        button.clicked.connect(lambda _=False, key=key: chosen(key))
    group = QButtonGroup(next(iter(buttons.values())))
    for button in buttons.values():
        group.addButton(button)
    return buttons


def label(text: str, role: str, name: str = "", tip: str = "") -> QLabel:
    """A text in one line, in the style of a role."""
    shown = named(QLabel(text), name, tip)
    shown.setProperty("role", role)
    return shown


def heading(text: str) -> QLabel:
    """The title of a part of a panel."""
    return label(text, "heading")


def hint(text: str = "", name: str = "", tip: str = "", role: str = "hint") -> QLabel:
    """An explanation, in smaller voice, or a longer text in another role; it is wrapped."""
    shown = named(WrappedLabel(text), name, tip)
    shown.setProperty("role", role)
    return shown


def line() -> QFrame:
    """A thin rule between the parts of a panel."""
    frame = QFrame()
    frame.setProperty("role", "line")
    frame.setFixedHeight(1)
    return frame


def row(*parts: QWidget | QLayout, stretch: int | None = None, spacing: int = 6) -> QHBoxLayout:
    """Parts side by side; the one at index `stretch` takes the room that is left."""
    return _put(QHBoxLayout(), parts, stretch, spacing, (0, 0, 0, 0))


def stack(
    *parts: QWidget | QLayout,
    on: QWidget | None = None,
    stretch: int | None = None,
    spacing: int = 6,
    margins: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> QVBoxLayout:
    """Parts one above the other.

    Parameters
    ----------
    parts : QWidget or QLayout
        From above.
    on : QWidget, optional
        The widget that holds them.
    stretch : int, optional
        Index of the part that takes the room that is left.
    spacing : int
        Pixels between parts; -1 for what the style has.
    margins : tuple of int
        Pixels around them: left, above, right, below.
    """
    return _put(QVBoxLayout(on), parts, stretch, spacing, margins)


def footer(*parts: QWidget | QLayout) -> QWidget:
    """Parts one above the other, below what scrolls."""
    widget = QWidget()
    stack(*parts, on=widget, spacing=-1, margins=(14, 6, 14, 8))
    return widget


def dialog(*parts: QWidget | QLayout, on: QWidget, stretch: int | None = None) -> QVBoxLayout:
    """Parts of a dialog one above the other, see `stack`."""
    return stack(*parts, on=on, stretch=stretch, spacing=9, margins=(14, 12, 14, 12))


def _put(
    layout: AnyBox,
    parts: Iterable[QWidget | QLayout],
    stretch: int | None,
    spacing: int,
    margins: tuple[int, int, int, int],
) -> AnyBox:
    layout.setContentsMargins(*margins)
    layout.setSpacing(spacing)
    _add(layout, parts, stretch)
    return layout


def _add(
    layout: QBoxLayout, parts: Iterable[QWidget | QLayout], stretch: int | None = None
) -> None:
    for index, part in enumerate(parts):
        if isinstance(part, QLayout):
            layout.addLayout(part, int(index == stretch))
        else:
            layout.addWidget(part, int(index == stretch))


def section(column: QBoxLayout, title: str, *parts: QWidget | QLayout) -> None:
    """Add parts to a column, below a heading if there is one, and below a line unless first."""
    above = [line()] if column.count() else []
    _add(column, [*above, *([heading(title)] if title else []), *parts])


def grid(
    on: QWidget | None = None, across: int = 10, down: int = 6, wide: Sequence[int] = (0,)
) -> QGridLayout:
    """Rows and columns without a margin.

    Parameters
    ----------
    on : QWidget, optional
        The widget that holds them.
    across, down : int
        Pixels between columns and between rows.
    wide : sequence of int
        Columns that take the room that is left.
    """
    made = QGridLayout(on)
    made.setContentsMargins(0, 0, 0, 0)
    made.setHorizontalSpacing(across)
    made.setVerticalSpacing(down)
    for column in wide:
        made.setColumnStretch(column, 1)
    return made


def form(*pairs: tuple[str, QWidget]) -> QGridLayout:
    """Labels on the left, fields on the right, aligned."""
    fields = grid(wide=(1,))
    for text, widget in pairs:
        add_row(fields, text, widget)
    return fields


def add_row(fields: QGridLayout, text: str, widget: QWidget) -> None:
    """One more field of a form."""
    index = fields.rowCount() if fields.count() else 0
    name = named(QLabel(text), "", widget.toolTip())
    name.setBuddy(widget)
    widget.setAccessibleName(text)
    fields.addWidget(name, index, 0)
    fields.addWidget(widget, index, 1)


def column(widget: QWidget) -> QVBoxLayout:
    """The column of a panel, with its margins."""
    return stack(on=widget, spacing=9, margins=(14, 14, 14, 14))


#: Random seeds stay below this, so that they are easy to read out and remember.
DICE_BELOW = 100_000
#: What a Qt spin box can hold.
LARGEST_SEED = 2**31 - 1


class SeedPicker(QWidget):
    """A number with previous, next and dice; parts are `panel.seed`, `panel.previous` ..."""

    seedChanged = Signal(int)

    def __init__(self, panel: str) -> None:
        super().__init__()
        tip = (
            "Seed of a random brain: the same seed always gives the same brain\n"
            f"(0 to {LARGEST_SEED})."
        )
        self.spin = whole_number(f"{panel}.seed", tip, (0, LARGEST_SEED))
        self.spin.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
        previous = push_button(f"{panel}.previous", "◀", "Previous seed.")
        following = push_button(f"{panel}.next", "▶", "Next seed.")
        dice = push_button(f"{panel}.dice", "Random", "Random brain.")
        for button in (previous, following):
            button.setFixedWidth(scaled(36))
        previous.clicked.connect(lambda: self._go(self.spin.value() - 1))
        following.clicked.connect(lambda: self._go(self.spin.value() + 1))
        dice.clicked.connect(lambda: self._go(random.randrange(DICE_BELOW)))
        self.spin.valueChanged.connect(self.seedChanged)
        self.setLayout(row(self.spin, previous, following, dice, stretch=0))

    def set_seed(self, seed: int) -> None:
        """Show a number without emitting signals."""
        show_value(self.spin, min(seed, LARGEST_SEED))

    def _go(self, seed: int) -> None:
        self.set_seed(max(seed, 0))
        self.seedChanged.emit(self.spin.value())


#: Least height of a column that scrolls.
LEAST_PX = 150


class Fold(QWidget):
    """A heading with an arrow, and under it a column that the heading shows or hides.

    Parameters
    ----------
    title : str
        The heading.
    name : str
        Qt object name of the heading.
    tip : str
        What is inside, for the heading's tooltip.
    unfolded : bool
        Whether the column is shown at first.
    guide : str
        Section of the user guide that a "?" beside the heading opens; empty for none.
    scrolls : bool
        Whether the column scrolls where there is less room than it takes; never sideways.
    """

    #: Section of the user guide.
    guideRequested = Signal(str)

    def __init__(
        self,
        title: str,
        name: str,
        tip: str,
        unfolded: bool = False,
        guide: str = "",
        scrolls: bool = False,
    ) -> None:
        super().__init__()
        inner = QWidget()
        self.body = _Scrolled(inner) if scrolls else inner
        self.header = folding(self.body, name, tip, unfolded)
        self.header.setText(title)
        self.header.setAutoRaise(True)
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.setIconSize(QSize(scaled(10), scaled(10)))
        self.header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        set_bold(self.header)
        self.column = stack(on=inner, spacing=9, margins=(0, 0, 0, 4))
        outer = stack(on=self)
        self.top = top = row(self.header, stretch=0)
        if guide:
            help_name = f"{name.removesuffix('.fold')}.guide"
            help_button = tool_button(help_name, "?", "The user guide, at its page.")
            help_button.clicked.connect(lambda: self.guideRequested.emit(guide))
            top.addWidget(help_button)
        outer.addLayout(top)
        outer.addWidget(self.body)

    def unfold(self, unfolded: bool = True) -> None:
        """Show or hide the column."""
        self.header.setChecked(unfolded)


class _Scrolled(QScrollArea):
    """As high as its content where there is room; scrolls where there is not."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setWidgetResizable(True)
        self.setWidget(content)

    def sizeHint(self) -> QSize:
        """Of the content, which may grow and shrink."""
        return QSize(self._least_width(), self._content_height())

    def minimumSizeHint(self) -> QSize:
        """As wide as the content needs to be, and as high as can be read."""
        return QSize(self._least_width(), min(self._content_height(), scaled(LEAST_PX)))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Take the height that a content of another height asks for."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)

    def _least_width(self) -> int:
        content = self.widget()
        least = 0 if content is None else content.minimumSizeHint().width()
        return least + self.verticalScrollBar().sizeHint().width()

    def _content_height(self) -> int:
        content = self.widget()
        layout = None if content is None else content.layout()
        if layout is None:
            return 0
        if layout.hasHeightForWidth():
            return layout.totalHeightForWidth(self.viewport().width())
        return layout.totalSizeHint().height()


class ResultTable(QTableWidget):
    """Rows of a name and numbers to read; the name takes the room that is left.

    Parameters
    ----------
    name, tip : str
        Qt object name and tooltip.
    """

    def __init__(self, name: str, tip: str) -> None:
        super().__init__()
        named(self, name, tip)
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(scaled(20))

    def show_rows(
        self, columns: Sequence[tuple[str, str]], rows: Sequence[tuple[Sequence[str], bool]]
    ) -> None:
        """Show rows instead of those before.

        Parameters
        ----------
        columns : sequence of (str, str)
            Head and tooltip of each.
        rows : sequence of (sequence of str, bool)
            The texts of each, and whether they are bold.
        """
        self.setColumnCount(len(columns))
        self.setHorizontalHeaderLabels([head for head, _tip in columns])
        for column, (_head, tip) in enumerate(columns):
            self.horizontalHeaderItem(column).setToolTip(tip)
        self.setRowCount(len(rows))
        for row, (texts, bold) in enumerate(rows):
            for column, text in enumerate(texts):
                item = QTableWidgetItem(text)
                set_bold(item, bold)
                if column:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                else:
                    item.setToolTip(text)  # long names are cut
                self.setItem(row, column, item)
        heads = self.horizontalHeader()
        heads.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        heads.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)


#: Visible rows of the list of series or volumes.
ROWS_SEEN = 5


class Chooser(QWidget):
    """A list of the scans in a folder or file, to choose from.

    Parameters
    ----------
    name : str
        Its controls are called `name.question`, `name.choice` and `name.choose`.
    """

    #: What the entry stands for.
    chosen = Signal(object)

    def __init__(self, name: str = "project") -> None:
        super().__init__()
        self.question = hint(name=f"{name}.question")
        self.list = named(
            QListWidget(), f"{name}.choice", "Select one and open it, or double-click."
        )
        self.list.setWordWrap(True)
        self.open = push_button(
            f"{name}.choose", "Open selected", "Open the selected entry.", role="primary"
        )
        stack(self.question, self.list, self.open, on=self)
        self.open.clicked.connect(self._open)
        self.list.itemDoubleClicked.connect(lambda _: self._open())
        self.list.currentItemChanged.connect(lambda *_: self._refresh())
        self.hide()

    def ask(self, question: str, entries: list[tuple[str, object, str]]) -> None:
        """Show entries (text, data, reason why it cannot be opened or "")."""
        self.question.setText(question)
        self.list.clear()
        for text, data, problem in entries:
            item = QListWidgetItem(text)
            item.setData(Qt.ItemDataRole.UserRole, data)
            if problem:
                item.setFlags(Qt.ItemFlag.NoItemFlags)
                item.setToolTip(problem)
            self.list.addItem(item)
            if not problem and self.list.currentItem() is None:
                self.list.setCurrentItem(item)
        # Line wrapping is known only once the list is on the screen.
        lines = sum(3 if "\n" in text else 1 for text, _, _ in entries[:ROWS_SEEN])
        self.list.setFixedHeight((lines + 1) * self.list.fontMetrics().lineSpacing())
        self._refresh()
        self.show()

    def _refresh(self) -> None:
        self.open.setEnabled(self.list.currentItem() is not None)

    def _open(self) -> None:
        item = self.list.currentItem()
        if item is not None and item.flags() & Qt.ItemFlag.ItemIsEnabled:
            self.chosen.emit(item.data(Qt.ItemDataRole.UserRole))
