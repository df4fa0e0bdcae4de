"""Calibration of a generator to its training people, without training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from stylegan3d.base import ModelError
from stylegan3d.geometry.space import unit
from stylegan3d.model.generator import load
from stylegan3d.networks.resampling import haar
from stylegan3d.recipe.model import seed_latents
from stylegan3d.training.export import (
    calibrate,
    find_toe,
    fine_contrast,
    set_contrast,
)


def ball(radius=8.0, blur=0.0):
    places = np.indices((24, 24, 24)) - 11.5
    volume = 0.8 * (np.sqrt((places**2).sum(axis=0)) < radius)
    return ndimage.gaussian_filter(volume, blur) if blur else volume


def test_the_toe_makes_soft_outlines_as_dark_beside_the_surface_as_real_ones():
    crisp, soft = [ball(r, 0.35) for r in (7, 8, 9)], [ball(r, 1.0) for r in (7, 8, 9)]
    low, high = find_toe(soft, crisp)
    assert 0 < low < high <= 0.25
    t = [np.clip((v - low) / (high - low), 0, 1) for v in soft]
    made = [v * s * s * (3 - 2 * s) for v, s in zip(soft, t, strict=True)]

    def beside(volumes):
        shells = [ndimage.binary_dilation(v > 0.25) & ~(v > 0.25) for v in volumes]
        return np.mean([v[s].mean() for v, s in zip(volumes, shells, strict=True)])

    gap = beside(soft) - beside(crisp)
    assert abs(beside(made) - beside(crisp)) < 0.5 * gap


def test_no_toe_where_none_is_needed():
    crisp = [ball(r) for r in (7, 8, 9)]
    assert find_toe(crisp, [ball(r, 1.0) for r in (7, 8, 9)]) == (-1.0, 0.0)


def test_fine_contrast_is_that_of_fine_structure_inside():
    rng = np.random.default_rng(0)
    smooth = ball(10)
    grain = np.where(smooth > 0, smooth + 0.05 * rng.standard_normal(smooth.shape), 0)
    twice = np.where(smooth > 0, smooth + 0.1 * rng.standard_normal(smooth.shape), 0)
    assert fine_contrast(smooth) < 0.6 * fine_contrast(grain)
    # Two random grains, and the ball's own border.
    assert fine_contrast(twice) == pytest.approx(2 * fine_contrast(grain), rel=0.2)
    assert fine_contrast(np.zeros((8, 8, 8))) == 0


@pytest.fixture(scope="module")
def plain(anatomy_models):
    """The linear start of a run, exported without calibration."""
    return load(anatomy_models / "plain", device="cpu")


def test_a_calibrated_generator_keeps_the_details_variance(pack, plain):
    synthesis = calibrate(plain, pack)
    texture = synthesis.detail_texture
    texture.contrast.zero_()
    w = seed_latents(plain, range(200))
    old = torch.cat([plain.synthesis._details(row[None]) for row in w])
    new = torch.cat([synthesis._details(row[None]) for row in w])
    inside = synthesis.detail_basis.inside
    ratio = new.var(dim=0).sum(dim=0)[inside].sum() / old.var(dim=0).sum(dim=0)[inside].sum()
    # Not to the digit: deviations are smoothed, and these phantoms' are zero in most places.
    assert 0.5 < float(ratio) < 1.3
    # Two greys: the fourth moment of the low band is smaller than a Gaussian's.
    low = new[:, 0][:, inside]
    z = (low - low.mean(dim=0)) / low.std(dim=0)
    assert z.pow(4).mean() < 2.7


def test_contrast_follows_people(pack, plain):
    synthesis = calibrate(plain, pack)
    set_contrast(synthesis, plain, pack)
    logs, told = [], []
    for row in pack.indices("train"):
        volume = unit(pack.volumes[row])
        logs.append(np.log(fine_contrast(volume)))
        w = plain.encoder(torch.from_numpy(volume)[None, None] * 2 - 1)[0].mean(dim=0)
        told.append(float((w - plain.w_avg) @ synthesis.detail_texture.contrast))
    assert np.ptp(logs) > 0
    assert np.corrcoef(logs, told)[0, 1] > 0.3


def test_a_model_is_calibrated_once_and_says_so(pack, anatomy_models, plain):
    made = load(anatomy_models / "calibrated", device="cpu")
    assert made.config.detail_slope > 0
    assert made.config.toe
    assert made.hash != plain.hash
    assert made.directions.model_hash == made.hash
    assert {"quality", "directions"} <= set(made.card)
    for name, value in plain.synthesis.state_dict().items():
        if not name.startswith("detail_"):
            assert torch.equal(value, made.synthesis.state_dict()[name]), name
    with pytest.raises(ModelError, match="calibrated already"):
        calibrate(made, pack)
    direct = calibrate(plain, pack)
    w = seed_latents(plain, [3])
    expected, found = direct(w, "none"), made.synthesize(w, "none")
    assert (expected - found).abs().mean() < 0.01
    assert haar(found).isfinite().all()


def test_what_has_no_details_is_not_calibrated(pack, plain):
    bare = load(plain.folder, device="cpu")
    bare.synthesis.config = replace(bare.config, detail_basis=0)
    with pytest.raises(ModelError, match="no detail images"):
        calibrate(bare, pack)
