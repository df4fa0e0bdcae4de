"""Where calibrated sites are kept, and their names; see `projection.site`."""

from __future__ import annotations

import re
from pathlib import Path

import platformdirs

from stylegan3d.errors import StyleGAN3DError

SUFFIX, REPEATS_SUFFIX = ".site.safetensors", ".repeats.json"
# A name becomes a file's name.
_NAME = re.compile(r"\w[\w .-]{0,59}", re.ASCII)


def sites_folder() -> Path:
    """The folder of the calibrated sites."""
    return platformdirs.user_data_path("napari-stylegan3d") / "sites"


def site_names() -> list[str]:
    """Names of the calibrated sites."""
    return _names(SUFFIX)


def repeats_names() -> list[str]:
    """Names of the sites that know how far their own repeated scans differ."""
    return _names(REPEATS_SUFFIX)


def site_path(name: str) -> Path:
    """The file of a site; StyleGAN3DError if the name is unsuitable."""
    return _path(name, SUFFIX)


def repeats_path(name: str) -> Path:
    """The file of a site's repeated scans; StyleGAN3DError if the name is unsuitable."""
    return _path(name, REPEATS_SUFFIX)


def _names(suffix: str) -> list[str]:
    return sorted(path.name.removesuffix(suffix) for path in sites_folder().glob(f"*{suffix}"))


def _path(name: str, suffix: str) -> Path:
    if not _NAME.fullmatch(name) or name.endswith((".", " ")):
        raise StyleGAN3DError(
            f"'{name}' cannot be the name of a site: use letters, digits, blanks, dots and dashes."
        )
    return sites_folder() / f"{name}{suffix}"
