"""Norms find what they were made of, refuse what they do not know, and survive their file."""

import json

import numpy as np
import pytest
from tolerances import LAYERS

from stylegan3d.base import StyleGAN3DError
from stylegan3d.scans.person import Person, person_of_dicom, person_of_file
from stylegan3d.segmentation.changes import Change, cells_of, expected_changes
from stylegan3d.segmentation.classes import ALL_MEASURES, HEAD
from stylegan3d.segmentation.curves import curve_of
from stylegan3d.segmentation.norms import (
    _spread_terms,
    bundled_norms,
    fit_norms,
    norms_from,
    read_norms,
)
from stylegan3d.segmentation.numbers import numbers_of

WORDS = {"F": ("F", "female", "Woman"), "M": ("m", "Male", "man")}


def truth(age, male, head):
    """Median of a made-up measure: it grows with age, men's and large heads have more."""
    return 3 + 0.02 * (age - 45) + 0.3 * (male - 0.5) + np.log(head / 1400)


@pytest.fixture(scope="module")
def people():
    """600 people with a measure of known median, spread and skew; few are old."""
    rng = np.random.default_rng(0)
    ages = 19 + 60 * rng.random(600) ** 1.8
    male = rng.random(600) < 0.5
    heads = np.exp(rng.normal(np.log(1400), 0.1, 600)) * np.where(male, 1.06, 0.94)
    z = rng.normal(size=600)
    logs = truth(ages, male, heads) + z * np.exp(-1.5 + 0.01 * (ages - 45))
    rows = [{HEAD: h, "ventricle_ml": float(np.exp(v))} for h, v in zip(heads, logs, strict=True)]
    persons = [Person(float(a), "FM"[int(m)]) for a, m in zip(ages, male, strict=True)]
    return rows, persons, z


@pytest.fixture(scope="module")
def norms(people):
    rows, persons, _ = people
    sites = ["a" if i % 2 else "b" for i in range(len(rows))]
    return fit_norms(rows, persons, sites, "600 people")


def test_a_head_of_no_adults_size_is_in_doubt(people, norms):
    """Its voxel size may be wrong in a way that no header contradicts."""
    rows, persons, _ = people
    for factor, kinds in ((1.0, []), (2.0, ["head-size"])):
        measures = {name: factor * value for name, value in rows[0].items()}
        found = numbers_of(measures, persons[0], norms)
        assert [doubt.kind for doubt in found.doubts] == kinds


def test_z_is_what_is_left_without_age_sex_and_head_size(people, norms):
    rows, persons, z = people
    found = np.array(
        [
            norms.score("ventricle_ml", row["ventricle_ml"], person, row[HEAD]).z
            for row, person in zip(rows, persons, strict=True)
        ]
    )
    assert np.corrcoef(found, z)[0, 1] > 0.98
    assert abs(found.mean()) < 0.05
    assert 0.95 < found.std() < 1.05
    score = norms.score("ventricle_ml", np.exp(truth(30, 1, 1500)), Person(30, "M"), 1500)
    assert abs(score.z) < 0.2
    assert score.percentile == pytest.approx(50, abs=8)  # 0.2 of a deviation, as z above
    spread = np.exp(-1.5 + 0.01 * (30 - 45))
    # A curve fitted to 600 people.
    assert np.log(score.high / score.low) == pytest.approx(2 * 1.96 * spread, rel=0.1)
    assert score.scanner < 0.2


def test_the_interval_grows_where_people_are_few(norms, people):
    rows, persons, _ = people
    few = fit_norms(rows[:60], persons[:60], [""] * 60, "60 people")

    def unsure(of, age):
        """Of the curve itself: the spread without that of people."""
        at = np.array([age])
        own = np.exp(2 * _spread_terms(at, np.zeros(1)) @ of.curves["ventricle_ml"].spread)
        return float(of._at("ventricle_ml", at, "F", 1400)[1][0] ** 2 - own[0])

    assert unsure(norms, 79.0) > 2 * unsure(norms, 30.0)
    assert unsure(few, 30.0) > 4 * unsure(norms, 30.0) > 0


