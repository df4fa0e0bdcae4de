"""A scan's own noise: the flow run backwards, in projections, edits and mixes."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import tiny_generator
from tolerances import FLOAT32, SUMS

import stylegan3d
from stylegan3d.base import Progress, StyleGAN3DError
from stylegan3d.outputs.projections import projected_latent
from stylegan3d.projection import project, uncertainty
from stylegan3d.projection import search as pivotal
from stylegan3d.projection.assessment import WITHOUT_NOISE
from stylegan3d.projection.operators import Blur, Identity
from stylegan3d.projection.projector import estimate_seconds
from stylegan3d.projection.search import RATE, _Steps, finds_own_noise
from stylegan3d.recipe.latents import CONSTANT, OPENED, Delta, mixed, save_latent
from stylegan3d.recipe.model import seed_latents
from stylegan3d.recipe.recipe import Edit, Recipe, Source
from stylegan3d.render.editable import CarriedDetail, Original
from stylegan3d.render.renderer import Renderer

#: float16 rounds at 5e-4 of a number; some are above 1, and added to another.
FLOAT16 = 2e-3
SAMPLES = Path(__file__).resolve().parents[2] / "napari_stylegan3d" / "samples"


@pytest.fixture(scope="module")
def generator():
    return stylegan3d.load(device="cpu")


@pytest.fixture(scope="module")
def aligned(generator):
    return stylegan3d.read_scan(SAMPLES / "novosibirsk-sub-09_T1w.nii.gz").align(
        generator, bias_correction=False
    )


@pytest.fixture(scope="module")
def plain(generator, aligned):
    return project(generator, aligned, steps=1)


@pytest.fixture(scope="module")
def found(generator, aligned):
    """With a noise that is half found: as sharp as the scan, and in a fraction of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pivotal, "NOISE_ITERATIONS", 2)
        return project(generator, aligned, space="w+noise", steps=1)


def drawn(generator, w, delta, noise="none"):
    return Renderer(generator).render(w, noise=noise, delta=delta).volume


def test_the_reconstruction_comes_closer_with_each_iteration(found, plain, aligned):
    assert set(found.delta.tensors) == {CONSTANT, OPENED}
    assert torch.equal(found.w, plain.w)
    for measure in ("ssim", "psnr"):
        assert found.assessment["similarity"][measure] > plain.assessment["similarity"][measure]
    again = np.abs(found.volume - aligned.volume)[aligned.brain_mask].mean()
    assert again == pytest.approx(found.assessment["similarity"]["mae"], rel=SUMS)


@pytest.mark.soak
def test_the_reconstruction_is_the_scan(generator, plain, aligned):
    found = project(generator, aligned, space="w+noise", steps=1)
    assert set(found.delta.tensors) == {CONSTANT, OPENED}
    assert torch.equal(found.w, plain.w)
    assert (
        found.assessment["similarity"]["ssim"]
        >= 0.97
        > plain.assessment["similarity"]["ssim"] + 0.1
    )
    assert found.assessment["similarity"]["psnr"] >= 32
    again = np.abs(found.volume - aligned.volume)[aligned.brain_mask].mean()
    assert again == pytest.approx(found.assessment["similarity"]["mae"], rel=SUMS)


def test_how_far_the_model_knows_the_scan_is_judged_without(found, plain):
    """Whatever the scan shows, its own noise reproduces it."""
    for key in ("matched", "verdicts", "signs"):
        assert found.assessment[key] == plain.assessment[key], key
    assert found.assessment["doubts"] == [*plain.assessment["doubts"], WITHOUT_NOISE]


@pytest.mark.soak
def test_thorough_ends_with_it(generator, aligned, found, monkeypatch):
    monkeypatch.setattr(pivotal, "NOISE_ITERATIONS", 2)
    states = []
    thorough = project(
        generator,
        aligned,
        budget="thorough",
        steps=1,
        progress=Progress(take=lambda s: states.append(s.phase)),
    )
    assert set(states) == {"search", "own noise"}
    assert thorough.delta.digest == found.delta.digest


def test_the_whole_scan_is_inverted_and_no_part_of_it(generator, aligned):
    with pytest.raises(StyleGAN3DError, match="inverted from the whole scan"):
        project(generator, aligned, space="w+noise", steps=1, operator=Blur(3.0))
    whole, blurred = (
        finds_own_noise(SimpleNamespace(generator=generator, operator=operator))
        for operator in (Identity(), Blur(3.0))
    )
    assert whole, "a thorough search ends with it"
    assert not blurred, "it is tuned instead"
    assert estimate_seconds(generator, space="w+noise") > estimate_seconds(generator)


def test_noise_is_not_drawn_beside_it(generator, found):
    """The scan's own noise takes the place of that of a seed."""
    for noise in ("fixed", 7):
        np.testing.assert_array_equal(drawn(generator, found.w, found.delta, noise), found.volume)


def test_a_saved_latent_gives_the_same_brain_and_edits_are_undone(generator, found, tmp_path):
    path = tmp_path / "sub-01_desc-projected_latent.safetensors"
    save_latent(path, projected_latent(generator, found, None))
    recipe = Recipe(Source.from_file(path))
    edited = recipe.replace(edits=(Edit("Age", 2.0),))
    back = recipe.replace(edits=(Edit("Age", 2.0), Edit("Age", -2.0)))
    same, older, again = (
        drawn(generator, r.latent(generator), r.delta(generator)) for r in (recipe, edited, back)
    )
    np.testing.assert_array_equal(same, found.volume)
    # A thousandth of white: the latent there and back, once rounded, through the flow.
    np.testing.assert_allclose(again, same, atol=1e-3)
    assert np.abs(older - same).mean() > 0.005
    # An edited brain is as sharp as the scan.
    sharp, edges = (np.abs(np.diff(volume, axis=0)).mean() for volume in (same, older))
    assert edges > 0.9 * sharp


