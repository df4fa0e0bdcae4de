"""Measure: volumes of what is shown, and where they lie for age, sex and head size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QGridLayout, QLabel, QSizePolicy, QWidget

from napari_stylegan3d.core.tissues import COLORS, ROWS, decimals_of
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import Fold, painting, scaled
from napari_stylegan3d.widgets.forms import Form
from napari_stylegan3d.widgets.settings import UNUSUAL_Z, settings, unusual_z
from stylegan3d.scans.person import SEXES
from stylegan3d.segmentation import classes
from stylegan3d.segmentation.curves import AgeCurve, curve_of
from stylegan3d.settings.option import ReportSettings

if TYPE_CHECKING:
    from napari_stylegan3d.measure.jobs import MeasuredBrain
    from stylegan3d.segmentation.norms import Norms
    from stylegan3d.segmentation.numbers import Numbers, Reading

HEIGHT = 130
LEFT, BOTTOM, REST = 52, 20, 8
LINE, DOT = QColor("#56b4e9"), QColor("#e69f00")


class CurvePlot(QWidget):
    """Draws one curve; empty without."""

    def __init__(self, name: str, tip: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setToolTip(tip)
        self.setMinimumHeight(scaled(HEIGHT))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.curve: AgeCurve | None = None

    def show_curve(self, curve: AgeCurve | None) -> None:
        """Draw another curve; None takes the plot away."""
        self.curve = curve
        self.setVisible(curve is not None)
        if curve is not None:
            self.setAccessibleName(f"{curve.title} against age")
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Band of 95 %, median, axes and dot."""
        if self.curve is None:
            return
        with painting(self) as painter:
            self._paint(painter, self.curve)

    def _paint(self, painter: QPainter, curve: AgeCurve) -> None:
        left, bottom, rest = (scaled(n) for n in (LEFT, BOTTOM, REST))
        size = self.width(), self.height()
        drawn = curve.drawn(*size, left=left, bottom=bottom, right=rest, top=rest, units=True)
        band = QColor(LINE)
        band.setAlpha(50)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(band)
        painter.drawPolygon(QPolygonF([QPointF(*place) for place in drawn.band]))
        painter.setPen(QPen(LINE, scaled(2)))
        painter.drawPolyline(QPolygonF([QPointF(*place) for place in drawn.middle]))
        painter.setPen(self.palette().text().color())
        for x, y, anchor, text in drawn.labels:
            wide = painter.fontMetrics().horizontalAdvance(text)
            painter.drawText(QPointF(x - (wide if anchor == "end" else wide / 2), y), text)
        painter.setPen(QPen(self.palette().base().color(), 1))
        painter.setBrush(DOT)
        radius = scaled(5)
        painter.drawEllipse(QPointF(*drawn.dot), radius, radius)


#: Regions across the midline that are no tissue.
ACROSS = tuple(name for name in classes.MIDLINE if name not in classes.AS_TISSUES)

NONE, WAITING, MEASURING = "–", "…", "Measuring…"
#: Stands for a file of norms that is to be chosen.
OPEN = "open"
COLUMNS = controls.texts("measures")
HEADS = {"ml": "ml", "change": "Δ ml", "percent": "Δ %", "z": "z", "percentile": "Pctl."}
REGION_COLUMNS = controls.texts("regions")
AGE_DECIMALS = 1
SWATCH = 10
NUMBER_PX = 34