def test_the_file_says_the_same(norms, tmp_path):
    path = tmp_path / "norms.json"
    path.write_text(json.dumps(norms.to_dict()))
    again = read_norms(path)
    args = "ventricle_ml", 31.0, Person(64, "F"), 1300.0
    assert again.score(*args).z == pytest.approx(norms.score(*args).z, abs=LAYERS)
    damaged = norms.to_dict()
    damaged["curves"]["ventricle_ml"]["spread"] = [1.0]
    with pytest.raises(ValueError, match="coefficients"):
        norms_from(damaged)
    path.write_text("{}")
    with pytest.raises(StyleGAN3DError, match="holds no norms"):
        read_norms(path)


def test_scans_of_one_person_are_one_and_an_unknown_measure_is_nobody_elses(people, tmp_path):
    rows, persons, _ = people
    table = [["participant_id", "age", "sex", *rows[0]]]
    for k, (row, person) in enumerate(zip(rows[:60], persons, strict=False)):
        cells = ["n/a" if k == 3 and name != HEAD else str(v) for name, v in row.items()]
        table += [[f"sub-{k}", str(person.age), WORDS[person.sex][k % 3], *cells]] * (1 + k % 2)

    def write(name, lines):
        (tmp_path / name).write_text("\n".join("\t".join(line) for line in lines))
        return tmp_path / name

    found = read_norms(write("twice.tsv", table))
    assert found.name == "60 people of twice.tsv"
    assert set(found.curves) == {HEAD, "ventricle_ml"}
    with pytest.raises(StyleGAN3DError, match=r"at least 40 people .* the table has 39"):
        read_norms(write("few.tsv", table[:59]))
    for k, word in enumerate(("missing", "other", "mixed", "n/a"), 1):
        table[k][2] = word
    assert read_norms(write("unsaid.tsv", table)).name == "57 people of unsaid.tsv"


def test_what_is_alike_in_all_has_no_norms(people):
    rows, persons, _ = people
    women = [one.sex == "F" for one in persons]
    known = [
        row | {"same_ml": 0.0} | ({"one_sex_ml": k / 9} if women[k] else {})
        for k, row in enumerate(rows)
    ]
    found = fit_norms(known, persons, [""] * len(rows), "these")
    assert set(found.curves) == {HEAD, "ventricle_ml"}
    with pytest.raises(StyleGAN3DError, match="too alike in age"):
        fit_norms(rows, [Person(40, one.sex) for one in persons], [""] * len(rows), "these")


