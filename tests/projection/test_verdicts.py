"""Verdicts: the scanner set aside, the residual z and its clusters, levels and sentences."""

import numpy as np
import pytest
from phantoms import head
from scipy import ndimage
from tiny import tiny_generator

from stylegan3d.base import Doubt, ModelError
from stylegan3d.geometry.space import Space
from stylegan3d.measures.attributes import FRAME_CENTER_MM, connected_fluid
from stylegan3d.measures.lesions import lesion_clusters
from stylegan3d.measures.regions import Cluster, find, region_masks
from stylegan3d.projection import assessment as residual
from stylegan3d.projection import assessment as verdicts
from stylegan3d.projection import scanner
from stylegan3d.projection.assessment import Seen, UsualResidual
from stylegan3d.projection.scanner import Matched, OutlineGaps, simulate_scanner
from stylegan3d.scans import verdicts as words

MM = (4.0, 4.0, 4.0)


@pytest.fixture(scope="module")
def space():
    shape = (40, 48, 40)
    affine = np.diag([*MM, 1.0])
    affine[:3, 3] = FRAME_CENTER_MM - 2 * (np.array(shape) - 1)
    return Space(shape, affine)


@pytest.fixture(scope="module")
def person(space):
    smooth = ndimage.gaussian_filter(np.random.RandomState(0).randn(*space.shape), 1.5)
    volume = head(space)
    return np.where(volume > 0.05, np.clip(volume + 0.5 * smooth, 0.06, 1), 0).astype(np.float32)


def test_a_scanner_is_set_aside_and_told(person):
    mask = person > 0.05
    field = np.linspace(0.85, 1.15, person.shape[0])[:, None, None]
    seen = np.where(mask, np.clip(person, 0, 1) ** 1.4 * field, 0).astype(np.float32)
    matched = scanner.match_scanner(seen, person, mask, MM)
    before = np.sqrt(np.mean((seen - person)[matched.core] ** 2))
    after = np.sqrt(np.mean((matched.volume - person)[matched.core] ** 2))
    assert after < 0.3 * before
    own = scanner.match_scanner(person, person, mask, MM).figures
    assert matched.figures["shading"] > 3 * own["shading"]
    assert matched.figures["grey"] < own["grey"] - 0.03
    assert set(own) == set(scanner.FIGURES)


def test_a_sharper_scan_is_blurred_to_match_and_called_sharper(person):
    mask = person > 0.05
    made = scanner.masked_blur(person, mask, 0.5)
    alike = scanner.match_sharpness(made, person, mask, MM)
    assert alike["blur_mm"] == 2.0
    assert alike["ssim"] > 0.98
    known = {"sharpness": {"middle": 1.0, "below": 0.1, "above": 0.1}}
    told = scanner.compare_figures({"sharpness": 1.45, "noise": 0.1}, known)
    assert told["sharpness"]["unusual"] == pytest.approx(4.5)
    assert "unusual" not in told["noise"]
    assert scanner.scanner_in_words(told) == "sharper"
    for most, beyond in ((1.4, True), (1.5, False)):
        simulated = {"sharpness": known["sharpness"] | {"least": 0.9, "most": most}}
        told = scanner.compare_figures({"sharpness": 1.45}, simulated)
        assert told["sharpness"]["beyond"] is beyond


def seen_with(difference, mask, expected):
    matched = Matched(expected.astype(np.float32), mask, {})
    none = np.zeros_like(mask)
    return Seen(None, expected, matched, difference.astype(np.float32), mask, none)