class MeasureBox(Fold):
    """Volumes in tables, whose they are, curves over age, the labels, and a button to copy."""

    personChanged = Signal()
    unusualChanged = Signal()
    #: File of the norms that were chosen, "" for the bundled ones; None if none were.
    normsChanged = Signal(object)

    def __init__(self) -> None:
        super().__init__(
            "Measure",
            "measure.fold",
            "Volumes of tissues and regions, compared with people of the same age, sex and "
            "head size.",
            guide="measure",
            scrolls=True,
        )
        outer = self.layout()
        # The bar that scrolls is at the panel's edge.
        outer.setContentsMargins(14, 6, 0, 6)
        self.top.setContentsMargins(0, 0, 14, 0)
        self.column.setContentsMargins(0, 0, 6, 4)
        outer.insertWidget(0, controls.line())
        self.of = controls.hint("", "measure.of")
        self.of.setToolTip("What was measured, and what the changes are relative to.")
        self.column.addWidget(self.of)
        self._make_person()
        self.cells: dict[str, QLabel] = {}
        #: Tooltips of the cells without a number.
        self._tips: dict[str, str] = {}
        self.column.addLayout(self._make_table())
        self.column.addLayout(self._make_unusual())
        self.among = controls.hint("", "measure.among")
        self.among.setToolTip("Reference group for z and percentiles, or why there are none.")
        self.column.addWidget(self.among)
        self.reading = controls.hint("", "measure.reading")
        self.reading.setToolTip(
            "Age and sex that the volumes suggest. Nine of ten people lie within the "
            "interval at the training sites;\nanother scanner shifts it by some years. "
            "Directions estimates the age from the latent instead, less reliably."
        )
        self.column.addWidget(self.reading)
        self.regions = Fold("Regions", "measure.regions", "Volumes of regions, left and right.")
        self.regions.column.addLayout(self._make_regions())
        self.column.addWidget(self.regions)
        self._make_curve()
        self.labels = controls.check("measure.labels")
        self.copy = controls.push_button("measure.copy")
        self.column.addLayout(controls.row(self.labels, self.copy, stretch=0))
        self.visits = controls.push_button("measure.visits")
        self.column.addLayout(controls.row(QWidget(), self.visits, stretch=0))
        self.show_measured(None, None)

    @property
    def open(self) -> bool:
        """Whether anybody can see the table."""
        return self.header.isChecked()

    @property
    def person(self) -> classes.Person:
        """Age and sex as the fields have them."""
        age = self.age.value()
        return classes.Person(age if age > 0 else None, self.sex.currentData())

    def show_measured(
        self,
        measured: MeasuredBrain | None,
        numbers: Numbers | None,
        note: str = "",
        text: str = NONE,
    ) -> None:
        """Write the numbers; None while there are none, why in `note`, and `text` for each."""
        self.numbers = numbers
        beyond = self.unusual.value()
        for key, (written, tip, unusual) in in_words(measured, numbers, beyond, text).items():
            self.cells[key].setText(written)
            self.cells[key].setProperty("unusual", unusual)
            controls.set_bold(self.cells[key], unusual)
            self.cells[key].setToolTip(tip or self._tips[key])
        controls.show_text(self.of, note if measured is None else subject_in_words(measured))
        controls.show_text(self.among, "" if numbers is None else numbers.among)
        read = None if numbers is None else numbers.reading
        controls.show_text(self.reading, "" if read is None else reading_in_words(read))
        self.copy.setEnabled(measured is not None)
        self._draw()

    def show_waiting(self, *, at_work: bool = False) -> None:
        """Nothing is known of what is shown yet; whether it is being measured."""
        if self.numbers is not None or self.cells["grey.ml"].text() != WAITING:
            self.show_measured(None, None, text=WAITING)
        controls.show_text(self.of, MEASURING if at_work else WAITING)

    def show_person(self, person: classes.Person, header: classes.Person, called: str) -> None:
        """Write age and sex, without a signal, and remark what the scan's files say instead."""
        if self.person.age != person.age:  # what is being typed stays as it is
            controls.show_value(self.age, person.age or 0)
        controls.show_value(self.sex, person.sex)
        told = []
        if header.age is not None and _rounded(header.age) != _rounded(person.age):
            told.append(f"{_rounded(header.age):g} years")
        if header.sex is not None and header.sex != person.sex:
            told.append(SEXES[header.sex])
        controls.show_text(self.header_says, f"{called} {', '.join(told)}." if told else "")

    def _make_person(self) -> None:
        self.age = controls.number(
            "measure.age",
            "Age of the person in years, for z and percentiles (18 to 80), for Ageing "
            "(Directions) and for\nreports; from the scan's files if given there. 0: unknown.",
            (0, classes.OLDEST),
            " years",
            decimals=AGE_DECIMALS,
        )
        self.age.setSpecialValueText(NONE)
        self.sex = controls.combo(
            "measure.sex",
            entries=((NONE, None), *((name.capitalize(), sex) for sex, name in SEXES.items())),
        )
        self.norms = controls.combo("measure.norms")
        self.norms.addItem("Bundled norms", "")
        self.norms.addItem("Open norms…", OPEN)
        self.norms.activated.connect(self._on_norms)
        fields = (("Age", self.age), ("Sex", self.sex), ("Norms", self.norms))
        self.column.addLayout(controls.form(*fields))
        self.header_says = controls.hint("", "measure.header")
        self.header_says.setToolTip("Age and sex in the scan's files, where others were typed.")
        self.header_says.hide()
        self.column.addWidget(self.header_says)
        self.age.valueChanged.connect(self.personChanged)
        self.sex.currentIndexChanged.connect(self.personChanged)

    def show_norms(self, file: str, norms: Norms | None) -> None:
        """Select the norms of a file, which join the list if they are new."""
        at = self.norms.findData(file)
        if file and at < 0:
            at = self.norms.count() - 1
            self.norms.insertItem(at, "", file)
        if file:
            name = f"{Path(file).name} (not read)" if norms is None else norms.name
            self.norms.setItemText(at, name)
        self.norms.setCurrentIndex(at)

    def _on_norms(self, index: int) -> None:
        wanted = self.norms.itemData(index)
        if wanted == OPEN:
            path = dialogs.open_file(self, "Open norms", dialogs.NORMS)
            wanted = None if path is None else str(path)
        self.normsChanged.emit(wanted)

    def _make_unusual(self) -> QGridLayout:
        form = Form(ReportSettings, "measure.", {"unusual_z": "unusual"}, only=("unusual_z",))
        self.unusual = form.native("unusual_z")
        self.unusual.setValue(unusual_z())
        self.unusual.valueChanged.connect(self._on_unusual)
        return form.layout()

    def _on_unusual(self, z: float) -> None:
        settings().setValue(UNUSUAL_Z, z)
        self.unusualChanged.emit()

    def _make_table(self) -> QGridLayout:
        grid = controls.grid(None, 5, 3, (1,))
        for column, (key, tip) in enumerate(COLUMNS, 2):
            grid.addWidget(_head(HEADS[key], tip), 0, column, _BOTTOM)
            grid.setColumnMinimumWidth(column, controls.scaled(NUMBER_PX))
        for row, (tissue, text, tip) in enumerate(ROWS, 1):
            if tissue in COLORS:
                grid.addWidget(swatch(COLORS[tissue]), row, 0)
            name = _name(text)
            name.setToolTip(tip)
            grid.addWidget(name, row, 1)
            for column, (key, column_tip) in enumerate(COLUMNS, 2):
                self._add_cell(grid, f"{tissue}.{key}", column_tip, row, column)
        return grid

    def _make_regions(self) -> QGridLayout:
        grid = controls.grid(None, 5, 3)
        grid.addWidget(controls.hint("ml"), 0, 0, Qt.AlignmentFlag.AlignBottom)
        for column, (_key, head, tip) in enumerate(REGION_COLUMNS, 1):
            words = _head(head, tip)
            words.setWordWrap(False)
            grid.addWidget(words, 0, column, _BOTTOM)
        for row, region in enumerate(classes.PAIRED, 1):
            grid.addWidget(_name(classes.region_title(region)), row, 0)
            for column, (key, _head_text, tip) in enumerate(REGION_COLUMNS, 1):
                self._add_cell(grid, f"{region}.{key}", tip, row, column)
        for row, region in enumerate(ACROSS, len(classes.PAIRED) + 1):
            grid.addWidget(_name(classes.title_of(f"{region}_ml")), row, 0)
            self._add_cell(grid, f"{region}.ml", COLUMNS[0][1], row, 1)
            self._add_cell(grid, f"{region}.z", COLUMNS[3][1], row, 2)
        return grid

    def _add_cell(self, grid: QGridLayout, key: str, tip: str, row: int, column: int) -> None:
        cell = controls.named(QLabel(), f"measure.{key}", tip)
        if key.endswith((".ml", ".left", ".right")):
            cell.setProperty("role", "figure")
        grid.addWidget(cell, row, column, Qt.AlignmentFlag.AlignRight)
        self.cells[key], self._tips[key] = cell, tip

    def _make_curve(self) -> None:
        self.curve_of = controls.combo(
            "measure.curve",
            entries=((classes.title_of(name), name) for name in classes.ALL_MEASURES),
        )
        self.curve_of.setCurrentIndex(self.curve_of.findData("ventricle_ml"))
        self.column.addLayout(controls.form(("Curve", self.curve_of)))
        self.plot = CurvePlot(
            "measure.plot",
            "The measure over age for this sex and head size: the median, the 95 % band, "
            "wider where few were measured, and this brain as a dot.",
        )
        self.column.addWidget(self.plot)
        self.curve_of.currentIndexChanged.connect(lambda _index: self._draw())

    def _draw(self) -> None:
        self.plot.show_curve(curve_of(self.numbers, self.curve_of.currentData()))


