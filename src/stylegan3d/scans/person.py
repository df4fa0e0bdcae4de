"""Age and sex of the person in a scan, where its files give them."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stylegan3d.scans.origin import sidecar_of
from stylegan3d.storage.files import read_rows
from stylegan3d.storage.jsontext import read_json

TABLE = "participants.tsv"
#: Folders above a scan in which its data set's table is looked for: anat, session, subject, set.
HIGHEST = 4
#: What each is called everywhere.
SEXES = {"F": "female", "M": "male"}
OLDEST = 120.0


@dataclass(frozen=True)
class Person:
    """Age in years and sex ("F", "M"), each None where unknown."""

    age: float | None = None
    sex: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether both are known."""
        return self.age is not None and self.sex is not None


def person_of_file(path: Path) -> Person:
    """Who is in a NIfTI or MGH file, by its sidecar or the participants.tsv above it.

    Both are hints that a user can correct: what cannot be read counts as unknown.
    """
    found = _of_sidecar(sidecar_of(path))
    if found.is_known:
        return found
    subjects = re.findall(r"sub-[A-Za-z0-9]+", path.as_posix())
    if not subjects:
        return found
    for folder in path.absolute().parents[:HIGHEST]:
        row = _row(folder / TABLE, subjects[-1])
        if row is not None:
            age = found.age if found.age is not None else _age(row.get("age"))
            return Person(age, found.sex or _sex(row.get("sex") or row.get("gender")))
    return found


def person_of_dicom(age: str, birth: str, study: str, sex: str) -> Person:
    """Who is in a DICOM series.

    Parameters
    ----------
    age : str
        Patient's Age, such as 045Y; counts before the dates.
    birth, study : str
        Patient's Birth Date and Study Date, YYYYMMDD.
    sex : str
        Patient's Sex.
    """
    told = re.fullmatch(r"\s*(\d{1,3})\s*([DWMY])\s*", age)
    if told:
        per_year = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[told[2]]
        return Person(_age(str(int(told[1]) / per_year)), _sex(sex))
    born, seen = (re.fullmatch(r"\s*(\d{4})(\d{2})(\d{2})\s*", text) for text in (birth, study))
    if born and seen:
        parts = zip(born.groups(), seen.groups(), strict=True)
        years, months, days = (int(b) - int(a) for a, b in parts)
        return Person(_age(str(years + (months + days / 30.4) / 12)), _sex(sex))
    return Person(None, _sex(sex))


def _of_sidecar(path: Path) -> Person:
    """As dcm2niix and others write it."""
    try:
        about = read_json(path) if path.is_file() else {}
    except (OSError, ValueError):
        return Person()
    if not isinstance(about, Mapping):
        return Person()
    record = {key: str(about.get(key) or "") for key in ("PatientAge", "PatientSex")}
    if re.fullmatch(r"[\d.]+", record["PatientAge"]):
        return Person(_age(record["PatientAge"]), _sex(record["PatientSex"]))
    return person_of_dicom(record["PatientAge"], "", "", record["PatientSex"])


def _row(path: Path, subject: str) -> Mapping[str, str] | None:
    """A subject's row of a table; None without."""
    try:
        rows = read_rows(path)
        return next((row for row in rows if row.get("participant_id") == subject), None)
    except (OSError, UnicodeDecodeError, csv.Error):
        return None


def _age(text: str | None) -> float | None:
    try:
        age = float(text or "")
    except ValueError:
        return None
    return round(age, 2) if 0 <= age <= OLDEST else None


def _sex(text: str | None) -> str | None:
    first = (text or "").strip().upper()[:1]
    return first if first in SEXES else None
