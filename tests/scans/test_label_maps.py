"""Label maps are told from scans by what they hold."""

from __future__ import annotations

from importlib.resources import files

import nibabel as nib
import numpy as np
import pytest

from napari_stylegan3d.core.scans import SAMPLES, sample_path
from stylegan3d.scans import looks_like_labels


@pytest.mark.parametrize("name", ["regions", "ventricles"])
def test_atlases_are_label_maps(name):
    data = np.asarray(nib.load(str(files("stylegan3d") / f"atlas/{name}.nii.gz")).dataobj)
    assert looks_like_labels(data)
    assert looks_like_labels((data == 1).astype(np.float32)), "masks of floating-point type, too"
    assert not looks_like_labels(-data.astype(np.float32))
    assert not looks_like_labels(data * 0.5)


@pytest.mark.parametrize("key", SAMPLES)
def test_scans_are_none_however_few_grey_levels_they_have(key):
    data = np.asarray(nib.load(sample_path(key)).dataobj)
    assert not looks_like_labels(data)
    assert not looks_like_labels(np.round(data / data.max() * 255))


def test_labels_of_single_voxels_count():
    data = np.zeros((8, 8, 8))
    data[2, 3, 4] = data[6, 6, 6] = 7
    assert looks_like_labels(data)
