"""The formats of files: what they hold and how their names end. The only table of them.

Reading, dropping, the dialogs, napari's readers, `prepare`, cohorts and the names of results all
ask here, so that a format added here is known everywhere. Only the patterns of the plugin's
manifest, which napari reads without running anything, are a copy; a test compares them.

Names of files that any of the three systems can store, and paths that another one wrote.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Literal

#: Names of devices on Windows, which no file can have, whatever its extension.
#: https://learn.microsoft.com/windows/win32/fileio/naming-a-file
RESERVED = {
    *("con", "prn", "aux", "nul", "conin$", "conout$"),
    *(f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"),
}
#: Characters that Windows forbids in names; control characters are excluded everywhere.
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
#: Bytes of a scan's own name in those of its outputs: with what is put after it, and for a moment
#: before it, less than the 255 that file systems store.
LONGEST_STEM = 150
ON_WINDOWS = os.name == "nt"


#: The space of a model's grid, in names of files.
MODEL = "model"
#: Entities of BIDS that say what was done, and on which grid, wherever they stand in a name.
DESC, GRID = r"_desc-([A-Za-z0-9]+)(?=_|$)", r"_(?:space|res|den)-[A-Za-z0-9]+(?=_|$)"


@dataclass(frozen=True)
class Name:
    """A file's name as BIDS has it: `stem_space-…_desc-…_suffix` with its extension.

    Attributes
    ----------
    stem : str
        Whose it is, with further entities, such as "sub-01". A `desc-` in it is replaced by `desc`,
        and its space and resolution by `space`, so that no entity is there twice.
    desc : str
        What was done; empty for that of the stem, if any.
    suffix : str
        The kind of image, such as "T1w", or of file, such as "latent".
    space : str
        Whose space it lies in; empty for that of the stem.
    extension : str
    """

    stem: str
    desc: str = ""
    suffix: str = "T1w"
    space: str = ""
    extension: str = ".nii.gz"

    @classmethod
    def of(cls, path: str | Path) -> Name:
        """The name of a file, `space` being left in its stem."""
        name = last_part(str(path))
        plain = without_suffix(name)
        stem, mark, suffix = plain.rpartition("_")
        if not mark or "-" in suffix:
            stem, suffix = plain, ""
        desc = re.findall(DESC, stem)[-1:]
        return cls(re.sub(DESC, "", stem), "".join(desc), suffix, "", name[len(plain) :])

    def __str__(self) -> str:
        desc = self.desc or "".join(re.findall(DESC, self.stem)[-1:])
        stem = re.sub(DESC, "", self.stem)
        if self.space:
            stem = f"{re.sub(GRID, '', stem)}_space-{self.space}"
        parts = (stem, desc and f"desc-{desc}", self.suffix)
        return "_".join(filter(None, parts)) + self.extension


def same_place(name: str) -> str:
    """Equal for names that one of the systems takes for the same: A and a, both spellings of é."""
    return unicodedata.normalize("NFC", name).casefold()


def last_part(path: str) -> str:
    """The last part of a path of any system: C:\\t\\a.nii and /t/a.nii give a.nii."""
    return PureWindowsPath(PurePosixPath(path).name).name


def is_absolute(path: str) -> bool:
    """Whether a text is an absolute path of any system."""
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute()


def without_folders(value: Any, paths: Iterable[str] = ()) -> Any:
    """A plain value as it may be handed on: files by their names, without where they lay.

    Folders name patients, users and hospitals. The folders of every absolute path that is a text of
    its own in `value`, and those of `paths`, are cut out of all texts, also of sentences.
    """
    told = {_leading(path) for path in (*paths, *_texts(value)) if is_absolute(path)}
    folders = {
        str(folder) + mark
        for path in told
        for kind, mark in ((PurePosixPath, "/"), (PureWindowsPath, "\\"))
        if kind(path).is_absolute()
        for folder in kind(path).parents
        if len(folder.parts) > 1
    }
    if not folders:
        return value
    longest_first = sorted(folders, key=len, reverse=True)
    return _cut(value, re.compile("|".join(map(re.escape, longest_first))), told)


def _leading(text: str) -> str:
    """The path that a text is, or with which a sentence begins."""
    found = re.match(r".+?\.\w+(?=[\s,;:)])", text) if text.endswith(".") else None
    return found[0] if found else text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)


def _cut(value: Any, folders: re.Pattern[str], paths: set[str]) -> Any:
    if isinstance(value, str):
        return last_part(value) if value in paths else folders.sub("", value)
    if isinstance(value, dict):
        return {key: _cut(part, folders, paths) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(part, folders, paths) for part in value]
    return value


def portable(stem: str) -> str:
    """A name as near to `stem` as every system stores it.

    What Windows forbids becomes a dash, a device's name gets one, spaces and dots at the end go,
    and what is too long is cut and told apart by a digest. Letters of every script stay.
    """
    name = FORBIDDEN.sub("-", stem).rstrip(" .")
    base, dot, rest = name.partition(".")
    if base.rstrip().lower() in RESERVED:
        name = f"{base}-{dot}{rest}"
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) > LONGEST_STEM:
        digest = hashlib.sha256(encoded).hexdigest()[:8]
        kept = encoded[: LONGEST_STEM - 9].decode(errors="ignore")
        name = f"{kept.rstrip(' .')}-{digest}"
    return name


def wrong_on_windows(name: str) -> str:
    """Why Windows could not store a file of this name, in a clause; empty if it can."""
    if found := FORBIDDEN.search(name):
        return f"{found[0]!r} cannot be part of a name on Windows"
    if name.partition(".")[0].rstrip().lower() in RESERVED:
        return "Windows keeps this name for a device"
    if name != name.rstrip(" ."):
        return "a name cannot end in a space or a dot on Windows"
    return ""


Kind = Literal["scan", "dicom", "tensors", "checkpoint", "record", "session"]


@dataclass(frozen=True)
class Format:
    """One format of files.

    Attributes
    ----------
    name : str
        What it is called in words.
    kind : {"scan", "dicom", "tensors", "checkpoint", "record", "session"}
        What it holds: a volume (scan, label map, mask, result); slices of a scan; latents,
        directions or weights; a network of another program; a recipe or sidecar; a session.
    suffixes : tuple of str
        How names of such files end, in lower case.
    partners : tuple of str
        Endings of files that belong to one of `suffixes`: opened, but not listed on their own.
    """

    name: str
    kind: Kind
    suffixes: tuple[str, ...]
    partners: tuple[str, ...] = ()


MGH, PAIR = "MGH", "NIfTI pair"
FORMATS: tuple[Format, ...] = (
    Format("NIfTI", "scan", (".nii.gz", ".nii")),
    Format(PAIR, "scan", (".hdr",), partners=(".img",)),
    Format(MGH, "scan", (".mgz", ".mgh")),
    Format("DICOM", "dicom", (".dcm", ".dicom", ".ima")),
    Format("safetensors", "tensors", (".safetensors",)),
    Format("3D-StyleGAN checkpoint", "checkpoint", (".pkl", ".pickle")),
    Format("JSON", "record", (".json",)),
    Format("session", "session", (".sg3d",)),
)
# Endings that are no part of a name either, of formats that are not read.
FOREIGN = (".nrrd", ".mha")
GZIP_MAGIC = b"\x1f\x8b"
DICOM_PREAMBLE, DICOM_MAGIC = 128, b"DICM"
# DICOM files of the time before preambles begin with an element of group 2 or 8, little endian.
OLD_STARTS = (b"\x02\x00", b"\x08\x00")
_BIDS_SUFFIX = re.compile(r"_(T1w|T2w|FLAIR|PDw|UNIT1|inplaneT1|T2starw|latent)$")


def suffixes(*kinds: Kind, partners: bool = False) -> tuple[str, ...]:
    """How names of files of these kinds end; with `partners` those that belong to one too."""
    chosen = [form for form in FORMATS if form.kind in kinds]
    found = [end for form in chosen for end in form.suffixes + form.partners * partners]
    return tuple(dict.fromkeys(found))


def patterns(*kinds: Kind) -> str:
    """The same as patterns for a file dialog: "*.nii.gz *.nii"."""
    return " ".join(f"*{suffix}" for suffix in suffixes(*kinds))


def format_of(path: str | Path) -> Format | None:
    """The format implied by a file's name; None if unknown."""
    name = str(path).lower()
    return next((f for f in FORMATS if name.endswith(f.suffixes + f.partners)), None)


