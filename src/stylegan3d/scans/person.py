"""Age and sex of the person in a scan, where its files give them."""

import csv
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path

from stylegan3d.base import Doubt
from stylegan3d.scans.origin import read_sidecar
from stylegan3d.storage.bids import entity
from stylegan3d.storage.encoding import finite_number
from stylegan3d.storage.files import UNKNOWN, cell_number, read_rows, reason

#: Units of age in a JSON file or a DICOM header, by how they begin: how many a year has.
PER_YEAR = {"d": 365.25, "w": 52.18, "m": 12.0, "y": 1.0}
_WORD = r"(?:day|w(?:ee)?k|mo(?:nth)?|y(?:ea)?r)"
#: A unit, as units are given; and in a description, where "in years (M=34.2)" is in years.
_UNIT = re.compile(rf"(?:[a-z]+ )?({_WORD}s?|[dwmy])|a", re.IGNORECASE)
_DESCRIBED = re.compile(
    rf"(?:\bin (?!the )(?:\w+ )?|[(\[,:] *|^)({_WORD}s?|[dwmy](?=[)\]]|$))\b"
    rf"|^[^;.]*?(?<!\d )\b({_WORD}s)\b",  # of the age, not of "6 months later"
    re.IGNORECASE,
)
#: Folders above a scan in which its dataset's table is looked for: anat, session, subject, set.
HIGHEST = 4
#: What each is called everywhere.
SEXES = {"F": "female", "M": "male"}
WORDS = {"f": "F", "female": "F", "woman": "F", "m": "M", "male": "M", "man": "M"}
OLDEST = 120.0
#: Ages of one day differ by no more: some are in whole years.
A_YEAR = 1.0
#: What programs that remove names write for a date of birth.
NOBODY_BORN = "19000101"
#: How an age is written in a DICOM header, and in a sidecar or table.
DICOM_AGE = re.compile(r"\d{3}[DWMY]")
USUAL_AGE = re.compile(rf"[\d.,]+|{DICOM_AGE.pattern}")
#: Words that tell no age or sex.
UNSAID = UNKNOWN | {"o", "other", "u", "unknown", "missing"}


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
    """Who is in a NIfTI or MGH file, see `person_and_doubts`."""
    return person_and_doubts(path)[0]


def person_and_doubts(path: Path) -> tuple[Person, list[Doubt]]:
    """Who is in a NIfTI or MGH file, by its sidecar, sessions.tsv or participants.tsv above it.

    Both are hints that a user can correct: what cannot be read counts as unknown, with a doubt.
    """
    about, doubts = read_sidecar(path)
    words = {what: str(about.get(f"Patient{what.capitalize()}") or "") for what in ("age", "sex")}
    found = person_of_dicom(words["age"], "", "", words["sex"])
    told = [(f"the sidecar of {path.name}", words)]
    subject, session = entity("sub", path), entity("ses", path)
    tables = [("participants.tsv", "participant_id", subject)] if subject else []
    if subject and session:
        tables.insert(0, (f"{subject}_sessions.tsv", "session_id", session))
    for table, column, name in tables:
        for file in (folder / table for folder in path.absolute().parents[:HIGHEST]):
            try:
                rows = _rows(file, column, name, session)
            except (OSError, csv.Error, KeyError) as error:
                text = f"{table} cannot be read ({reason(error)}): no age or sex is taken from it."
                doubts.append(Doubt("person", "tell", text))
                break
            if rows:
                doubts += read_sidecar(file.with_suffix(""))[1]
                every = [
                    {"age": row.get("age") or "", "sex": row.get("sex") or row.get("gender") or ""}
                    for row in rows
                ]
                words = every[0]
                if every.count(words) < len(every):
                    text = f"{table} has {len(every)} rows of {name} that differ; none is used."
                    doubts.append(Doubt("person", "ask", text))
                    break
                unit = unit_of_age(file)
                if not unit and words["age"].lower() not in UNSAID:
                    text = f"The unit of age in {file.stem}.json is not understood: no age is taken"
                    doubts.append(Doubt("person", "tell", f"{text} from {table}."))
                    words = {**words, "age": ""}
                also = Person(years_of(words["age"], unit), sex_of(words["sex"]))
                then = column == "session_id" or not session
                doubts += contradictions(found, also, table, then=then)
                age = also.age if found.age is None else found.age
                found = Person(age, found.sex or also.sex)
                told.append((table, words))
                break
    for where, words in told:
        doubts += doubts_of_words(found, words, where)
    return found, doubts


