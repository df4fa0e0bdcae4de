"""A difference over the picture: its colours, threshold and scale; no window is needed."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_stylegan3d.views.display import DisplayArray
from napari_stylegan3d.views.layers import (
    STEPS,
    ColorScale,
    DifferenceOverlay,
    color_table,
    usual_limit,
)
from stylegan3d.session.provenance import Provenance


def volume(value: float = 0.2) -> DisplayArray:
    data = np.zeros((8, 9, 10), np.float32)
    data[2, 3, 4] = value
    data[5, 5, 5] = -value / 2
    return DisplayArray(data, (2.0, 2.0, 2.0), (-8.0, -9.0, -10.0))


@pytest.fixture
def overlay(qapp):
    return DifferenceOverlay(ViewerModel())


def test_less_is_blue_more_is_orange_and_little_is_transparent():
    table = color_table(0.25)
    lowest, highest = table[0], table[-1]
    assert lowest[2] > lowest[0], "less is blue"
    assert highest[0] > highest[2], "more is orange"
    value = np.linspace(-1, 1, STEPS)
    np.testing.assert_array_equal(table[:, 3] > 0, np.abs(value) >= 0.25)
    np.testing.assert_allclose(table[:, 3], table[::-1, 3])


def test_it_is_shown_where_it_lies_and_taken_away(overlay):
    seen = []
    overlay.changed.connect(lambda: seen.append(overlay.legend))
    overlay.show(volume(), "Change", "of white", 0.4)
    assert overlay.viewer.layers[-1] is overlay.layer
    assert overlay.layer.contrast_limits == [-0.4, 0.4]
    np.testing.assert_allclose(overlay.layer.translate, (-8, -9, -10))
    overlay.hide()
    (spare,) = overlay.viewer.layers
    assert not spare.visible
    assert not np.any(spare.data)
    assert not any(isinstance(kept, Provenance) for kept in spare.metadata.values())
    assert seen == [ColorScale("Change", "of white", 0.4, pytest.approx(0.04)), None]


def test_the_next_volume_takes_the_place_of_the_one_before(overlay):
    overlay.show(volume(), "Change", "", 0.4)
    layer = overlay.layer
    overlay.show(volume(2.0), "Residual", "sd", 3.0)
    assert overlay.layer is layer, "a new layer would compile its shaders in four views"
    assert layer.contrast_limits == [-3.0, 3.0]
    assert layer.name == "Residual"


def test_a_threshold_that_was_chosen_stays(overlay):
    overlay.show(volume(), "Change", "", 0.4)
    overlay.set_threshold(0.2)
    assert overlay.legend.threshold == 0.2
    below, above = 0.5 + np.array([0.16, 0.24]) / 0.8
    alpha = np.asarray(overlay.layer.colormap.map(np.array([below, above])))[:, 3]
    assert alpha[0] == 0
    assert alpha[1] > 0.4
    overlay.show(volume(), "Change", "", 0.4)
    assert overlay.legend.threshold == 0.2


def test_a_threshold_is_of_one_unit_and_no_difference_is_never_painted(overlay):
    """A share of white, kept for a map in standard deviations, would paint all of the map."""
    overlay.show(volume(), "B − A", "fraction of white", 0.5)
    overlay.set_threshold(0.05)
    overlay.show(volume(), "Unusual", "", 10.0)
    assert overlay.legend.threshold == pytest.approx(1.0)
    overlay.set_threshold(0)
    assert np.asarray(overlay.layer.colormap.map(np.array([0.5])))[0, 3] == 0
    overlay.show(volume(), "B − A", "fraction of white", 0.5)
    assert overlay.legend.threshold == 0.05


def test_a_threshold_above_the_limit_hides_all_but_the_limit(overlay):
    overlay.show(volume(), "Change", "", 0.1)
    overlay.set_threshold(5.0)
    assert (np.asarray(overlay.layer.colormap.colors)[1:-1, 3] == 0).all()


def test_without_a_limit_nearly_all_differences_lie_within():
    data = np.zeros((10, 10, 10))
    data[:5] = np.linspace(-2, 2, 500).reshape(5, 10, 10)
    # A percentile lies below the largest value.
    assert usual_limit(data) == pytest.approx(2.0, abs=0.02)
    assert usual_limit(np.zeros((2, 2, 2))) == 1.0


def test_a_layer_that_someone_removed_is_made_anew(overlay):
    overlay.show(volume(), "Change", "", 0.4)
    overlay.viewer.layers.clear()
    assert overlay.legend is None
    overlay.show(volume(), "Change", "", 0.4)
    assert len(overlay.viewer.layers) == 1
    overlay.set_opacity(7)
    assert overlay.layer.opacity == 1.0
