"""What a projection leaves open."""

import numpy as np
import pytest
import torch
from tiny import tiny_generator
from tolerances import FLOAT32, SUMS

from stylegan3d.base import Progress, StyleGAN3DError
from stylegan3d.projection import project, uncertainty
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render.renderer import Renderer


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.fixture(scope="module")
def volume(generator):
    return Renderer(generator).render(seed_latents(generator, [3], 0.4)[0]).volume


def test_searches_from_other_places_differ_and_the_same_seed_does_not(generator, volume):
    found, again = (uncertainty(generator, volume, restarts=2, steps=3) for _ in range(2))
    assert found.deviation.shape == found.mean.shape == generator.shape
    assert found.latents.shape == (2, generator.num_layers, generator.w_dim)
    assert not torch.allclose(*found.latents)
    assert found.noise_draws == 2
    assert np.array_equal(found.deviation, again.deviation)
    other = uncertainty(generator, volume, restarts=2, steps=3, seed=7)
    assert not np.array_equal(found.deviation, other.deviation)


def test_deviation_is_that_of_what_the_latents_show(generator, volume):
    found = uncertainty(generator, volume, restarts=2, noise_draws=1, steps=2)
    renderer = Renderer(generator)
    shown = [renderer.render(w, noise=k).volume for k, w in enumerate(found.latents)]
    np.testing.assert_allclose(found.mean, np.mean(shown, axis=0), atol=FLOAT32)
    np.testing.assert_allclose(found.deviation, np.std(shown, axis=0, ddof=1), atol=SUMS)


def test_restarts_agree_more_after_a_longer_search(generator, volume):
    """What is only unfinished must not be called uncertain for ever."""
    short, long = (
        uncertainty(generator, volume, restarts=2, noise_draws=1, steps=n, away=1.0)
        for n in (1, 16)
    )
    assert long.deviation.mean() < 0.9 * short.deviation.mean()


def test_without_noise_one_draw_is_enough(volume):
    plain = tiny_generator()
    for level in plain.synthesis.typed_levels:
        for layer in level.layers:
            torch.nn.init.zeros_(layer.noise_strength)
    assert uncertainty(plain, volume, restarts=2, steps=1).noise_draws == 1


def test_it_can_be_followed_and_stopped(generator, volume):
    seen = []
    uncertainty(
        generator,
        volume,
        restarts=2,
        steps=3,
        progress=Progress(lambda done, total, *_: seen.append((done, total))),
    )
    assert seen == sorted(seen)
    assert seen[-1] == (2, 2)
    calls = iter(range(10_000))
    progress = Progress(cancelled=lambda: next(calls) > 12)
    found = uncertainty(generator, volume, restarts=9, steps=3, progress=progress)
    assert 2 <= len(found.latents) < 9


def test_a_search_begins_where_it_is_told_to(generator, volume):
    w = seed_latents(generator, [3], 0.4)[0]
    known = project(generator, volume, steps=1, start=w)
    assert known.settings["start"] == "given"
    assert np.abs(known.volume - volume).max() < 0.05
    assert project(generator, volume, space="w", steps=1, start=w).w.shape == w.shape


@pytest.mark.parametrize("wrong", [{"restarts": 1}, {"away": 2.0}, {"noise_draws": 0}])
def test_what_makes_no_sense_is_refused(generator, volume, wrong):
    with pytest.raises(StyleGAN3DError, match="at least 2 restarts"):
        uncertainty(generator, volume, **wrong)