def doubts_of_words(
    found: Person, words: Mapping[str, str], where: str, usual: re.Pattern[str] = USUAL_AGE
) -> list[Doubt]:
    """What is not understood of the words for the age and sex of a person, or only nearly so."""
    doubts = []
    for what, word in words.items():
        known, text = getattr(found, what), f"The {what} {word!r} in {where} is not"
        if word.strip().lower() in UNSAID:
            continue
        if known is None:
            doubts.append(Doubt("person", "tell", f"{text} understood."))
        elif what == "age" and not usual.fullmatch(word.strip()):
            text += f" in the usual form; {known:g} years are assumed."
            doubts.append(Doubt("person", "tell", text))
    return doubts


def unit_of_age(table: Path) -> str:
    """The unit of the column "age" of a BIDS table, as JSON beside or above it says.

    Returns
    -------
    str
        A key of `PER_YEAR`, years if nothing is said; empty for an unknown unit, and where that
        JSON cannot be read.
    """
    kind = table.stem.rpartition("_")[2]
    for path in (table, table.parent.parent / kind):
        record, unread = read_sidecar(path.with_suffix(""))
        about = _lower(_lower(record).get("age"))
        unit = about.get("units")
        words = ": ".join(str(about[n]) for n in ("longname", "description") if about.get(n))
        if unread:
            return ""
        if unit not in (None, "", "n/a"):
            found = _UNIT.fullmatch(str(unit).strip())
            return (found[1] or "y")[0].lower() if found else ""
        if found := _DESCRIBED.search(words):
            return (found[1] or found[2])[0].lower()
    return "y"


def _lower(record: object) -> dict[str, object]:
    """With names in small letters: a table's columns are read so, too."""
    return {str(n).lower(): v for n, v in record.items()} if isinstance(record, Mapping) else {}


def person_of_dicom(age: str, birth: str, study: str, sex: str) -> Person:
    """Who is in a DICOM series.

    Parameters
    ----------
    age : str
        Patient's Age, such as 045Y, years without a unit; counts before the dates.
    birth, study : str
        Patient's Birth Date and Study Date, YYYYMMDD.
    sex : str
        Patient's Sex.
    """
    known = years_of(age)
    born, seen = (re.fullmatch(r"\s*(\d{4})(\d{2})(\d{2})\s*", text) for text in (birth, study))
    if known is None and born and seen and born[0].strip() != NOBODY_BORN:
        with suppress(ValueError):  # 19701350
            first, then = (date(*map(int, text.groups())) for text in (born, seen))
            known = years_of(str((then - first).days / PER_YEAR["d"]))
    return Person(known, sex_of(sex))


def contradictions(
    first: Person,
    other: Person,
    table: str,
    nearer: str = "a file nearer to the scan",
    *,
    then: bool = True,
) -> list[Doubt]:
    """Where a table says otherwise than what is nearer to the scan; `then` of the age, too."""
    differ = ["sex"] if first.sex and other.sex and first.sex != other.sex else []
    if then and first.age is not None and other.age is not None:
        differ += ["age"] if abs(first.age - other.age) > A_YEAR else []
    text = f"{table} gives another {' and '.join(differ)} than {nearer}, which"
    return [Doubt("person", "ask", f"{text} is used.")] if differ else []


def _rows(path: Path, column: str, name: str, session: str) -> list[Mapping[str, str]]:
    """The rows of a table that are named in a column, with or without its key.

    Of a session those, if there are any.
    """
    try:
        known = path.stat()
    except FileNotFoundError:
        return []
    rows = _rows_by_name(path, column, (known.st_mtime_ns, known.st_size))
    found = rows.get(name.partition("-")[2], [])
    mine = [row for row in found if f"ses-{row.get('session_id')}".endswith(session)]
    return mine if session and mine else found


@lru_cache(maxsize=4)
def _rows_by_name(
    path: Path, column: str, _stamp: tuple[int, int]
) -> Mapping[str, list[Mapping[str, str]]]:
    """The rows of a table by label; every scan of a dataset asks for some."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in read_rows(path):
        found.setdefault(re.sub("^(sub|ses)-", "", row[column] or ""), []).append(row)
    return found


def years_of(text: str, unit: str = "y") -> float | None:
    """An age in years, "89+" as 89, "018M" as 1.5; None where it is none, 0, or of unknown unit."""
    if own := re.fullmatch(r"\s*P?([\d.,]+)\s*([DWMY])\s*", text):
        text, unit = own[1], own[2].lower()
    age = finite_number(cell_number(text.strip().removesuffix("+")))
    years = 0.0 if age is None or not unit else age / PER_YEAR[unit]
    return round(years, 2) if 0 < years <= OLDEST else None


def sex_of(text: str | None) -> str | None:
    """F or M of a word for it; None of any other."""
    return WORDS.get((text or "").strip().lower())
