"""Read volumes that are no scans: maps of another program, with any values."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stylegan3d.errors import ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.scans import checks
from stylegan3d.scans.opening import open_image


def read_map(path: Path) -> tuple[np.ndarray, Space]:
    """A volume as float32 (I, J, K), with 0 where it is not a number, and its grid.

    Raises
    ------
    ScanError
        If it is no volume of three axes, too large, or damaged.
    """
    image = open_image(path)
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3 or np.prod(np.asarray(shape, np.float64)) > checks.MAX_VOXELS:
        raise ScanError(
            f"{path} is not a volume: it has {' x '.join(map(str, image.shape))} values; give a "
            "NIfTI file with three axes."
        )
    checks.check_type(path, image.get_data_dtype())
    checks.check_content(path)
    try:
        data = np.asarray(image.dataobj, np.float32).reshape(shape)
    except (*checks.READ_ERRORS, MemoryError) as error:
        raise checks.damaged(path, error) from error
    checks.check_affine(path, np.asarray(image.affine))
    return np.nan_to_num(data, posinf=0.0, neginf=0.0), Space(shape, np.asarray(image.affine))
