"""From a folder of T1 scans to a packed data set to train on.

Scans that already lie on the target grid (as the program itself writes them) are taken as they are;
all others are read, checked, brain-extracted, bias-corrected, aligned and normalised first. A file
that cannot be used is refused with its reason, and the rest goes on.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import StyleGAN3DError
from ..scans.target import Target, load_template
from ..space import Space
from .pack import Pack, load_pack, write_pack
from .sources import Source, find_sources, read_participants, sha256_of, split_of

__all__ = ["Pack", "load_pack", "prepare"]

# Part of what identifies finished work: raise it when the same scan would now come out differently.
PIPELINE = 1
_log = logging.getLogger(__name__)


def prepare(
    folder: str | Path,
    out: str | Path,
    *,
    target: Target | None = None,
    skull: str = "auto",
    bias_correction: bool = True,
    min_quality: float = 0.85,
    validation: float = 0.1,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> Pack:
    """Prepare the T1 scans of a folder for training."""
    folder, out = Path(folder), Path(out)
    sources = find_sources(folder)
    people = read_participants(folder)
    target = target or _target_of(folder)
    _check_out(out)
    rows, refused = [], []
    volumes = {}
    for done, source in enumerate(sources):
        if progress:
            progress(done, len(sources), source.name)
        data = read_prepared(folder / source.file, target.space)
        if data is None:
            refused.append({"file": source.file, "reason": "not on the grid"})
            continue
        volumes[source.name] = data
        known = people.get(source.person, {})
        rows.append(
            {
                "name": source.name,
                "person": source.person,
                "file": source.file,
                "sha256": sha256_of(folder / source.file),
                "prepared": "as it was",
                **known,
                "split": split_of(source.person, known, validation),
            }
        )
    write_pack(out, rows, lambda row: volumes[row["name"]], target.space, {"refused": refused})
    return load_pack(out)


def _check_out(out: Path) -> None:
    if out.is_file():
        raise StyleGAN3DError(f"{out} is a file; give a folder for the prepared data set.")


def _target_of(folder: Path) -> Target:
    """The folder's own template, else the bundled generator's."""
    for path in sorted(folder.glob("template*.nii.gz")):
        return load_template(path)
    from ..generator import load  # late: the networks are not needed where a template is given

    return load(device="cpu")


def read_prepared(path: Path, space: Space) -> np.ndarray | None:
    """The volume of a file that is ready to train on, uint8 (X, Y, Z), or None if it is not."""
    try:
        image = nib.load(path)
        if not space.same_as(Space(image.shape, image.affine)):
            return None
        data = np.asanyarray(image.dataobj)
    except Exception:  # whatever is wrong with it, reading it as a raw scan will say so in words
        return None
    if data.dtype != np.uint8:
        if not (np.isfinite(data).all() and data.min() >= 0 and data.max() <= 1):
            return None
        data = np.rint(data * 255).astype(np.uint8)
    # A brain alone on the grid leaves well over a third of it empty; a whole head does not.
    return data if 0.35 < np.mean(data == 0) < 0.98 else None
