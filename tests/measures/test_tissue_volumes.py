"""Tissue volumes are those of the tissue network wherever it can be used, and say so where not."""

import csv
import io

import numpy as np
import pytest

from stylegan3d.base import ModelError
from stylegan3d.geometry.space import Space
from stylegan3d.measures.attributes import VOLUMES, read_tissues, table_text
from stylegan3d.segmentation import inference

KNOWN = Space(
    (60, 70, 60), np.array([[2.0, 0, 0, -59], [0, 2, 0, -94], [0, 0, 2, -47], [0, 0, 0, 1]])
)
COARSE = Space(
    (30, 35, 30), np.array([[4.0, 0, 0, -58], [0, 4, 0, -93], [0, 0, 4, -46], [0, 0, 0, 1]])
)


def ball(space: Space) -> np.ndarray:
    """White matter inside grey, 50 mm."""
    index = np.moveaxis(np.indices(space.shape), 0, -1)
    mm = index @ space.affine[:3, :3].T + space.affine[:3, 3]
    radius = np.sqrt(((mm - [0, -24.5, 12.4]) ** 2).sum(-1))
    return np.select([radius < 35, radius < 50], [0.95, 0.6], 0.0).astype(np.float32)


def test_the_network_is_used_where_it_knows_the_voxels():
    found = read_tissues(ball(KNOWN), KNOWN)
    segmenter = inference.bundled_segmenter()
    expected = segmenter.segment(ball(KNOWN), KNOWN).volumes
    assert found.volumes == {key: expected[key.removesuffix("_ml")] for key in VOLUMES}
    assert found.how == f"by the tissue network {segmenter.name} ({segmenter.hash[:8]})"
    assert found.masks["white matter"].sum() * 0.008 == pytest.approx(found.volumes["white_ml"])
    # What is brighter than bright counts as bright.
    bright = np.where(ball(KNOWN) > 0.9, 1.0, ball(KNOWN)).astype(np.float32)
    brighter = np.where(bright == 1, 1.5, bright).astype(np.float32)
    assert read_tissues(brighter, KNOWN).volumes == read_tissues(bright, KNOWN).volumes


def test_elsewhere_intensities_have_to_do_and_it_is_said():
    found = read_tissues(ball(COARSE), COARSE)
    assert found.how.startswith("by intensity alone, which is rough: the tissue network labels")
    assert "2 x 2 x 2 mm" in found.how
    assert np.isnan([found.volumes["csf_ml"], found.volumes["other_ml"]]).all()
    grey_and_white = found.volumes["grey_ml"] + found.volumes["white_ml"]
    assert found.volumes["brain_ml"] == pytest.approx(grey_and_white)
    assert "csf_ml" not in found.to_dict()


def test_a_network_that_is_gone_is_told_of(monkeypatch):
    def gone():
        raise ModelError("There is no tissue network.")

    monkeypatch.setattr(inference, "bundled_segmenter", gone)
    assert read_tissues(ball(COARSE), COARSE).how.endswith("There is no tissue network")


def test_a_table_has_a_row_for_each_brain_and_no_nan():
    found = [read_tissues(ball(COARSE), COARSE), read_tissues(0 * ball(KNOWN), KNOWN)]
    rows = list(csv.DictReader(io.StringIO(table_text(["a", "b"], found))))
    assert [row["name"] for row in rows] == ["a", "b"]
    # The table has two decimals.
    assert float(rows[0]["grey_ml"]) == pytest.approx(found[0].volumes["grey_ml"], abs=0.01)
    assert {rows[1][key] for key in VOLUMES} == {""}
    assert "tissue network" in rows[1]["measured"]
