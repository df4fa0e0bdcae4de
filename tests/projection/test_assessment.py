"""Trust: what is usual of people, strange scans, regions, verdicts in words."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from phantoms import head, write_people
from tiny import tiny_generator

from stylegan3d.base import StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.measures.attributes import FRAME_CENTER_MM
from stylegan3d.measures.regions import NAMES, region_masks
from stylegan3d.projection import assessment, project, signs
from stylegan3d.projection.assessment import (
    FAR_PERCENT,
    FILE,
    assess,
    judge_reconstruction,
    place_in_words,
    residuals_by_region,
)
from stylegan3d.projection.calibration import (
    calibrate,
    left_out_scores,
    strange_kinds,
)
from stylegan3d.projection.problem import LatentPrior
from stylegan3d.projection.signs import Usual, first_guess
from stylegan3d.storage.encoding import to_plain


@pytest.fixture(scope="module")
def generator():
    """Its first guess is the mean of the people: it has no encoder."""
    generator = tiny_generator()
    # The phantoms stand where people's heads do, not where the tiny generator's field of view is.
    affine = np.diag([8.0, 8.0, 8.0, 1.0])
    affine[:3, 3] = FRAME_CENTER_MM - 4 * (np.array(generator.shape) - 1)
    return generator.with_space(Space(generator.shape, affine))


@pytest.fixture(scope="module")
def pack(generator, tmp_path_factory):
    return write_people(tmp_path_factory.mktemp("people"), generator.space, count=36)


@pytest.fixture(scope="module")
def calibrated(generator, pack, tmp_path_factory):
    generator.__dict__["template"] = pack.template
    entry, maps = calibrate(generator, pack)
    folder = tmp_path_factory.mktemp("model")
    (folder / FILE).write_bytes(maps)
    generator.folder = folder
    generator.card = {**generator.card, "trust": entry}
    return generator


def trust_of(generator, volume, made):
    prior = LatentPrior.of(generator)
    w = generator.w_avg.expand(generator.num_layers, -1)
    mask = volume > 0.05
    average = generator.template
    return assess(prior, w, made, average, volume, mask, generator=generator)[0]


def test_people_are_told_from_what_is_made_of_them(calibrated, pack):
    entry = calibrated.card["trust"]
    assert entry["people"] == 9
    assert entry["check"]["auc"] > 0.95
    assert entry["check"]["people_outside"] < 0.1
    assert 0 < entry["close"] < entry["outside"]
    json.dumps(entry, allow_nan=False)


def test_a_person_is_close_and_another_contrast_is_outside_however_alike_it_was_made(calibrated):
    person = head(calibrated.space)
    good = trust_of(calibrated, person, person + np.float32(0.001))
    assert good["verdicts"]["reconstruction"]["level"] == "green"
    assert good["strangeness"] <= calibrated.card["trust"]["close"]
    strange = dict(strange_kinds(person, person > 0.05))["inverted contrast"]
    bad = trust_of(
        calibrated, strange, strange * np.float32(0.99)
    )  # as if a long search had bent the model to it
    assert bad["similarity"]["ssim"] > 0.99
    assert bad["verdicts"]["reconstruction"]["level"] == "red"
    assert bad["strangeness"] > calibrated.card["trust"]["outside"]
    assert bad["signs"]["contrast"]["unusual"] > 3
    said = {doubt.kind: doubt for doubt in bad["doubts"]}
    assert "outside what this model knows" in said["reconstruction"].sentence
    assert said["reconstruction"].severity == "refuse"
    json.dumps(to_plain([good, bad]), allow_nan=False)


def test_the_verdicts_do_not_contradict_the_reason_of_the_reconstruction(calibrated, monkeypatch):
    person = head(calibrated.space)
    signs = {"contrast": {"unusual": 9.0}, "spot": {"unusual": 1.0}}
    monkeypatch.setattr(assessment, "compare_signs", lambda *_: (signs, 99.0))
    told = trust_of(calibrated, person, person)["verdicts"]
    assert told["acquisition"]["level"] == "amber"
    assert told["acquisition"]["sentence"][1:] in told["reconstruction"]["sentence"]
    with monkeypatch.context() as patch:
        gaps = assessment.scanner.OutlineGaps({"left frontal lobe": 8.0})
        patch.setattr(assessment, "_gaps", lambda *_: gaps)
        also = trust_of(calibrated, person, person)["verdicts"]["acquisition"]["sentence"]
    assert also.startswith(told["acquisition"]["sentence"])
    assert "8 ml or more of brain is missing" in also
    signs["spot"]["unusual"] = 99.0
    strange = dict(strange_kinds(person, person > 0.05))["inverted contrast"]
    told = trust_of(calibrated, strange, strange)["verdicts"]
    assert told["acquisition"]["level"] == "red"
    assert "contrast" in told["reconstruction"]["sentence"]


def test_it_has_what_the_documents_read_of_it(calibrated):
    docs = Path(__file__).parents[2] / "docs"
    pages = "".join(p.read_text("utf-8") for p in (*docs.rglob("*.md"), *docs.rglob("*.ipynb")))
    read = set(re.findall(r'assessment\[\\?"(\w+)', pages))
    person = head(calibrated.space)
    assert read
    assert read <= trust_of(calibrated, person, person).keys()


def test_a_poor_reconstruction_of_a_known_kind_shows_typical_features_only(calibrated):
    person = head(calibrated.space)
    flat = np.where(person > 0.05, 0.6, 0).astype(np.float32)
    trust = trust_of(calibrated, person, flat)
    told = trust["verdicts"]["reconstruction"]
    assert told["level"] == "amber"
    assert "search longer" in told["sentence"]


@pytest.mark.parametrize(
    ("alike", "says"),
    [
        ({"ssim": 0.8, "cortical_detail": 0.598}, "0.598, at least 0.6"),
        ({"ssim": 0.698, "cortical_detail": 0.9}, "0.698, usually 0.700"),
    ],
)
def test_a_figure_that_is_too_low_is_not_rounded_to_what_would_do(alike, says):
    known = {"outside": 9.0, "close": 3.0, "least_ssim": 0.7}
    told = judge_reconstruction(alike, {"contrast": {"unusual": 0.0}}, 1.0, known)
    assert says in told["sentence"]


def test_a_lesion_is_named_by_its_region(calibrated):
    person = head(calibrated.space)
    scan = person.copy()
    center = FRAME_CENTER_MM + np.array([-30, 62, 22])
    index = np.argwhere(np.ones(scan.shape, bool))
    places = nib.affines.apply_affine(calibrated.affine, index)
    near = np.linalg.norm(places - center, axis=1) < 22
    scan.ravel()[near] = np.where(scan.ravel()[near] > 0, 0.1, 0)
    trust = trust_of(calibrated, scan, person)
    regions = trust["regions"]
    worst = max(regions, key=lambda name: regions[name]["unusual"])
    assert worst == "left frontal lobe"
    assert regions[worst]["mean"] < 0  # the scan is darker there
    assert regions["right frontal lobe"]["unusual"] < 2
    assert sum(row["share"] for row in regions.values()) == pytest.approx(1)


def test_without_a_calibration_nothing_is_claimed():
    generator = tiny_generator()
    person = head(generator.space)
    generator.__dict__["template"] = person
    trust = trust_of(generator, person, person)
    told = trust["verdicts"]["reconstruction"]
    assert told["level"] == "amber"
    assert trust["strangeness"] is None
    assert trust["latent_percentile"] is None
    assert "stylegan3d model calibrate" in told["sentence"]
    assert not any("unusual" in sign for sign in trust["signs"].values())


def test_the_latent_has_a_percentile_where_there_is_an_encoder(generator, pack):
    seen = tiny_generator().with_space(generator.space)
    seen.__dict__["template"] = pack.template
    average = seen.w_avg.expand(1, seen.num_layers, -1)

    def encoder(volume):  # the brighter, the farther from the average
        return average + 5 * volume.mean() * (1 + average)

    seen.encoder = encoder
    entry, _ = calibrate(seen, pack)
    seen.card = {"trust": {key: value for key, value in entry.items() if key != "residual"}}
    quantiles = seen.card["trust"]["latent_distance"]
    assert quantiles == sorted(quantiles)
    for size, expected in ((0.3, 100), (1.0, 50)):  # a small head leaves most of the volume dark
        person = head(seen.space, size)
        trust = trust_of(seen, person, person)
        percentile = trust["latent_percentile"]
        # Somewhere among people, or beyond them all.
        assert percentile == pytest.approx(expected, abs=45 if expected == 50 else 0)
        told = [doubt for doubt in trust["doubts"] if doubt.kind == "far-from-average"]
        assert bool(told) == (percentile >= FAR_PERCENT)
        assert all("any reference subject" in doubt.sentence for doubt in told)


def test_a_place_among_people_is_said_in_words():
    assert place_in_words(0.4).endswith("than less than 1 % of the reference subjects")
    assert place_in_words(96.8).endswith("than 97 % of the reference subjects")
    assert "any reference subject" in place_in_words(100)


def test_projecting_tells_the_verdict(calibrated):
    result = project(calibrated, head(calibrated.space), steps=1)
    assert result.assessment["verdicts"]["reconstruction"]["level"] != "red"
    assert set(result.assessment["regions"]) <= {
        f"{side}{name}" for name in NAMES for side in ("", "left ", "right ")
    }


def test_one_odd_person_does_not_widen_what_is_usual():
    draw = np.random.RandomState(0)
    values = draw.randn(30)
    usual, with_odd = Usual.of(values), Usual.of(np.r_[values, 1000])
    assert with_odd.spread < 1.5 * usual.spread
    assert usual.unusual(usual.middle + 2 * usual.spread) == pytest.approx(2)
    assert usual.unusual(usual.middle + 2 * usual.spread, side=-1) == pytest.approx(-2)
    skewed = Usual.of(np.r_[values, 5 + np.abs(draw.randn(6))])
    assert skewed.spread > 2 * usual.spread  # a long tail is what is usual there
    assert Usual.of(np.ones(9)).spread > 0


def test_a_person_is_judged_by_the_others():
    people = [[{"residual": value}] for value in (1.0, 1.1, 0.9, 1.05, 0.95, 1.0, 1.02, 9.0)]
    scores = left_out_scores(people)
    assert max(scores[:-1]) < 3
    assert scores[-1] > 50


def test_strange_kinds_keep_outline_and_range(generator):
    volume = head(generator.space)
    mask = volume > 0.05
    kinds = dict(strange_kinds(volume, mask))
    assert len(kinds) == 7
    for name, image in kinds.items():
        assert not image[~mask].any(), name
        assert image.min() >= 0 <= image.max() <= 1
        assert np.abs(image - volume).max() > 0.2, name


def test_regions_are_where_they_are_called():
    space = Space((40, 48, 40), nib.affines.from_matvec(np.diag([4.0] * 3), [-78, -120, -70]))
    volume = head(space)
    masks = region_masks(volume > 0.05, space)
    assert sum(len(index) for index in masks.values()) == np.count_nonzero(volume > 0.05)
    middle = {
        name: nib.affines.apply_affine(
            space.affine, np.argwhere(np.isin(np.arange(volume.size), index).reshape(volume.shape))
        ).mean(axis=0)
        for name, index in masks.items()
    }
    for name in NAMES[:6]:
        assert middle[f"left {name}"][0] < -5 < 5 < middle[f"right {name}"][0]
    assert middle["left frontal lobe"][1] > middle["left parietal lobe"][1] + 30
    assert middle["left parietal lobe"][2] > middle["left temporal lobe"][2] + 20
    assert middle["left occipital lobe"][1] < middle["left temporal lobe"][1] - 20
    assert middle["brain stem"][2] < middle["ventricles"][2] - 20
    # Stored from right to left and upside down, everything has the same name.
    flipped = np.ascontiguousarray(volume[::-1, :, ::-1])
    corner = nib.affines.apply_affine(space.affine, [39, 0, 39])
    there = Space(volume.shape, nib.affines.from_matvec(np.diag([-4.0, 4.0, -4.0]), corner))
    again = region_masks(flipped > 0.05, there)
    assert {k: len(v) for k, v in again.items()} == {k: len(v) for k, v in masks.items()}


def test_residuals_are_the_definition():
    difference = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    rows = residuals_by_region(difference, {"a": np.array([0, 3]), "b": np.arange(4, 24)})
    assert rows["a"] == {"rms": np.sqrt(4.5), "mean": 1.5, "share": 2 / 22}


def test_half_of_the_brain_covered_is_still_measured(generator):
    guess = first_guess(generator, generator.template, generator.template)
    assert guess.w is None
    mask = np.zeros(generator.shape, bool)
    mask[3:6, 3:6, 3:6] = True  # too small to leave its border out
    found = signs.measure_signs(
        LatentPrior.of(generator), guess, generator.template, generator.template, mask, (8, 8, 8)
    )
    assert found["residual"] == 0
    assert all(np.isfinite(value) for value in found.values())


def test_too_few_people_and_other_grids_are_refused(generator, tmp_path):
    few = write_people(tmp_path / "few", generator.space, count=16)
    with pytest.raises(StyleGAN3DError, match="at least 8"):
        calibrate(generator, few)
    other = write_people(tmp_path / "other", Space((12, 14, 12), np.diag([16.0] * 3 + [1])), 40)
    with pytest.raises(StyleGAN3DError, match="different grid"):
        calibrate(generator, other)
