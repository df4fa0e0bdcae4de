"""What leads a newcomer: the first steps and the guided example, in cards on the picture."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qtpy.QtCore import QEvent, QObject, QPoint, QRect, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QPaintEvent, QPen, QPolygon
from qtpy.QtWidgets import QApplication, QFrame, QLabel, QPushButton, QWidget

from napari_stylegan3d.core.panel import Context, Tabs, bring_into_view
from napari_stylegan3d.views.four import FourViews
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import painting, single_shot

WIDTH, NARROWEST = 360, 250
MARGIN, CAPTION_PX = 16, 54
STYLE = """
QFrame[role="card"] { background: rgba(30, 33, 42, 240); border: 1px solid #6480e6;
    border-radius: 8px; }
QFrame[role="card"] QLabel { color: #f0f1f2; background: transparent; }
QFrame[role="card"] QLabel[role="step"] { color: #ffb74d; font-weight: 600; }
QFrame[role="card"] QLabel[role="title"] { font-size: %dpx; font-weight: 600; }
"""


@dataclass(frozen=True)
class GuideStep:
    """One thing to read or do.

    Attributes
    ----------
    tab : str
        Key of the panel it is about; empty for none.
    target : str
        Object name of the control that is pointed to; empty for none.
    heading, text : str
        What to do, and what for.
    done : callable
        Whether it was done, from the context and the control.
    """

    tab: str
    target: str
    heading: str
    text: str
    done: Callable[[Context, Any], bool] = field(default=lambda *_: False, kw_only=True)


class StepCard(QFrame):
    """Leads through steps, one at a time; over the 3D view, so that no plane is covered.

    Parameters
    ----------
    views : FourViews
        The views it lies on.
    tabs : Tabs
        The panels.
    name, title : str
        Object name, whose labels are `name.step`, `name.heading` and `name.text`, and what it is.
    steps : tuple of GuideStep
    buttons : QPushButton
        From left to right.

    Attributes
    ----------
    number : int
        Of the current step, from 0.
    """

    #: All steps were read or done, or it was left.
    finished = Signal()

    def __init__(
        self,
        views: FourViews,
        tabs: Tabs,
        name: str,
        title: str,
        steps: tuple[GuideStep, ...],
        *buttons: QPushButton,
    ) -> None:
        super().__init__(views)
        self.views, self.tabs, self.title, self.steps = views, tabs, title, steps
        self.number = -1
        self.setObjectName(name)
        self.setProperty("role", "card")
        self.setStyleSheet(STYLE % controls.scaled(17))
        self.place_of, self.heading, self.text = QLabel(), QLabel(), QLabel()
        for part, label, role in (
            ("step", self.place_of, "step"),
            ("heading", self.heading, "title"),
            ("text", self.text, ""),
        ):
            label.setObjectName(f"{name}.{part}")
            label.setProperty("role", role)
            label.setWordWrap(True)
        controls.stack(
            self.place_of,
            self.heading,
            self.text,
            controls.row(QLabel(), *buttons, stretch=0),
            on=self,
            spacing=8,
            margins=(20, 16, 20, 16),
        )
        self._soon = single_shot(self, self.place)
        views.installEventFilter(self)

    def show_step(self, number: int) -> None:
        """Show a step, and its panel."""
        self.number = number
        step = self.steps[number]
        if step.tab:
            self.tabs.bring(step.tab)
        self.show_text(f"{self.title}, {number + 1} of {len(self.steps)}", step.heading, step.text)

    def show_text(self, place: str, heading: str, text: str) -> None:
        """Write which step it is, its heading and its text."""
        self.place_of.setText(place)
        self.heading.setText(heading)
        self.text.setText(text)
        self.place()
        self.show()
        self.raise_()
        self._soon.start(0)  # the views may be laid out anew

    def dismiss(self) -> None:
        """Close it."""
        self._soon.stop()
        self.views.removeEventFilter(self)
        self.hide()
        controls.discard(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow resizing of the views."""
        if event.type() == QEvent.Type.Resize:
            self._soon.start(0)
        return False

    def place(self) -> None:
        """At the lower right of the views, as tall as its text."""
        views = self.views
        room = views.width() // 2 - MARGIN
        width = max(min(controls.scaled(WIDTH), room), controls.scaled(NARROWEST))
        layout = self.layout()
        for label in (self.place_of, self.heading, self.text):
            label.ensurePolished()  # before that its letters have another size
        layout.invalidate()
        self.setFixedSize(width, layout.totalHeightForWidth(width))
        # Above the caption, which says that the picture is synthetic.
        low = views.readout.mapTo(views, QPoint(0, 0)).y() - controls.scaled(CAPTION_PX)
        self.move(views.width() - width - MARGIN, max(low - self.height() - MARGIN, 0))


FIRST_STEPS = tuple(GuideStep(*row) for row in controls.texts("first_steps"))


class Welcome(StepCard):
    """The first steps, non-modal; over, too, once another panel is opened.

    Parameters
    ----------
    views, tabs : FourViews, Tabs
        As of `StepCard`.
    """

    def __init__(self, views: FourViews, tabs: Tabs) -> None:
        self.case = controls.push_button("welcome.case")
        self.skip = controls.push_button("welcome.skip")
        self.next = controls.push_button("welcome.next", role="primary")
        buttons = self.case, self.skip, self.next
        super().__init__(views, tabs, "welcome", "First steps", FIRST_STEPS, *buttons)
        self.skip.clicked.connect(self.finished)
        self.next.clicked.connect(self._on_next)
        self.show_step(0)
        tabs.currentChanged.connect(self._on_tab)

    def dismiss(self) -> None:
        """Close it."""
        self.tabs.currentChanged.disconnect(self._on_tab)
        super().dismiss()

    def show_step(self, number: int) -> None:
        """Show a step, and its panel."""
        self.next.setText("Next" if number + 1 < len(self.steps) else "Done")
        super().show_step(number)
        self.next.setFocus(Qt.FocusReason.OtherFocusReason)

    def _on_next(self) -> None:
        if self.number + 1 == len(self.steps):
            self.finished.emit()
        else:
            self.show_step(self.number + 1)

    def _on_tab(self, index: int) -> None:
        """Show the step of the opened tab; close if there is none."""
        title = self.tabs.panels[index].title
        tabs = [step.tab for step in self.steps]
        if title not in tabs:
            self.finished.emit()
        elif title != tabs[self.number]:
            self.show_step(tabs.index(title))


#: How often it looks whether a step was done, and where the control is.
LOOK_MS = 150
MARK = QColor("#ffb74d")
#: How far the line and the slider are moved at least.
MOVED_PERCENT, AGED_YEARS = 5, 10
AROUND_PX, ARROW_PX = 4, 14


def _curtain_drawn(context: Context, _button: Any) -> bool:
    """Whether the line was moved and released."""
    line: Any = context.dock.findChild(QWidget, "compare.curtain")
    away = abs(line.value() - line.default) >= MOVED_PERCENT
    return context.session.state.comparison == "curtain" and away and _is_released()


def _aged(context: Context, years: Any) -> bool:
    """Whether the slider was moved far enough and released; a model without it: any edit."""
    far = years.parentWidget().isHidden() or abs(years.value()) >= AGED_YEARS
    edited = any(edit.strength for edit in context.session.brain.edits)
    return edited and far and _is_released()


def _is_released() -> bool:
    return bool(QApplication.mouseButtons() == Qt.MouseButton.NoButton)


def _measured(context: Context, header: Any) -> bool:
    """Whether a volume can be read."""
    volume = _text_of(context.dock, "measure.grey.ml")
    return header.isChecked() and any(sign.isdigit() for sign in volume)


#: Whether a step was done, by its control, from the context and the control.
DONE: dict[str, Callable[[Context, Any], bool]] = {
    "project.sample": lambda context, _: context.session.case is not None,
    "project.budget": lambda _, box: box.currentData() == "draft",
    "project.start": lambda context, _: context.session.result is not None,
    "project.show.model": lambda context, _: context.session.state.what == "model",
    "compare.choose": lambda context, _: context.session.state.second is not None,
    "compare.mode.curtain": _curtain_drawn,
    "compare.mode.off": lambda context, _: context.session.state.comparison == "off",
    "project.show.edited": lambda context, _: context.session.state.what == "recipe",
    "directions.years": _aged,
    "measure.fold": _measured,
    "export.report": lambda context, _: "report" in _text_of(context.dock, "export.done"),
}
STEPS = tuple(GuideStep(*row, done=DONE[row[1]]) for row in controls.texts("example"))
END = (
    "That was a whole case. Press ? beside the tabs for the guide to a panel, and F1 for all keys."
)


def _text_of(root: QWidget, name: str) -> str:
    label: Any = root.findChild(QWidget, name)
    return "" if label is None or label.isHidden() else str(label.text())


class ControlMark(QWidget):
    """A frame around a control, with an arrow that points to it."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setObjectName("case.mark")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    def point_at(self, control: QWidget | None) -> None:
        """Move to a control; hidden while that cannot be seen."""
        if control is None or control.visibleRegion().isEmpty():
            self.hide()
            return
        seen = control.visibleRegion().boundingRect()
        corner = control.mapTo(self.parentWidget(), seen.topLeft())
        place = QRect(corner, seen.size()).adjusted(
            -AROUND_PX - ARROW_PX, -AROUND_PX, AROUND_PX, AROUND_PX
        )
        if place != self.geometry() or self.isHidden():
            self.setGeometry(place)
            self.show()
            self.raise_()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw both."""
        with painting(self) as painter:
            painter.setPen(QPen(MARK, 2))
            painter.drawRoundedRect(self.rect().adjusted(ARROW_PX + 1, 1, -1, -1), 5, 5)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(MARK)
            middle = self.height() // 2
            tip = QPoint(ARROW_PX, middle)
            painter.drawPolygon(QPolygon([tip, QPoint(1, middle - 7), QPoint(1, middle + 7)]))


class GuidedExample(StepCard):
    """Leads through a case: goes on once a step was done, and points to its control.

    Parameters
    ----------
    context : Context
        The window's services.
    views, tabs : FourViews, Tabs
        As of `StepCard`.
    """

    def __init__(self, context: Context, tabs: Tabs, views: FourViews) -> None:
        self.leave = controls.push_button("case.leave")
        self.skip = controls.push_button("case.skip")
        super().__init__(views, tabs, "case", "Guided example", STEPS, self.leave, self.skip)
        self.context = context
        self.mark = ControlMark(views.window())
        self.leave.clicked.connect(self.finished)
        self.skip.clicked.connect(self._go_on)
        self._look = QTimer(self)
        self._look.setInterval(LOOK_MS)
        self._look.timeout.connect(self.look)
        self.show_step(0)
        self._look.start()

    @property
    def step(self) -> GuideStep | None:
        """What is to be done; None at the end."""
        return self.steps[self.number] if self.number < len(self.steps) else None

    def control(self) -> QWidget | None:
        """The control of the current step."""
        step = self.step
        if step is None:
            return None
        roots = (self.context.dock, self.views)
        found = (root.findChild(QWidget, step.target) for root in roots)
        return next((widget for widget in found if widget is not None), None)

    def look(self) -> None:
        """Go on if the step was done; follow the control."""
        step, control = self.step, self.control()
        if step is not None and control is not None and step.done(self.context, control):
            self._go_on()
            control = self.control()
        # A list or a menu of the control is open: nothing lies over it.
        self.mark.point_at(None if QApplication.activePopupWidget() else control)

    def show_step(self, number: int) -> None:
        """Show a step, its panel and its control."""
        super().show_step(number)
        control, panel = self.control(), self.tabs.panels[self.tabs.currentIndex()]
        if control is not None and panel.isAncestorOf(control):
            bring_into_view(panel, control)

    def dismiss(self) -> None:
        """Remove card and mark."""
        self._look.stop()
        self.mark.hide()
        controls.discard(self.mark)
        super().dismiss()

    def _go_on(self) -> None:
        if self.step is None:
            self.finished.emit()
        elif self.number + 1 < len(self.steps):
            self.show_step(self.number + 1)
        else:
            self.number += 1
            self.leave.hide()
            self.skip.setText("Done")
            self.show_text(self.title, "Finished", END)
