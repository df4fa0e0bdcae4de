"""Find the scans and subject data of a folder, plain or BIDS."""

import csv
import hashlib
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from stylegan3d.base import Json, ScanError, StyleGAN3DError
from stylegan3d.scans.checks import open_image
from stylegan3d.scans.headers import phase_by_name
from stylegan3d.scans.origin import header_words, origin_of_words, sidecar_record
from stylegan3d.scans.person import unit_of_age, years_of
from stylegan3d.storage.about import PROGRAM
from stylegan3d.storage.bids import entity
from stylegan3d.storage.files import UNKNOWN, cell_number, read_rows, reason, utf8
from stylegan3d.storage.formats import looks_like_dicom, result_stem, suffixes, without_suffix

# Files of a dataset that are not scans: labels, masks and averages.
NOT_SCANS = re.compile(r"(_dseg|_probseg|_mask|_lesion|_roi|^template)", re.IGNORECASE)
NO_T1 = "Other files are named *_T1w, and this one is not."
COPY = "It is a copy in another space of a scan that is there."
RESULT = "This program made it, unlike other images there."
SKIPPED_FOLDERS = {"derivatives", "sourcedata"}
# Accepted values of the column "split" of participants.tsv (case-insensitive) and their meaning.
TRAIN, VALIDATION, TEST = "train", "validation", "test"
HELD_OUT = "participants.tsv holds it out for testing."
SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "val", "valid", "dev"), VALIDATION),
    **dict.fromkeys(("test", "holdout"), TEST),
}


@dataclass(frozen=True)
class ScanSource:
    """One scan of a dataset: `name` is unique, `person` decides the split, `file` is relative."""

    name: str
    person: str
    file: str


@dataclass(frozen=True)
class Found:
    """Content of a folder: scans, and excluded images with reasons, both sorted by path."""

    sources: list[ScanSource]
    left_out: list[tuple[str, str]]


def find_sources(folder: Path) -> Found:
    """T1 scans below a folder.

    If any file follows BIDS (`*_T1w.nii.gz`), only those are used; otherwise every NIfTI or MGH
    file whose name is not that of a label map, mask or template. What this program made of scans
    counts where there is nothing else, and its own brains where there are no scans.

    Raises
    ------
    StyleGAN3DError
        If it is not a folder or contains no scan (with a hint if it contains DICOM).
    """
    if not folder.is_dir():
        raise StyleGAN3DError(f"{folder} is not a folder; give the folder of the scans.")
    candidates, left_out = [], {}
    endings = suffixes("scan")
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.name.lower().endswith(endings):
            continue
        reason = _reason_to_leave_out(relative)
        if reason is None:
            candidates.append(relative)
        else:
            left_out[relative] = reason
    made = {relative: _steps_from_scan(folder / relative) for relative in candidates}
    least = min(made.values(), default=0)
    candidates = [relative for relative in candidates if made[relative] == least]
    left_out |= {relative: RESULT for relative, steps in made.items() if steps > least}
    bids = {relative for relative in candidates if without_suffix(relative.name).endswith("_T1w")}
    chosen = [relative for relative in candidates if not bids or relative in bids]
    left_out |= {relative: NO_T1 for relative in candidates if bids and relative not in bids}
    own = {result_stem(relative) for relative in chosen if "_space-" not in relative.name}
    copies = {r for r in chosen if "_space-" in r.name and result_stem(r) in own}
    chosen = [relative for relative in chosen if relative not in copies]
    left_out |= dict.fromkeys(copies, COPY)
    if not chosen:
        raise StyleGAN3DError(_no_scans(folder, len(left_out)))
    names = Counter(without_suffix(relative.name).removesuffix("_T1w") for relative in chosen)
    sources = []
    for relative in chosen:
        name = without_suffix(relative.name).removesuffix("_T1w")
        if names[name] > 1:  # the same file name in several folders: use the path
            name = "-".join([*relative.parts[:-1], name])
        sources.append(ScanSource(name, entity("sub", relative) or name, relative.as_posix()))
    return Found(sources, [(file.as_posix(), reason) for file, reason in sorted(left_out.items())])


def _reason_to_leave_out(relative: Path) -> str | None:
    """Why an image is excluded by its path; None if it is not."""
    if any(part.startswith(".") for part in relative.parts):
        return "Its name or folder is hidden."
    skipped = SKIPPED_FOLDERS.intersection(relative.parts[:-1])
    if skipped:
        return f"It is in {skipped.pop()}."
    if phase_by_name(relative.name):
        return "By its name it is a phase, real or imaginary image, not magnitude."
    if NOT_SCANS.search(relative.name):
        return "Its name is that of a label map, a mask or a template."
    return None


