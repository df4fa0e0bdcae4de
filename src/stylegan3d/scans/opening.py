"""Open an image file without believing what its header claims."""

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
    """Without nibabel's remarks on the console: what matters of them is checked and said here."""
    log = nib.imageglobals.logger
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def open_image(path: Path) -> Any:
    """An image of nibabel's kind of a volume's file, whose numbers are still to be read.

    Raises
    ------
    ScanError
        If it is no such file, or claims to be larger than it can be.
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
