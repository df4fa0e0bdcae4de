"""Parts of an evaluation give each figure beside the reference that it is compared with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobs import Stored
from tolerances import DOUBLE

from stylegan3d.base import StyleGAN3DError
from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation import anatomy, evaluation, parts
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.parts import fidelity
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.geometry.space import Space
from stylegan3d.measures.tissue_shape import TISSUE_SHAPE
from stylegan3d.metrics.distances import Moments, bmmd2_intervals, expected_bmmd2
from stylegan3d.segmentation.classes import MEASURES

PERSONS, HELD_OUT, MADE, FEATURES = 60, 12, 120, 24


def material_of(pack: Pack, brains: np.ndarray) -> Material:
    settings = EvaluationSettings(samples=len(brains), repeats=3)
    return Material(Stored(brains, pack.space), pack, settings, lambda *_: None)


def test_the_interval_of_a_reference_is_that_of_its_own_figure(
    pack: Pack, blobs: np.ndarray
) -> None:
    """Training people as random brains: beside held-out people, both have one figure."""
    training, held_out = (pack.volumes[pack.indices(k)] for k in ("train", "validation"))
    found = fidelity(material_of(pack, np.array(training)))
    figure = found["bmmd2_validation"]
    assert figure["real"] == pytest.approx(figure["synthetic"], rel=DOUBLE)
    assert figure["real_interval"] == pytest.approx(figure["synthetic_interval"], rel=DOUBLE)
    figure = fidelity(material_of(pack, blobs))["bmmd2_validation"]
    known, target = Moments.of(training), Moments.of(held_out)
    expected = bmmd2_intervals(training, held_out, known, target)["synthetic_interval"]
    assert figure["real"] == pytest.approx(expected_bmmd2(known, target), rel=DOUBLE)
    assert figure["real_interval"] == pytest.approx(expected, rel=DOUBLE)
    low, high = figure["real_interval"]
    assert low + high == pytest.approx(2 * figure["real"], rel=DOUBLE)


def scanned_twice(space: Space, scans: int = 2) -> Material:
    """Features of people, and of random brains like people; a person's scans differ little."""
    rng = np.random.default_rng(0)
    persons = [k for k in range(PERSONS) for _ in range(scans)]
    table: list[dict[str, Any]] = [
        {
            "name": f"{person}-{row}",
            "person": f"{person}",
            "split": "train" if person < PERSONS - HELD_OUT else "validation",
        }
        for row, person in enumerate(persons)
    ]
    volumes = rng.integers(0, 255, (len(table), *space.shape), np.uint8)
    settings = EvaluationSettings(samples=MADE, repeats=20)
    pack = Pack(Path("people"), volumes, space, table, {})
    stored = Stored(np.resize(volumes, (MADE, *space.shape)), space)
    material = Material(stored, pack, settings, lambda *_: None)
    own = rng.normal(size=(PERSONS, FEATURES))[persons]
    found = vars(material)
    found["mask"] = np.ones(space.shape, bool)
    found["real_features"] = own + 0.1 * rng.normal(size=own.shape)
    found["synthetic_features"] = rng.normal(size=(MADE, FEATURES))
    shapes = [rng.normal(size=(n, len(TISSUE_SHAPE))) for n in (MADE, PERSONS)]
    found["shapes"] = lambda _: tuple(shapes)
    for kind, count in (("real_tissues", len(table)), ("synthetic_tissues", MADE)):
        names = (*MEASURES, "confidence")
        found[kind] = [dict(zip(names, rng.random(len(names)), strict=True)) for _ in range(count)]
    return material


def test_of_people_scanned_once_all_scans_are_compared(space: Space) -> None:
    material = scanned_twice(space, scans=1)
    assert material.one_each.tolist() == list(range(PERSONS))
    assert material.subjects.tolist() == material.people.tolist()
    assert material.known == len(material.training) == PERSONS - HELD_OUT
    assert evaluation._repeats(material) == []


def test_a_perfect_generator_is_as_far_as_people_who_were_scanned_twice(space: Space) -> None:
    material = scanned_twice(space)
    found = fidelity(material)
    for name in ("fid", "fid_validation"):
        assert 0.85 < found[name]["ratio"] < 1.15
    assert found["fid"]["n"] == PERSONS // 2
    assert found["fid_validation"]["n"] == HELD_OUT
    assert 0.8 < found["precision"]["ratio"] < 1.2
    (note,) = evaluation._repeats(material)
    assert "120 scans of 60 subjects" in note
    head = evaluation._head(material)
    assert note in head["notes"]
    assert (head["data"]["training_people"], head["data"]["validation_people"]) == (48, 12)


def test_a_person_scanned_twice_is_in_one_group_of_people(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    material = scanned_twice(space)
    groups: list[tuple[str, list[str]]] = []

    class Classified:
        """Of sets that are alike."""

        regions, corners = (), ()

        def to_dict(self) -> dict[str, Any]:
            return {
                "accuracy": 0.5,
                "auc": 0.5,
                "accuracy_interval": (0, 1),
                "auc_interval": (0, 1),
            }

        def accuracy(self, *_: object) -> tuple[float, tuple[float, float]]:
            return 0.5, (0.0, 1.0)

        auc = accuracy

        def surest(self, *_: object) -> tuple[list[Any], list[Any]]:
            return [], []

    def classify(which: str, plain: bool) -> Any:
        def classified(first: Any, second: Any, people: Any, *_: Any, **__: Any) -> Any:
            assert len(people) == len(first) + len(second)
            groups.append((which, [str(person) for person in people]))
            return Classified().to_dict() if plain else Classified()

        return classified

    monkeypatch.setattr(parts, "two_sample", classify("two_sample", True))
    monkeypatch.setattr(evaluation, "classify_cubes", classify("cubes", False))
    monkeypatch.setattr(anatomy, "classify_by_measures", classify("shape", False))
    monkeypatch.setattr(anatomy, "DRAWS", 10)
    monkeypatch.setattr(Material, "has_tissues", True)
    parts.two_sample_part(material)
    evaluation.cubes(material)
    anatomy.tissue_shape(material)
    assert {which for which, _ in groups} == {"two_sample", "cubes", "shape"}
    for which, people in groups:
        assert len(set(people)) == len(people), which


def test_halves_of_people_are_not_halves_of_scans(
    space: Space, monkeypatch: pytest.MonkeyPatch
) -> None:
    material, counts = scanned_twice(space), []
    compare = parts.compare_with_halves

    def counted(measure: Any, made: Any, real: Any, **drawn: Any) -> Any:
        counts.append(len(real))
        return compare(measure, made, real, **drawn)

    for module in (parts, anatomy):
        monkeypatch.setattr(module, "compare_with_halves", counted)
    monkeypatch.setattr(anatomy, "DRAWS", 10)
    monkeypatch.setattr(Material, "has_tissues", True)
    material.settings = replace(material.settings, pairs=4)
    for part in (parts.fidelity, parts.diversity, anatomy.tissue_volumes):
        before = len(counts)
        part(material)
        assert set(counts[before:]) == {PERSONS}


def test_two_scans_of_one_person_are_not_two_subjects(space: Space) -> None:
    material = scanned_twice(space)
    table = material.pack.table[:4] + material.pack.table[-2:]
    volumes = material.pack.volumes[:6]
    few = Pack(Path("few"), volumes, space, table, {})
    with pytest.raises(StyleGAN3DError, match="2 training and 1 validation subjects"):
        Material(material.subject, few, material.settings, lambda *_: None)