def is_kind(path: str | Path, *kinds: Kind) -> bool:
    """Whether a file is of one of these kinds, by its name."""
    form = format_of(path)
    return form is not None and form.kind in kinds


def is_packed(path: Path) -> bool:
    """Whether a file is compressed by gzip, by how it begins: names may say otherwise."""
    try:
        with path.open("rb") as stream:
            return stream.read(2) == GZIP_MAGIC
    except OSError:
        return False


def looks_like_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do; unreadable files do not."""
    try:
        if not path.is_file() or not path.stat().st_size:  # a pipe would be waited for for ever
            return False
        with path.open("rb") as stream:
            start = stream.read(DICOM_PREAMBLE + len(DICOM_MAGIC))
    except (OSError, ValueError):
        return False
    return start[DICOM_PREAMBLE:] == DICOM_MAGIC or start[:2] in OLD_STARTS


def is_dicom(path: Path) -> bool:
    """Whether a path is read as DICOM: a folder, or a file that is called or looks like one."""
    if path.is_dir():
        return True
    if is_kind(path, "scan"):
        return False
    return path.is_file() and (is_kind(path, "dicom") or looks_like_dicom(path))


def is_scan(path: Path) -> bool:
    """Whether a path is read as a scan: a volume's file, a DICOM file or folder."""
    return is_kind(path, "scan") or is_dicom(path)


def without_suffix(name: str) -> str:
    """A file's name without the ending of a volume or a latent."""
    endings = suffixes("scan", "tensors", partners=True) + FOREIGN
    for ending in dict.fromkeys([".gz", *(end.removesuffix(".gz") for end in endings)]):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def scan_stem(path: str | Path) -> str:
    """Name of a scan without its extension and BIDS suffix: sub-01_T1w.nii.gz -> sub-01.

    As every system can store it (`storage.formats`): what is saved may be copied to another one. Of
    a link its own name counts: what it points to may be called by a hash.
    """
    return portable(_BIDS_SUFFIX.sub("", without_suffix(last_part(str(path))))) or "scan"


def result_stem(path: str | Path) -> str:
    """What tells the results of a scan on a model's grid: `scan_stem` without `desc` and grid."""
    return re.sub(f"{DESC}|{GRID}", "", scan_stem(path))


def scan_suffix(path: str | Path) -> str:
    """BIDS suffix in a scan's name, T1w where it has none."""
    match = _BIDS_SUFFIX.search(without_suffix(last_part(str(path))))
    return match[1] if match and match[1] != "latent" else "T1w"


def label_map_of(scan: Path, folder: Path | None = None) -> Path | None:
    """The label map named after a scan, beside it or in a folder; None without one.

    sub-01_dseg.nii.gz for sub-01_T1w.nii.gz, anna_dseg.mgz for anna.nii.gz.
    """
    name = without_suffix(scan.name).removesuffix("_T1w")
    candidates = ((folder or scan.parent) / f"{name}_dseg{end}" for end in suffixes("scan"))
    return next((path for path in candidates if path.is_file()), None)
