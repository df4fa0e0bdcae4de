"""Beyond the latent: noise maps, pivotal tuning, the original's projector, budgets, pauses."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import tiny_generator
from typer.testing import CliRunner

from stylegan3d.base import Progress, StyleGAN3DError
from stylegan3d.cli import app
from stylegan3d.outputs.projections import projected_latent
from stylegan3d.projection import estimate_seconds, project
from stylegan3d.projection.forward import Mask
from stylegan3d.projection.search import original_rate as rate
from stylegan3d.recipe.latents import save_latent
from stylegan3d.recipe.model import seed_latents
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.render.renderer import Renderer


def with_anatomy():
    """A generator with a constant image, basis images and a deformation, all of random numbers."""
    generator = tiny_generator(
        image_const=True,
        image_basis=4,
        deformation=4,
        toe=True,
    )
    random = torch.Generator().manual_seed(0)
    network = generator.synthesis
    network.image_toe.ends.copy_(torch.tensor([0.3, 0.5]))
    with torch.no_grad():
        for weight, size in (
            (network.image_const, 0.1),
            (network.image_basis.weight, 0.1),
            (network.velocity_basis.weight, 0.02),
        ):
            weight.copy_(torch.randn(weight.shape, generator=random) * size)
    return generator


@pytest.fixture(scope="module")
def generator():
    return with_anatomy()


@pytest.fixture(scope="module")
def styled():
    """A StyleGAN, whose layers have noise."""
    return tiny_generator()


@pytest.fixture
def guessing():
    """A generator with an encoder that guesses well."""

    class Guess(torch.nn.Module):
        def forward(self, volume):
            return w

    generator = with_anatomy()
    w = seed_latents(generator, [3])
    generator.encoder = Guess()
    return generator


def scan_of(generator, seed=3):
    """A brain of the generator with a lump that it does not know."""
    volume = Renderer(generator).render(seed_latents(generator, [seed])[0]).volume
    volume = volume.clip(0, 1)
    volume[8:12, 12:16, 9:13] = 0.9
    return SimpleNamespace(volume=volume, brain_mask=np.ones(volume.shape, bool))


def error(volume, scan):
    return float(np.square(volume - scan.volume).mean())


def latent_only(generator, result):
    return Renderer(generator).render(result.w).volume


def test_tuning_shows_the_very_scan(generator):
    scan = scan_of(generator)
    states = []
    result = project(
        generator, scan, budget="thorough", steps=20, progress=Progress(take=states.append)
    )
    assert list(result.delta.tensors) == ["image_const"]
    assert result.settings["changed"] == ["image_const"]
    without = latent_only(generator, result)
    assert error(result.volume, scan) < 0.25 * error(without, scan)
    assert np.array_equal(
        result.volume, Renderer(generator).render(result.w, delta=result.delta).volume
    )
    assert {s.phase for s in states} == {"search", "tuning"}
    assert states[-1].work == 1
    assert states[-1].step == states[-1].steps == len(result.history)
    assert result.noise_maps is None


def test_what_an_operator_hides_is_not_tuned(generator):
    """Inside a mask the model speaks: the hidden lump must not be copied."""
    scan = scan_of(generator)
    hidden = np.zeros(scan.volume.shape, bool)
    hidden[7:13, 11:17, 8:14] = True
    result = project(generator, scan, budget="thorough", steps=5, operator=Mask(hidden))
    without = latent_only(generator, result)
    changed = np.square(result.volume - without)
    lump = np.s_[9:11, 13:15, 10:12]
    assert changed[lump].mean() < 0.05 * np.square(scan.volume - without)[lump].mean()
    assert changed[~hidden].mean() > 0.25 * np.square(scan.volume - without)[~hidden].mean()


def test_what_is_tuned_is_the_image_that_is_shown(generator):
    """The tuning puts the image together itself, for the slope of the tone curve."""
    states = []
    project(
        generator,
        scan_of(generator),
        budget="thorough",
        steps=2,
        progress=Progress(take=states.append),
    )
    problem_image = states[-1].volume
    result = project(generator, scan_of(generator), budget="thorough", steps=2)
    # The tuning is stored in float16.
    np.testing.assert_allclose(problem_image, result.volume, atol=2e-3)


def test_edits_of_a_tuned_generator_are_those_of_the_model(generator):
    """What was tuned lies in the common anatomy: a step of w changes images alike, moved along."""
    result = project(generator, scan_of(generator), budget="thorough", steps=20)
    step = 0.5 * (seed_latents(generator, [8])[0] - generator.w_avg)
    change = {}
    for name, delta in (("before", None), ("after", result.delta)):
        shown = generator if delta is None else generator.tuned(delta)
        both = shown.synthesize(torch.stack([result.w, result.w + step]))
        change[name] = (both[1] - both[0]).flatten()
    alike = torch.corrcoef(torch.stack([change["before"], change["after"]]))[0, 1]
    assert alike > 0.8


def test_a_generator_without_a_constant_is_tuned_in_its_last_level(tiny_generator):
    scan = scan_of(tiny_generator)
    result = project(tiny_generator, scan, budget="thorough", steps=5)
    assert all(name.startswith(("levels.1.", "to_rgb.1.")) for name in result.delta.tensors)
    assert error(result.volume, scan) < 0.7 * error(latent_only(tiny_generator, result), scan)


def test_noise_maps_follow_the_scan(styled):
    generator = styled
    scan = scan_of(generator)
    result = project(generator, scan, space="w+noise", steps=40)
    assert len(result.noise_maps) == len(generator.synthesis.noise_maps("fixed"))
    assert set(result.noise_maps) == set(result.delta.tensors)
    plain = project(generator, scan, space="w+", steps=40)
    assert error(result.volume, scan) < 0.95 * error(plain.volume, scan)
    stored = dict(generator.synthesis.named_buffers())
    for name, change in result.noise_maps.items():
        found = stored[name].numpy() + change
        assert abs(found.mean()) < 1e-3, "noise stays noise"
        assert abs(found.std() - 1) < 1e-2
    with pytest.raises(StyleGAN3DError, match="leave the noise fixed"):
        project(generator, scan, space="w+noise", noise="none")


def test_noise_without_effect_is_not_fitted():
    generator = tiny_generator()
    for level in generator.synthesis.typed_levels:
        for layer in level.layers:
            layer.noise_strength.zero_()
    with pytest.raises(StyleGAN3DError, match="choose the space w\\+"):
        project(generator, np.ones(generator.shape, np.float32), space="w+noise", steps=1)


def test_a_saved_thorough_projection_is_generated_again_bit_for_bit(tmp_path, styled, monkeypatch):
    generator = styled
    result = project(generator, scan_of(generator), space="w+noise", budget="thorough", steps=3)
    assert "to_rgb.1.conv.weight" in result.delta.tensors
    assert result.noise_maps
    path = tmp_path / "sub-01_desc-projected_latent.safetensors"
    save_latent(path, projected_latent(generator, result, None))
    recipe = Recipe(Source.from_file(path))
    monkeypatch.setattr("stylegan3d.cli.common.open_model", lambda *_: generator)
    done = CliRunner().invoke(
        app, ["generate", "--recipe", recipe.to_json(), "--out", str(tmp_path), "--json"]
    )
    assert done.exit_code == 0, done.output
    import nibabel as nib

    made = nib.load(json.loads(done.stdout)["volumes"][0]["path"]).get_fdata(dtype=np.float32)
    assert np.array_equal(made, result.volume)


def test_the_originals_projector_keeps_its_schedule(styled):
    generator = styled
    scan = scan_of(generator)
    seen = []
    result = project(
        generator, scan, method="original", steps=50, progress=Progress(take=seen.append)
    )
    assert torch.equal(result.w, result.w[:1].expand_as(result.w))
    assert result.noise_maps
    assert result.settings["method"] == "original"
    assert result.settings["start"] == "average"
    assert seen[-1].loss < seen[0].loss
    assert [rate(t) for t in (0, 0.025, 0.05, 0.75)] == pytest.approx([0, 0.5, 1, 1])
    assert rate(0.875) == pytest.approx(0.5)
    with pytest.raises(StyleGAN3DError, match="method is 'newest', but must be one of"):
        project(generator, scan, method="newest")


def test_stopping_while_tuning_keeps_what_was_tuned(generator):
    phases = []
    scan = scan_of(generator)
    result = project(
        generator,
        scan,
        budget="thorough",
        steps=5,
        progress=Progress(
            take=lambda state: phases.append(state.phase),
            cancelled=lambda: phases[-1] == "tuning",
        ),
    )
    assert phases.count("tuning") == 1
    assert not result.finished
    assert result.delta is not None


def test_stopping_goes_back_to_the_best_state(guessing, monkeypatch):
    """With steps far too large the last state is the worst."""
    monkeypatch.setattr("stylegan3d.projection.search.LEARNING_RATE", {"encoder": 40.0})
    found = []
    scan = scan_of(guessing)
    result = project(
        guessing,
        scan,
        steps=30,
        progress=Progress(
            take=lambda state: found.append(error(state.volume, scan)),
            cancelled=lambda: len(found) == 10,
        ),
    )
    assert found[-1] > 2 * min(found)
    assert error(result.volume, scan) < 1.1 * min(found)


def test_a_pause_is_waited_for_and_not_counted(generator):
    asked = iter([True] * 6 + [False] * 99)
    progress = Progress(paused=lambda: next(asked))
    result = project(generator, scan_of(generator), steps=2, progress=progress)
    assert result.finished
    assert len(result.history) == 2
    progress = Progress(paused=lambda: True, cancelled=lambda: True)
    stop = project(generator, scan_of(generator), steps=9, progress=progress)
    assert len(stop.history) == 1


def test_it_stops_when_it_no_longer_pays(guessing):
    """What remains is a lump that no latent makes, so the budget is not used up."""
    scan = scan_of(guessing)
    result = project(guessing, scan, budget="thorough")
    assert result.finished
    searched = [row for row in result.history if row["loss"] > result.history[-1]["loss"]]
    assert len(searched) < 110
    assert len(project(guessing, scan, steps=30).history) == 30


def test_estimates_follow_the_budget(generator):
    draft, standard, thorough = (
        estimate_seconds(generator, budget) for budget in ("draft", "standard", "thorough")
    )
    assert 0 < draft < standard < thorough
    assert estimate_seconds(generator, method="original") > thorough
    assert estimate_seconds(generator, space="w+noise") > 0
    with pytest.raises(StyleGAN3DError, match="budget is 'lavish', but must be"):
        estimate_seconds(generator, "lavish")
