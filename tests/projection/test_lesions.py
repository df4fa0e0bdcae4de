"""A lesion of white matter beside fluid: found by the network, and shown on the residual map."""

import numpy as np
import pytest
from bundled import bundled, random_brain
from tiny import tiny_generator

from stylegan3d.measures.lesions import suspect_lesions
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


def judged(generator, volume):
    mask = volume > 0
    seen = see(generator, volume, mask)
    prior, yardstick = LatentPrior.of(generator), Yardstick.of(generator)
    return judge_scan(seen, prior, volume, mask, generator, yardstick)


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
