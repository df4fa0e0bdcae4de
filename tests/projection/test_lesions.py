"""A lesion of white matter beside fluid: found by the network, and shown on the residual map."""

from types import SimpleNamespace

import numpy as np
import pytest
from bundled import bundled, random_brain
from tiny import tiny_generator

from stylegan3d.base import Doubt, ModelError
from stylegan3d.geometry.space import Space
from stylegan3d.measures import lesions
from stylegan3d.measures.lesions import LEAST, suspect_lesions
from stylegan3d.projection.assessment import Yardstick, judge_scan, see
from stylegan3d.projection.problem import LatentPrior
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import bundled_segmenter


@pytest.fixture(scope="module")
def generator():
    return bundled()


@pytest.fixture(scope="module")
def healthy():
    return random_brain(3).astype(np.float32) / 255


def judged(generator, volume, mask=None, **more):
    mask = volume > 0 if mask is None else mask
    seen = see(generator, volume, mask)
    prior, yardstick = LatentPrior.of(generator), Yardstick.of(generator)
    return judge_scan(seen, prior, volume, mask, generator, yardstick, **more)


def placed(generator, volume, *doubts):
    """A brain that lies as the model's, with doubts."""
    scan, mask, space = SimpleNamespace(affine=generator.affine), volume > 0, generator.space
    there = {"scan": scan, "rigid": np.eye(4), "space": space, "brain_mask": mask}
    return SimpleNamespace(**there, undiluted=volume, doubts=doubts)


def test_a_lesion_beside_a_ventricle_is_found_and_shown(generator, healthy):
    labels = bundled_segmenter().segment(healthy, generator.space).labels
    white = labels == CLASSES.index("white")
    ventricle = np.argwhere(labels == CLASSES.index("ventricle"))
    # White matter 10 mm beside the ventricle's left side.
    middle = ventricle[ventricle[:, 0] < 36].mean(axis=0)
    places = np.argwhere(white & (np.indices(white.shape)[0] < middle[0] - 4))
    center = places[np.linalg.norm(places - middle, axis=1).argmin()]
    away = np.linalg.norm((np.indices(white.shape).T - center) * 2.0, axis=-1).T
    lesion = (away < 8) & white
    volume = np.where(lesion, 0.62 * healthy, healthy).astype(np.float32)
    before, _ = judged(generator, healthy)
    assert before["verdicts"]["focal"]["level"] == "green"
    after, z = judged(generator, volume)
    assert after["verdicts"]["focal"]["level"] != "green"
    (finding,) = after["findings"]
    mm = generator.affine[:3, :3] @ center + generator.affine[:3, 3]
    assert np.linalg.norm(np.array(finding["center_mm"]) - mm) < 8
    assert finding["peak_z"] < 0, "it is darker"
    assert np.count_nonzero(z[lesion]) > 0.4 * lesion.sum(), "the map shows it, too"


def test_a_cut_is_no_lesion_and_what_was_cut_is_not_judged(generator, healthy):
    height = np.indices(healthy.shape)[2]
    volume = np.where(height > height[healthy > 0].max() - 9, 0, healthy)
    assert judged(generator, volume)[0]["findings"], "else this tests nothing"
    told = Doubt("field-of-view", "ask", "The brain reaches the top.", {"edge_cm2": {"S": 90.0}})
    found = judged(generator, volume, placed=placed(generator, volume, told))[0]
    assert found["findings"] is None
    (first, why), *others = found["verdicts"].items()
    assert (first, why["sentence"]) == ("acquisition", told.sentence), "the cause comes first"
    assert {one["sentence"] for _, one in others} == {"It cannot be judged in an incomplete scan."}
    # A lesion elsewhere is found.
    places = np.indices(healthy.shape).T
    lesion = (np.linalg.norm((places - (28, 70, 50)) * 2.0, axis=-1).T < 12) & (volume > 0)
    ill = np.where(lesion, 0.3 * volume, volume)
    assert judged(generator, ill, placed=placed(generator, ill, told))[0]["findings"]


