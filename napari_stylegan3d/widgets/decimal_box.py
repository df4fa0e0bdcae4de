"""A box for a number that may be typed with a comma or a point, whatever the system's language."""

from __future__ import annotations

from qtpy.QtCore import QPoint, QRect, QSize
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox, QStyle, QStyleOptionSpinBox, QToolTip

#: Wide enough to measure what is beside the text, and what a line edit leaves at its sides.
WIDE_PX, TEXT_MARGIN_PX = 300, 4


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
        """Room for the longest number with its unit: Qt forgets a style sheet's buttons."""
        option = QStyleOptionSpinBox()
        self.initStyleOption(option)
        option.rect = QRect(0, 0, WIDE_PX, 2 * self.fontMetrics().height())
        style = self.style()
        assert style is not None
        field = style.subControlRect(
            QStyle.ComplexControl.CC_SpinBox,
            option,
            QStyle.SubControl.SC_SpinBoxEditField,
            self,
        )
        texts = self.specialValueText(), *map(self._in_words, (self.minimum(), self.maximum()))
        longest = max(map(self.fontMetrics().horizontalAdvance, texts))
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
