"""The scans of a cohort and their output folders."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from stylegan3d.errors import StyleGAN3DError
from stylegan3d.scans.sources import find_sources
from stylegan3d.storage.bids import place_of
from stylegan3d.storage.bounded import read_text, reason
from stylegan3d.storage.formats import same_place, scan_stem, suffixes

LISTS = (".txt", ".tsv", ".csv", ".list")


@dataclass(frozen=True)
class Item:
    """One scan of a cohort.

    Attributes
    ----------
    name : str
        Unique and reproducible: path below the folder, or file name.
    path : Path
        Absolute.
    folder : str
        Folder of its results below the output folder; "" for that folder itself.
    mask : Path or None
        Mask of a region to fill in, in the scan's space.
    original : Path or None
        Of a latent file, the scan it was projected from, where that does not lie beside it.
    """

    name: str
    path: Path
    folder: str
    mask: Path | None = None
    original: Path | None = None

    @property
    def participant(self) -> str:
        """BIDS label of whose scan it is, from its name or a folder, else the scan's name."""
        return _entity("sub", self.path) or scan_stem(self.path).partition("_")[0]

    def root(self, folder: Path) -> Path:
        """The output folder, from the folder of this scan's results in it."""
        below = len(Path(self.folder).parts)
        return folder.parents[below - 1] if below else folder

    @property
    def session(self) -> str:
        """BIDS label of the session, empty without."""
        return _entity("ses", self.path)


def _entity(key: str, path: Path) -> str:
    """The last `key-label` of a path, such as sub-01."""
    found = re.findall(rf"(?<![A-Za-z0-9]){key}-[A-Za-z0-9]+", path.as_posix())
    return found[-1] if found else ""


def holds_scans(path: Path) -> bool:
    """Whether a path is a list or a folder of volume files.

    A folder without volume files is taken as DICOM.
    """
    if path.is_dir():
        return any(p.name.lower().endswith(suffixes("scan")) for p in path.rglob("*"))
    return path.suffix.lower() in LISTS


def find_items(paths: Sequence[Path]) -> list[Item]:
    """The scans of folders (BIDS trees or plain ones), lists and single files, in order.

    A list is a text file with one scan per line, relative to the list's folder, optionally followed
    by a tab and its mask. Lines that start with # are ignored. Results of a folder's scans are
    written to the same subfolders of the output folder, as for BIDS derivatives; those of a list or
    of single files, and of a folder without subfolders, where BIDS has scans of these names
    (`sub-01/anat`), else to folders with their names.

    Raises
    ------
    StyleGAN3DError
        If there is no scan, or a list cannot be read.
    """
    items: list[Item] = []
    for path in paths:
        if path.is_dir():
            items += _of_folder(path)
        elif path.suffix.lower() in LISTS:
            items += _of_list(path)
        else:
            items.append(Item("", path.absolute(), ""))
    items = named(list(dict.fromkeys(items)))
    if not items:
        raise StyleGAN3DError("There is no scan to project; give a folder, a list or scans.")
    return items


def people_of(items: Sequence[Item]) -> list[list[Item]]:
    """The scans of each person, in order; without a `sub-` label each scan is a person's only."""
    people: dict[str, list[Item]] = {}
    for item in items:
        people.setdefault(_entity("sub", item.path) or str(item.path), []).append(item)
    return [sorted(scans, key=lambda item: str(item.path)) for scans in people.values()]


def _of_folder(folder: Path) -> list[Item]:
    files = [Path(source.file) for source in find_sources(folder).sources]
    # a.nii and a.mgz in one folder would write the same files; on Windows also A.nii and a.nii
    stems = Counter(same_place(str(file.parent / scan_stem(file))) for file in files)
    names = Counter(same_place(str(file)) for file in files)
    items = []
    for file in files:
        place = file.parent
        if stems[same_place(str(file.parent / scan_stem(file)))] > 1:
            place /= file.name.replace(".", "-")
        if names[same_place(str(file))] > 1:
            place /= hashlib.sha256(bytes(file)).hexdigest()[:8]
        name = file.as_posix()
        below = place_of(scan_stem(file)) if place == Path() else str(place)
        items.append(Item(name, (folder / file).absolute(), below))
    return items


def _of_list(path: Path) -> list[Item]:
    return [Item("", scan, "", mask) for scan, mask in lines_of(path)]


def lines_of(path: Path) -> list[tuple[Path, Path | None]]:
    """The files that a list names, absolute, each with the one that a tab sets off.

    Raises
    ------
    StyleGAN3DError
        If the list cannot be read.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StyleGAN3DError(
            f"{path} cannot be read as a list of scans ({reason(error)}); give a text file with "
            "one path a line."
        ) from error
    found: list[tuple[Path, Path | None]] = []
    for line in lines:
        first, _, second = line.partition("\t")
        if not first.strip() or first.lstrip().startswith("#"):
            continue
        other = (path.parent / second.strip()).absolute() if second.strip() else None
        found.append(((path.parent / first.strip()).absolute(), other))
    return found


def named(items: list[Item]) -> list[Item]:
    """Name items by their files, and number those of one name: their folders may name patients.

    Results of a file with a BIDS name that is there once go where BIDS has them.
    """
    stems = Counter(same_place(scan_stem(item.path)) for item in items if not item.name)
    files = Counter(same_place(path.name) for path in {item.path for item in items})
    taken = {same_place(item.name) for item in items if item.name}
    numbered: dict[Path, str] = {}
    found = []
    for item in items:
        if not item.name:
            name = scan_stem(item.path)
            folder = place_of(name)
            if stems[same_place(name)] > 1 or same_place(name) in taken:
                if item.path not in numbered:
                    if files[same_place(item.path.name)] == 1:  # a.nii beside a.mgz
                        name = re.sub(r"[^\w.-]+", "-", item.path.name).strip("-.")
                    else:
                        name = _numbered(name, taken | set(stems))
                    numbered[item.path] = name
                    taken.add(same_place(numbered[item.path]))
                folder = name = numbered[item.path]
            item = replace(item, name=name, folder=folder or name)
        found.append(item)
    alone = [item.folder in (item.name, place_of(item.name)) for item in found]
    keys = [
        same_place(item.name) if own else item.name for item, own in zip(found, alone, strict=True)
    ]
    twice = [item.name for item, key in zip(found, keys, strict=True) if keys.count(key) > 1]
    if twice:
        raise StyleGAN3DError(
            f"{twice[0]} is listed twice, in two folders or with two masks; project them into "
            "different output folders."
        )
    return found


def _numbered(name: str, taken: Collection[str]) -> str:
    """A name with the first number that makes it none of `taken`."""
    return next(numbered for k in count(1) if same_place(numbered := f"{name}-{k}") not in taken)