def _steps_from_scan(path: Path) -> int:
    """0 for an image of others, 1 for a brain that this program made, 2 for one made of a scan."""
    record = sidecar_record(path)
    if record.get("SyntheticImage") is True or PROGRAM in str(record.get("GeneratedBy")):
        return 2 if "Doubts" in record else 1
    with suppress(ScanError):  # its sidecar may be lost
        words = header_words(open_image(path).header)
        origin = origin_of_words(words)
        if PROGRAM in words or origin != "acquired":
            return 1 if origin == "synthetic" else 2
    return 0


def _no_scans(folder: Path, left_out: int) -> str:
    """The error for a folder without scans."""
    # Of so many files at most; by content.
    files = islice((path for path in folder.rglob("*") if path.is_file()), 1000)
    if dicom := sum(map(looks_like_dicom, files)):
        return (
            f"{folder} holds DICOM files ({dicom} or more) but no NIfTI; convert them first, for "
            "example with `dcm2niix -z y -o NIFTI_FOLDER FOLDER`, and give the new folder."
        )
    if left_out:
        return (
            f"{folder} holds {left_out} images, but by their names and folders none is a T1 scan; "
            "give the folder of the scans themselves."
        )
    return f"{folder} holds no NIfTI or MGH scan; give a folder with T1 scans."


def rows_of(path: Path) -> list[Json]:
    """Rows of a tab-separated table; none if there is no such file.

    Raises
    ------
    StyleGAN3DError
        If it cannot be read.
    """
    if not path.is_file():
        return []
    try:
        return read_rows(path)
    except (OSError, csv.Error) as error:
        raise StyleGAN3DError(
            f"{path} cannot be read ({reason(error)}); save it as tab-separated text, or remove it."
        ) from error


def read_participants(folder: Path) -> dict[str, Json]:
    """participants.tsv by participant id; numbers as numbers, "n/a" and empty cells as None.

    Ages are in years, whatever the unit that participants.json gives.

    The column "split", if any, may be "train", "validation", "test" or None; other values are
    refused, so that a held-out subject is never trained on by mistake.
    """
    path = folder / "participants.tsv"
    rows = rows_of(path)
    if rows and "participant_id" not in rows[0]:
        raise StyleGAN3DError(f"{path} has no column participant_id; add it or remove the file.")
    people: dict[str, Json] = {}
    for row in rows:
        name = row["participant_id"] or ""
        known = {k: _value(cell) for k, cell in row.items() if k and k != "participant_id"}
        before = people.setdefault(name, known)
        held = before.get("split") != known.get("split")
        if held or (before != known and not row.get("session_id")):
            raise StyleGAN3DError(f"{path} has two different rows of {name}: keep one of them.")
        # Of several sessions only what all of them say.
        people[name] = {k: cell for k, cell in before.items() if known.get(k) == cell}
    unit = unit_of_age(path)
    for known in people.values():
        if known.get("age") is not None:
            if not unit:
                raise StyleGAN3DError(
                    f"{path.with_suffix('.json')} gives a unit of age that is not known; write "
                    "years, months, weeks or days."
                )
            known["age"] = years_of(str(known["age"]), unit)
        if known.get("split") is not None:
            known["split"] = _split(known["split"], path)
    return people


def _split(value: Any, path: Path) -> str:
    """Parse a cell of the column "split"; an error if unknown."""
    split = SPLITS.get(str(value).lower())
    if split is None:
        raise StyleGAN3DError(
            f"{path} has {value!r} in the column split, which is not known; write train, "
            "validation or test, or leave the cell empty."
        )
    return split


def _value(cell: str | None) -> Any:
    text = (cell or "").strip()
    return None if text.lower() in UNKNOWN else cell_number(text)


def split_of(person: str, known: Json, validation: float) -> str:
    """ "train", "validation" or "test": from the table, else by a hash of the subject.

    By subject, not by file, and independent of other subjects: adding subjects never changes the
    split of others.
    """
    if known.get("split") is not None:
        return known["split"]
    fraction = int(hashlib.sha256(utf8(person)).hexdigest()[:8], 16) / 2**32
    return VALIDATION if fraction < validation else TRAIN
