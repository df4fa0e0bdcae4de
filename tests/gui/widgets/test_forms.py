"""A form shows what describes the options, and gives the settings back."""

from qtpy.QtTest import QSignalSpy
from qtpy.QtWidgets import QCheckBox, QComboBox, QDoubleSpinBox, QSpinBox

from napari_stylegan3d.widgets.forms import Form
from stylegan3d.settings.film import FilmSettings
from stylegan3d.settings.option import options_of


def test_a_form_shows_the_defaults_and_gives_back_what_is_chosen(qapp):
    form = Form(FilmSettings, "test.", {"how": "way"})
    assert form.value == FilmSettings()
    spy = QSignalSpy(form.changed)
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
    assert len(spy) == 4


def test_every_field_says_what_it_does(qapp):
    form = Form(FilmSettings, "test.")
    for described in options_of(FilmSettings):
        tip = form.native(described.name).toolTip()
        assert tip.startswith(described.option.help)
        assert described.option.range in tip
