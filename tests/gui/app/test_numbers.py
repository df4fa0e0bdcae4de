"""A network that makes no numbers: the window says so and keeps what it shows."""

import numpy as np
import pytest

from stylegan3d.recipe.recipe import Edit, Recipe, Truncation


@pytest.mark.parametrize(
    "recipe", [Recipe(truncation=Truncation(1e300)), Recipe(edits=(Edit("PC 1", 1e39),))]
)
def test_a_brain_that_is_not_finite_is_told_and_never_shown(window, notifications, recipe):
    before = window.volume.copy()
    window.session.change(recipe)
    window.wait(lambda: notifications)
    window.wait(lambda: not window.explorer.rendering.busy)
    assert all("non-finite" in told for told in notifications)
    assert window.explorer.message.text() == notifications[0]
    assert np.isfinite(window.volume).all()
    np.testing.assert_array_equal(window.volume, before)
    window.session.change(Recipe(truncation=Truncation(0.5)))
    window.settle()
    assert window.volume.max() > 0
    assert window.explorer.message.text() == ""
