"""Two visits: a known change is found, a moved head is none, and the order does not matter."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from phantoms import head
from private import private_in
from scipy.ndimage import binary_erosion, gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation

from stylegan3d.base import Doubt, ScanError, StyleGAN3DError
from stylegan3d.cohort.run import find_items, people_of
from stylegan3d.geometry.space import Space
from stylegan3d.outputs import visits
from stylegan3d.outputs.visits import check_pair, visits_of
from stylegan3d.projection import calibration
from stylegan3d.scans.aligned import PreparedBrain, on_grid
from stylegan3d.scans.alignment import Template
from stylegan3d.scans.person import Person
from stylegan3d.scans.resampling import resample
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.segmentation import norms
from stylegan3d.segmentation.classes import CLASSES, REGIONS
from stylegan3d.segmentation.inference import Segmentation
from stylegan3d.segmentation.norms import (
    LIMIT,
    Repeats,
    bundled_repeats,
    learn_repeats,
    save_site_repeats,
    site_repeats,
)
from stylegan3d.segmentation.numbers import Labelled
from stylegan3d.storage import places
from stylegan3d.storage.files import sha256_of

#: A small head with ventricles as large as anybody's, so that their border is as sharp.
SMALL = Space((40, 56, 48), nib.affines.from_matvec(np.diag([2.0] * 3), [-39, -72, -42]))
NATIVE = Space((54, 66, 60), nib.affines.from_matvec(np.diag([1.7] * 3), [-46, -73, -48]))


def small_head():
    return head(SMALL, size=0.5, ventricle=8)


def opened(volume, share):
    """The volume with everything near the ventricles pushed outwards."""
    grid = np.indices(SMALL.shape).reshape(3, -1).T
    from_middle = nib.affines.apply_affine(SMALL.affine, grid) - [0, -10, 18]
    near = np.exp(-np.square(from_middle / [22, 30, 18]).sum(axis=1, keepdims=True))
    places = grid - share * near * from_middle / SMALL.voxel_size
    return map_coordinates(volume, places.T, order=1).reshape(SMALL.shape)


def by_intensity(volume, space):
    """Stands in for the networks: dark voxels inside are ventricles."""
    deep = binary_erosion(volume > 0, iterations=4)
    tissues = np.select([volume <= 0, deep & (volume < 0.5)], [0, 4], 3).astype(np.uint8)
    regions = np.where(tissues == 4, REGIONS.classes.index("left_lateral_ventricle"), 0)
    return Labelled(
        Segmentation(tissues, space),
        Segmentation(regions.astype(np.uint8), space, scheme=REGIONS),
        ("network",),
    )


def scan_of(name, share, pose, shading=0.0):
    """A head in a pose on a grid of its own, as aligned to the phantoms' space, a little wrong."""
    rng = np.random.default_rng(0)
    texture = 1 + 0.5 * gaussian_filter(rng.normal(size=SMALL.shape), 1.5)
    brain = opened(gaussian_filter(small_head(), 0.6) * texture * (small_head() > 0), share)
    ramp = np.exp(shading * np.linspace(-1, 1, NATIVE.shape[1]))[None, :, None]
    data = (800 * ramp * resample(brain, SMALL, NATIVE, np.linalg.inv(pose))).astype(np.float32)
    scan = ScanData(data, NATIVE.affine, {}, Path(name), name)
    prepared = PreparedBrain(data, data > 100, NATIVE, Template(SMALL, small_head()))
    nearly = nib.affines.from_matvec(np.eye(3), [1.5, -1.0, 0.5]) @ np.linalg.inv(pose)
    return on_grid(scan, prepared, nearly, ())


def pose(degrees, mm):
    return nib.affines.from_matvec(
        Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(), np.array(mm)
    )


