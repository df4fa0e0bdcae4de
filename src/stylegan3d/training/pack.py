"""A packed data set: every training volume in one memory-mappable file beside one table.

A pack is a folder::

    volumes.npy       uint8 [n, X, Y, Z], C order, 0 outside the brain, 255 = the 99.5th percentile
    dataset.json      the grid, one row per volume (name, person, split, age, ...), what was refused
    template.nii.gz   mean of the training volumes, to align further scans to

`volumes.npy` is read through a memory map, so that a data set larger than the memory still trains.
"""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import StyleGAN3DError
from ..space import Space

FORMAT = "stylegan3d-pack"
FORMAT_VERSION = 1
VOLUMES, TABLE, TEMPLATE = "volumes.npy", "dataset.json", "template.nii.gz"


@dataclass(frozen=True, eq=False)
class Pack:
    """A packed data set, open for reading.

    Attributes
    ----------
    path : Path
        The pack's folder.
    volumes : ndarray, uint8 [n, X, Y, Z]
        Memory-mapped; divide by 255 for intensities in [0, 1].
    space : Space
        The grid all volumes share.
    table : list of dict
        One row per volume: "name", "person", "file", "sha256", "split" ("train" or "validation"),
        "age" (years or None), "sex" ("M", "F" or None), "licence", "prepared" ("as it was" or
        "aligned"), "quality" (correlation with the mean brain), "brain_ml", "checks" (warnings),
        "key" (of the file and the settings) and every further column of participants.tsv.
    info : dict
        The rest of dataset.json: "refused" files with reasons, "licences", "settings".
    """

    path: Path
    volumes: np.ndarray
    space: Space
    table: list[dict[str, Any]]
    info: dict[str, Any]

    def __len__(self) -> int:
        return len(self.table)

    def indices(self, split: str) -> np.ndarray:
        """Rows of one split ("train" or "validation"), int64, ascending."""
        return np.array([i for i, row in enumerate(self.table) if row["split"] == split], np.int64)

    def column(self, name: str) -> list[Any]:
        """One column of the table; None where a row has no such value."""
        return [row.get(name) for row in self.table]

    @property
    def template(self) -> np.ndarray:
        """Mean of the training volumes, float32 (X, Y, Z) in [0, 1]."""
        return np.asarray(nib.load(self.path / TEMPLATE).dataobj, dtype=np.float32)


def load_pack(path: str | Path) -> Pack:
    """Open a packed data set.

    Parameters
    ----------
    path : path
        The folder `prepare` wrote.

    Raises
    ------
    StyleGAN3DError
        If the folder is not a pack, is of another version, or its files do not fit together.
    """
    path = Path(path)
    try:
        info = json.loads((path / TABLE).read_text(encoding="utf-8"))
        volumes = np.load(path / VOLUMES, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise StyleGAN3DError(
            f"{path} is not a prepared data set ({Path(error.filename).name} is missing); "
            f"make one with `stylegan3d prepare FOLDER --out {path}`."
        ) from error
    except (OSError, ValueError) as error:
        raise StyleGAN3DError(
            f"{path} is damaged and cannot be read ({error}); run `stylegan3d prepare` again."
        ) from error
    if info.get("format") != FORMAT or info.get("version") != FORMAT_VERSION:
        raise StyleGAN3DError(
            f"{path} was not written by this version of `stylegan3d prepare`; prepare it again."
        )
    space = Space(tuple(info.pop("shape")), np.array(info.pop("affine"), dtype=np.float64))
    table = info.pop("table")
    if volumes.shape != (len(table), *space.shape) or volumes.dtype != np.uint8:
        raise StyleGAN3DError(
            f"{path}: volumes.npy {volumes.shape} does not fit its table of {len(table)} rows; "
            "run `stylegan3d prepare` again."
        )
    return Pack(path, volumes, space, table, info)


def write_pack(
    path: Path,
    rows: list[dict[str, Any]],
    volume_of: Callable[[dict[str, Any]], np.ndarray],
    space: Space,
    info: dict[str, Any],
) -> None:
    """Write a pack; `volume_of(row)` gives the row's uint8 (X, Y, Z) volume.

    Each file replaces its predecessor in one step, the table last: an interrupted run leaves the
    old pack or the new one, or a table that does not fit and is refused by `load_pack`.
    """
    path.mkdir(parents=True, exist_ok=True)
    temporary = path / f".{VOLUMES}.{os.getpid()}"
    total = np.zeros(space.shape, dtype=np.float64)
    training = 0
    try:
        volumes = np.lib.format.open_memmap(
            temporary, mode="w+", dtype=np.uint8, shape=(len(rows), *space.shape)
        )
        for index, row in enumerate(rows):
            volumes[index] = volume_of(row)
            if row["split"] == "train":
                total += volumes[index]
                training += 1
        volumes.flush()
        del volumes
        os.replace(temporary, path / VOLUMES)
    finally:
        temporary.unlink(missing_ok=True)
    mean = (total / max(training, 1) / 255).astype(np.float32)
    replace_bytes(path / TEMPLATE, template_bytes(mean, space))
    head = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "shape": list(space.shape),
        "affine": space.affine.tolist(),
    }
    text = json.dumps(head | info | {"table": rows}, indent=1, ensure_ascii=False)
    replace_bytes(path / TABLE, text.encode())


def template_bytes(mean: np.ndarray, space: Space) -> bytes:
    """A template in [0, 1] as a .nii.gz of uint8 with a slope of 1/255; same input, same bytes."""
    image = nib.Nifti1Image(np.rint(mean * 255).astype(np.uint8), space.affine)
    image.set_sform(space.affine, code="aligned")
    image.set_qform(space.affine, code="aligned")
    image.header.set_slope_inter(1 / 255, 0)  # nibabel then writes the array's values as they are
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"Mean of training brains"
    return gzip.compress(image.to_bytes(), mtime=0)


def replace_bytes(path: Path, content: bytes) -> None:
    """Write a file in one step: whoever reads it sees the old content or the new, never a part."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
