"""Simulated lesions: what is drawn into healthy brains, and where it is marked."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from labelled_phantoms import tissues
from scipy import ndimage

from stylegan3d.geometry.space import Space
from stylegan3d.measures.lesions import lesion_clusters, outlined
from stylegan3d.training import lesions
from stylegan3d.training.lesions import VENTRICLE, WHITE, SimulatedLesions, with_lesions

MM = np.array([2.0, 2.0, 2.0])


@pytest.fixture(scope="module")
def labels():
    return tissues().repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)


@pytest.fixture(scope="module")
def healthy(labels):
    noise = 0.02 * np.random.default_rng(0).standard_normal(labels.shape)
    levels = np.array([0, 0.3, 0.6, 0.85, 0.2, 0.8])
    return np.where(labels > 0, levels[labels] + noise, 0).astype(np.float32)


def test_lesions_are_drawn_inside_and_marked_where_they_are_seen(healthy, labels):
    counts = []
    for seed in range(40):
        image, lesion = with_lesions(healthy, labels, MM, np.random.default_rng(seed))
        assert ((image > 0) == (healthy > 0)).all()
        assert not lesion[healthy == 0].any()
        counts.append(lesion.sum())
        if not lesion.any():
            continue
        away = ndimage.distance_transform_edt(~lesion, sampling=MM)
        change = np.abs(image - healthy)
        assert change[lesion].mean() > 0.05
        # What fades out is not marked; nothing far from a mark has changed.
        assert change[away > 12].max(initial=0) < 0.1
    empty = np.mean(np.array(counts) == 0)
    assert 0.25 < empty < 0.75, "some brains stay healthy"
    assert max(counts) * 0.008 > 10, "some have a large lesion"


def test_a_mass_is_marked_where_it_is_as_dark_as_what_it_replaces(healthy, labels, monkeypatch):
    for name, share in (("HEALTHY", 0), ("MANY", 0), ("SEAM", 0), ("LARGE", 1)):
        monkeypatch.setattr(lesions, name, share)
    alike = 0
    for seed in range(20):
        image, lesion = with_lesions(healthy, labels, MM, np.random.default_rng(seed))
        change = ndimage.uniform_filter(np.abs(image - healthy), 3)
        alike += np.count_nonzero(lesion & (change < lesions.LEAST_CHANGE))
    assert alike > 100


def test_they_depend_on_the_seed_alone(healthy, labels):
    one, two, other = (
        with_lesions(healthy, labels, MM, np.random.default_rng(seed))[0] for seed in (3, 3, 4)
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_brain_without_white_matter_or_ventricles_is_no_error(healthy, labels):
    rng = np.random.default_rng(1)
    for missing in (WHITE, VENTRICLE):
        known = np.where(labels == missing, 2, labels)
        for _ in range(6):
            image, _ = with_lesions(healthy, known, MM, rng)
            assert np.isfinite(image).all()


def test_a_bright_lesion_makes_the_rest_of_the_brain_darker(healthy, labels):
    pack = SimpleNamespace(space=SimpleNamespace(voxel_size=MM))
    brains = SimulatedLesions(pack, np.arange(1), labels[None], 1)
    object.__setattr__(brains, "volume", lambda index: healthy)
    for seed in range(12):
        image, found = brains.example(0, torch.Generator().manual_seed(seed))
        # A percentile of float32.
        assert np.percentile(image[found > 0], 99.5) == pytest.approx(1, abs=1e-3)
        assert image.max() == 1


def test_the_outline_of_a_lesion_is_learned(healthy, monkeypatch):
    """The network of this test marks the middle of a lesion, darker than all else, alone."""
    mask, space = healthy > 0, Space(healthy.shape, np.diag([2.0, 2.0, 2.0, 1.0]))
    places = np.argwhere(ndimage.binary_erosion(mask, iterations=6))

    def example(index, generator):
        draw = np.random.default_rng([index, int(torch.randint(99, (), generator=generator))])
        away = np.indices(mask.shape).T - places[draw.integers(len(places))]
        radius = draw.uniform(10, 14)
        lesion = (radius > np.linalg.norm(2 * away, axis=-1).T) & mask
        image = np.where(lesion, 0.05 + 0.01 * draw.standard_normal(mask.shape), healthy)
        return image.astype(np.float32), mask + lesion.astype(np.uint8)

    def probability(network, image, inside, grid):
        dark = (image < 0.12) & inside
        return np.where(inside, ndimage.gaussian_filter(dark.astype(np.float32), 2), 0)

    monkeypatch.setattr(lesions, "lesion_probability", probability)
    monkeypatch.setattr(lesions, "SAMPLED", 1000)
    brains = SimpleNamespace(
        pack=SimpleNamespace(space=space),
        training=6,
        example=lambda *args: tuple(map(torch.from_numpy, example(*args))),
    )
    layers = lesions.fit_outline(None, brains, 0.1)
    image, labels = example(50, torch.Generator().manual_seed(50))
    found, truth = probability(None, image, mask, space), labels == 2
    cluster = lesion_clusters(found, space)[0]
    assert len(cluster.index) < 0.7 * truth.sum()
    index = outlined(cluster, image, found, mask, space, layers)
    # Voxels: a border of one voxel around such a lesion is a third of it.
    assert np.isin(index, np.flatnonzero(truth)).mean() > 0.9
    assert len(index) > 0.9 * truth.sum()
    brains.training = 0
    assert lesions.fit_outline(None, brains, 0.1) == []
