"""Two bundled real scans with permissive licences, as napari samples."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

#: Key in the manifest to the start of the file's name in `samples/`.
SAMPLES = {"ucla-sub-04": "UCLA, subject 04", "novosibirsk-sub-09": "Novosibirsk, subject 09"}


def sample_path(key: str) -> Path:
    """Path of a sample scan.

    Raises
    ------
    ScanError
        If the installation lacks it.
    """
    from stylegan3d.errors import ScanError

    folder = Path(str(files("napari_stylegan3d"))) / "samples"
    found = sorted(folder.glob(f"{key}*.nii.gz"))
    if not found:
        raise ScanError(f"The sample scan {key} is missing: install napari-stylegan3d again.")
    return found[0]
