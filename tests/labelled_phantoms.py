"""Brains of known tissues: a pack with label maps to train a tissue network on."""

import nibabel as nib
import numpy as np

from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.geometry.space import Space
from stylegan3d.segmentation.classes import CLASSES

SHAPE = (20, 24, 16)
SPACE = Space(SHAPE, nib.affines.from_matvec(np.diag([4.0, 4.0, 4.0]), [-38, -46, -30]))
#: Of background, fluid, grey, white, ventricle, brain stem.
INTENSITIES = np.array([0.0, 0.3, 0.6, 0.9, 0.2, 0.8])
#: The values in the label maps, which are not the network's.
VALUES = (0, 7, 30, 41, 4, 35)


def tissues(size=1.0):
    """uint8 (20, 24, 16): shells of fluid, grey and white matter, a ventricle, a stem."""
    x, y, z = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    radius = np.sqrt(x**2 + y**2 + z**2) / size
    labels = np.zeros(SHAPE, np.uint8)
    for index, reach in ((1, 0.95), (2, 0.82), (3, 0.6)):
        labels[radius < reach] = index
    labels[radius < 0.28] = 4
    labels[(abs(x) < 0.25) & (abs(y) < 0.25) & (z < -0.4) & (radius < 0.8)] = 5
    return labels


def brain(labels, seed=0):
    """uint8 intensities of labels, with a little noise inside."""
    noise = np.random.default_rng(seed).normal(0, 0.02, labels.shape) * (labels > 0)
    return np.clip(255 * (INTENSITIES[labels] + noise), 0, 255).astype(np.uint8)


def write_labelled(folder):
    """Six people in a pack at `folder/pack`, label maps of five in `folder`; the pack."""
    rows = [
        {
            "name": f"sub-{i}",
            "file": f"sub-{i}_T1w.nii.gz",
            "split": "validation" if i >= 4 else "train",
            "source": "phantom",
            "licence": "CC0",
            "index": i,
        }
        for i in range(6)
    ]
    maps = [tissues(0.9 + 0.02 * i) for i in range(6)]

    def volume_of(row):
        return brain(maps[row["index"]], row["index"])

    write_pack(folder / "pack", rows, volume_of, SPACE, {})
    for i, labels in enumerate(maps):
        if i != 2:
            image = nib.Nifti1Image(np.array(VALUES, np.int16)[labels], SPACE.affine)
            image.to_filename(folder / f"sub-{i}_dseg.nii.gz")
    names = [f"{value}\tpart {value}\t{name}" for value, name in zip(VALUES, CLASSES, strict=True)]
    (folder / "labels.tsv").write_text("\n".join(["index\tname\ttissue", *names]) + "\n")
    return load_pack(folder / "pack")
