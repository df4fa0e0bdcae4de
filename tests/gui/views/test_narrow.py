"""Words on views that have hardly any room for them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.qt import get_stylesheet
from qtpy.QtCore import QRectF
from qtpy.QtGui import QFontMetrics
from qtpy.QtWidgets import QComboBox, QWidget

from napari_stylegan3d.compare.controller import side_of
from napari_stylegan3d.views.display import AXIAL, KEY
from napari_stylegan3d.views.glass import LETTER_PX, MARGIN_PX, Labels, _caption_font
from napari_stylegan3d.views.look import LookModel
from napari_stylegan3d.views.slices import Pane, Panes
from napari_stylegan3d.widgets.controls import DecimalBox, scaled
from napari_stylegan3d.widgets.elided import FIELD_PX, InWords
from napari_stylegan3d.widgets.theme import DARK, LIGHT, style
from stylegan3d.pages.shortening import elided, shortened
from stylegan3d.recipe.recipe import Edit, Recipe, Source
from stylegan3d.session.provenance import (
    SYNTHETIC,
    UNCONFIRMED,
    UNEDITED,
    ComparedPair,
    Over,
    Provenance,
)
from stylegan3d.storage.about import EDITED_SCAN

LONG = side_of(Recipe(Source("seed", 12), edits=(Edit("A direction with a long name", 1.5),)), "A")

EDITS = "mixed with seed 1, Age +1.5 sd, Head size -1 sd"


@pytest.fixture
def labels(qapp):
    canvas = QWidget()
    canvas.resize(600, 300)
    labels = Labels(canvas, ViewerModel(), AXIAL)
    yield canvas, labels
    labels.links.close()


@pytest.mark.parametrize("width", [600, 300, 220, 160])
def test_names_are_shortened_to_the_view_and_the_warning_never(labels, width):
    canvas, sheet = labels
    canvas.resize(width, 300)
    sheet.place(canvas)
    sheet.tell(provenance=LONG)
    lines = sheet.written.split("\n")
    metrics = QFontMetrics(_caption_font())
    assert lines[0].startswith("A: ")
    assert max(map(metrics.horizontalAdvance, lines)) <= width - 2 * MARGIN_PX
    assert len(lines) == 3 + (width == 600), "where there is room, all edits are told"
    assert lines[-2:] == ["Synthetic –", "not for diagnosis"]


@pytest.mark.parametrize("width", [600, 300, 160])
def test_an_edited_scan_is_called_one_however_narrow_the_view(labels, width):
    canvas, sheet = labels
    canvas.resize(width, 300)
    sheet.place(canvas)
    sheet.tell(provenance=Provenance("edited", "sub-07", "A direction with a long name +1.5 sd"))
    name, *what = sheet.written.split("\n")
    assert name == "sub-07:"
    assert what[0].startswith("A ")
    assert what[-3].endswith("+1.5 sd")
    assert len(what) == 3 + (width == 600), "where there is room, nothing is left out"
    assert " ".join(what[-2:]) == "Edited scan, not an acquired image"


def test_a_caption_is_written_again_when_there_is_more_room(labels):
    canvas, sheet = labels
    canvas.resize(160, 300)
    sheet.place(canvas)
    sheet.tell(provenance=Provenance("scan", "sub-0123456789_T1w"))
    assert "…" in sheet.written
    canvas.resize(600, 300)
    sheet.place(canvas)
    assert sheet.written == "Scan: sub-0123456789_T1w"


def test_a_caption_ends_before_the_letter_at_the_foot(labels):
    canvas, sheet = labels
    metrics = QFontMetrics(_caption_font())
    canvas.resize(484, 300)
    sheet.place(canvas)
    sheet.tell(provenance=Provenance("scan", "IM-0001-0042_sag_T1_MPRAGE_iso"))
    assert sheet.written.startswith("Scan:\nIM-0001")
    for line in sheet.written.split("\n"):
        assert MARGIN_PX + metrics.horizontalAdvance(line) < 484 / 2 - 10
    sheet.tell(lettered=False)
    assert sheet.written == sheet.caption


@pytest.mark.parametrize(("width", "at_the_foot"), [(600, True), (162, False)])
def test_the_scale_bar_lies_beside_the_caption_or_in_a_free_corner(labels, width, at_the_foot):
    canvas, sheet = labels
    canvas.resize(width, 300)
    sheet.place(canvas)
    sheet.tell(provenance=LONG)
    sheet.tell(lettered=False)
    without = sheet.grab().toImage()
    sheet.model.add_image(np.zeros((4, 4, 4), np.float32))
    picture = sheet.grab().toImage()
    points = [(x, y) for x in range(width) for y in range(300)]
    rows = [y for x, y in points if picture.pixelColor(x, y) != without.pixelColor(x, y)]
    assert rows, "a scale bar is drawn"
    assert (min(rows) > 200) if at_the_foot else (max(rows) < 100)


def test_a_name_above_the_warning_ends_before_the_head(labels):
    canvas, sheet = labels
    canvas.resize(484, 300)
    sheet.place(canvas)
    before = Recipe(Source("seed", 0), edits=(Edit("Age", 2.0),))
    after = before.replace(edits=(*before.edits, Edit("Ventricle volume", 2.0)))
    b = dataclasses.replace(side_of(after, "B"), other=side_of(before, "A").title)
    sheet.tell(provenance=ComparedPair.of(side_of(before, "A"), b, ("", "colours show B − A")))
    a, *shortened = sheet.written.split("\n")
    assert a == "A: Seed 0, Age +2 sd"
    assert shortened[0] == "B (colours show B − A):"
    assert " ".join(shortened[1:-2]) == "… Ventricle volume +2 sd"
    metrics = QFontMetrics(_caption_font())
    assert max(map(metrics.horizontalAdvance, shortened[:-2])) <= 0.37 * 484
    assert shortened[-2:] == ["Synthetic –", "not for diagnosis"]


@pytest.mark.parametrize("width", [160, 240, 320])
def test_a_narrow_plane_says_which_slice_it_shows(labels, width):
    canvas, sheet = labels
    canvas.resize(width, 300)
    sheet.place(canvas)
    sheet.letters = ("A", "P", "R", "L")
    sheet.tell(pointed="0.82")
    without = sheet.grab().toImage()
    sheet.tell(point=(1.0, -16.0, 106.0))
    assert sheet.slice == "S 106.0 mm"
    picture = sheet.grab().toImage()
    changed = [
        (x, y)
        for x in range(width)
        for y in range(300)
        if picture.pixelColor(x, y) != without.pixelColor(x, y)
    ]
    assert len(changed) > 100, "the slice position is written"
    assert all(
        without.pixelColor(x, y) == without.pixelColor(width - 2, 299) for x, y in changed
    ), "and nothing else stands there"


@pytest.mark.parametrize(("width", "there"), [(300, True), (160, False)])
def test_the_letter_at_the_foot_stays_where_it_does_not_touch_the_caption(labels, width, there):
    canvas, sheet = labels
    canvas.resize(width, 300)
    sheet.place(canvas)
    sheet.tell(provenance=Provenance("generated"))
    sheet.letters = ("", "", "", "")
    without = sheet.grab().toImage()
    sheet.letters = ("", "P", "", "")
    assert (sheet.grab().toImage() != without) == there


@pytest.mark.parametrize("height", [300, 80])
def test_the_letter_at_the_left_stands_above_a_caption_that_reaches_so_high(labels, height):
    canvas, sheet = labels
    canvas.resize(220, height)
    sheet.place(canvas)
    sheet.tell(provenance=LONG)
    lines = sheet.written.count("\n") + 1
    top = height - lines * QFontMetrics(_caption_font()).lineSpacing()
    middle = sheet._beside_caption(QRectF(0, 0, 220, height)).center().y()
    assert middle + scaled(LETTER_PX) / 2 <= top
    assert (middle == height / 2) == (height == 300)


@pytest.mark.parametrize("width", [160, 190, 220])
def test_the_title_and_the_letter_at_the_top_do_not_touch(labels, width):
    canvas, sheet = labels
    canvas.resize(width, 300)
    sheet.place(canvas)
    sheet.tell(scale_bar=False)
    sheet.title = "Sagittal"
    sheet.letters = ("S", "I", "A", "P")
    picture = sheet.grab().toImage()
    bright = [
        any(picture.pixelColor(x, y).lightness() > 150 for y in range(40)) for x in range(width)
    ]
    title = max(x for x in range(width // 2 - 9) if bright[x])
    letter = next(x for x in range(title + 1, width) if bright[x])
    assert letter - title >= 8


def test_half_a_clause_is_not_written(qapp):
    metrics = QFontMetrics(_caption_font())
    text = "+13.8 years per sd, head size held fixed"
    whole = metrics.horizontalAdvance(text)
    assert elided(text, metrics, whole) == text
    assert elided(text, metrics, whole - 5) == "+13.8 years per sd, …"
    assert "…" in elided(text, metrics, 40)
    assert metrics.horizontalAdvance(elided(text, metrics, 40)) <= 40


@pytest.mark.parametrize(
    ("text", "length", "shown"),
    [
        (EDITS, 44, "mixed with seed 1, …, Head size -1 sd"),
        (EDITS, 28, "mixed with seed 1, …"),
        (EDITS, 14, "mixed with …"),
        ("Ventricle volume +2 sd", 18, "Ventricle … +2 sd"),
        ("Seed 8, Ventricle volume +2 sd", 26, "Seed 8, Ventricle … +2 sd"),
        ("sub-0123456789_T1w", 10, "sub-0…_T1w"),
        ("Scan: sub-0123456789_T1w", 18, "Scan: sub-01…9_T1w"),
    ],
)
def test_captions_leave_out_clauses_then_words_and_letters_of_names_alone(text, length, shown):
    assert shortened(text, length) == shown


def test_a_list_that_is_too_narrow_leaves_out_whole_words(qapp):
    box = QComboBox()
    words = InWords(box)
    box.addItems(["Ventricle volume"])
    box.resize(box.fontMetrics().horizontalAdvance("Ventricle volu") + 30, 26)
    assert words.shown() == "Ventricle …"
    box.resize(600, 26)
    assert words.shown() == "Ventricle volume"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_number_box_has_room_for_its_longest_text(qapp, theme):
    box = DecimalBox()
    box.setStyleSheet(get_stylesheet(theme) + style(LIGHT if theme == "light" else DARK))
    box.setDecimals(0)
    box.setRange(900, 2000)
    box.setSuffix(" ml")
    box.setValue(2000)
    box.resize(box.minimumSizeHint())
    box.ensurePolished()
    box.grab()
    field = box.lineEdit()
    text = field.fontMetrics().horizontalAdvance("2000 ml")
    assert field.width() >= text + 2 * FIELD_PX


def test_a_long_warning_is_broken_and_never_cut(labels):
    canvas, sheet = labels
    canvas.resize(140, 300)
    sheet.place(canvas)
    over = Over("flair", "sub-01", confirmed=False)
    sheet.tell(provenance=Provenance("edited", "sub-01", EDITS, over))
    metrics = QFontMetrics(_caption_font())
    lines = sheet.written.split("\n")
    assert all(metrics.horizontalAdvance(line) <= 120 for line in lines)
    for warning in (EDITED_SCAN, UNCONFIRMED, UNEDITED):
        assert warning in " ".join(lines)


def test_columns_say_their_whole_warning(qapp):
    row = Panes(ViewerModel(), LookModel())
    told = {KEY: Provenance("generated")}
    picture = Image(np.ones((4, 4, 4), np.float32), metadata=told)
    row.resize(480, 300)
    row.show_panes([Pane(picture, EDITS)] * 4)
    metrics = QFontMetrics(row._font)
    for name, edits, *warning in row.captions():
        assert EDITS.startswith(name[3:]), "whose it is"
        assert "…" in edits
        assert " ".join(warning) == SYNTHETIC
        assert all(metrics.horizontalAdvance(line) <= 120 for line in (name, edits, *warning))
    below = max(on.bottom() for _, _, on in row.cells())
    assert below <= 300 - 4 * metrics.height(), "the slices end above it"
    row.links.close()
