"""Whether a scan was acquired, or made or edited by a program, as far as its files say so.

What this program writes says it three times: in the header (the description of NIfTI, Synthetic
Data of DICOM), in the sidecar beside it, and in the words of both. Any one of them is enough, so an
image stays what it is when its sidecar is lost or another program copies it.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stylegan3d.base import Doubt, JsonView, Severity
from stylegan3d.storage.about import EDITED_SCAN, NOT_ACQUIRED, PROGRAM, Origin
from stylegan3d.storage.encoding import read_json
from stylegan3d.storage.files import reason

#: Elements of a DICOM header that tell, by their meaning.
DICOM_WORDS = {
    "synthetic": "SyntheticData",
    "manufacturer": "Manufacturer",
    "series": "SeriesDescription",
    "derivation": "DerivationDescription",
    "name": "PatientName",
}
#: How the header of a synthetic image begins; "synthetic" alone may be any scanner's word.
_SYNTHETIC = re.compile(r"SYNTHETIC( -)? not for diagnosis")
#: In the words of an edited scan: its header, its sidecar, the name of its series.
_EDITED = re.compile(
    rf"{EDITED_SCAN}|\bedited scan\b|{PROGRAM} edit by|_desc-[A-Za-z0-9]+Scan_|"
    r"\ba scan (restored|whose masked)\b",
    re.IGNORECASE,
)
#: Series of this program; scanners call contrasts that they calculate "SYNTHETIC T1" too.
_SERIES = re.compile(r"SYNTHETIC[ _]\S*(_desc-|\.\.)\S*")
#: In the sidecar or the name of a map of what an edit changed (`render.editable.ABOUT`).
_CHANGE = re.compile(r": (the change in intensity|how the edit moves)|_desc-\w+(Change|Movement)_")
HEADER, SIDECAR = "its header says so", "its sidecar says so"
_ENDING = re.compile(r"\.(nii(\.gz)?|mgz|mgh|hdr|img)$", re.IGNORECASE)


class Told(NamedTuple):
    """What a scan is, and by what that is known, as in "its header says so"."""

    origin: Origin = "acquired"
    by: str = ""

    @property
    def doubts(self) -> list[Doubt]:
        """That an image was not acquired."""
        if self.origin == "acquired":
            return []
        text = f"This is {NOT_ACQUIRED[self.origin]} ({self.by})."
        severity: Severity = "refuse" if self.origin == "difference" else "tell"
        return [Doubt("origin", severity, text, {"origin": self.origin})]


ACQUIRED = Told()


def origin_of_file(path: Path, header: Any) -> Told:
    """What a NIfTI, MGH or Analyze file is, by its header and its sidecar.

    Parameters
    ----------
    path : Path
    header : mapping
        nibabel's; its `descrip` counts where it has one.

    Returns
    -------
    Told
        What cannot be read says nothing.
    """
    found = [Told(origin_of_words(header_words(header)), HEADER), _of_sidecar(path)]
    made = [told for told in found if told.origin != "acquired"]
    # An edited scan is synthetic too: the word that says more counts.
    told = min(made, key=lambda told: told.origin != "edited", default=ACQUIRED)
    change = _CHANGE.search(f"{sidecar_record(path).get('Description')} {path.name}")
    return Told("difference", told.by) if change and told.origin == "edited" else told


def origin_of_dicom(header: Mapping[str, str]) -> Told:
    """What a DICOM image is, by its elements: `DICOM_WORDS`, keyword to text."""
    told = {name: header.get(word, "").strip() for name, word in DICOM_WORDS.items()}
    edited = _EDITED.search(f"{told['series']} {told['derivation']}")
    origin: Origin = "edited" if edited else "synthetic"
    if told["synthetic"].upper() == "YES":
        return Told(origin, "Synthetic Data (0008,001C) is YES")
    if told["name"].startswith("SYNTHETIC^") or _is_ours(told["series"], told["manufacturer"]):
        return Told(origin, HEADER)
    return ACQUIRED


def _is_ours(series: str, maker: str) -> bool:
    """Whether the name of a series, and what made it, are as this program writes them."""
    return bool(_SERIES.fullmatch(series)) or (maker == PROGRAM and series.startswith("SYNTHETIC"))


def header_words(header: Any) -> str:
    """The description in a header of nibabel; MGH has none."""
    with suppress(KeyError, ValueError, TypeError, IndexError):
        return bytes(np.asarray(header["descrip"])).decode("latin-1").strip("\0 ")
    return ""


def read_sidecar(path: Path) -> tuple[JsonView, list[Doubt]]:
    """What the JSON file beside a scan says, and that it cannot be read."""
    file = path.with_name(_ENDING.sub("", path.name) + ".json")
    try:
        record = read_json(file, nan_is_none=True)
    except FileNotFoundError:
        return {}, []
    except (OSError, ValueError) as error:
        text = f"{file.name} cannot be read ({reason(error)}): what it says is not known."
        return {}, [Doubt("sidecar", "tell", text)]
    return record if isinstance(record, Mapping) else {}, []


def sidecar_record(path: Path) -> JsonView:
    """What the JSON file beside a scan says; nothing where it cannot be read."""
    return read_sidecar(path)[0]


def names_agent(record: JsonView) -> bool:
    """Whether a sidecar or a DICOM header names a contrast agent."""
    told = (record.get(f"ContrastBolus{key}") for key in ("Agent", "Ingredient"))
    words = " ".join(str(text or "").strip().lower() for text in told)
    return re.match(r"(n/?a|none|no|not|0|without|w/o|ohne|sans)(?!\w)|$", words.strip()) is None


def _of_sidecar(path: Path) -> Told:
    record = sidecar_record(path)
    if record.get("SyntheticImage") is False:
        return ACQUIRED
    # A series of this program that another one converted keeps its name and maker.
    words = [str(record.get(key) or "") for key in ("Description", "SeriesDescription")]
    ours = _is_ours(words[1], str(record.get("ManufacturersModelName")))
    origin = origin_of_words(words[0])
    if origin == "acquired" and (ours or record.get("SyntheticImage") is True):
        origin = "edited" if _EDITED.search(words[1]) else "synthetic"
    return Told(origin, SIDECAR)


def origin_of_words(words: str) -> Origin:
    """What the words of a header or a sidecar say."""
    if _EDITED.search(words):
        return "edited"
    return "synthetic" if _SYNTHETIC.match(words) else "acquired"