def test_what_is_masked_is_not_missing(generator, healthy):
    places = np.indices(healthy.shape).T
    masked = (np.linalg.norm((places - (28, 56, 48)) * 2.0, axis=-1).T < 16) & (healthy > 0)
    known = (healthy > 0) & ~masked
    options = {"is_complete": False, "placed": placed(generator, healthy)}
    found = judged(generator, healthy, known, **options)[0]
    assert not [doubt for doubt in found["doubts"] if doubt.kind == "brain-missing"]
    assert "missing" not in found["verdicts"]["acquisition"]["sentence"]


def test_a_scan_that_is_washed_out_has_the_same_lesions(generator, healthy):
    """The network knows one contrast: in a faint one healthy folds looked like lesions to it."""
    mask = healthy > 0
    faint = np.where(mask, 0.6 + 0.3 * healthy, 0).astype(np.float32)
    first, second = (suspect_lesions(v, mask, generator.space) for v in (healthy, faint))
    # float32 of the network
    np.testing.assert_allclose(first.probability, second.probability, atol=0.02)


def test_a_grid_that_the_network_does_not_know_is_left_alone():
    generator = tiny_generator()
    volume = np.full(generator.shape, 0.5, np.float32)
    assert suspect_lesions(volume, volume > 0, generator.space) is None


@pytest.mark.parametrize("brightness", [0.25, 0.6, 1.3], ids=["cavity", "mass", "blood"])
def test_a_lesion_is_as_large_as_it_is(generator, healthy, brightness):
    """Of a large one the network alone marks a part, or fluid beside it, too."""

    def dice(one, other):
        return 2 * (one.ravel() & other.ravel()).sum() / (one.sum() + other.sum())

    mask, space, white = healthy > 0, generator.space, float(np.median(healthy[healthy > 0.7]))
    places = np.indices(healthy.shape).T
    draw = np.random.default_rng(0)
    for center in np.array([[26, 70, 62], [54, 34, 60], [24, 52, 34]]):
        lesion = (np.linalg.norm((places - center) * 2.0, axis=-1).T < 14) & mask
        inside = white * (brightness + 0.03 * draw.standard_normal(healthy.shape))
        volume = np.where(lesion, inside, healthy).astype(np.float32)
        volume = np.where(mask, np.clip(volume / max(1, brightness), 0.01, 1), 0)
        found = suspect_lesions(volume, mask, space)
        near = [c for c in found.clusters if c.size > found.limit and lesion.flat[c.index].any()]
        outlined = np.isin(np.arange(lesion.size), np.concatenate([c.index for c in near]))
        # Within 1.5 times: what is asked of the size of a finding.
        assert 1 / 1.5 < outlined.sum() / lesion.sum() < 1.5
        assert dice(outlined, lesion) > 0.8
        assert dice(outlined, lesion) > dice(found.probability > LEAST, lesion)


def test_no_voxel_is_of_two_lesions_and_none_is_left_without(monkeypatch):
    """What the outline of a larger one takes in is of that one; none keeps nothing."""
    found = np.zeros((30, 30, 30), np.float32)
    large, small, within = (slice(2, 12),) * 3, (slice(16, 22),) * 3, (slice(13, 15),) * 3
    for box in (large, small, within):
        found[box] = 0.95
    taken_in = np.zeros(found.shape, bool)
    taken_in[:15, :15, :15] = True
    card = {"validation": {"limit_ml": 0.01}, "outline": [[[[0.0]], [0.0]]]}
    network = SimpleNamespace(fits=lambda space: True, card=card, probability=lambda *args: found)
    space, inside = Space(found.shape, np.diag([2.0, 2.0, 2.0, 1.0])), np.ones(found.shape, bool)
    volume = np.full(found.shape, 0.5, np.float32)
    for damaged in ([[[[0.0]], [0.0]]], [[1.0]], {"a": 1}):
        card["outline"] = damaged
        with pytest.raises(ModelError, match="export it again"):
            suspect_lesions(volume, inside, space, network)
    monkeypatch.setattr(lesions, "outlined", lambda *args: np.flatnonzero(taken_in))
    first, second = suspect_lesions(volume, inside, space, network).clusters
    assert len(first.index) == 15**3
    assert len(second.index) == 6**3
    assert not set(first.index) & set(second.index)
