"""Prepare scans as a dataset: the plan, and its work in parallel."""

import hashlib
import io
import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from stylegan3d.base import SILENT, Json, Progress, ScanError, StyleGAN3DError, doubts_in
from stylegan3d.dataset.contact_sheet import write_contact_sheet
from stylegan3d.dataset.pack import MANY_ROWS, TABLE, Pack, load_pack, parquet_library, write_pack
from stylegan3d.dataset.quality import Inspector, doubts_of, measure_scan, refusal
from stylegan3d.dataset.settings import PreparationSettings
from stylegan3d.geometry.space import as_packed
from stylegan3d.memory import is_out_of_memory
from stylegan3d.pools import LOST, Here, open_pool
from stylegan3d.projection.assessment import outline_doubts
from stylegan3d.scans.alignment import Target, Template, bundled_template, load_template
from stylegan3d.scans.intensity import correlation
from stylegan3d.scans.label_maps import measure_tissues, read_tissues, tissue_columns, tissue_notes
from stylegan3d.scans.person import person_of_file
from stylegan3d.scans.reading import read_scan
from stylegan3d.scans.sources import (
    HELD_OUT,
    TEST,
    ScanSource,
    find_sources,
    read_participants,
    split_of,
)
from stylegan3d.segmentation.scans import OnGrid
from stylegan3d.storage.encoding import read_json, to_plain
from stylegan3d.storage.files import (
    LOCK,
    atomic_write_bytes,
    check_output,
    only_run,
    output_errors,
    sha256_of,
)

# Version of the result: increase it when the same scan would now be prepared differently.
PIPELINE = 4
PARTS = ".parts"
# Columns set by preparation, and all columns that participants.tsv cannot set.
RESULT_COLUMNS = ("prepared", "quality", "brain_ml", "doubts", "measures")
# "doubts" are all of a row; "scan_doubts" those from preparing the scan.
RESERVED_COLUMNS = {"name", "person", "file", "key", "sha256", "scan_doubts", *RESULT_COLUMNS}
PREPARE, DONE, LEAVE_OUT = "prepare", "done", "leave out"
# Marks a refusal that is not stored, so the next run tries again.
PASSING = "passing"
AS_IT_WAS, ALIGNED = "as it was", "aligned"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be prepared, and what is already done.

    Attributes
    ----------
    folder, out : Path
        Folders of the scans and of the pack.
    target : Target
    settings : dict
        Everything besides the scans that determines the volumes.
    sources : list of ScanSource
    left_out : list of (str, str)
        Images of the folder that are not sources, with reasons.
    subjects : dict
        participants.tsv, by participant id.
    validation : float
    hashes : dict
        SHA-256 of each readable file.
    keys : dict
        Key of each file's result.
    known : dict
        Results by key: of earlier runs, and of test subjects.
    old : Pack or None
        Existing pack in `out`.
    """

    folder: Path
    out: Path | None
    target: Target
    settings: Json
    sources: list[ScanSource]
    left_out: list[tuple[str, str]]
    people: dict[str, Json]
    validation: float
    hashes: dict[str, str]
    keys: dict[str, str]
    known: dict[str, Json]
    old: Pack | None

    @property
    def waiting(self) -> dict[str, Path]:
        """Files to prepare, by key."""
        keys = self.keys
        files = {keys[source.file]: self.folder / source.file for source in self.sources}
        return {key: path for key, path in files.items() if key not in self.known}

    def split(self, person: str) -> str:
        """Of a subject."""
        return split_of(person, _known(person, self.people), self.validation)

    def personal(self, source: ScanSource) -> Json:
        """A subject's row of participants.tsv, and age and sex at this scan, as `read_scan` has."""
        known = _known(source.person, self.people)
        columns = {name: value for name, value in known.items() if name not in RESERVED_COLUMNS}
        then = asdict(person_of_file(self.folder / source.file))
        then = {name: value for name, value in then.items() if value is not None}
        return {"age": None, "sex": None, "licence": None} | columns | then

    def rows(self) -> list[Json]:
        """One row per source: "name", "person", "file", "split", "action" and "reason" (or None).

        The action is "prepare", "done" (in an earlier run), or "leave out".
        """
        rows = []
        seen: dict[str, str] = {}
        for source in self.sources:
            key = self.keys[source.file]
            reason = self.known.get(key, {}).get("reason")
            if reason is None and key in seen:
                reason = same_file(source.file, seen[key])
            seen.setdefault(key, source.file)
            action = LEAVE_OUT if reason else DONE if key in self.known else PREPARE
            head = {"name": source.name, "person": source.person, "file": source.file}
            split = self.split(source.person)
            rows.append(head | {"split": split, "action": action, "reason": reason})
        return rows

    def notes(self) -> list[str]:
        """Notes on the dataset: subjects with several scans, unknown subjects."""
        return [*_several_scans(self.sources), *self._not_in_table(), *self._table_without_scan()]

    def _not_in_table(self) -> list[str]:
        persons = sorted({s.person for s in self.sources if not _known(s.person, self.people)})
        text = (
            f"participants.tsv has no row for {_few(persons)}; a hash of the name sets the split."
        )
        return [text] if self.people and persons else []

    def _table_without_scan(self) -> list[str]:
        persons = {s.person for s in self.sources}
        persons |= {person.removeprefix("sub-") for person in persons}
        missing = sorted(person for person in self.people if person not in persons)
        return [f"No scan was found of {_few(missing)} in participants.tsv."] if missing else []


