"""What leads a newcomer: the first steps and the guided example, in cards on the picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QObject, QPoint, QRect, Qt, QTimer, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygon
from qtpy.QtWidgets import QApplication, QFrame, QLabel, QPushButton, QWidget

from napari_stylegan3d.core.panel import bring_into_view
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import single_shot

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.core.panel import Tabs
    from napari_stylegan3d.views.four import FourViews

WIDTH, NARROWEST = 360, 250
MARGIN, CAPTION_PX = 16, 54
STYLE = """
QFrame[role="card"] { background: rgba(30, 33, 42, 240); border: 1px solid #6480e6;
    border-radius: 8px; }
QFrame[role="card"] QLabel { color: #f0f1f2; background: transparent; }
QFrame[role="card"] QLabel[role="step"] { color: #ffb74d; font-weight: 600; }
QFrame[role="card"] QLabel[role="title"] { font-size: %dpx; font-weight: 600; }
"""


class StepCard(QFrame):
    """GuideStep, heading, text and buttons; over the 3D view, so that no plane is covered.

    Parameters
    ----------
    views : FourViews
        The views it lies on.
    name : str
        Object name; labels are `name.step`, `name.heading` and `name.text`.
    buttons : QPushButton
        From left to right.
    """

    def __init__(self, views: FourViews, name: str, *buttons: QPushButton) -> None:
        super().__init__(views)
        self._views = views
        self.setObjectName(name)
        self.setProperty("role", "card")
        self.setStyleSheet(STYLE % controls.scaled(17))
        self.step, self.heading, self.text = QLabel(), QLabel(), QLabel()
        for part, label, role in (
            ("step", self.step, "step"),
            ("heading", self.heading, "title"),
            ("text", self.text, ""),
        ):
            label.setObjectName(f"{name}.{part}")
            label.setProperty("role", role)
            label.setWordWrap(True)
        controls.stack(
            self.step,
            self.heading,
            self.text,
            controls.row(QLabel(), *buttons, stretch=0),
            on=self,
            spacing=8,
            margins=(20, 16, 20, 16),
        )
        self._soon = single_shot(self, self.place)
        views.installEventFilter(self)

    def show_text(self, step: str, heading: str, text: str) -> None:
        """Show a step."""
        for label, words in ((self.step, step), (self.heading, heading), (self.text, text)):
            label.setText(words)
        self.place()
        self.show()
        self.raise_()
        self._soon.start(0)  # the views may be laid out anew

    def dismiss(self) -> None:
        """Close it."""
        self._soon.stop()
        self._views.removeEventFilter(self)
        self.hide()
        self.setParent(None)
        self.deleteLater()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow resizing of the views."""
        if event.type() == QEvent.Type.Resize:
            self._soon.start(0)
        return False

    def place(self) -> None:
        """At the lower right of the views, as tall as its text."""
        views = self._views
        room = views.width() // 2 - MARGIN
        width = max(min(controls.scaled(WIDTH), room), controls.scaled(NARROWEST))
        layout = self.layout()
        for label in (self.step, self.heading, self.text):
            label.ensurePolished()  # before that its letters have another size
        layout.invalidate()
        self.setFixedSize(width, layout.totalHeightForWidth(width))
        # Above the caption, which says that the picture is synthetic.
        low = views.readout.mapTo(views, QPoint(0, 0)).y() - controls.scaled(CAPTION_PX)
        self.move(views.width() - width - MARGIN, max(low - self.height() - MARGIN, 0))


#: (panel to show, heading, text)
FIRST_STEPS = (
    (
        "Browse",
        "Browse by seed",
        (
            "Each seed is a new synthetic brain. Use ◀ ▶ and Random on the right, "
            "or open the gallery."
        ),
    ),
    (
        "Project",
        "Drop a scan",
        (
            "Drop a T1-weighted scan (NIfTI or DICOM folder) on the window, or open a "
            "sample, and press Project: the program searches for the most similar "
            "synthetic brain."
        ),
    ),
    (
        "Directions",
        "Move a slider",
        (
            "Make the brain older, enlarge its ventricles, change its folding. Ctrl+Z "
            "undoes every change; F1 lists all keys."
        ),
    ),
)


class Welcome(StepCard):
    """Three steps, one at a time, non-modal.

    Parameters
    ----------
    views : FourViews
        The views it is placed on.
    tabs : Tabs
        Tabs of the steps.
    """

    finished = Signal()
    """Read to the end, skipped, or something was done."""

    def __init__(self, views: FourViews, tabs: Tabs) -> None:
        self.case = controls.push_button(
            "Guided example",
            "welcome.case",
            "Work through a whole case yourself, in three minutes.",
        )
        self.skip = controls.push_button("Skip", "welcome.skip", "Close this; Help shows it again.")
        self.next = controls.push_button("Next", "welcome.next", "The next step.", "primary")
        super().__init__(views, "welcome", self.case, self.skip, self.next)
        self._tabs = tabs
        self.skip.clicked.connect(self.finished)
        self.next.clicked.connect(self._on_next)
        self._number = -1
        self._on_next()
        tabs.currentChanged.connect(self._on_tab)

    @property
    def number(self) -> int:
        """Current step, from 0."""
        return self._number

    def dismiss(self) -> None:
        """Close it."""
        self._tabs.currentChanged.disconnect(self._on_tab)
        super().dismiss()

    def _on_next(self) -> None:
        if self._number + 1 == len(FIRST_STEPS):
            self.finished.emit()
        else:
            self._show_step(self._number + 1)

    def _show_step(self, number: int) -> None:
        self._number = number
        tab, heading, text = FIRST_STEPS[number]
        self._tabs.bring(tab)
        step = f"First steps, {number + 1} of {len(FIRST_STEPS)}"
        self.next.setText("Next" if self._number + 1 < len(FIRST_STEPS) else "Done")
        self.show_text(step, heading, text)
        self.next.setFocus(Qt.FocusReason.OtherFocusReason)

    def _on_tab(self, index: int) -> None:
        """Show the step of the opened tab; close if there is none."""
        key = self._tabs.panels[index].key
        steps = [tab for tab, _heading, _text in FIRST_STEPS]
        if key not in steps:
            self.finished.emit()
        elif key != steps[self._number]:
            self._show_step(steps.index(key))


#: How often it looks whether a step was done, and where the control is.
LOOK_MS = 150
MARK = QColor("#ffb74d")
#: How far the line and the slider are moved at least.
MOVED_PERCENT, AGED_YEARS = 5, 10
AROUND_PX, ARROW_PX = 4, 14


@dataclass(frozen=True)
class GuideStep:
    """One thing to do.

    Attributes
    ----------
    tab : str
        Key of its panel; empty if the control is in none.
    target : str
        Object name of the control that is pointed to.
    heading, text : str
        What to do, and what for.
    done : callable
        Whether it was done, from the context and the control.
    """

    tab: str
    target: str
    heading: str
    text: str
    done: Callable[[Context, Any], bool]


def _curtain_drawn(context: Context, _button: Any) -> bool:
    """Whether the line was moved and released."""
    line: Any = context.dock.findChild(QWidget, "compare.curtain")
    away = abs(line.value() - line.default) >= MOVED_PERCENT
    return context.session.shown.comparison == "curtain" and away and _is_released()


def _aged(context: Context, years: Any) -> bool:
    """Whether the slider was moved far enough and released; a model without it: any edit."""
    far = years.parentWidget().isHidden() or abs(years.value()) >= AGED_YEARS
    edited = any(edit.strength for edit in context.session.recipe.edits)
    return edited and far and _is_released()


def _is_released() -> bool:
    return bool(QApplication.mouseButtons() == Qt.MouseButton.NoButton)


def _measured(context: Context, header: Any) -> bool:
    """Whether a volume can be read."""
    volume = _text_of(context.dock, "measure.grey.ml")
    return header.isChecked() and any(sign.isdigit() for sign in volume)


STEPS = (
    GuideStep(
        "Project",
        "project.sample",
        "Open a patient's scan",
        "Press Samples and choose one of the two real brains.",
        lambda context, _: context.session.case is not None and not context.session.reading,
    ),
    GuideStep(
        "Project",
        "project.budget",
        "Choose a short search",
        (
            "Choose Draft under Search: it takes a few seconds. Standard follows the scan "
            "more closely."
        ),
        lambda _, box: box.currentData() == "draft",
    ),
    GuideStep(
        "Project",
        "project.start",
        "Project",
        (
            "Press Project. The scan is aligned, and the program searches for the synthetic brain "
            "that is most similar to it. The verdict says how far to trust the result."
        ),
        lambda context, _: context.session.result is not None,
    ),
    GuideStep(
        "",
        "project.show.model",
        "See what the model knows",
        (
            "Switch to Reconstruction: this is synthetic. What is missing in it, the model "
            "cannot show."
        ),
        lambda context, _: context.session.shown.what == "model",
    ),
    GuideStep(
        "Compare",
        "compare.choose",
        "Compare it with the scan",
        "Press Choose A and choose the scan.",
        lambda context, _: context.session.shown.second is not None,
    ),
    GuideStep(
        "Compare",
        "compare.mode.curtain",
        "Drag the swipe line",
        "Press Swipe and drag the line in a plane: the scan is on its left.",
        _curtain_drawn,
    ),
    GuideStep(
        "Compare",
        "compare.mode.off",
        "End the comparison",
        "Press Off.",
        lambda context, _: context.session.shown.comparison == "off",
    ),
    GuideStep(
        "",
        "project.show.edited",
        "Return to the patient",
        "Switch to Edited scan: from now on every slider moves the scan itself.",
        lambda context, _: context.session.shown.what == "recipe",
    ),
    GuideStep(
        "Directions",
        "directions.years",
        "Make the patient older",
        "Move the slider to about +20 years. The ventricles grow; the caption says so.",
        _aged,
    ),
    GuideStep(
        "",
        "measure.fold",
        "Measure",
        "Open Measure: volumes of tissue, and how the edit changed them.",
        _measured,
    ),
    GuideStep(
        "Export",
        "export.report",
        "Save a report",
        "Press Save report: one page with pictures, verdict and volumes, in the folder above.",
        lambda context, _: "report" in _text_of(context.dock, "export.done"),
    ),
)
END = (
    "This was a whole case. Press ? beside the tabs for the guide to a panel, and F1 for all keys."
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
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(MARK, 2))
        painter.drawRoundedRect(self.rect().adjusted(ARROW_PX + 1, 1, -1, -1), 5, 5)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(MARK)
        middle = self.height() // 2
        tip = QPoint(ARROW_PX, middle)
        painter.drawPolygon(QPolygon([tip, QPoint(1, middle - 7), QPoint(1, middle + 7)]))
        painter.end()


class GuidedExample(QObject):
    """Leads through the steps; `finished` when done or left.

    Parameters
    ----------
    context : Context
        The window's services.
    tabs : Tabs
        The panels.
    views : FourViews
        The card lies on them.
    """

    finished = Signal()

    def __init__(self, context: Context, tabs: Tabs, views: FourViews) -> None:
        super().__init__(context.dock)
        self.context, self.tabs, self.views = context, tabs, views
        self.leave = controls.push_button(
            "Leave", "case.leave", "End the guided example; Help starts it again."
        )
        self.skip = controls.push_button("Skip step", "case.skip", "Go on without doing this step.")
        self.card = StepCard(views, "case", self.leave, self.skip)
        self.mark = ControlMark(views.window())
        self.leave.clicked.connect(self.finished)
        self.skip.clicked.connect(self._go_on)
        self._look = QTimer(self)
        self._look.setInterval(LOOK_MS)
        self._look.timeout.connect(self.look)
        self.number = -1
        self._go_on()
        self._look.start()

    @property
    def step(self) -> GuideStep | None:
        """What is to be done; None at the end."""
        return STEPS[self.number] if self.number < len(STEPS) else None

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

    def close(self) -> None:
        """Remove card and mark."""
        self._look.stop()
        self.card.dismiss()
        self.mark.hide()
        self.mark.setParent(None)
        self.mark.deleteLater()
        self.deleteLater()

    def _go_on(self) -> None:
        if self.number >= len(STEPS):
            self.finished.emit()
            return
        self.number += 1
        step, count = self.step, len(STEPS)
        if step is None:
            self.leave.hide()
            self.skip.setText("Done")
            self.card.show_text("Guided example", "Finished", END)
            return
        if step.tab:
            panel = self.tabs.bring(step.tab)
            control = self.control()
            if control is not None and panel.isAncestorOf(control):
                bring_into_view(panel, control)
        text = f"Guided example, {self.number + 1} of {count}"
        self.card.show_text(text, step.heading, step.text)