_BOTTOM = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom


def _rounded(age: float | None) -> float | None:
    """As it can be typed."""
    return None if age is None else round(age, AGE_DECIMALS)


def _head(text: str, tip: str) -> QLabel:
    head = controls.hint(text)
    head.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom)
    head.setToolTip(tip)
    return head


def _name(text: str) -> QLabel:
    name = QLabel(text)
    name.setWordWrap(True)
    return name


def swatch(color: str) -> QWidget:
    """A small square of a colour."""
    square = QPixmap(controls.scaled(SWATCH), controls.scaled(SWATCH))
    square.fill(QColor(color))
    label = QLabel()
    label.setPixmap(square)
    return label


def subject_in_words(measured: MeasuredBrain) -> str:
    """What was measured, and what its changes are counted from."""
    if measured.before is None or not measured.against:
        return measured.title
    return f"{measured.title}; changes relative to: {measured.against}"


def reading_in_words(read: Reading) -> str:
    """Apparent age with its interval, sex, and how the site counts."""
    sex, chance = read.sex
    age = read.outside or f"{read.age:.0f} ({max(read.low, 0):.0f} to {read.high:.0f})"
    return f"Apparent age by volumes {age}; {sex} ({100 * chance:.0f} %); {read.site}."


def in_words(
    measured: MeasuredBrain | None,
    numbers: Numbers | None,
    beyond: float = ReportSettings.unusual_z,
    without: str = NONE,
) -> dict[str, tuple[str, str, bool]]:
    """Each cell of the tables: its text, its tooltip, and whether its z is `beyond` the limit.

    `without` is the text of those without a number.
    """
    empty = (without, "", False)
    words = {f"{tissue}.{key}": empty for tissue, *_rest in ROWS for key, _h in COLUMNS}
    words |= {f"{r}.{key}": empty for r in classes.PAIRED for key, *_rest in REGION_COLUMNS}
    words |= {f"{region}.{key}": empty for region in ACROSS for key in ("ml", "z")}
    if measured is None or numbers is None:
        return words
    for tissue, *_rest in ROWS:
        words |= _of_tissue(tissue, measured, numbers, beyond)
    for region in classes.PAIRED:
        for key, measure in (
            ("left", f"left_{region}_ml"),
            ("right", f"right_{region}_ml"),
            ("asymmetry", f"{region}_asymmetry"),
        ):
            words |= _valued(f"{region}.{key}", f"{region}.{key}_z", measure, numbers, beyond)
    for region in ACROSS:
        words |= _valued(f"{region}.ml", f"{region}.z", f"{region}_ml", numbers, beyond)
    return words


