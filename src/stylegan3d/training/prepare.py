"""From a folder of T1 scans to a packed data set to train on.

Scans that already lie on the target grid (as the program itself writes them) are taken as they are;
all others are read, checked, brain-extracted, bias-corrected, aligned and normalised first. A file
that cannot be used is refused with its reason, and the rest goes on. Finished volumes wait in
`.parts` inside the pack, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StyleGAN3DError
from ..hashing import sha256_of
from ..scans.target import Target, load_template
from ..volumes import check_output, output_errors
from .pack import TABLE, Pack, load_pack, write_pack
from .preparing import PASSING, Job, prepare_all
from .sources import TEST, Source, find_sources, read_participants, split_of
from .tissues import measure_tissues, read_tissues, tissue_columns, unnamed_note

__all__ = ["Pack", "load_pack", "prepare"]

# Part of what identifies finished work: raise it when the same scan would now come out differently.
PIPELINE = 2
PARTS = ".parts"
HELD_OUT = "participants.tsv holds it out for a test."
# What preparing says of a volume, and all columns that participants.tsv cannot set.
RESULT_COLUMNS = ("prepared", "quality", "brain_ml", "checks")
# "checks" are all warnings of a row; "scan_checks" those that preparing the scan gave.
RESERVED_COLUMNS = {"name", "person", "file", "key", "sha256", "scan_checks", *RESULT_COLUMNS}


def prepare(
    folder: str | Path,
    out: str | Path,
    *,
    target: Target | None = None,
    skull: str = "auto",
    bias_correction: bool = True,
    min_quality: float = 0.85,
    validation: float = 0.1,
    jobs: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> Pack:
    """Prepare the T1 scans of a folder for training.

    Parameters
    ----------
    folder : path
        Plain folder or BIDS tree with NIfTI or MGH files; `participants.tsv` in it, if any, gives
        age, sex, split, licence and further columns. Whose split is "test" or "holdout" is left
        out.
    out : path
        Folder of the pack. Given again, it is brought up to date: what is done is not redone.
    target : Target, optional
        Grid and mean brain to align to; by default the folder's own `template*.nii.gz`, else the
        bundled generator.
    skull : {"auto", "extract", "keep"}
    bias_correction : bool
    min_quality : float
        Aligned brains that correlate less with the mean brain are refused; 0.93 to 0.965 is usual.
    validation : float
        Share of the people set aside where `participants.tsv` has no column "split".
    jobs : int
        Processes at work on raw scans at the same time, about 3 GB of memory each.
    progress : callable, optional
        Called with files done, files in all, and the name of the last one done.

    Returns
    -------
    Pack
        The same input gives the same bytes, in whatever order the work was done.

    Raises
    ------
    StyleGAN3DError
        If the folder holds no scan, none can be used, or `out` is not free; an OutputError if it
        cannot be written to.
    """
    folder, out = Path(folder), Path(out)
    old = _existing(out)
    sources = find_sources(folder)
    people = read_participants(folder)
    tissues = read_tissues(folder)
    target = target or _target_of(folder)
    settings = {
        "pipeline": PIPELINE,
        "skull": skull,
        "bias_correction": bias_correction,
        "min_quality": min_quality,
        "target": _fingerprint(target),
    }
    hashes = {source.file: sha256_of(folder / source.file) for source in sources}
    keys = {file: _key(digest, settings) for file, digest in hashes.items()}
    results = _results_of(old)
    held_out = [s for s in sources if _known(s.person, people).get("split") == TEST]
    # The same image under another name is held out as well.
    results |= {keys[s.file]: {"reason": HELD_OUT, PASSING: True} for s in held_out}
    waiting = {keys[s.file]: folder / s.file for s in sources if keys[s.file] not in results}
    job = Job(target, skull, bias_correction, min_quality, out / PARTS)
    report = progress or (lambda done, total, name: None)
    results |= prepare_all(job, waiting, jobs, report, done=len(keys) - len(waiting))
    rows, refused = _tabulate(sources, keys, results)
    for row in rows:
        row |= {"sha256": hashes[row["file"]], **_personal(row["person"], people, validation)}
    measured = [measure_tissues(folder / row["file"], tissues) for row in rows]
    for row, labels in zip(rows, measured, strict=True):
        row |= labels.volumes
        row |= {"scan_checks": row["checks"], "checks": row["checks"] + labels.warnings}
    if not rows:
        _clear(out)
        raise StyleGAN3DError(
            f"None of the {len(sources)} scans in {folder} can be used; the first was refused "
            f"with: {refused[0]['reason']}"
        )
    info = {
        "settings": settings,
        "licences": sorted({row["licence"] for row in rows if row["licence"]}),
        "tissues": tissue_columns(tissues),
        "notes": unnamed_note(measured),
        "refused": refused,
    }
    write_pack(out, rows, _volumes_of(old, out / PARTS), target.space, info)
    shutil.rmtree(out / PARTS, ignore_errors=True)
    return load_pack(out)


def _target_of(folder: Path) -> Target:
    """The folder's own template, else the bundled generator."""
    for path in sorted(folder.glob("template*.nii.gz")):
        return load_template(path)
    from ..generator import load  # late: not needed where a template is given

    return load(device="cpu")


