"""Small folders of scans to prepare, made of the mean brain at 4 mm."""

from pathlib import Path

import nibabel as nib
import numpy as np

from stylegan3d.geometry.space import Space
from stylegan3d.scans.resampling import resample

MEAN_BRAIN = Path(__file__).parent / "scans" / "mean-brain-4mm.nii.gz"


def prepared(target, seed):
    """A brain on the target's grid, ready to train on."""
    tilt = 1 + 0.2 * np.random.RandomState(seed).uniform(-1, 1, target.template.shape)
    brain = np.where(target.template > 0.2, target.template * tilt, 0)
    return np.rint(np.clip(brain, 0, 1) * 255).astype(np.uint8)


def save_prepared(path, target, seed, dtype=np.uint8):
    data = prepared(target, seed)
    if dtype != np.uint8:
        data = (data / 255).astype(dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, target.space.affine), path)


def save_raw(path, target, seed):
    """The same kind of brain in a scanner's units, on another grid."""
    affine = np.diag([-3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = [80, -125, -92]
    space = Space((54, 74, 64), affine)
    data = resample(prepared(target, seed).astype(np.float32), target.space, space)
    data[data < 12] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.rint(data * 4).astype(np.int16), affine), path)


def make_study(folder, target):
    """Two prepared people, a raw one, a bad file, a label map and a table."""
    save_prepared(folder / "sub-01_T1w.nii.gz", target, 1)
    save_prepared(folder / "sub-02_T1w.nii.gz", target, 2, np.float32)
    save_raw(folder / "sub-03_T1w.nii.gz", target, 3)
    (folder / "sub-04_T1w.nii.gz").write_text("not a scan")
    save_prepared(folder / "sub-01_dseg.nii.gz", target, 9)
    (folder / "template_T1w.nii.gz").write_bytes(MEAN_BRAIN.read_bytes())
    (folder / "participants.tsv").write_text(
        "participant_id\tsplit\tage\tsex\tlicence\tgroup\n"
        "sub-01\ttrain\t35.5\tM\tCC0\ta\n"
        "sub-02\tvalidation\tn/a\tF\tPDDL\tb\n"
        "sub-03\ttrain\t20\tn/a\tCC0\tn/a\n"
    )
    return folder


def write_splits(folder, **splits):
    lines = [f"sub-{person[1:]}\t{split}" for person, split in splits.items()]
    (folder / "participants.tsv").write_text("\n".join(["participant_id\tsplit", *lines]))
