"""Saving an image layer from napari as NIfTI, in RAS+ millimetres."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.utils.transforms import CompositeAffine

from napari_stylegan3d.views.captions import KEY, Provenance


def write_image(path: str, data: np.ndarray, meta: dict[str, Any]) -> list[str]:
    """Write one 3D image layer; the file is marked SYNTHETIC if the layer is.

    napari has already asked whether to overwrite an existing file.

    Raises
    ------
    OutputError
        If the layer is not a volume or the file cannot be written.
    """
    from stylegan3d.errors import OutputError
    from stylegan3d.storage.volumes import write_volume

    if data.ndim != 3 or meta.get("rgb"):
        raise OutputError("Only 3D images can be saved as NIfTI: choose one layer with three axes.")
    provenance = meta.get("metadata", {}).get(KEY)
    known = isinstance(provenance, Provenance)
    write_volume(
        path,
        np.asarray(data),
        layer_affine(meta),
        description=str(meta.get("name", "")),
        sidecar={"Description": provenance.one_line if known else "Saved from napari."},
        overwrite=True,
        synthetic=known and provenance.kind != "scan",
    )
    return [path]


def layer_affine(meta: dict[str, Any]) -> np.ndarray:
    """(4, 4) voxel indices to the world's millimetres, from a layer's attributes."""
    voxels = CompositeAffine(
        scale=meta.get("scale", (1, 1, 1)),
        translate=meta.get("translate", (0, 0, 0)),
        rotate=meta.get("rotate"),
        shear=meta.get("shear"),
        ndim=3,
    ).affine_matrix
    world = meta.get("affine")
    return np.asarray(voxels) if world is None else np.asarray(world) @ np.asarray(voxels)