def _existing(out: Path) -> Pack | None:
    """The pack that is there already; an error if something else is."""
    check_output([out / TABLE], overwrite=True)
    if out.is_dir():
        with output_errors(out):
            content = {entry.name for entry in out.iterdir()}
        if TABLE in content:
            return load_pack(out)
        # Parts without a table are an interrupted first run.
        if content - {PARTS} and PARTS not in content:
            raise StyleGAN3DError(
                f"{out} holds other files; give a new folder for the prepared data set."
            )
    return None


def _fingerprint(target: Target) -> str:
    """What tells one target from another: a hash of its grid and its mean brain."""
    digest = hashlib.sha256(repr((target.space.shape, target.space.affine.tolist())).encode())
    digest.update(np.rint(np.asarray(target.template) * 255).astype(np.uint8).tobytes())
    return digest.hexdigest()[:16]


def _key(sha256: str, settings: dict[str, Any]) -> str:
    text = sha256 + json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _results_of(pack: Pack | None) -> dict[str, dict[str, Any]]:
    """What came of the files of an earlier run, by key: volumes and refusals."""
    if pack is None:
        return {}
    done = {
        row["key"]: {name: row[name] for name in RESULT_COLUMNS}
        # Packs of earlier versions hold no other warnings than those of the scan.
        | {"checks": row.get("scan_checks", row["checks"])}
        for row in pack.table
    }
    refused = {
        entry["key"]: {"reason": entry["reason"]}
        for entry in pack.info["refused"]
        if "key" in entry and entry["key"] not in done
    }
    return done | refused


def _tabulate(
    sources: list[Source], keys: dict[str, str], results: dict[str, dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the table and refusals, in the order of the sources."""
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    taken: dict[str, str] = {}
    for source in sources:
        key = keys[source.file]
        result = results[key]
        if "reason" in result:
            entry = {"file": source.file, "key": key, "reason": result["reason"]}
            if result.get(PASSING):  # without a key the next run does not take it over
                del entry["key"]
            refused.append(entry)
        elif key in taken:
            # The same image under two names would count twice, and could cross the split.
            reason = f"{source.file} is the same file as {taken[key]}."
            refused.append({"file": source.file, "key": key, "reason": reason})
        else:
            taken[key] = source.file
            head = {"name": source.name, "person": source.person, "file": source.file, "key": key}
            rows.append(head | result)
    return rows, refused


def _known(person: str, people: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A person's row of participants.tsv; empty if there is none."""
    return people.get(person) or people.get(person.removeprefix("sub-")) or {}


def _personal(person: str, people: dict[str, dict[str, Any]], validation: float) -> dict[str, Any]:
    """What participants.tsv says of a person, and the side of the split."""
    known = _known(person, people)
    columns = {name: value for name, value in known.items() if name not in RESERVED_COLUMNS}
    split = split_of(person, known, validation)
    return {"age": None, "sex": None, "licence": None} | columns | {"split": split}


def _volumes_of(old: Pack | None, parts: Path) -> Callable[[dict[str, Any]], np.ndarray]:
    """Where to find the volume of a row: in the earlier pack, or among the parts."""
    packed = {row["key"]: index for index, row in enumerate(old.table)} if old else {}

    def volume_of(row: dict[str, Any]) -> np.ndarray:
        if old is not None and row["key"] in packed:
            return old.volumes[packed[row["key"]]]
        return np.load(parts / f"{row['key']}.npy")

    return volume_of


def _clear(out: Path) -> None:
    """Leave nothing behind where nothing came of it."""
    shutil.rmtree(out / PARTS, ignore_errors=True)
    if not any(out.iterdir()):
        out.rmdir()
