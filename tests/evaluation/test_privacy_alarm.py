"""The memorisation alarm sees copies through disguises and leaves strangers alone."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from tolerances import SUMS

from stylegan3d.base import SILENT
from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation.privacy import (
    Closeness,
    CopyDetector,
    FineStructure,
    alarm_threshold,
    copy_detector,
    disguises,
)

SHAPE, MM = (40, 56, 48), (4.0, 4.0, 4.0)
TRAINING, OTHERS = 40, 20


def person(seed: int) -> np.ndarray:
    """An ellipsoid of its own size with folds of its own on folds that all people share."""
    rng = np.random.default_rng(seed)
    axes = np.array([14.0, 19.0, 16.0]) * rng.normal(1, 0.03)
    grid = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    inside = sum((x / a) ** 2 for x, a in zip(grid, axes, strict=True)) < 1
    common = gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 2.0)
    own = gaussian_filter(rng.normal(size=SHAPE), 2.0)
    folds = 0.6 + 2.5 * (common + own)
    return np.rint(np.clip(np.where(inside, folds, 0), 0, 1) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def people() -> np.ndarray:
    return np.stack([person(seed) for seed in range(1, 1 + TRAINING + OTHERS)])


@pytest.fixture(scope="module")
def detector(people: np.ndarray) -> CopyDetector:
    return CopyDetector(people[:TRAINING], people[:TRAINING].mean(axis=0) / 255, MM)


def test_copies_are_seen_through_every_disguise(people: np.ndarray, detector: CopyDetector) -> None:
    n = 100
    threshold = alarm_threshold(detector.among_training().ratio, n)
    for name, disguise in disguises(MM).items():
        found = detector.closeness([disguise(people[k]) for k in (3, 17)])
        assert found.person.tolist() == [3, 17], name
        assert (found.ratio < threshold).all(), name
        assert found.mirrored.tolist() == [name.startswith("mirrored")] * 2, name


def test_strangers_raise_no_alarm(people: np.ndarray, detector: CopyDetector) -> None:
    strangers = detector.closeness(people[TRAINING:])
    among = detector.among_training()
    assert strangers.ratio.min() > alarm_threshold(among.ratio, OTHERS)
    assert among.correlation.max() < 0.9  # nobody is held against themselves


def test_a_person_who_is_there_twice_hides_nobody(people: np.ndarray) -> None:
    twice = np.concatenate([people[:10], people[:1]])
    detector = CopyDetector(twice, twice.mean(axis=0) / 255, MM)
    assert detector.closeness(people[:1]).ratio[0] < 0.01
    assert detector.among_training().ratio[0] < 0.01


@pytest.mark.parametrize("again", [3, pytest.param(8, marks=pytest.mark.soak)])
def test_repeated_scans_of_a_person_do_not_blind_the_alarm(
    people: np.ndarray, detector: CopyDetector, again: int
) -> None:
    noise = np.random.default_rng(5).normal(0, 8, (again, *SHAPE))
    repeats = np.where(people[:again] > 0, np.clip(people[:again] + noise, 1, 255), 0)
    scans = np.concatenate([people[:TRAINING], repeats.astype(np.uint8)])
    person = [*range(TRAINING), *range(again)]
    repeated = CopyDetector(scans, people[:TRAINING].mean(axis=0) / 255, MM, person=person)
    usual = alarm_threshold(detector.among_training().ratio, OTHERS)
    threshold = alarm_threshold(repeated.among_training().ratio, OTHERS)
    # Their own repeats aside, everybody's fifth nearest is who it was.
    assert threshold == pytest.approx(usual, abs=0.1)
    assert repeated.closeness(people[:1]).ratio[0] < threshold
    assert repeated.closeness(people[TRAINING:]).ratio.min() > threshold


def test_a_copy_of_a_person_with_many_scans_is_seen(people: np.ndarray) -> None:
    """Of six scans of one person five are as near as the one that was copied."""
    noise = np.random.default_rng(5).normal(0, 2, (5, *SHAPE))
    repeats = np.where(people[0] > 0, np.clip(people[0] + noise, 1, 255), 0).astype(np.uint8)
    scans = np.concatenate([people[:TRAINING], repeats])
    template, person = people[:TRAINING].mean(axis=0) / 255, [*range(TRAINING), *[0] * 5]
    detector = CopyDetector(scans, template, MM, person=person)
    threshold = alarm_threshold(detector.among_training().ratio, OTHERS)
    for name, disguise in disguises(MM).items():
        [ratio] = detector.closeness([disguise(people[0])]).ratio
        assert ratio < threshold, name


def test_the_detector_of_an_evaluation_knows_whose_scans_they_are(pack: Pack) -> None:
    training = pack.indices("train")
    pack.table[training[3]]["person"] = pack.table[training[0]]["person"]
    material: Any = SimpleNamespace(
        pack=pack,
        training=training,
        sideways=0,
        volumes=lambda rows: [pack.volumes[row] for row in rows],
        progress=lambda what: SILENT,
    )
    same = copy_detector(material).same
    assert np.argwhere(same & ~np.eye(len(training), dtype=bool)).tolist() == [[0, 3], [3, 0]]


def test_place_size_and_brightness_change_nothing(people: np.ndarray) -> None:
    structure = FineStructure(people.mean(axis=0) / 255, MM)
    volume = people[5]
    plain = structure(volume)
    assert plain @ plain == pytest.approx(1, abs=SUMS)
    assert plain @ structure(np.roll(volume, (1, -1, 1), (0, 1, 2))) > 0.999
    assert plain @ structure(volume / 255 * 0.7) > 0.999
    assert plain @ structure(people[6]) < 0.8


@pytest.mark.parametrize("people", [200, 40])
def test_the_alarm_keeps_its_rate(people: int) -> None:
    """Over many sets of 50 strangers, calibrated on others, in no more than 1 of 100."""
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(1000):
        ratios = np.exp(-rng.exponential(0.05, people + 50))  # the heaviest tail that is assumed
        false += ratios[people:].min() < alarm_threshold(ratios[:people], 50)
    assert false / 1000 <= 0.015
    assert alarm_threshold(ratios, 1000) < alarm_threshold(ratios, 10)


def test_ratio_is_of_the_nearest_to_the_fifth() -> None:
    straight = np.array([0.1, 0.5, 0.2, 0.3, 0.1, 0.0])
    mirrored = np.array([0.9, 0.0, 0.0, 0.0, 0.0, 0.0])
    found = Closeness.of(np.stack([straight, mirrored])[None])
    assert found.person[0] == 0
    assert found.mirrored[0]
    assert found.correlation[0] == pytest.approx(0.9)
    assert found.ratio[0] == pytest.approx(0.1 / 0.9)  # 0.9, 0.5, 0.3, 0.2, then 0.1
