"""Prepare a packed training data set from a folder of T1 scans.

Scans that are already on the target grid (as written by this program) are used unchanged; all
others are read, checked, brain-extracted, bias-corrected, aligned and normalised. Unusable files
are refused with a reason, without stopping the run. Finished volumes are kept in `.parts` inside
the pack, from which an interrupted run resumes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from stylegan3d.dataset.contact_sheet import write_contact_sheet
from stylegan3d.dataset.pack import TABLE, Pack, load_pack, write_pack
from stylegan3d.dataset.plan import PARTS, Plan, make_plan, same_file
from stylegan3d.dataset.quality import Inspector, refusal, warnings
from stylegan3d.dataset.scan_preparation import PASSING, Job, prepare_all
from stylegan3d.dataset.settings import PreparationSettings
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress
from stylegan3d.scans.label_maps import (
    counted_note,
    measure_tissues,
    read_tissues,
    tissue_columns,
    unnamed_note,
)
from stylegan3d.scans.target import Target
from stylegan3d.storage.files import check_output
from stylegan3d.storage.locks import LOCK, only_run

__all__ = ["Pack", "load_pack", "prepare"]

VolumeOf = Callable[[Json], np.ndarray]


def prepare(
    folder: str | Path,
    out: str | Path,
    *,
    target: Target | None = None,
    skull: str = "auto",
    bias_correction: bool = PreparationSettings.bias_correction,
    min_quality: float = PreparationSettings.min_quality,
    validation: float = PreparationSettings.validation,
    jobs: int = 1,
    progress: Progress = SILENT,
) -> Pack:
    """Prepare the T1 scans of a folder for training.

    Parameters
    ----------
    folder : path-like
        Plain folder or BIDS tree with NIfTI or MGH files; `participants.tsv` in it, if any,
        gives age, sex, split, licence and further columns, and `labels.tsv` the tissues of label
        maps. Subjects with split "test" or "holdout" are excluded.
    out : path-like
        Folder of the pack. An existing pack is updated without repeating finished work.
    target : Target, optional
        Grid and mean brain to align to; by default the folder's own `template*.nii.gz`, else the
        bundled generator.
    skull : {"auto", "extract", "keep"}
    bias_correction : bool
    min_quality : float
        Least correlation of an aligned brain with the mean brain; 0.93 to 0.965 is usual.
    validation : float
        Share of validation subjects if `participants.tsv` has no column "split".
    jobs : int
        Parallel processes, about 3 GB of memory each.
    progress : Progress
        Called with files done, total, and the name of the last one.

    Returns
    -------
    Pack
        Independent of the order of processing, byte for byte. Its folder contains
        `contact-sheet.html` with pictures of accepted and refused scans.

    Raises
    ------
    StyleGAN3DError
        If the folder contains no usable scan, or `out` contains other files; an OutputError if it
        cannot be written to, or another run is writing to it.
    """
    folder, out = Path(folder), Path(out)
    check_output([out / TABLE], overwrite=True)
    with only_run(out):
        plan = make_plan(
            folder,
            out,
            target=target,
            skull=skull,
            bias_correction=bias_correction,
            min_quality=min_quality,
            validation=validation,
        )
        job = Job(plan.target, skull, bias_correction, min_quality, out / PARTS)
        return _work_off(plan, job, folder, out, jobs, progress)


def _work_off(
    plan: Plan,
    job: Job,
    folder: Path,
    out: Path,
    jobs: int,
    progress: Progress,
) -> Pack:
    """Prepare pending files, and pack all."""
    tissues = read_tissues(folder)
    results = dict(plan.known)
    waiting = plan.waiting
    results |= prepare_all(job, waiting, jobs, progress, done=len(plan.keys) - len(waiting))
    volume_of = _volumes_of(plan.old, out / PARTS)
    rows, refused = _tabulate(plan, _judged(plan, results, volume_of))
    if not rows:
        _clear(out)
        raise StyleGAN3DError(
            f"None of the {len(plan.sources)} scans in {folder} can be used; the first was refused "
            f"with: {refused[0]['reason']}"
        )
    measured = [measure_tissues(folder / row["file"], tissues) for row in rows]
    for row, labels in zip(rows, measured, strict=True):
        row |= labels.volumes
        row["checks"] = row["checks"] + list(map(str, labels.warnings))
    info = {
        "settings": plan.settings,
        "licences": sorted({row["licence"] for row in rows if row["licence"]}),
        "tissues": tissue_columns(tissues),
        "notes": [*plan.notes(), *counted_note(tissues, measured), *unnamed_note(measured)],
        "refused": refused,
    }
    write_pack(out, rows, volume_of, plan.target.space, info)
    shutil.rmtree(out / PARTS, ignore_errors=True)
    pack = load_pack(out)
    write_contact_sheet(pack, folder, plan.left_out)
    return pack


def _judged(plan: Plan, results: dict[str, Json], volume_of: VolumeOf) -> dict[str, Json]:
    """Add measures to results that lack them, from older packs."""
    inspector = None
    judged = dict(results)
    names = {plan.keys[source.file]: Path(source.file).name for source in plan.sources}
    for key, name in names.items():
        result = results[key]
        if "reason" in result or "measures" in result:
            continue
        inspector = inspector or Inspector(plan.target)
        measures = inspector.measure(np.asarray(volume_of({"key": key})))
        judged[key] = {**result, "measures": measures}
        reason = refusal(judged[key], plan.settings["min_quality"])
        if reason is not None:
            judged[key] = {"reason": f"{name} {reason}"}
    return judged


def _tabulate(plan: Plan, results: dict[str, Json]) -> tuple[list[Json], list[Json]]:
    """Rows of the table and refusals, in the order of the sources."""
    rows: list[Json] = []
    refused: list[Json] = []
    taken: dict[str, str] = {}
    voxel_mm = max(plan.target.space.voxel_size)
    for source in plan.sources:
        key = plan.keys[source.file]
        result = results[key]
        if "reason" in result:
            entry = {"file": source.file, "key": key, "reason": result["reason"]}
            if result.get(PASSING):  # without a key the next run does not reuse it
                del entry["key"]
            refused.append(entry)
        elif key in taken:
            # The same image under two names would count twice, possibly in both splits.
            reason = same_file(source.file, taken[key])
            refused.append({"file": source.file, "key": key, "reason": reason})
        else:
            taken[key] = source.file
            row = {"name": source.name, "person": source.person, "file": source.file, "key": key}
            row |= result | {"sha256": plan.hashes[source.file]} | plan.personal(source.person)
            row["scan_checks"] = result["checks"]
            row["checks"] = result["checks"] + list(map(str, warnings(result, voxel_mm)))
            rows.append(row)
    return rows, refused


def _volumes_of(old: Pack | None, parts: Path) -> VolumeOf:
    """Function that returns the volume of a row, from the old pack or the parts."""
    packed = {row["key"]: index for index, row in enumerate(old.table)} if old else {}

    def volume_of(row: Json) -> np.ndarray:
        if old is not None and row["key"] in packed:
            return old.volumes[packed[row["key"]]]
        return np.load(parts / f"{row['key']}.npy")

    return volume_of


def _clear(out: Path) -> None:
    """Remove an empty result."""
    shutil.rmtree(out / PARTS, ignore_errors=True)
    if all(entry.name == LOCK for entry in out.iterdir()):
        with suppress(OSError):  # the system cannot delete open files
            (out / LOCK).unlink(missing_ok=True)
            out.rmdir()
