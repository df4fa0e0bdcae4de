"""Open image files without trusting their headers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib

from stylegan3d.scans import checks
from stylegan3d.storage.formats import format_of


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence nibabel's console output; relevant problems are checked here."""
    log = nib.imageglobals.logger
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def open_image(path: Path) -> Any:
    """A nibabel image of a file, with its data not loaded yet.

    Raises
    ------
    ScanError
        If it is not an image file, or claims an impossible size.
    """
    checks.check_file(path)
    form = format_of(path)
    if form is not None and (opener := form.open_with()) is not None:
        return opener(path)
    checks.check_nifti_header(path)
    checks.check_claim(path)
    try:
        with _quiet():
            image = nib.load(path)
    except checks.READ_ERRORS as error:
        raise checks.damaged(path, error) from error
    return image
