"""Apparent age: from volumes that follow it, with an interval that holds, calibrated by a site."""

from pathlib import Path

import numpy as np
import pytest

from stylegan3d.scans.person import Person
from stylegan3d.segmentation.classes import ALL_MEASURES
from stylegan3d.segmentation.numbers import UNCALIBRATED, Numbers, Reading, reader_from

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def people(count, seed, shift=0.0):
    """Volumes that shrink with age by a random amount each; a scanner makes all look older."""
    rng = np.random.default_rng(seed)
    ages = rng.uniform(20, 79, count)
    male = rng.random(count) < 0.5
    slopes = np.random.default_rng(7).normal(0, 0.01, len(ALL_MEASURES))
    rows = [
        {
            name: float(
                1000 * np.exp(slope * (age + shift) + 0.1 * m * (name == "head_ml") + noise)
            )
            for name, slope, noise in zip(
                ALL_MEASURES, slopes, rng.normal(0, 0.1, len(slopes)), strict=True
            )
        }
        for age, m in zip(ages, male, strict=True)
    ]
    return rows, [Person(float(a), "FM"[int(m)]) for a, m in zip(ages, male, strict=True)]


@pytest.fixture(scope="module")
def reader():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SCRIPTS)
        from fit_norms import fit_reader

        return fit_reader(*people(200, 0))[0]


def test_the_interval_holds_nine_of_ten_people_it_has_not_seen(reader):
    rows, persons = people(200, 1)
    found = [reader.read(row) for row in rows]
    ages = np.array([p.age for p in persons])
    assert np.corrcoef([r.age for r in found], ages)[0, 1] > 0.9
    within = np.mean([r.low <= age <= r.high for r, age in zip(found, ages, strict=True)])
    assert 0.82 <= within <= 0.97
    right = np.mean([(r.male > 0.5) == (p.sex == "M") for r, p in zip(found, persons, strict=True)])
    assert right > 0.6
    assert str(found[0]).endswith(UNCALIBRATED)


def test_people_of_a_site_take_its_shift_off(reader):
    rows, persons = people(60, 2, shift=12)
    errors = [reader.read(r).age - p.age for r, p in zip(rows, persons, strict=True)]
    # Sixty people, each read with an error of ten years.
    assert np.mean(errors) == pytest.approx(12, abs=1)
    local = reader.calibrated(rows[:20], persons[:20], "our scanner")
    left = [local.read(r).age - p.age for r, p in zip(rows[20:], persons[20:], strict=True)]
    assert abs(np.mean(left)) < 3
    assert "20 people of our scanner" in local.read(rows[0]).site
    assert reader.calibrated(rows[:4], persons[:4], "few") is reader


def test_the_file_reads_the_same(reader):
    rows, _ = people(3, 3)
    again = reader_from(reader.to_dict())
    # Coefficients are written with few digits.
    assert again.read(rows[0]).age == pytest.approx(reader.read(rows[0]).age, abs=1e-3)
    with pytest.raises(ValueError, match="numbers are missing"):
        reader_from(reader.to_dict() | {"mean": [1.0]})


def test_the_likelier_sex_is_named_with_its_probability():
    said = [str(Reading(47.2, 39.0, 55.4, male, "site not calibrated")) for male in (0.91, 0.02)]
    assert "47, 39 to 55 (nine of ten people); male (91 %); site" in said[0]
    assert "female (98 %)" in said[1]


@pytest.mark.parametrize(
    ("age", "words"),
    [(4.0, "below 18, where the norms begin"), (93.0, "above 80, where the norms end")],
)
def test_no_age_is_told_beyond_those_of_the_norms(age, words):
    read = Reading(age, age - 13, age + 13, 0.02, "site not calibrated")
    assert f"apparent age {words}; female" in str(read)
    cells = Numbers({}, reading=read).cells()
    assert cells["apparent_age"] is cells["apparent_low"] is cells["apparent_high"] is None
    assert words in cells["apparent_site"]
