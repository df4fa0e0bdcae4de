"""A box for a number that may be typed with a comma or a point, whatever the system's language."""

from __future__ import annotations

from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox


class DecimalBox(QDoubleSpinBox):
    """Shows numbers in the system's locale and accepts either decimal separator.

    Qt's own box skips the sign it does not expect: 0.7 typed on a German system, or 0,7 on an
    English one, is 7 there.
    """

    def validate(self, text: str, position: int) -> tuple[QValidator.State, str, int]:
        """As Qt's, with the sign of the decimals put right while it is typed or pasted."""
        return super().validate(self._own(text), position)

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
