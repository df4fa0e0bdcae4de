"""Parts of an evaluation give each figure beside the reference that it is compared with."""

import numpy as np
import pytest
from blobs import Stored
from tolerances import DOUBLE

from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.parts import fidelity
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.metrics.distances import Moments, bmmd2_intervals, expected_bmmd2


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