def make_plan(
    folder: Path,
    out: Path | None,
    *,
    target: Target | None = None,
    skull: str = "auto",
    bias_correction: bool = True,
    min_quality: float = 0.85,
    validation: float = 0.1,
) -> Plan:
    """Inspect a folder and existing results in `out`; see `preparation.prepare`.

    Raises
    ------
    StyleGAN3DError
        If the folder contains no scan, its tables are invalid, or `out` contains other files.
    """
    old = None if out is None else _existing(out)
    found = find_sources(folder)
    people = read_participants(folder)
    target = target or _target_of(folder)
    settings = {
        "pipeline": PIPELINE,
        "skull": skull,
        "bias_correction": bias_correction,
        "min_quality": min_quality,
        "target": _fingerprint(target),
    }
    hashes: dict[str, str] = {}
    known = _results_of(old)
    keys: dict[str, str] = {}
    for source in found.sources:
        try:
            hashes[source.file] = sha256_of(folder / source.file)
        except (OSError, ScanError) as error:
            path = folder / source.file
            reason = str(error).replace(str(path), path.name)
            if isinstance(error, OSError):
                reason = (
                    f"{path.name} cannot be opened ({error.strerror}); check its permissions and "
                    "its disk, or take it out of the folder."
                )
            keys[source.file] = _key(source.file, settings)
            known[keys[source.file]] = {"reason": reason, PASSING: True}
        else:
            keys[source.file] = _key(hashes[source.file], settings)
    held_out = [s for s in found.sources if _known(s.person, people).get("split") == TEST]
    # Copies of a held-out image are held out, too.
    known |= {keys[s.file]: {"reason": HELD_OUT, PASSING: True} for s in held_out}
    return Plan(
        folder,
        out,
        target,
        settings,
        found.sources,
        found.left_out,
        people,
        validation,
        hashes,
        keys,
        known,
        old,
    )


def same_file(file: str, other: str) -> str:
    """The reason to exclude a copy."""
    return f"{file} is the same file as {other}."


def _several_scans(sources: list[ScanSource]) -> list[str]:
    counts = Counter(source.person for source in sources)
    several = [f"{person} ({n})" for person, n in sorted(counts.items()) if n > 1]
    who = "1 subject has" if len(several) == 1 else f"{len(several)} subjects have"
    used = "all usable ones are used, in the same split."
    return [f"{who} several scans: {_few(several)}; {used}"] if several else []


