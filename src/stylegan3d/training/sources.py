"""Find the scans of a folder, plain or BIDS, and what is known of the people in it."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import StyleGAN3DError

EXTENSIONS = (".nii.gz", ".nii", ".mgz")
# Files of a data set that are not scans: labels, masks and averages.
NOT_SCANS = re.compile(r"(_dseg|_probseg|_mask|_lesion|_roi|^template)", re.IGNORECASE)
SKIPPED_FOLDERS = {"derivatives", "sourcedata"}
# What people write in the column "split" of participants.tsv, in any case, and what it means here.
TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLITS = {
    "train": TRAIN,
    "training": TRAIN,
    "validation": VALIDATION,
    "val": VALIDATION,
    "valid": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "holdout": TEST,
}


@dataclass(frozen=True)
class Source:
    """One scan of a data set: `name` is unique, `person` decides the split, `file` is relative."""

    name: str
    person: str
    file: str


def find_sources(folder: Path) -> list[Source]:
    """T1 scans below a folder, sorted by path.

    Where any file follows BIDS (`*_T1w.nii.gz`), only such files count; else every NIfTI or MGH
    file that is not called a label, a mask or a template.
    """
    if not folder.is_dir():
        raise StyleGAN3DError(f"{folder} is not a folder; give the folder that holds the scans.")
    found = []
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or SKIPPED_FOLDERS.intersection(relative.parts[:-1]):
            continue
        if path.name.lower().endswith(EXTENSIONS) and not NOT_SCANS.search(path.name):
            found.append(relative)
    bids = [relative for relative in found if stem(relative.name).endswith("_T1w")]
    chosen = bids or found
    if not chosen:
        raise StyleGAN3DError(f"{folder} holds no NIfTI or MGH scan; give a folder with T1 scans.")
    names = [stem(relative.name).removesuffix("_T1w") for relative in chosen]
    sources = []
    for relative, name in zip(chosen, names, strict=True):
        if names.count(name) > 1:  # same file name in several folders: the path tells them apart
            name = "-".join([*relative.parts[:-1], name])
        person = re.search(r"sub-[A-Za-z0-9]+", relative.as_posix())
        sources.append(Source(name, person.group() if person else name, relative.as_posix()))
    return sources


def stem(filename: str) -> str:
    """The file name without its NIfTI or MGH extension."""
    for extension in EXTENSIONS:
        if filename.lower().endswith(extension):
            return filename[: -len(extension)]
    return filename


def read_participants(folder: Path) -> dict[str, dict[str, Any]]:
    """participants.tsv by participant id; numbers as numbers, "n/a" and empty cells as None.

    The column "split", if any, says "train", "validation", "test" or None; whatever else stands
    there is refused, for a person set aside must never be trained on by mistake.
    """
    path = folder / "participants.tsv"
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    if rows and "participant_id" not in rows[0]:
        raise StyleGAN3DError(f"{path} has no column participant_id; add it or remove the file.")
    people = {
        (row["participant_id"] or "").strip(): {
            key: _value(cell) for key, cell in row.items() if key and key != "participant_id"
        }
        for row in rows
    }
    for known in people.values():
        if known.get("split") is not None:
            known["split"] = _split(known["split"], path)
    return people


def _split(value: Any, path: Path) -> str:
    """What a cell of the column "split" means; an error if it cannot be told."""
    split = SPLITS.get(str(value).lower())
    if split is None:
        raise StyleGAN3DError(
            f"{path} has {value!r} in the column split, which is not known; write train, "
            "validation or test, or leave the cell empty."
        )
    return split


def _value(cell: str | None) -> Any:
    text = (cell or "").strip()
    if text.lower() in ("", "n/a", "nan"):
        return None
    try:
        return float(text)
    except ValueError:
        return text


def split_of(person: str, known: dict[str, Any], validation: float) -> str:
    """ "train", "validation" or "test": as the table says, else by a hash of the person.

    By the person, never by the file, and independent of who else is in the folder: adding people
    moves nobody from one side to the other.
    """
    if known.get("split") is not None:
        return known["split"]
    fraction = int(hashlib.sha256(person.encode()).hexdigest()[:8], 16) / 2**32
    return VALIDATION if fraction < validation else TRAIN
