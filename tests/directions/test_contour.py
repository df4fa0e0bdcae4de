"""Ageing is atrophy: the outer contour of a brain stays where it is."""

import numpy as np
import pytest
import torch

from stylegan3d.directions import attributes
from stylegan3d.directions.attributes import POINTS, border_of, contour_of, contour_rows
from stylegan3d.model.generator import load
from stylegan3d.model.random_latents import random_w
from stylegan3d.networks.deformation import exponential
from stylegan3d.render.movement import composed
from stylegan3d.render.renderer import Renderer

VOLUMES = ("Age", "Ventricle volume", "Grey matter", "White matter")


@pytest.fixture(scope="module", name="generator")
def bundled():
    return load(device="cpu")


def wide(generator, w):
    return torch.from_numpy(w).float().expand(generator.num_layers, -1)


def contour_mm(generator, w, step):
    """Outward movement of the picture's contour, mm, by the maps on the picture's own grid."""
    network = generator.synthesis
    both = torch.stack([wide(generator, w), wide(generator, w + step)])
    maps = network.points(exponential(network.velocity(both)), generator.shape)
    offsets = composed(*maps.split(1))[0].flip(0).detach().numpy()
    brain = Renderer(generator).render(wide(generator, w), noise="none").volume
    voxels, normals = border_of(contour_of(brain))
    half = np.array(generator.shape) * np.array(generator.voxel_size) / 2
    moved = offsets[(slice(None), *voxels.T)].T * half
    return -(moved * normals).sum(axis=1)


def test_border_of_a_ball_points_outward():
    middle = np.array([16, 20, 14])
    away = np.moveaxis(np.indices((32, 40, 30)), 0, -1) - middle
    voxels, normals = border_of(np.linalg.norm(away, axis=-1) < 10)
    outward = (voxels - middle) / np.linalg.norm(voxels - middle, axis=1, keepdims=True)
    assert (normals * outward).sum(axis=1).min() > 0.9


@pytest.mark.parametrize("name", ["brain-t1-2mm", "stylegan-t1-2mm"])
def test_rows_tell_how_an_edit_moves_the_contour(name):
    generator = load(name, device="cpu")
    w = random_w(generator, 1, seed=3)
    step = generator.directions.step("Head size") * 0.25
    told = contour_rows(generator, w) @ step
    assert told.shape == (POINTS,)
    exact = contour_mm(generator, w[0], step)
    exact = exact[np.random.RandomState(0).permutation(len(exact))[:POINTS]]
    assert told.mean() > 0.3  # a larger head: outward
    assert told.mean() == pytest.approx(exact.mean(), rel=0.15)
    assert np.corrcoef(told, exact)[0, 1] > 0.97


@pytest.mark.parametrize(
    "name", [VOLUMES[0], *(pytest.param(name, marks=pytest.mark.soak) for name in VOLUMES[1:])]
)
def test_the_bundled_directions_leave_the_contour(generator, name):
    (w,) = random_w(generator, 1, seed=5)
    assert np.abs(contour_mm(generator, w, 2 * generator.directions.step(name))).mean() < 0.5
    told = next(check for check in generator.directions.checks if check["name"] == name)
    assert "Outer contour" in told["held_fixed"]
    assert "outer contour held fixed" in generator.directions.descriptions[name]


def test_the_pattern_is_that_of_people_with_the_same_contour():
    """Against the covariance of a Gaussian given what is observed, written out."""
    random = np.random.RandomState(0)
    w = random.randn(300, 12) @ random.randn(12, 12)
    w -= w.mean(axis=0)
    beta, head, rows = random.randn(12), random.randn(12), random.randn(POINTS, 12)
    cov = np.cov(w.T)
    gain = cov @ rows.T @ np.linalg.inv(rows @ cov @ rows.T + np.eye(POINTS))
    given = cov - gain @ rows @ cov
    expected = given @ beta - given @ head * (head @ given @ beta) / (head @ given @ head)
    found = attributes._pattern(beta, [head], w, rows)
    # Float64; the order of the sums.
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert abs(head @ found) < 1e-6 * np.linalg.norm(found)


def test_names_are_found_in_any_letter_case(generator):
    directions = generator.directions
    assert directions.called("age") == directions.called("Age") == "Age"
    assert directions.called("pc 1") == "PC 1"
    assert directions.called("no such") == "no such"


def test_a_contour_cannot_be_held_without_a_deformation(tiny_generator):
    assert contour_rows(tiny_generator, random_w(tiny_generator, 1, seed=0)) is None
