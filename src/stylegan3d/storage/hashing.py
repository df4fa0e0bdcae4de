"""The hash that names files: of scans, latents, directions."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from stylegan3d.storage.bounded import check_holes

PIECE = 2**20


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes, read in pieces.

    Reads no more than its stated size: some kernel files are endless.

    Raises
    ------
    ScanError
        If it is large and consists of holes.
    OSError
        If it cannot be read.
    """
    check_holes(path)
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        left = os.fstat(stream.fileno()).st_size
        while left > 0 and (piece := stream.read(min(left, PIECE))):
            digest.update(piece)
            left -= len(piece)
    return digest.hexdigest()
