"""Files whose header leaves left and right open."""

from pathlib import Path

import nibabel as nib
import numpy as np

VOXEL_MM = 6.0


def save_open(path: Path, voxels: np.ndarray) -> None:
    """Save with an sform and a qform that are mirror images of each other."""
    affine = np.diag([VOXEL_MM, VOXEL_MM, VOXEL_MM, 1])
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(np.diag([-1, 1, 1, 1]) @ affine, 1)
    image.set_qform(affine, 1)
    nib.save(image, path)


def scan_and_lesion(folder: Path) -> np.ndarray:
    """Save scan.nii.gz and lesion.nii.gz, on one side of it; which voxels are marked."""
    data = np.zeros((20, 22, 24), np.float32)
    data[4:17, 4:19, 4:21] = 100 + np.arange(13.0)[:, None, None]
    marked = np.zeros(data.shape, np.uint8)
    marked[5:8, 9:12, 9:12] = 1
    save_open(folder / "scan.nii.gz", data)
    save_open(folder / "lesion.nii.gz", marked)
    return marked > 0


#: What `in_doubt` makes doubtful.
KINDS = {"contrast-agent", "sides"}


def in_doubt(path: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    """A scan whose name tells of a contrast agent and whose header leaves the sides open."""
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, 1)
    image.set_qform(affine @ np.diag([-1.0, 1, 1, 1]), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def said_in(text: str) -> set[str]:
    """Kinds of `KINDS` whose sentences are in a text."""
    words = " ".join(text.split())
    told = {"contrast-agent": "contrast agent", "sides": "disagree about left and right"}
    return {kind for kind, sentence in told.items() if sentence in words}
