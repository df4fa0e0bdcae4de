"""Copies of training brains are found, mirrored ones too; strangers are left alone."""

import numpy as np
import pytest
from tolerances import SUMS

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.evaluation.privacy import (
    TrainingBrains,
    compare_nearest,
    feature_distances,
    nearest_of,
)
from stylegan3d.metrics.features import describe

MM = (8.0, 8.0, 8.0)


@pytest.fixture(scope="module")
def mask(blobs: np.ndarray) -> np.ndarray:
    return blobs.mean(axis=0) > 12


def noisy(volume: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, 3, volume.shape)
    return np.where(volume > 0, np.clip(volume + noise, 1, 255), 0).astype(np.uint8)


def test_a_copy_and_a_mirrored_copy_are_caught(blobs: np.ndarray, mask: np.ndarray) -> None:
    training, validation, fresh = blobs[:6], blobs[6:9], blobs[9:]
    brains = TrainingBrains(training, mask)
    synthetic = [*fresh, noisy(training[2]), noisy(training[4])[::-1]]
    found = brains.nearest(synthetic)
    assert found.person[3:].tolist() == [2, 4]
    assert found.mirrored[3:].tolist() == [False, True]
    report = compare_nearest(found, brains.nearest(validation))
    alone = compare_nearest(brains.nearest(fresh), brains.nearest(validation))
    assert report["closer_than_closest"] == alone["closer_than_closest"] + 2
    assert {pair["brain"] for pair in report["nearest"][:2]} == {3, 4}
    assert report["relative"]["closer_than_closest"] >= 2
    assert report["relative"]["synthetic"][0] < 0.3 < report["relative"]["validation"][0]
    assert alone["synthetic"][0] > 3 * report["synthetic"][0]


def test_a_copy_is_caught_by_its_features(blobs: np.ndarray, coarse_features: None) -> None:
    training = describe(blobs[:4], MM)
    mirrored = describe(blobs[:4, ::-1], MM)
    synthetic = describe([blobs[5], noisy(blobs[1])], MM)
    found = feature_distances(synthetic, training, mirrored)
    assert found.person[1] == 1
    validation = feature_distances(describe(blobs[6:8], MM), training, mirrored)
    assert compare_nearest(found, validation)["closer_than_closest"] == 1


def test_blocks_change_nothing(blobs: np.ndarray, mask: np.ndarray) -> None:
    many = np.concatenate([blobs] * 3)  # more queries and references than fit into one block
    brains = TrainingBrains(many, mask)
    found = brains.nearest(iter(many))
    rows = np.stack([v[mask] for v in many] + [v[::-1][mask] for v in many]).astype(float)
    expected = nearest_of(1 - np.corrcoef(rows)[: len(many)])
    assert np.allclose(found.distance, expected.distance, atol=SUMS)
    assert found.distance.max() < 1e-5


def test_second_nearest_is_another_person() -> None:
    # Straight 0.5 and mirrored 0.1 of person 0, then 0.7 of person 1: the second is 0.7.
    found = nearest_of(np.array([[0.5, 0.7, 0.1, 0.9]]))
    assert (found.distance[0], found.second[0], found.person[0]) == (0.1, 0.7, 0)
    assert found.mirrored[0]


def test_second_nearest_is_no_other_scan_of_the_same_person() -> None:
    found = nearest_of(np.array([[0.5, 0.3, 0.2, 0.9, 0.8, 0.7]]), ["b", "a", "a"])
    assert (found.distance[0], found.second[0], found.person[0]) == (0.2, 0.5, 2)
    alone = nearest_of(np.array([[0.5, 0.3, 0.2, 0.9, 0.8, 0.7]]))
    assert alone.second[0] == 0.3


def test_scans_of_one_person_alone_are_no_reference(blobs: np.ndarray, mask: np.ndarray) -> None:
    with pytest.raises(StyleGAN3DError, match="two training subjects"):
        TrainingBrains(blobs[:3], mask, person=["a"] * 3)


def test_chance_is_told(blobs: np.ndarray, mask: np.ndarray) -> None:
    brains = TrainingBrains(blobs[:6], mask)
    report = compare_nearest(brains.nearest(blobs[6:]), brains.nearest(blobs[6:8]))
    assert report["expected_by_chance"] == 2


def test_without_validation_people_there_is_no_verdict(blobs: np.ndarray, mask: np.ndarray) -> None:
    brains = TrainingBrains(blobs[:6], mask)
    with pytest.raises(StyleGAN3DError, match="--validation above 0"):
        compare_nearest(brains.nearest(blobs[6:]), brains.nearest([]))