def test_a_lesion_is_found_at_its_place_and_size_and_healthy_people_have_none(space, person):
    mask = person > 0.05
    draw = np.random.RandomState(1)

    def drawn():
        return 0.2 * ndimage.gaussian_filter(draw.randn(*space.shape), 0.7)

    people = [seen_with(drawn(), mask, person) for _ in range(12)]
    usual = residual.usual_residual(people, space)
    largest = [
        residual.largest_ml(
            residual.residual_z(
                own, residual.usual_residual([p for p in people if p is not own], space)
            ),
            space,
        )
        for own in people
    ]
    limit = residual.limit_of(largest)
    assert sum(size > limit for size in largest) <= 1
    centre = np.array([12, 36, 24])  # left, in front
    near = np.linalg.norm(np.indices(space.shape).T - centre, axis=-1).T < 2
    assert mask[near].all()
    lesion = drawn() - 0.6 * near
    z = residual.residual_z(seen_with(lesion, mask, person), usual)

    def findings(z):
        return find([(limit, residual.residual_clusters(z, space))], z, mask, space)

    (found,) = findings(z)
    assert found["place"] == "left frontal lobe"
    assert found["peak_z"] < -3
    assert 0.4 < found["ml"] / (near.sum() * 0.064) < 1.6
    mm = space.affine[:3, :3] @ centre + space.affine[:3, 3]
    assert np.linalg.norm(np.array(found["center_mm"]) - mm) < 12
    rim = z.copy()
    rim[tuple(centre + np.array([2, 0, 0]))] = (
        9  # one bright voxel at its rim makes it no bright lesion
    )
    assert find([(limit, residual.residual_clusters(z, space))], rim, mask, space)[0]["peak_z"] < 0
    # A scan that differs everywhere is measured by its own spread.
    worse = residual.residual_z(seen_with(3 * drawn(), mask, person), usual)
    assert not findings(worse)


def test_fluid_that_is_connected_is_no_finding_and_a_cavity_is():
    mask = np.zeros((20, 20, 20), bool)
    mask[2:18, 2:18, 2:18] = True
    volume = np.where(mask, 0.6, 0).astype(np.float32)
    ventricles = np.zeros_like(mask)
    ventricles[9:11, 9:11, 9:11] = True
    volume[9:11, 9:11, 9:14] = 0.1  # the ventricle is larger than its mask
    volume[2:5, 5, 5] = 0.1  # a sulcus
    volume[14, 14, 14] = 0.1  # a cavity
    volume[6, 6, 6] = 0.45  # tissue, only darker
    tissues = {"ventricles": ventricles, "grey matter": mask & (volume > 0.5)}
    fluid = connected_fluid(volume, mask, tissues)
    assert set(zip(*np.nonzero(fluid), strict=True)) == {
        *((x, y, z) for x in (9, 10) for y in (9, 10) for z in range(9, 14)),
        *((x, 5, 5) for x in (2, 3, 4)),
    }
    assert not connected_fluid(volume, mask, {}).any()


def test_clusters_are_of_one_sign_and_the_largest_comes_first(space):
    z = np.zeros((8, 8, 8))
    z[1:3, 1, 1] = 4
    z[3, 1, 1] = -9
    z[6, 6, 6] = 2.4
    found = residual.residual_clusters(z, space)
    assert [cluster.size / space.voxel_ml for cluster in found] == pytest.approx([6.5, 3.0])
    assert [z.ravel()[cluster.peak] for cluster in found] == [-9, 4]
    assert sorted(found[1].index) == sorted(np.flatnonzero(z == 4))
    assert isinstance(found[0], Cluster)


def test_what_two_ways_find_is_named_once_and_the_most_unusual_first(space, person):
    mask = person > 0.05
    z = np.zeros(space.shape)
    z[20, 24, 20:23] = -6.0
    z[25, 30, 20] = 5.0
    probability = np.zeros(space.shape)
    probability[20, 24, 19:24] = 0.9
    probability[15, 20, 20] = 0.75
    shape = lesion_clusters(probability, space)
    ways = [(0.1, shape), (0.01, residual.residual_clusters(z, space))]
    found = find(ways, z, mask, space)
    ml = space.voxel_ml
    assert [f["ml"] for f in found] == [round(ml, 2), round(5 * ml, 2)]
    assert [f["unusual"] for f in found] == [round(2.5 * ml / 0.01, 2), round(10 / 3 * ml / 0.1, 2)]
    assert [f["peak_z"] for f in found] == [5.0, -6.0]
    middle = space.affine[:3, :3] @ [20, 24, 21] + space.affine[:3, 3]
    assert found[1]["center_mm"] == np.round(middle, 1).tolist(), "its middle stands for a lesion"