def _few(names: list[str], limit: int = 5) -> str:
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def _target_of(folder: Path) -> Target:
    """The folder's own template, else that of the bundled generator."""
    for path in sorted(folder.glob("template*.nii.gz")):
        return load_template(path)
    return bundled_template()


def _existing(out: Path) -> Pack | None:
    """The existing pack; an error if the folder contains anything else."""
    check_output([out / TABLE], overwrite=True)
    if out.is_dir():
        with output_errors(out):
            content = {entry.name for entry in out.iterdir()}
        if TABLE in content:
            return load_pack(out)
        # Parts without a table are from an interrupted first run.
        if content - {PARTS, LOCK} and PARTS not in content:
            raise StyleGAN3DError(
                f"{out} contains other files; give a new folder for the prepared dataset."
            )
    return None


def _fingerprint(target: Target) -> str:
    """Hash of a target's grid and mean brain."""
    digest = hashlib.sha256(repr((target.space.shape, target.space.affine.tolist())).encode())
    digest.update(np.rint(np.asarray(target.template) * 255).astype(np.uint8).tobytes())
    return digest.hexdigest()[:16]


def _key(sha256: str, settings: Json) -> str:
    text = sha256 + json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _results_of(pack: Pack | None) -> dict[str, Json]:
    """Results of an earlier run by key: volumes and refusals."""
    if pack is None:
        return {}
    done = {
        row["key"]: {name: row[name] for name in RESULT_COLUMNS if name in row}
        | {"doubts": row["scan_doubts"]}
        for row in pack.table
    }
    refused = {
        entry["key"]: {"reason": entry["reason"]}
        for entry in pack.info["refused"]
        if "key" in entry and entry["key"] not in done
    }
    return done | refused


def _known(person: str, people: dict[str, Json]) -> Json:
    """A subject's row of participants.tsv; empty if there is none."""
    return people.get(person) or people.get(person.removeprefix("sub-")) or {}


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
    scheduler: str | None = None,
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
    scheduler : str, optional
        Address of a Dask cluster to use instead; its workers must see both folders.
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
        if len(plan.sources) > MANY_ROWS:
            parquet_library()
        job = Job(plan.target, skull, bias_correction, min_quality, out / PARTS)
        results, known = {}, len(plan.keys) - len(plan.waiting)
        stored = sum((job.parts / f"{key}.json").is_file() for key in plan.waiting)
        for (key, path), result in _finished(job, plan.waiting, jobs, scheduler):
            results[key] = result
            if len(results) >= stored:  # at once, or the rate counts them as work
                progress(known + len(results), len(plan.keys), path.name)
        return _packed(plan, plan.known | results, folder, out)


def _packed(plan: Plan, results: dict[str, Json], folder: Path, out: Path) -> Pack:
    """Pack what is prepared."""
    tissues = read_tissues(folder)
    volume_of = _volumes_of(plan.old, out / PARTS)
    rows, refused = _tabulate(plan, results)
    if not rows:
        _clear(out)
        raise StyleGAN3DError(
            f"None of the {len(plan.sources)} scans in {folder} can be used; the first was refused "
            f"with: {refused[0]['reason']}"
        )
    measured = [measure_tissues(folder / row["file"], tissues) for row in rows]
    for row, labels in zip(rows, measured, strict=True):
        row |= labels.volumes
        row["doubts"] = row["doubts"] + labels.doubts
    info = {
        "settings": plan.settings,
        "licences": sorted({row["licence"] for row in rows if row["licence"]}),
        "tissues": tissue_columns(tissues),
        "notes": [*plan.notes(), *tissue_notes(tissues, measured)],
        "refused": refused,
    }
    write_pack(out, rows, volume_of, plan.target.space, info, plan.old)
    shutil.rmtree(out / PARTS, ignore_errors=True)
    pack = load_pack(out)
    write_contact_sheet(pack, folder, plan.left_out)
    return pack


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
            row |= result | {"sha256": plan.hashes[source.file]} | plan.personal(source)
            row["split"] = plan.split(source.person)
            row["scan_doubts"] = result["doubts"]
            row["doubts"] = result["doubts"] + doubts_of(result, voxel_mm)
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


