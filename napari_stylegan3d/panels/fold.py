"""A part of a panel that can be folded away."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QFont
from qtpy.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget


class Fold(QWidget):
    """A heading with an arrow, and under it a column that the heading shows or hides.

    Parameters
    ----------
    title
        The heading.
    name
        Qt object name of the heading.
    tip
        What is inside, for the heading's tooltip.
    unfolded
        Whether the column is shown at first.
    """

    def __init__(self, title: str, name: str, tip: str, unfolded: bool = False) -> None:
        super().__init__()
        self.header = QToolButton()
        self.header.setText(title)
        self.header.setObjectName(name)
        self.header.setToolTip(tip)
        self.header.setCheckable(True)
        self.header.setAutoRaise(True)
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.header.setIconSize(QSize(10, 10))
        self.header.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        font = QFont(self.header.font())
        font.setBold(True)
        self.header.setFont(font)
        self.body = QWidget()
        self.column = QVBoxLayout(self.body)
        self.column.setContentsMargins(0, 0, 0, 4)
        self.column.setSpacing(9)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(6)
        outer.addWidget(self.header)
        outer.addWidget(self.body)
        self.header.toggled.connect(self._show)
        self.header.setChecked(unfolded)
        self._show(unfolded)

    def unfold(self, unfolded: bool = True) -> None:
        """Show or hide the column."""
        self.header.setChecked(unfolded)

    def _show(self, unfolded: bool) -> None:
        self.body.setVisible(unfolded)
        arrow = Qt.ArrowType.DownArrow if unfolded else Qt.ArrowType.RightArrow
        self.header.setArrowType(arrow)