def test_a_finding_on_both_sides_is_named_on_both(space, person):
    mask, z = person > 0.05, np.zeros(space.shape)
    regions = region_masks(mask, space)
    z.flat[regions["left cerebellum"]] = z.flat[regions["right cerebellum"]] = 6.0
    (found,) = find([(0.01, residual.residual_clusters(z, space))], z, mask, space)
    assert sorted(found["place"].split(" and ")) == ["left cerebellum", "right cerebellum"]


def test_maps_are_read_back_and_a_damaged_file_is_refused(tmp_path):
    generator = tiny_generator()
    draw = np.random.RandomState(0)
    smooth = ndimage.gaussian_filter(draw.rand(*generator.shape), 2)
    data = residual.map_bytes(UsualResidual(smooth, smooth + 1))
    import hashlib

    entry = {"sha256": hashlib.sha256(data).hexdigest(), "limit": 1.0}
    generator.folder = tmp_path
    generator.card = {"trust": {"residual": entry}}
    with pytest.raises(ModelError, match="download the model again"):
        residual.load_maps(generator)
    (tmp_path / residual.FILE).write_bytes(data)
    found = residual.load_maps(generator)
    assert found.spread.shape == generator.shape
    assert np.abs(found.mean - smooth).max() < 0.05
    generator.__dict__.pop("_usual_residual")
    (tmp_path / residual.FILE).write_bytes(data[:-1] + b"x")
    with pytest.raises(ModelError, match="damaged"):
        residual.load_maps(generator)
    generator.card = {"trust": {}}
    assert residual.load_maps(generator) is None


def test_simulated_scanners_keep_a_brain_in_range_and_differ(person):
    mask = person > 0.05
    first, inside = simulate_scanner(person, mask, MM, seed=3)
    again, _ = simulate_scanner(person, mask, MM, seed=3)
    other, _ = simulate_scanner(person, mask, MM, seed=4)
    assert np.array_equal(first, again)
    assert np.abs(first - other).mean() > 0.005
    assert first.min() >= 0
    assert first.max() <= 1
    assert not first[~inside].any()
    assert (inside <= mask).all()


def row(unusual, value=50.0):
    return {"value": value, "usual": 20.0, "low": 10.0, "high": 40.0, "unusual": unusual}


