"""Forms of typed settings, by magicgui: one field for each option of a settings class.

What a field shows (label, tooltip, range, unit, choices) is the option's description
(`stylegan3d.settings.option`), which the command line and Python share.
"""

import textwrap
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from magicgui import register_type
from magicgui.backends._qtpy.widgets import QBaseValueWidget  # the way to wrap a Qt widget
from magicgui.type_map import get_widget_class
from magicgui.widgets import CheckBox, ComboBox
from magicgui.widgets.bases import ValueWidget
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QSpinBox, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.controls import DecimalBox, SliderRow
from stylegan3d.settings.option import Described, Sliding, options_of

#: Letters of a line of a tooltip.
TIP_WIDTH = 92


class _Box(QBaseValueWidget):
    def __init__(self, box: type[QWidget], **kwargs: Any) -> None:
        super().__init__(box, "value", "setValue", "valueChanged", **kwargs)


class _Slide(QBaseValueWidget):
    def __init__(self, row: Callable[[], SliderRow], **kwargs: Any) -> None:
        def made(parent: Any = None) -> SliderRow:
            return row()

        # magicgui only calls it.
        super().__init__(made, "value", "set_value", "valueChanged", **kwargs)  # type: ignore[arg-type]

    def _mgui_bind_change_callback(self, callback: Callable[[float], None]) -> None:
        self._qwidget.valueChanged.connect(lambda value, _live: callback(value))


class SliderField(ValueWidget):
    """The project's slider row as magicgui's widget of `Sliding`.

    Parameters
    ----------
    row : callable
        Makes the row; by default one from 0 to 1.
    kwargs : object
        As of magicgui's other widgets.
    """

    def __init__(self, row: Callable[[], SliderRow] | None = None, **kwargs: Any) -> None:
        plain = {k: v for k, v in kwargs.items() if k in ("value", "name", "annotation", "label")}
        made = row or partial(SliderRow, plain.get("name", ""), "", (0.0, 1.0, 0.01, 0.0))
        super().__init__(widget_type=_Slide, backend_kwargs={"row": made}, **plain)


register_type(Sliding, widget_type=SliderField)

#: Boxes for numbers: with a unit, and with a comma or a point. magicgui's own have neither.
BOXES: dict[type, type[QWidget]] = {float: DecimalBox, int: QSpinBox}


class Form(QObject):
    """The fields of a settings class.

    Parameters
    ----------
    settings : type
        A frozen dataclass whose fields are described by `Option`.
    prefix : str
        Object names of the fields are `prefix` and the field's name.
    names : mapping of str to str or None
        Other object names, by field.

    Attributes
    ----------
    fields : dict of str to object
        Magicgui's widgets by the name of the field; `.native` is Qt's.
    """

    changed = Signal()

    def __init__(
        self,
        settings: type,
        prefix: str,
        names: Mapping[str, str] | None = None,
        only: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.settings = settings
        known = {described.name: described for described in options_of(settings)}
        self._options = {name: known[name] for name in only or known}
        self.fields: dict[str, Any] = {}
        for name, described in self._options.items():
            called = f"{prefix}{(names or {}).get(name, name)}"
            field = _field(described, called)
            controls.named(field.native, called, field.native.toolTip())
            field.changed.connect(lambda _value: self.changed.emit())
            self.fields[name] = field

    @property
    def value(self) -> Any:
        """The settings as the fields have them."""
        return self.settings(**{name: field.value for name, field in self.fields.items()})

    def native(self, name: str) -> Any:
        """Qt's widget of a field."""
        return self.fields[name].native

    def row(self, name: str) -> tuple[str, Any]:
        """Label and field, for `controls.form`."""
        return self._options[name].option.label, self.native(name)

    def layout(self, *names: str) -> QGridLayout:
        """Labels on the left, fields on the right; of all fields, or of these.

        Boxes to tick and slider rows have their own label, and are left out.
        """
        return controls.form(
            *(
                self.row(name)
                for name in names or self.fields
                if not isinstance(self.native(name), QCheckBox | SliderRow)
            )
        )


def _field(described: Described, called: str) -> Any:
    """The widget of one option."""
    option, default = described.option, described.default
    field: Any
    tip = "\n".join(filter(None, (option.help, option.range)))
    if get_widget_class(annotation=described.kind)[0] is SliderField:
        low, high, step = option.span
        limits = (low, high, step, float(default))
        unit = f" {option.unit}" if option.unit else ""
        field = SliderField(partial(SliderRow, called, option.label, limits, unit))
    elif option.choices is not None:
        choices = [(text, value) for value, text in option.choices.items()]
        field = ComboBox(choices=choices, value=default)
    elif described.kind is bool:
        field = CheckBox(value=default, text=option.label)
    else:
        box = {"box": BOXES[described.kind]}
        field = ValueWidget(widget_type=_Box, backend_kwargs=box, name=described.name)
    _limit(field.native, described)
    field.native.setToolTip(folded(tip))
    return field


def folded(tip: str) -> str:
    """A tooltip in lines that fit on the screen: Qt breaks no plain text."""
    return "\n".join(line for part in tip.splitlines() for line in textwrap.wrap(part, TIP_WIDTH))


def _limit(box: Any, described: Described) -> None:
    """Range, step and unit of a box for numbers."""
    option = described.option
    if option.choices is not None or described.kind not in BOXES:
        return
    step = option.span[2] if len(option.span) > 2 else 0.1 if described.kind is float else 1
    if described.kind is float:
        box.setDecimals(0 if step >= 1 else 1 if step >= 0.1 else 2)
    if len(option.span) > 1:
        low, high, *_ = map(described.kind, option.span)
        box.setRange(low, high)
    box.setSingleStep(described.kind(step))
    box.setSuffix(f" {option.unit}" if option.unit else "")
    box.setValue(described.default)