def _of_tissue(
    tissue: str, measured: MeasuredBrain, numbers: Numbers, beyond: float
) -> dict[str, tuple[str, str, bool]]:
    measure = f"{tissue}_ml"
    words = _valued(f"{tissue}.ml", f"{tissue}.z", measure, numbers, beyond)
    score = numbers.scores.get(measure)
    if score is not None:
        words[f"{tissue}.percentile"] = (score.words[1], "", False)
    if measured.before is not None:
        value, before = measured.measures[measure], measured.before[measure]
        words[f"{tissue}.change"] = (signed(value - before, decimals_of(tissue)), "", False)
        if before > 0:
            words[f"{tissue}.percent"] = (signed(100 * (value - before) / before, 1), "", False)
    return words


def _valued(
    cell: str, z_cell: str, measure: str, numbers: Numbers, beyond: float
) -> dict[str, tuple[str, str, bool]]:
    """A value and its z, with the limits of such people as the tooltip."""
    words = {cell: (classes.value_text(measure, numbers.measures[measure]), "", False)}
    score = numbers.scores.get(measure)
    if score is not None:
        low, high = (classes.value_text(measure, limit) for limit in (score.low, score.high))
        tip = (
            f"95 % of people of this age, sex and head size have {low} to {high} "
            f"{classes.unit_of(measure)}.\nAnother scanner may shift z by {score.shift}."
        )
        words[z_cell] = (score.words[0], tip, abs(score.z) > beyond)
    return words


def signed(value: float, decimals: int) -> str:
    """With its sign; what rounds to nothing is 0 without one."""
    text = f"{value:+.{decimals}f}"
    return f"{0:.{decimals}f}" if float(text) == 0 else text


def as_table(measured: MeasuredBrain, numbers: Numbers) -> list[list[str]]:
    """All numbers with their units; a change in percent where it has a meaning."""
    heads = ["measure", "value", "unit", "change", "change_percent", "z", "percentile", "scanner_z"]
    rows = [[f"# {measured.title}, {measured.network}. {numbers.among}"], heads]
    for name in classes.ALL_MEASURES:
        value, before = measured.measures[name], (measured.before or {}).get(name)
        cells = [classes.title_of(name), f"{value:.5g}", classes.unit_of(name), "", "", "", "", ""]
        if before is not None:
            cells[3] = f"{value - before:.2f}"
            if before > 0 and cells[2] != "%":
                cells[4] = f"{100 * (value - before) / before:.2f}"
        score = numbers.scores.get(name)
        if score is not None:
            shift = "" if score.scanner is None else f"{score.scanner:.2f}"
            cells[5:] = f"{score.z:.2f}", score.words[1], shift
        rows.append(cells)
    return rows
