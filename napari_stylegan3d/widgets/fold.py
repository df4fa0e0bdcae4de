"""A part of a panel that can be folded away."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QCoreApplication, QEvent, QObject, QSize, Qt, Signal
from qtpy.QtGui import QFont
from qtpy.QtWidgets import QScrollArea, QSizePolicy, QToolButton, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import row, scaled, tool_button

#: Beyond its smallest height, left to what scrolls in the same column.
SCROLLED_PX = 120
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

    guideRequested = Signal(str)
    """Section of the user guide."""
    growing = Signal(int)
    """It is about to take so many pixels more of the column it is in."""

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
        self.header = QToolButton()
        self.header.setText(title)
        self.header.setObjectName(name)
        self.header.setToolTip(tip)
        self.header.setCheckable(True)
        self.header.setAutoRaise(True)
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.setIconSize(QSize(scaled(10), scaled(10)))
        self.header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        font = QFont(self.header.font())
        font.setBold(True)
        self.header.setFont(font)
        inner = QWidget()
        self.body = _Scrolled(inner) if scrolls else inner
        self.column = controls.stack(on=inner, spacing=9, margins=(0, 0, 0, 4))
        outer = controls.stack(on=self)
        self.top = top = row(self.header, stretch=0)
        if guide:
            help_name = f"{name.removesuffix('.fold')}.guide"
            help_button = tool_button("?", help_name, "The user guide, at its page.")
            help_button.clicked.connect(lambda: self.guideRequested.emit(guide))
            top.addWidget(help_button)
        outer.addLayout(top)
        outer.addWidget(self.body)
        self.header.toggled.connect(self._show)
        self.header.setChecked(unfolded)
        self._show(unfolded)

    def unfold(self, unfolded: bool = True) -> None:
        """Show or hide the column."""
        self.header.setChecked(unfolded)

    def _show(self, unfolded: bool) -> None:
        if unfolded:
            self.growing.emit(self.body.minimumSizeHint().height())
        self.body.setVisible(unfolded)
        arrow = Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow
        self.header.setArrowType(arrow)


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
        width = self.viewport().width()
        return (
            layout.totalHeightForWidth(width)
            if layout.hasHeightForWidth()
            else (layout.totalSizeHint().height())
        )


def take_turns(column: QWidget, *folds: Fold) -> None:
    """Fold the others away when one of them grows and the column has no room for all."""
    for fold in folds:
        fold.growing.connect(partial(_make_room, column, fold, folds))


def _make_room(column: QWidget, growing: Fold, folds: tuple[Fold, ...], pixels: int) -> None:
    # Before it grows: a window that was made larger by its content stays so. What scrolls in the
    # column could do with less than it takes to be worked with.
    layout = column.layout()
    if layout is None or not column.isVisible():
        return
    if layout.minimumSize().height() + pixels + scaled(SCROLLED_PX) > column.height():
        for fold in folds:
            if fold is not growing:
                fold.unfold(False)
        # The room they took is free only after this.
        QCoreApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest)
