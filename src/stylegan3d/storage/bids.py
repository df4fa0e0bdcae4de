"""Folders of results as BIDS derivatives: one description at the root, sources as BIDS URIs.

https://bids-specification.readthedocs.io/en/stable/common-principles.html#bids-uri
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

from stylegan3d.base import JsonView, OutputError
from stylegan3d.storage.about import PROGRAM
from stylegan3d.storage.encoding import read_json, to_json
from stylegan3d.storage.files import atomic_write_text
from stylegan3d.storage.formats import last_part, scan_stem

BIDS_VERSION = "1.10.0"
DESCRIPTION, IGNORE = "dataset_description.json", ".bidsignore"
#: Folders of a dataset below its root, from the outermost.
LEVELS = (r"sub-[A-Za-z0-9]+", r"ses-[A-Za-z0-9]+", r"anat")
#: How far above a folder the root of its dataset is looked for.
HIGHEST = 4
#: Name of the link to the dataset that the scans belong to.
RAW = "raw"
#: SpatialReference of a volume in the space of its scan: on the scan's voxels, or on others.
OWN_GRID, OWN_SPACE = "the scan's own grid", "the scan's own space"
#: What BIDS has no names for yet; at the root lies what a folder of one's own was asked for.
NOT_BIDS = Path(__file__).with_name("bidsignore.txt")


def root_of(folder: str | Path) -> Path:
    """Root of the dataset that results in a folder belong to, absolute.

    The nearest folder above that is described as a derivative, else the folder above `sub-`, else
    the folder itself.
    """
    folder = Path(os.path.abspath(folder))
    for place in (folder, *folder.parents[:HIGHEST]):
        if _described(place).get("DatasetType") == "derivative":
            return place
    place = folder
    for level in reversed(LEVELS):
        if re.fullmatch(level, place.name):
            place = place.parent
    return place


def place_of(stem: str) -> str:
    """Where the files of a scan with a BIDS name belong below the root; "" for other names."""
    found = re.match(r"(sub-[A-Za-z0-9]+)(?:_(ses-[A-Za-z0-9]+))?(?=_|$)", stem)
    return "" if found is None else "/".join([*filter(None, found.groups()), "anat"])


def entity(key: str, path: str | Path) -> str:
    """The last `key-label` of a path, such as sub-01; empty without one."""
    found = re.findall(rf"(?<![A-Za-z0-9]){key}-[A-Za-z0-9]+", Path(path).as_posix())
    return found[-1] if found else ""


def participant_of(path: str | Path) -> str:
    """BIDS label of whose scan a file is, from its name or a folder, else the scan's name.

    OAS1_0001_MR1 and OAS1_0002_MR1 are two people; only BIDS entities tell scans of one apart.
    """
    return entity("sub", path) or re.sub(r"_[a-z]+-[A-Za-z0-9]+(?=_|$)", "", scan_stem(path))


def describe(root: str | Path, generated_by: JsonView) -> None:
    """Describe an output folder as BIDS asks; a description that is there stays as it is.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    root = Path(os.path.abspath(root))
    raw = _raw_above(root)
    links = {} if raw is None else {RAW: Path(os.path.relpath(raw, root)).as_posix()}
    content = {
        "Name": f"Synthetic brains by {PROGRAM}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        **generated_by,
        **({"DatasetLinks": links} if links else {}),
    }
    files = {IGNORE: NOT_BIDS.read_text("utf-8"), DESCRIPTION: to_json(content)}
    if (root / DESCRIPTION).exists():
        return
    for name, text in files.items():
        try:
            if not (root / name).exists():
                atomic_write_text(root / name, text)
        except OutputError:
            if not (root / name).exists():  # else another run that saves here was quicker
                raise


def source_uri(folder: str | Path, file: str | Path) -> str:
    """A source as it is named in a sidecar in `folder`.

    Parameters
    ----------
    folder : path-like
        Of the sidecar.
    file : path-like
        The source as seen from the working folder, or its name where its folder is not known.

    Returns
    -------
    str
        "bids::sub-01/…" for a result of the same dataset, "bids:raw:sub-01/…" for a scan in the
        same place of the dataset around it; else the file's name alone, for folders name patients.
    """
    folder, name = Path(os.path.abspath(folder)), last_part(str(file))
    path, root = Path(os.path.abspath(file)), root_of(folder)
    known = str(file) != name or path.exists()
    if known and path.is_relative_to(root):
        return f"bids::{quote(os.fsencode(path.relative_to(root).as_posix()))}"
    raw = _raw_above(root)
    if raw is None:
        return name
    place = folder.relative_to(root) / name
    if known and path.is_relative_to(raw):
        place = path.relative_to(raw)
    return f"bids:{RAW}:{quote(os.fsencode(place.as_posix()))}" if (raw / place).exists() else name


def file_of(folder: str | Path, source: str) -> Path:
    """The file that a source of a sidecar in `folder` names, whether it is there or not."""
    found = re.fullmatch(rf"bids:({RAW})?:(.+)", source)
    if found is None:
        return Path(folder) / source
    root = root_of(folder)
    raw = _raw_above(root) if found[1] else root
    return (raw or root) / unquote(found[2], errors="surrogateescape")


def _raw_above(root: Path) -> Path | None:
    """The raw dataset that a folder of results lies in."""
    for place in root.parents[:HIGHEST]:
        found = _described(place)
        if found:
            return place if found.get("DatasetType", "raw") == "raw" else None
    return None


def _described(folder: Path) -> JsonView:
    """A folder's description; empty where it has none that can be read."""
    try:
        found = read_json(folder / DESCRIPTION)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, Mapping) else {}