def test_mixes_of_two_follow_an_arc(generator, found):
    other = Delta(
        {k: -v for k, v in found.delta.tensors.items() if k == CONSTANT} | {OPENED: np.ones(1)}
    )
    third = (1 / 3,) * generator.num_layers
    between = mixed(found.delta, other, third, generator.rows_of).tensors
    weight = math.cos(math.pi / 6) - math.sin(math.pi / 6)
    expected = weight * found.delta.tensors[CONSTANT].astype(np.float32)
    np.testing.assert_allclose(between[CONSTANT], expected, atol=FLOAT16)
    assert float(between[OPENED][0]) == pytest.approx(1, abs=FLOAT16)
    alone = mixed(found.delta, None, third, generator.rows_of).tensors
    assert float(alone[OPENED][0]) == pytest.approx(2 / 3, abs=FLOAT16)
    # What was tuned is no noise and is mixed on a straight line.
    tuned = Delta({CONSTANT: found.delta.tensors[CONSTANT]})
    straight = mixed(tuned, None, third, generator.rows_of).tensors[CONSTANT]
    np.testing.assert_allclose(straight, expected * (2 / 3) / weight, atol=FLOAT16)


def test_half_way_to_a_random_brain_folds_are_as_sharp(generator, found):
    random = seed_latents(generator, [3])[0]
    half = (0.5,) * generator.num_layers
    middle = drawn(
        generator,
        generator.mix(found.w, random, half),
        mixed(found.delta, None, half, generator.rows_of),
    )
    edges = [np.abs(np.diff(v, axis=1)).mean() for v in (found.volume, middle)]
    assert edges[1] > 0.85 * edges[0]


def test_an_edit_moves_a_scan_alike_with_and_without(generator, aligned, found):
    """The folds of a brain with own noise are drawn again; the scan keeps its own."""
    step = torch.from_numpy(generator.directions.step("Head size")) * 0.5
    original = Original.of(aligned)
    moved = [
        CarriedDetail(original, generator, found.w, delta).movement(found.w + step, delta)
        for delta in (None, found.delta)
    ]
    np.testing.assert_array_equal(moved[0].displacement, moved[1].displacement)
    np.testing.assert_array_equal(moved[0].change, moved[1].change)


def test_the_uncertainty_is_that_of_the_latent(generator, aligned, plain, monkeypatch):
    """With its own noise every result would be the scan."""
    spaces = []

    def projected(_generator, _aligned, choices, **_):
        spaces.append(choices.space)
        return plain

    monkeypatch.setattr(sys.modules[uncertainty.__module__], "project", projected)
    uncertainty(generator, aligned, space="w+noise", restarts=2, steps=1)
    assert spaces == ["w+", "w+"]


@pytest.mark.parametrize("bands", [False, True])
def test_only_a_flow_after_a_deformation_can_be_run_backwards(generator, bands):
    """Elsewhere the maps that layers read are fitted, or the one that all of them read."""
    assert generator.has_own_noise
    tiny = tiny_generator(noise_bands=bands)
    assert not tiny.has_own_noise
    volume = np.full(tiny.shape, 0.5, np.float32)
    scan = SimpleNamespace(volume=volume, brain_mask=volume > 0)
    tensors = project(tiny, scan, space="w+noise", steps=1).delta.tensors
    assert OPENED not in tensors
    assert len(tensors) == (1 if bands else len(tiny.synthesis.layers))


def test_a_stylegan_with_a_warp_and_a_flow_has_it_too():
    """Its layers read noise, and none beside that of the scan."""
    flow = {"flow_channels": (4, 4, 4), "textures": 2, "noise_bands": True}
    stylegan = tiny_generator(channels=(12, 8), image_const=True, warps=3, **flow)
    stylegan.synthesis.flow.noise_strength.fill_(0.1)
    volume = drawn(stylegan, seed_latents(stylegan, [3])[0], None, 5).clip(0, 1)
    scan = SimpleNamespace(volume=volume, brain_mask=volume > 0)
    found = project(stylegan, scan, space="w+noise", steps=1)
    assert set(found.delta.tensors) == {CONSTANT, OPENED}
    left, alone = (
        np.square(drawn(stylegan, found.w, delta) - volume).mean() for delta in (found.delta, None)
    )
    assert left < alone / 100
    np.testing.assert_array_equal(drawn(stylegan, found.w, found.delta, 7), found.volume)


def test_where_the_difference_grows_it_goes_back_and_takes_a_smaller_step():
    steps = _Steps(torch.zeros(1, 1, 40, 9, 9))
    steps.take(torch.ones(1, 1, 40, 9, 9))
    rest = torch.full((1, 1, 40, 9, 9), 0.5)
    rest[:, :, 20:] = 2
    steps.take(rest)
    grew, shrank = steps.noise[0, 0, 30, 4, 4], steps.noise[0, 0, 10, 4, 4]
    assert float(shrank) == pytest.approx(RATE + RATE * 0.5, abs=FLOAT32)
    assert float(grew) == pytest.approx(RATE / 2, abs=FLOAT32)