def test_the_decisive_verdict_comes_first_and_each_has_its_own_reason():
    rows = {"ventricle_ml": row(4.0), "shape": row(-9.0), "brain_ml": row(0.0, 1400)}
    anatomy = verdicts.judge_anatomy(rows)
    assert anatomy["level"] == "amber"
    assert anatomy["sentence"].endswith("large ventricles (50 ml, usually 10 to 40 ml).")
    assert verdicts.judge_anatomy({"brain_ml": row(20.0)})["level"] == "red"
    cut = verdicts.judge_anatomy(rows, is_complete=False)
    assert cut["sentence"] == "It cannot be judged in an incomplete scan."
    for kind, where in verdicts.WHERE.items():
        refused = Doubt(kind, "refuse", "It is not as it should be: really.")
        for told in (verdicts.judge_anatomy(rows, refused), verdicts.judge_focal([], refused)):
            assert told == {"level": "amber", "sentence": f"It cannot be judged {where}."}
        acquisition = {"level": "red", "sentence": refused.sentence}
        found = {"verdicts": {"acquisition": acquisition}, "findings": [{"ml": 2.0}]}
        assert words.listed_findings(found) == ()
        why = "are withheld: the acquisition is unsuitable (it is not as it should be)"
        assert words.withheld((), found) == words.withheld([refused]) == why
    amber = {"acquisition": {"level": "amber", "sentence": ""}}
    of_reconstruction = Doubt("no-better-than-mean", "refuse", "It is no better.")
    assert words.withheld([of_reconstruction], {"verdicts": amber}) == ""
    assert words.listed_findings({"findings": [1]}) == [1]
    finding = {"place": "left frontal lobe", "ml": 2.04, "peak_z": -6.0, "unusual": 2.0}
    focal = verdicts.judge_focal([finding] * 5)
    assert focal["level"] == "amber"
    assert "left frontal lobe (2.0 ml, darker than expected)" in focal["sentence"]
    assert "and 2 more" in focal["sentence"]
    assert verdicts.judge_focal([{**finding, "unusual": 5.0}])["level"] == "red"
    green = {"level": "green", "sentence": ""}
    all_three = {"acquisition": green, "anatomy": anatomy, "focal": focal}
    ordered = verdicts.decisive_first(all_three)
    assert list(ordered) == ["focal", "anatomy", "acquisition"]
    assert verdicts.headline(ordered) == f"Focal: {focal['sentence']}"
    assert "Nothing unusual" in verdicts.headline(dict.fromkeys(all_three, green))


def test_an_acquisition_is_told_by_contrast_coverage_and_scanner(person):
    mask, whole = person > 0.05, OutlineGaps({}, {})
    full = {"coverage": {"value": 1.0}}
    assert verdicts.refusal(full, person, person, mask) is None
    alike = verdicts.judge_acquisition(full, None, whole)
    assert alike["level"] == "green"
    inverted = np.where(mask, 1 - person, 0)
    part = {"coverage": {"value": 0.7}}
    for figures, shown, kind in ((part, inverted, "contrast"), (part, person, "coverage")):
        refused = verdicts.refusal(figures, shown, person, mask)
        assert (refused.kind, refused.severity) == (kind, "refuse")
        assert set(refused.figures) == {{"contrast": "agreement"}.get(kind, kind)}
        told = verdicts.judge_acquisition(full, None, whole, refused=refused)
        assert told == {"level": "red", "sentence": refused.sentence}
    differs = {**full, "sharpness": {"value": 1.5, "unusual": 5.0}}
    told = verdicts.judge_acquisition(differs, None, whole)
    assert told["level"] == "amber"
    assert "(sharper)" in told["sentence"]
    assert "not calibrated" in told["sentence"]
    simulated = {**full, "sharpness": {"value": 1.5, "unusual": 5.0, "beyond": False}}
    allowed = verdicts.judge_acquisition(simulated, None, whole)
    assert allowed["level"] == "green"
    assert "(sharper)" in allowed["sentence"]
    at_site = verdicts.judge_acquisition(differs, "ward 3", whole)
    assert "site 'ward 3'" in at_site["sentence"]
    assert "not calibrated" not in at_site["sentence"]
    for outline, word in (
        (OutlineGaps({"left frontal lobe": 41.0}, {}), "41 ml at the left frontal lobe"),
        (OutlineGaps({}, {"right temporal lobe": 5.0}), "5 ml at the right temporal lobe"),
        (OutlineGaps(dark={"right temporal lobe": 7.0}), "7 ml at the right temporal lobe"),
    ):
        told = verdicts.judge_acquisition(full, None, outline)
        assert told["level"] == "amber"
        assert word in told["sentence"]
        (doubt,) = outline.doubts("ask")
        assert doubt.severity == "ask"
        assert all(f"{ml:.0f} ml at the {name}" in word for name, ml in doubt.figures.items())
    cut = verdicts.judge_acquisition(full, None, whole, "The top is cut off.")
    assert cut == {"level": "amber", "sentence": "The top is cut off."}