def test_published_curves_are_norms_at_their_ages(tmp_path):
    path = tmp_path / "paper.csv"
    lines = [
        "measure,sex,age,low,median,high,source,licence",
        "ventricle_ml,F,60,10,20,50,Doe 2020,CC BY 4.0",
        "ventricle_ml,F,40,8,16,40,,",
        "ventricle_ml,F,70,12,24,60,,",
    ]
    path.write_text("\n".join(lines))
    norms, measures = read_norms(path), {"ventricle_ml": 45.0, "grey_ml": 600.0, HEAD: 1400.0}
    found = numbers_of(measures, Person(50, "F"), norms)
    assert found.among == "Among Doe 2020 (CC BY 4.0): female, 50 years, of any head size."
    assert set(found.scores) == {"ventricle_ml"}
    score = found.scores["ventricle_ml"]
    assert (score.low, score.expected, score.high) == (9, 18, 45)
    assert (score.scanner, score.shift) == (None, "an unknown amount")
    # 1.96 stands for 1.95996.
    assert (score.z, score.percentile) == pytest.approx((1.96, 97.5), abs=0.01)
    # 1.96 stands for 1.95996.
    assert norms.score("ventricle_ml", 13.5, Person(50, "F"), 0).z == pytest.approx(-0.98, abs=0.01)
    curve = curve_of(found, "ventricle_ml")
    assert (curve.ages[0], curve.ages[-1]) == (40, 70)
    drawn = curve.drawn(100, 50, left=10, right=0, bottom=10, top=0)
    assert [text for _, _, anchor, text in drawn.labels if anchor == "middle"] == ["40", "60"]
    assert drawn.labels[1][0] == pytest.approx(10 + 90 * 20 / 30)
    assert all(0 <= y <= 40 and 10 <= x <= 100 for x, y in [*drawn.band, *drawn.middle, drawn.dot])
    assert numbers_of(measures, Person(75, "F"), norms).scores == {}
    assert numbers_of(measures, Person(50, "M"), norms).scores == {}
    why, told = expected_changes(Person(50, "F"), 10.0, [measures, measures], norms, ())
    assert (why, told) == ("", {"ventricle_ml": 2.0})
    ours = bundled_norms()
    _, told = expected_changes(Person(50, "F"), 10.0, [measures, measures], ours, ours.networks)
    assert set(told) == {"ventricle_ml", "grey_ml"}, "heads differ between generations alone"
    for wrong, said in (
        ("ventricle_ml,F,60,10,5,50", "Line 2 of .* not a point of a curve"),
        ("ventricles,F,60,10,20,50", "Line 2 of .* not a point of a curve"),
        ("ventricle_ml,mixed,60,10,20,50", "Line 2 of .* not a point of a curve"),
        ("ventricle_ml,F,60,10,20,50", "at least two ages"),
    ):
        path.write_text(f"{lines[0]}\n{wrong},,\n")
        with pytest.raises(StyleGAN3DError, match=said):
            read_norms(path)


@pytest.mark.parametrize("age", [17, 81, None])
def test_other_ages_are_refused(norms, age):
    with pytest.raises(StyleGAN3DError, match="18 to 80 years"):
        norms.score("ventricle_ml", 20.0, Person(age, "F"), 1300.0)


def test_the_bundled_norms_have_every_measure():
    norms = bundled_norms()
    assert set(norms.curves) == set(ALL_MEASURES)
    young, old = (
        norms.score("ventricle_ml", 20.0, Person(age, "F"), 1300.0).expected for age in (25, 75)
    )
    assert old > 1.5 * young
    assert norms.curves["white_ml"].sites


def test_age_and_sex_are_read_from_the_files_of_a_scan(tmp_path):
    anat = tmp_path / "sub-01" / "anat"
    anat.mkdir(parents=True)
    scan = anat / "sub-01_T1w.nii.gz"
    assert person_of_file(scan) == Person()
    table = "participant_id\tage\tsex\nsub-02\t20\tM\nsub-01\t63.5\tfemale\n"
    (tmp_path / "participants.tsv").write_text(table)
    assert person_of_file(scan) == Person(63.5, "F")
    assert person_of_file(anat / "sub-03_T1w.nii.gz") == Person()
    for age, years in (("045Y", 45), ("P45Y", 45), ("018M", 1.5), ("89+", 89)):
        (tmp_path / "participants.tsv").write_text(table.replace("63.5", age))
        assert person_of_file(scan) == Person(years, "F")
    (anat / "sub-01_T1w.json").write_text('{"PatientAge": "064Y", "PatientSex": "F"}')
    assert person_of_file(scan) == Person(64, "F")
    assert person_of_dicom("030M", "", "", "M") == Person(2.5, "M")
    # Days in a year of 365.25.
    assert person_of_dicom("", "19700101", "20200702", "O") == Person(
        pytest.approx(50.5, abs=0.01), None
    )
    assert person_of_dicom("soon", "1970", "", "") == Person()


def test_a_change_that_is_shown_as_nought_has_no_minus():
    change = Change("ventricle_ml", 20.0, 19.9999, error=0.5)
    assert cells_of(change, 2.0)[3:6] == ("+0.00", "+0.0", "+0.0")
    assert "+0.00 ml (+0.0 %, +0.0 % a year)" in change.words(2.0)
