"""Copies of training brains are found, mirrored ones too; strangers are left alone."""

import numpy as np
import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.evaluation.privacy import (
    Nearest,
    compare_nearest,
    feature_distances,
    nearest_of,
)
from stylegan3d.metrics.features import describe

MM = (8.0, 8.0, 8.0)


def noisy(volume: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(3).normal(0, 3, volume.shape)
    return np.where(volume > 0, np.clip(volume + noise, 1, 255), 0).astype(np.uint8)


def test_a_copy_and_a_mirrored_copy_are_caught(blobs: np.ndarray, coarse_features: None) -> None:
    training, validation, fresh = blobs[:6], blobs[6:9], blobs[9:]

    def nearest(brains: list[np.ndarray]) -> Nearest:
        rows = describe(training, MM), describe(training[:, ::-1], MM)
        return feature_distances(describe(brains, MM), *rows)

    found = nearest([*fresh, noisy(training[2]), noisy(training[4])[::-1]])
    assert found.person[3:].tolist() == [2, 4]
    assert found.mirrored[3:].tolist() == [False, True]
    people = nearest([*validation])
    report, alone = compare_nearest(found, people), compare_nearest(nearest([*fresh]), people)
    assert report["closer_than_closest"] == alone["closer_than_closest"] + 2
    assert {pair["brain"] for pair in report["nearest"][:2]} == {3, 4}
    assert report["relative"]["closer_than_closest"] >= 2
    assert report["relative"]["synthetic"][0] < 0.5 < report["relative"]["validation"][0]
    assert alone["synthetic"][0] > 2 * report["synthetic"][0]


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


def nearest_to(*distances: float) -> Nearest:
    """Of brains so far from the nearest subject."""
    found = np.array(distances)
    return Nearest(found, 2 * found, np.zeros(len(found), int), np.zeros(len(found), bool))


def test_chance_is_told() -> None:
    report = compare_nearest(nearest_to(0.1, 0.2, 0.3, 0.4, 0.5, 0.6), nearest_to(0.2, 0.4))
    assert report["expected_by_chance"] == 2


def test_without_validation_people_there_is_no_verdict() -> None:
    with pytest.raises(StyleGAN3DError, match="--validation above 0"):
        compare_nearest(nearest_to(0.1), nearest_to())
