"""A form shows what describes the options, and gives the settings back."""

from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSpinBox

from napari_stylegan3d.widgets.controls import SliderRow
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.projection.settings import Choices
from stylegan3d.settings.option import ComparisonSettings, FilmSettings, Sliding, options_of


def test_a_form_shows_the_defaults_and_gives_back_what_is_chosen(qapp):
    form = Form(FilmSettings, "test.", {"how": "way"})
    assert form.value == FilmSettings()
    changes: list[object] = []
    form.changed.connect(lambda *_: changes.append(form.value))
    seconds, fps, how = form.native("seconds"), form.native("fps"), form.native("how")
    assert isinstance(seconds, QDoubleSpinBox)
    assert isinstance(fps, QSpinBox)
    assert isinstance(how, QComboBox)
    assert isinstance(form.native("loop"), QCheckBox)
    assert how.objectName() == "test.way"
    assert (seconds.minimum(), seconds.maximum(), seconds.suffix()) == (0.1, 60, " s")
    seconds.setValue(3.5)
    fps.setValue(30)
    how.setCurrentIndex(how.findData("spherical"))
    form.native("loop").setChecked(True)
    assert form.value == FilmSettings(seconds=3.5, fps=30, how="spherical", loop=True)
    assert len(changes) == 4


def test_every_field_says_what_it_does(qapp):
    form = Form(FilmSettings, "test.")
    for described in options_of(FilmSettings):
        tip = " ".join(form.native(described.name).toolTip().split())
        assert tip.startswith(described.option.help)
        assert described.option.range in tip


def test_sliders_come_from_the_type_of_the_option(qapp):
    form = Form(ComparisonSettings, "test.")
    changes: list[object] = []
    form.changed.connect(lambda *_: changes.append(form.value))
    row = form.native("rate")
    assert isinstance(row, SliderRow)
    assert row.objectName() == "test.rate"
    assert (row.spin.minimum(), row.spin.maximum(), row.spin.suffix()) == (0.5, 4, " Hz")
    assert "0.5 to 4 Hz" in row.toolTip()
    row.change_to(2.5)
    assert form.value == ComparisonSettings(rate=2.5)
    assert len(changes) == 1
    row.reset.click()
    assert form.value == ComparisonSettings()


def test_functions_with_a_sliding_number_get_the_slider_row(qapp):
    from magicgui import magicgui

    def work(share: Sliding = Sliding(0.25)) -> float:
        return 2 * share

    made = magicgui(work, call_button=True)
    assert isinstance(made.share.native, SliderRow)
    made.share.value = 0.75
    assert made() == 1.5


def test_a_form_can_have_some_of_the_fields(qapp):
    form = Form(Choices, "test.", only=("budget",))
    form.native("budget").setCurrentIndex(0)
    assert [*form.fields] == ["budget"]
    assert form.value == Choices(budget="draft")
