"""Projection: it finds what the generator can make, says how far to believe it, and can be cut."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import tiny_generator
from tolerances import LAYERS, SUMS

from stylegan3d.base import Progress, StyleGAN3DError
from stylegan3d.projection import BUDGETS, project
from stylegan3d.projection.problem import LatentPrior, multiscale_mse
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render.renderer import Renderer


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.fixture(scope="module")
def known(generator):
    """A volume the generator can make exactly, and its w."""
    w = seed_latents(generator, [3], truncation=0.4)[0]
    volume = Renderer(generator).render(w).volume
    mask = np.ones(volume.shape, bool)
    return SimpleNamespace(volume=volume, brain_mask=mask, w=w)


def error(made, target):
    return float(np.mean((made - target.volume) ** 2))


@pytest.mark.parametrize("space", ["w", "w+"])
def test_projection_of_a_synthetic_volume_comes_close(generator, known, space):
    result = project(generator, known, space=space, steps=120)
    average = generator.w_avg.expand(generator.num_layers, -1)
    start = error(Renderer(generator).render(average).volume, known)
    assert error(result.volume, known) < 0.3 * start
    assert result.finished
    assert result.w.shape == (generator.num_layers, generator.w_dim)
    if space == "w":
        assert torch.equal(result.w, result.w[:1].expand_as(result.w))
    else:
        assert not torch.equal(result.w, result.w[:1].expand_as(result.w))


def test_what_is_returned_is_what_the_latent_renders(generator, known):
    result = project(generator, known, steps=3)
    assert np.array_equal(result.volume, Renderer(generator).render(result.w).volume)


def test_the_same_scan_gives_the_same_latent(generator, known):
    a, b = (project(generator, known, steps=5) for _ in range(2))
    assert torch.equal(a.w, b.w)


def test_history_goes_from_coarse_to_fine(generator, known):
    result = project(generator, known, steps=20)
    levels = [row["level"] for row in result.history]
    assert levels == sorted(levels)
    assert (levels[0], levels[-1]) == (-3, -1)
    assert [row["step"] for row in result.history] == list(range(1, 21))


def test_wirings_without_coarse_images_project_at_full_resolution():
    generator = tiny_generator(wiring="resnet", head="image")
    volume = Renderer(generator).render(seed_latents(generator, [1])[0]).volume
    result = project(generator, volume, steps=6)
    assert {row["level"] for row in result.history} == {-1}


def test_one_image_channel_is_matched():
    generator = tiny_generator(wiring="orig", head="image", image_channels=2)
    w = seed_latents(generator, [1])[0]
    first, second = (Renderer(generator).render(w, channel=c).volume for c in (0, 1))
    result = project(generator, second, steps=6, channel=1)
    made = Renderer(generator).render(result.w, channel=1).volume
    assert np.array_equal(result.volume, made)
    assert result.settings["channel"] == 1
    average = generator.w_avg.expand(generator.num_layers, -1)
    start = Renderer(generator).render(average, channel=1).volume
    away = np.square(made - second).mean()
    assert away < np.square(start - second).mean()
    assert away < np.square(made - first).mean()


def test_stopping_keeps_the_best_so_far(generator, known):
    seen = []
    progress = Progress(take=seen.append, cancelled=lambda: len(seen) >= 4)
    result = project(generator, known, steps=50, progress=progress)
    assert len(seen) == len(result.history) == 4
    assert not result.finished
    assert seen[-1].steps == 50
    average = generator.w_avg.expand(generator.num_layers, -1)
    assert error(result.volume, known) < error(Renderer(generator).render(average).volume, known)


def test_a_worse_result_than_the_start_is_not_returned(generator):
    """From the exact answer, optimisation can only lose; then the start is the result."""
    average = generator.w_avg.expand(generator.num_layers, -1)
    volume = Renderer(generator).render(average).volume
    result = project(generator, volume, steps=2)
    torch.testing.assert_close(result.w, average.clone(), atol=LAYERS, rtol=LAYERS)


def test_the_encoders_guess_is_the_start_where_it_is_better(known):
    generator = tiny_generator()
    generator.encoder = lambda volume: known.w[None]
    result = project(generator, known, steps=1)
    assert result.settings["start"] == "encoder"
    generator.encoder = lambda volume: known.w[None] * 50
    assert project(generator, known, steps=1).settings["start"] == "average"


def test_trust_tells_noise_from_a_brain(generator, known):
    good = project(generator, known, steps=60).assessment
    assert good["similarity"]["psnr"] > good["mean_brain"]["psnr"]
    noise = np.random.default_rng(0).random(generator.shape, dtype=np.float32)
    template = SimpleNamespace(volume=noise, brain_mask=np.ones(noise.shape, bool))
    generator_like_mean = tiny_generator()
    generator_like_mean.__dict__["template"] = noise  # nothing can beat a template that is the scan
    bad = project(generator_like_mean, template, steps=2).assessment
    assert "no-better-than-mean" in [doubt.kind for doubt in bad["doubts"]]


def test_work_counts_coarse_steps_for_less(generator, known):
    states = []
    project(generator, known, steps=4, progress=Progress(take=states.append))
    assert [s.step for s in states] == [1, 2, 3, 4]
    assert all(s.w.shape == (generator.num_layers, generator.w_dim) for s in states)
    work = [s.work for s in states]
    assert work == sorted(work)
    assert work[-1] == 1
    assert work[0] < 0.25


def test_wrong_input_is_refused_in_words(generator):
    with pytest.raises(StyleGAN3DError, match="align the scan"):
        project(generator, np.ones((2, 2, 2), np.float32))
    with pytest.raises(StyleGAN3DError, match="empty or not finite"):
        project(generator, np.zeros(generator.shape, np.float32))
    with pytest.raises(StyleGAN3DError, match="budget is 'lavish', but must be one of draft"):
        project(generator, np.ones(generator.shape, np.float32), budget="lavish")
    with pytest.raises(StyleGAN3DError, match="steps is 0, but must be at least 1"):
        project(generator, np.ones(generator.shape, np.float32), steps=0)
    assert sorted(BUDGETS, key=BUDGETS.get) == ["draft", "standard", "thorough"]


def test_prior_is_whitened_by_random_brains(generator):
    prior = LatentPrior.of(generator)
    w = seed_latents(generator, range(300))[:, 0]
    u = prior.whiten(w)
    # Eigenvectors in float32, of variances far apart.
    torch.testing.assert_close(prior.color(u), w, atol=1e-3, rtol=1e-3)
    assert abs(prior.distance(w) - 1) < 0.15
    assert prior.distance(prior.mean) == pytest.approx(0, abs=SUMS)
    assert prior.distance(prior.mean + 3 * (w - prior.mean)) == pytest.approx(
        3 * prior.distance(w), rel=LAYERS
    )


def test_multiscale_error_is_the_definition():
    a, b = torch.randn(1, 1, 8, 8, 8), torch.randn(1, 1, 8, 8, 8)
    difference = (a - b)[0, 0].numpy()
    expected = []
    for factor in (1, 2, 4):
        n = 8 // factor
        blocks = difference.reshape(n, factor, n, factor, n, factor).mean(axis=(1, 3, 5))
        expected.append((blocks**2).mean())
    assert multiscale_mse(a, b).item() == pytest.approx(np.mean(expected), rel=SUMS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"volume": 1}, "volume does nothing here"),
        ({"pose": "keep"}, "pose does nothing here"),
        ({"uncertainty": 3}, "call `uncertainty` for repetitions"),
        ({"steps": 1.5}, "steps is 1.5, but must be a whole number"),
        ({"steps": "many"}, "steps is 'many', but must be a whole number"),
        ({"budget": None}, "budget is None, but must be given"),
    ],
)
def test_an_option_that_would_do_nothing_or_is_none_is_a_sentence(generator, known, options, said):
    volume = known.volume
    with pytest.raises(StyleGAN3DError, match=said):
        project(generator, volume, **options)


def test_a_volume_on_another_scale_is_refused(generator, known):
    volume = known.volume
    for wrong in (2 * volume - 1, 300 * volume):
        with pytest.raises(StyleGAN3DError, match=r"give it in \[0, 1\]"):
            project(generator, wrong)
