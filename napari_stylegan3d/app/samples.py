"""File > Open Sample: two real brains whose licences allow passing them on."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from napari_stylegan3d.app.reader import LayerTuple, read_scans
from napari_stylegan3d.core.text import _

#: Key in the manifest to the start of the file's name in `samples/`.
SAMPLES = {"ucla-sub-04": _("UCLA, subject 04"), "novosibirsk-sub-09": _("Novosibirsk, subject 09")}


def sample_path(key: str) -> Path:
    """Where the scan of that key lies.

    Raises
    ------
    ScanError
        If the installation lacks it.
    """
    from stylegan3d.errors import ScanError

    folder = Path(str(files("napari_stylegan3d"))) / "samples"
    found = sorted(folder.glob(f"{key}*.nii.gz"))
    if not found:
        raise ScanError(
            _("The sample scan {key} is missing: install napari-stylegan3d again.").format(key=key)
        )
    return found[0]


def ucla() -> list[LayerTuple]:
    """A T1-weighted head from UCLA (OpenNeuro)."""
    return read_scans(str(sample_path("ucla-sub-04")))


def novosibirsk() -> list[LayerTuple]:
    """A T1-weighted head from Novosibirsk."""
    return read_scans(str(sample_path("novosibirsk-sub-09")))
