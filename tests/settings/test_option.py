"""Options are described once, and checked by what describes them."""

from dataclasses import replace

import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.dataset.settings import PreparationSettings
from stylegan3d.evaluation.settings import GroupSettings
from stylegan3d.geometry.space import PLANES
from stylegan3d.settings.option import (
    DicomSettings,
    ExportSettings,
    FigureSettings,
    FilmSettings,
    PictureSettings,
    ReportSettings,
    check_options,
    options_of,
)
from stylegan3d.training.options import LabelSettings


def test_every_field_of_the_settings_is_described():
    for settings in (
        DicomSettings,
        ExportSettings,
        FigureSettings,
        FilmSettings,
        GroupSettings,
        LabelSettings,
        PictureSettings,
        PreparationSettings,
        ReportSettings,
    ):
        described = list(options_of(settings))
        assert [d.name for d in described] == list(settings.__dataclass_fields__)
        for option in (d.option for d in described):
            assert option.label
            assert option.help.endswith(".")
        check_options(settings())  # defaults are allowed


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"seconds": 61}, "seconds is 61, but must be 0.1 to 60 s."),
        ({"fps": 0}, "fps is 0, but must be 1 to 60 per s."),
        ({"seconds": float("nan")}, "seconds is nan, but must be 0.1 to 60 s."),
        ({"suffix": ".avi"}, "suffix is '.avi', but must be one of .mp4, .gif, .png, .webp."),
    ],
)
def test_what_an_option_does_not_allow_is_refused_in_a_sentence(change, sentence):
    with pytest.raises(StyleGAN3DError) as refused:
        check_options(replace(FilmSettings(), **change))
    assert str(refused.value) == sentence


def test_a_lightbox_knows_its_plane():
    assert PictureSettings().plane is None
    assert [PictureSettings(f"lightbox-{plane}").plane for plane in PLANES] == list(PLANES)