@dataclass(frozen=True, eq=False)
class Job:
    """Settings of the preparation, and the folder of finished parts."""

    target: Target
    skull: str
    bias_correction: bool
    min_quality: float
    parts: Path


def _finished(
    job: Job, files: dict[str, Path], jobs: int, scheduler: str | None
) -> Iterator[tuple[tuple[str, Path], Json]]:
    """Yield results by the keys of the files' parts, as they become ready; stored ones first."""
    with output_errors(job.parts):
        job.parts.mkdir(parents=True, exist_ok=True)
    waiting = []
    for key, path in files.items():
        item, stored = (key, path.absolute()), job.parts / f"{key}.json"
        if stored.is_file():
            yield item, read_json(stored)
        else:
            waiting.append(item)
    with open_pool(jobs, scheduler, len(waiting)) as pool:
        if not isinstance(pool, Here):
            # A generator is larger than needed, and cannot be pickled.
            target = Template(job.target.space, job.target.template)
            job = replace(job, target=target, parts=job.parts.absolute())
        for item, result in pool.each(prepare_part, job, waiting):
            lost = {"reason": f"{pool.loss} Prepare again to retry.", PASSING: True}
            yield item, lost if result is LOST else result


def prepare_part(job: Job, item: tuple[str, Path]) -> Json:
    """Prepare one file, given its key, and store the result as `<key>.npy` and `<key>.json`.

    A result with "reason" is a refusal and has no volume. The JSON file is written last and marks a
    complete part. Failures that may be due to the machine, such as out of memory, are not stored:
    the next run tries again.

    Raises
    ------
    OutputError
        If the part cannot be written, such as on a full disk.
    """
    key, path = item
    try:
        volume, result = prepare_volume(job, path)
    except ScanError as error:
        # Without the folder, so that the pack does not depend on its location.
        result = {"reason": str(error).replace(str(path), path.name)}
    except Exception as error:  # one bad file must not stop the others
        if is_out_of_memory(error):
            reason = "There was not enough memory; prepare again with fewer --jobs to retry."
            return {"reason": reason, PASSING: True}
        _log.exception("Preparing %s failed", path)
        told = str(error).replace(str(path), path.name)
        reason = f"Unexpected {type(error).__name__}: {told}; prepare again to retry."
        return {"reason": reason, PASSING: True}
    else:
        content = io.BytesIO()
        np.save(content, volume)
        atomic_write_bytes(job.parts / f"{key}.npy", content.getvalue(), overwrite=True)
    atomic_write_bytes(
        job.parts / f"{key}.json", json.dumps(result, default=to_plain).encode(), overwrite=True
    )
    return result


def prepare_volume(job: Job, path: Path) -> tuple[np.ndarray, Json]:
    """The training volume of a file, uint8 (X, Y, Z), and its record.

    Raises
    ------
    ScanError
        If it cannot be read or used, or its quality is too poor (`quality.refusal`).
    """
    inspector, scan, target = Inspector(job.target), read_scan(path), job.target
    placed = OnGrid.of(scan, target, job.skull, bias_correction=job.bias_correction)
    volume, aligned = as_packed(placed.volume), placed.aligned
    result = {
        "prepared": AS_IT_WAS if aligned is None else ALIGNED,
        "quality": round(correlation(placed.volume, target.template), 4),
        "brain_ml": round(float(np.count_nonzero(volume) * target.space.voxel_ml), 1),
        "doubts": [*doubts_in(placed.notes), *outline_doubts(placed)],
        "measures": inspector.measure(volume) | ({} if aligned is None else measure_scan(aligned)),
    }
    if reason := refusal(result, job.min_quality):
        raise ScanError(f"{path.name} {reason}")
    return volume, result