@pytest.fixture(scope="module")
def found():
    """Visits of a brain and one of larger ventricles, both ways, and of one that only moved."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(visits, "label_brain", by_intensity)
        patch.setattr(visits, "bundled_repeats", lambda: Repeats("pairs", {"ventricle_ml": 2.0}))
        before = scan_of("sub-01_ses-1_T1w.nii.gz", 0.0, pose((4, -3, 5), (3, 2, -4)))
        after = scan_of("sub-01_ses-2_T1w.nii.gz", 0.15, pose((-3, 2, 1), (-2, 0, 3)), 0.1)
        same = scan_of("sub-01_ses-3_T1w.nii.gz", 0.0, pose((-3, 2, 1), (-2, 0, 3)), 0.1)
        person = Person(60.0, "F")
        return (
            visits_of(before, after, person=person, years=2.0),
            visits_of(after, before),
            visits_of(before, same),
        )


def test_a_change_of_ventricles_is_found_and_a_moved_head_is_none(found):
    grown, _, moved = found
    change = grown.changes["ventricle_ml"]
    fluid = (small_head() == np.float32(0.3)).astype(np.float32)
    truth = float((opened(fluid, 0.15) - fluid).sum()) * SMALL.voxel_ml
    assert 0.75 < change.change / truth < 1.25
    assert change.beyond
    assert grown.changes["left_lateral_ventricle_ml"].change == pytest.approx(change.change)
    still = moved.changes["ventricle_ml"]
    assert abs(still.change) < 0.1 * truth
    assert not still.beyond
    assert abs(moved.changes["head_ml"].percent) < 0.5


def test_exchanged_visits_exchange_the_results(found):
    forth, back, _ = found
    for name, change in forth.changes.items():
        # ml: the half-way pose of exchanged visits is another search of the registration.
        assert back.changes[name].change == pytest.approx(-change.change, abs=0.02), name
    # Percent, for the same reason.
    np.testing.assert_allclose(back.percent, -forth.percent, atol=0.5)


def test_the_expected_change_needs_age_sex_and_years(found):
    known, unknown, _ = found
    assert "needs the years between the scans and age and sex" in str(unknown.notes[-1])
    assert unknown.changes["ventricle_ml"].expected is None
    words = known.changes["ventricle_ml"].words(2.0)
    assert "a year), beyond the error of" in words
    # The norms are of the bundled networks, which these are not.
    assert "other networks" in str(known.notes[-1])


def test_the_command_writes_table_maps_and_page(found, tmp_path, monkeypatch, run):
    said = {}

    def measured(first, second, **options):
        said.update(options, names=(first.path.name, second.path.name))
        return found[0]

    monkeypatch.setattr(visits, "visits_of_scans", measured)
    folder = tmp_path / "DOE^JANE" / "19700101"
    folder.mkdir(parents=True)
    paths = [folder / f"sub-01_ses-{k}_T1w.nii.gz" for k in (1, 2)]
    for path in paths:
        nib.save(nib.Nifti1Image(np.asarray(small_head() * 900, np.int16), SMALL.affine), path)
    out = tmp_path / "out"
    words = ["--longitudinal", "--years", "2", "--age", "60", "--sex", "F", "--out", out, "--json"]
    told = run("segment", *paths, *words)
    assert told.status == 0, told.err
    assert said["names"] == tuple(path.name for path in paths)
    assert (said["years"], said["person"]) == (2.0, Person(60.0, "F"))
    assert told.json["changes"]["ventricle_ml"]["beyond_error"] is True
    stem = "sub-01_ses-1"
    with (out / f"{stem}_desc-changeToSes2_volumes.tsv").open() as file:
        rows = {row["measure"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert float(rows["ventricle_ml"]["change"]) == told.json["changes"]["ventricle_ml"]["change"]
    assert rows["grey_ml"]["error"] == "n/a"
    jacobian = nib.load(out / f"{stem}_space-halfway_desc-jacobianToSes2_map.nii.gz")
    assert np.array_equal(jacobian.get_fdata(dtype=np.float32), found[0].percent)
    about = json.loads((out / f"{stem}_space-halfway_desc-jacobianToSes2_map.json").read_text())
    assert about["Sources"] == [path.name for path in paths]
    assert about["SyntheticImage"] is False
    assert paths[1].name in (out / f"{stem}_desc-changeToSes2_visits.html").read_text()
    assert private_in(out) == set()
    assert run("segment", *paths, "--longitudinal", "--out", out).status == 2  # files are there
    for wrong in (
        ["--longitudinal", "--years", "0"],
        ["--years", "1"],
        ["--longitudinal", "--regions"],
    ):
        assert run("segment", *paths, *wrong).status == 2
    assert run("segment", paths[0], "--longitudinal").status == 2


def test_visits_are_refused_for_the_reason_that_there_is():
    one, two = (
        scan_of(f"sub-01_ses-{n}_T1w.nii", 0.1 * n, pose((0, 0, 0), (0, 0, n))) for n in (1, 2)
    )
    cut = Doubt("coverage", "refuse", "A part of the brain is missing: 30 ml.")
    with pytest.raises(ScanError, match=r"unsuitable \(a part of the brain is missing\); give two"):
        visits_of(one, replace(two, steps=[*two.steps, cut]))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"sha256": "a"}, "the same scan"),
        ({"path": Path("sub-02_T1w.nii")}, "two different people"),
        ({"person": Person(61.0, "M")}, "of a male and a female person"),
        ({"person": Person(59.0, "F")}, "give the earlier scan first"),
        ({"contrast": "FLAIR"}, "is T1-weighted and .* is FLAIR"),
    ],
)
def test_what_is_no_pair_of_visits_is_refused(changed, told):
    one = ScanData(
        np.ones((2, 2, 2), np.float32), np.eye(4), {}, Path("sub-01_ses-1_T1w.nii"), "a",
        contrast="T1-weighted", person=Person(60.0, "F"),
    )  # fmt: skip
    two = replace(
        one, data=np.zeros((2, 2, 2), np.float32), path=Path("sub-01_ses-2_T1w.nii"), sha256="b"
    )
    check_pair(one, two)
    with pytest.raises(ScanError, match=told):
        check_pair(one, replace(two, **changed))


def test_every_measure_has_an_error_and_the_classes_are_those_of_the_labels(found):
    deviations = bundled_repeats().deviation
    assert set(found[0].changes) == set(deviations)
    assert all(0 < value < 15 for value in deviations.values())
    assert CLASSES[4] == "ventricle"


def test_a_site_that_scans_less_steadily_has_a_larger_error_and_is_named(
    found, tmp_path, monkeypatch
):
    monkeypatch.setattr(places, "sites_folder", lambda: tmp_path)
    usual, rng = bundled_repeats().deviation, np.random.default_rng(0)
    pairs = []
    for _ in range(60):
        noise = [{n: rng.normal(0, 3 * sd) for n, sd in usual.items()} for _ in range(2)]
        both = [{n: 100 + one[n] for n in usual if n.endswith("_ml")} for one in noise]
        pairs.append((both[0], both[1]))
    learned = learn_repeats(pairs, "ward", ("network",))
    ratios = [sd / usual[n] for n, sd in learned.deviation.items()]
    assert np.mean(ratios) == pytest.approx(3, rel=0.1)  # forty pairs estimate a deviation
    few = learn_repeats(pairs[:3], "ward", ())
    assert np.std([sd / usual[n] for n, sd in few.deviation.items()]) < 0.6  # little of its own
    with pytest.raises(StyleGAN3DError, match="scanned twice, and there are 2"):
        learn_repeats(pairs[:2], "ward", ())
    with pytest.raises(StyleGAN3DError, match="sites that have: none"):
        site_repeats("ward")
    save_site_repeats("ward", learned)
    again = site_repeats("ward")
    assert again.networks == ("network",)
    # The file has four decimals.
    assert again.error("ventricle_ml", 20, 20) == pytest.approx(
        0.2 * LIMIT * learned.deviation["ventricle_ml"], rel=1e-3
    )
    assert again.name == "60 people scanned twice at 'ward'"
    assert found[0].to_dict()["error"] == "pairs"


def test_only_scans_of_one_label_are_of_one_person(tmp_path):
    paths = [tmp_path / name for name in ("sub-2_ses-1.nii", "sub-1_ses-2.nii", "sub-1_ses-1.nii")]
    people = people_of(find_items([*paths, tmp_path / "ward_1.nii", tmp_path / "ward_2.nii"]))
    names = [[item.path.name for item in scans] for scans in people]
    assert names == [
        ["sub-2_ses-1.nii"], ["sub-1_ses-1.nii", "sub-1_ses-2.nii"], ["ward_1.nii"], ["ward_2.nii"]
    ]  # fmt: skip


def test_what_is_in_doubt_of_a_site_is_told_and_who_was_left_out_is_not_compared(
    run, model, tmp_path, monkeypatch
):
    folder, compared, failing = tmp_path / "ward", [], []
    folder.mkdir()
    for person in range(1, 7):
        for visit in (1, 2):
            data = np.full((2, 2, 2), 100 * person + visit, np.int16)
            path = folder / f"sub-0{person}_ses-{visit}_T1w.nii.gz"
            nib.save(nib.Nifti1Image(data, np.eye(4)), path)

    def align(path):
        kind, severity = ("contrast", "refuse") if "sub-01" in path.name else ("cut", "ask")
        told = [Doubt(kind, severity, "The top is missing.")]
        return SimpleNamespace(scan=SimpleNamespace(path=path), doubts=told, volume=0, brain_mask=0)

    def compare(first, second, **options):
        compared.append(first.path.name[:6])
        if first.path.name[:6] in failing:
            raise ScanError("The second scan shows no brain.")
        return SimpleNamespace(doubts=[], labels=SimpleNamespace(networks=()))

    def read(path):
        content = {"path": path, "sha256": sha256_of(path)}
        return SimpleNamespace(**content, align=lambda *args, **options: align(path))

    monkeypatch.setattr(places, "sites_folder", lambda: tmp_path)
    monkeypatch.setattr("stylegan3d.scans.reading.read_scan", read)
    monkeypatch.setattr(visits, "visits_of_scans", compare)
    monkeypatch.setattr(visits, "outline_doubts", lambda aligned: [])
    monkeypatch.setattr(visits, "measures_of", lambda visits: ({}, {}))
    monkeypatch.setattr(norms, "learn_repeats", lambda pairs, name, networks: Repeats(name, {}))
    monkeypatch.setattr(norms, "save_site_repeats", lambda *args, **options: tmp_path / "repeats")
    monkeypatch.setattr(calibration, "measure_scans", lambda generator, scans: [0])
    monkeypatch.setattr(calibration, "save_site", lambda *args, **options: tmp_path / "site")
    told = run("model", "site", folder, "--name", "ward", "--model", model, "--json")
    assert told.status == 0, told.err
    assert list(told.json["left_out"]) == ["sub-01_ses-1_T1w.nii.gz"]
    assert [doubt["kind"] for doubt in told.json["doubts"]] == ["cut"] * 5
    assert "Check: sub-02_ses-1_T1w.nii.gz: The top is missing." in told.err
    assert compared == [f"sub-0{person}" for person in range(2, 7)]
    assert told.json["repeats"] == 5
    failing += compared[:3]
    told = run("model", "site", folder, "--name", "ward", "--model", model)
    assert told.status == 0, told.err
    assert "Only 2 people have two usable scans; at least 3 are needed" in told.out
    assert "sub-02_ses-2_T1w.nii.gz was left out: The second scan shows no brain." in told.err
    # A copy is not another person.
    (folder / "sub-07_T1w.nii.gz").write_bytes((folder / "sub-06_ses-1_T1w.nii.gz").read_bytes())
    told = run("model", "site", folder, "--name", "ward", "--model", model, "--json")
    assert told.json["left_out"]["sub-07_T1w.nii.gz"] == (
        "It is the same image as sub-06_ses-1_T1w.nii.gz."
    )
