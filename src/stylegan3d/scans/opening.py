"""Open an image file without believing what its header claims."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib

from . import checks


def open_image(path: Path) -> Any:
    """nibabel's image of a NIfTI or MGH file, whose numbers are still to be read.

    Raises
    ------
    ScanError
        If it is no such file, or claims to be larger than it can be.
    """
    checks.check_file(path)
    checks.check_nifti_header(path)
    checks.check_claim(path)
    try:
        image = nib.load(path)
    except checks.READ_ERRORS as error:
        raise checks.damaged(path, error) from error
    return image
