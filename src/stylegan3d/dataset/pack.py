"""A packed dataset: all volumes in one memory-mapped file, with a table.

A pack is a folder::

    volumes-<id>.npy  uint8 [n, X, Y, Z], C order, 0 outside the brain, 255 = the 99.5th percentile
    dataset.json      the grid, one row per volume (name, person, split, age, ...), what was refused
    table-<id>.parquet  the rows, where there are more than ten thousand
    template.nii.gz   mean of the training volumes, to align further scans to
    contact-sheet.html  pictures of accepted and refused scans

The volumes are memory-mapped, so datasets can be larger than memory. Their file is named by a hash
of its content, which the table refers to: an interrupted update never combines rows with the wrong
volumes.
"""

import gzip
import hashlib
import io
import json
import os
import struct
import tokenize
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from stylegan3d.base import Json, ModelError, StyleGAN3DError
from stylegan3d.geometry.space import Space, checked_space
from stylegan3d.storage.encoding import from_json, read_json, to_plain
from stylegan3d.storage.files import atomic_file, output_errors, reason, utf8, write_together

HEAD: Json = {"format": "stylegan3d-pack", "version": 1}
TABLE, TEMPLATE = "dataset.json", "template.nii.gz"
#: Maximum size of the table in bytes; ten thousand subjects take a fifth of this.
LARGEST_TABLE = 100_000_000
#: More rows than these are a file of their own.
MANY_ROWS = 10_000
AS_JSON = " (JSON)"  # ends the names of such columns there
AGAIN = "delete the folder and run `stylegan3d prepare` again"
#: What numpy raises for a file that is no array, beside OSError.
BROKEN = (
    *(EOFError, ValueError, KeyError, TypeError, RuntimeError, SyntaxError, ArithmeticError),
    *(MemoryError, struct.error, tokenize.TokenError, zipfile.BadZipFile),
)


@dataclass(frozen=True, eq=False)
class Pack:
    """A packed dataset, open for reading.

    Attributes
    ----------
    path : Path
        The pack's folder.
    volumes : ndarray, uint8 [n, X, Y, Z]
        Memory-mapped; divide by 255 for intensities in [0, 1].
    space : Space
        The grid all volumes share.
    table : list of dict
        One row per volume: "name", "person", "file", "sha256", "split" ("train" or "validation"),
        "age" (years or None), "sex" ("M", "F" or None), "licence", "prepared" ("as it was" or
        "aligned"), "quality" (correlation with the mean brain), "brain_ml", "measures" (see
        `quality`), "doubts" (`base.Doubt`, as JSON), "scan_doubts" (those that preparing gave),
        "key" (of the file and the settings), every further column of participants.tsv, and where
        the folder has a `labels.tsv`, millilitres of each tissue, such as "ventricle_ml" or
        "grey_ml" (None for subjects without a label map).
    info : dict
        The rest of dataset.json: "refused" files with reasons, "licences", "settings", "tissues"
        (the names of the columns of tissue volumes), "notes" on the dataset as a whole.
    """

    path: Path
    volumes: np.ndarray
    space: Space
    table: list[Json]
    info: Json

    def __len__(self) -> int:
        return len(self.table)

    def indices(self, split: str, most: int | None = None) -> np.ndarray:
        """Indices of "train" or "validation", int64, ascending; at most `most`, evenly spaced."""
        rows = np.array([i for i, row in enumerate(self.table) if row["split"] == split], np.int64)
        return rows if most is None else rows[evenly(len(rows), most)]

    @property
    def volumes_id(self) -> str:
        """Identity of the volumes: their file name, which contains a hash."""
        file = str(getattr(self.volumes, "filename", self.path))
        return str(self.info.get("id") or Path(file).name)

    def column(self, name: str) -> list[Any]:
        """One column of the table; None where missing."""
        return [row.get(name) for row in self.table]

    def check_grid(self, space: Space, name: str) -> None:
        """Raise ModelError if the volumes lie on another grid than that of the generator `name`."""
        if not self.space.same_as(space):
            raise ModelError(
                f"{self.path} contains volumes with a different grid than {name}: "
                "prepare the data with this model as the template."
            )

    @cached_property
    def template(self) -> np.ndarray:
        """Mean of the training volumes, float32 (X, Y, Z) in [0, 1]."""
        return np.asarray(nib.load(self.path / TEMPLATE).dataobj, dtype=np.float32)


def evenly(n: int, most: int) -> np.ndarray:
    """At most `most` of n, evenly spaced."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(int)


def load_pack(path: str | Path) -> Pack:
    """Open a packed dataset.

    Parameters
    ----------
    path : path-like
        Folder written by `prepare`.

    Raises
    ------
    StyleGAN3DError
        If the folder is not a pack, is of another version, or is inconsistent.
    """
    path = Path(path)
    file = path / TABLE
    try:
        info = read_json(file, LARGEST_TABLE, nan_is_none=True)
        if not isinstance(info, dict) or not info.items() >= HEAD.items():
            raise StyleGAN3DError(
                f"{path} was not written by this version of `stylegan3d prepare`; {AGAIN}."
            )
        space = checked_space(info.pop("shape"), info.pop("affine"))
        table = info.pop("table")
        # Plain file names: a table must not refer to other folders.
        if isinstance(table, str):
            file = path / Path(table).name
            table = _read_parquet(file)
        splits = [row["split"] for row in table]
        if not isinstance(table, list) or not all(isinstance(split, str) for split in splits):
            raise ValueError("its table is not a table")
        file = path / Path(info.pop("volumes")).name
        if file.exists() and not file.is_file():
            raise ValueError(f"{file.name} is not a file")
        volumes = np.load(file, mmap_mode="r", allow_pickle=False)
        if not isinstance(volumes, np.ndarray):
            raise ValueError(f"{file.name} is an archive")
    except (FileNotFoundError, NotADirectoryError) as error:
        if file.name == TABLE:
            raise StyleGAN3DError(
                f"{path} is not a prepared dataset ({TABLE} is missing); "
                "make one of scans with `stylegan3d prepare FOLDER --out DATA`, and give DATA."
            ) from error
        raise StyleGAN3DError(f"{path} is incomplete ({file.name} is missing); {AGAIN}.") from error
    except OSError as error:
        raise StyleGAN3DError(
            f"{path} cannot be read ({error.strerror}); check its permissions and its disk."
        ) from error
    except BROKEN as error:
        raise StyleGAN3DError(f"{path} is damaged ({reason(error)}); {AGAIN}.") from error
    if volumes.shape != (len(splits), *space.shape) or volumes.dtype != np.uint8:
        raise StyleGAN3DError(
            f"{path}: {file.name} {volumes.shape} does not fit its table of {len(splits)} rows; "
            f"{AGAIN}."
        )
    return Pack(path, volumes, space, table, info)


def write_pack(
    path: Path,
    rows: list[Json],
    volume_of: Callable[[Json], np.ndarray],
    space: Space,
    info: Json,
    old: Pack | None = None,
) -> None:
    """Write a pack; `volume_of(row)` returns the row's uint8 (X, Y, Z) volume.

    An existing pack stays valid until the table, which names the file of the volumes, is replaced.
    The volumes of `old`, the existing one, stay where they are these, in the same splits.

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    with output_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        files, decisive = {}, itemgetter("key", "split")
        known = None if old is None else getattr(old.volumes, "filename", None)
        if old and known and [*map(decisive, rows)] == [*map(decisive, old.table)]:
            file = path / Path(known).name  # numpy has made it absolute
        else:
            file, total = _write_volumes(path, rows, volume_of, space.shape)
            training = sum(row["split"] == "train" for row in rows)
            mean = (total / max(training, 1) / 255).astype(np.float32)
            files[path / TEMPLATE] = template_bytes(mean, space)
    table: list[Json] | str = rows
    if len(rows) > MANY_ROWS:
        content = _parquet(rows)
        table = f"table-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        files[path / table] = content
    grid = {"shape": list(space.shape), "affine": space.affine.tolist(), "volumes": file.name}
    head = HEAD | grid | info | {"table": table}
    text = json.dumps(head, indent=1, ensure_ascii=False, default=to_plain)
    write_together(files | {path / TABLE: utf8(text)}, overwrite=True)
    for left in (*path.glob("volumes-*.npy"), *path.glob(".volumes.*"), *path.glob("table-*")):
        if left not in (file, *files):
            with suppress(OSError):  # the system cannot delete open files
                left.unlink(missing_ok=True)


def parquet_library() -> Any:
    """pyarrow, with its parquet files; StyleGAN3DError without it."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise StyleGAN3DError(
            f"The table of more than {MANY_ROWS} scans is a parquet file, which needs another "
            "package: install it with `pip install 'napari-stylegan3d[large]'`."
        ) from error
    return pyarrow


def _parquet(rows: list[Json]) -> bytes:
    """Rows as a table: columns of text, of numbers, and, by their name, of JSON."""
    library, columns, file = parquet_library(), {}, io.BytesIO()
    for name in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if len(kinds) > 1 or not kinds <= {str, float, int, bool} or name.endswith(AS_JSON):
            values = [json.dumps(value, default=to_plain) for value in values]
            name += AS_JSON
        columns[name] = library.array(values, from_pandas=True)  # NaN is None, as in JSON
    library.parquet.write_table(library.table(columns), file)
    return file.getvalue()


def _read_parquet(path: Path) -> list[Json]:
    columns = parquet_library().parquet.read_table(path).to_pydict()
    for name in [name for name in columns if name.endswith(AS_JSON)]:
        texts = columns.pop(name)
        columns[name.removesuffix(AS_JSON)] = [from_json(text, nan_is_none=True) for text in texts]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _write_volumes(
    path: Path,
    rows: list[Json],
    volume_of: Callable[[Json], np.ndarray],
    shape: tuple[int, int, int],
) -> tuple[Path, np.ndarray]:
    """Write the volumes; returns their file and the sum of training volumes, float64 (X, Y, Z)."""
    temporary = path / ".volumes.new"
    total = np.zeros(shape, dtype=np.float64)
    digest = hashlib.sha256(repr((len(rows), *shape)).encode())

    def read() -> Iterator[np.ndarray]:
        for row in rows:
            volume = np.ascontiguousarray(volume_of(row), dtype=np.uint8)
            digest.update(volume.data)
            if row["split"] == "train":
                np.add(total, volume, out=total)
            yield volume

    try:
        write_array(temporary, read(), (len(rows), *shape), np.uint8)
        file = path / f"volumes-{digest.hexdigest()[:16]}.npy"
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
    return file, total


def write_array(
    path: Path, parts: Iterable[np.ndarray], shape: tuple[int, ...], dtype: npt.DTypeLike
) -> None:
    """Write parts of an array along its first axis, one after another, as .npy; whole or not.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    head = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    # Written, not memory-mapped: on a full disk writing to a map kills the process.
    with atomic_file(path) as stream:
        np.lib.format.write_array_header_1_0(stream, head)
        for part in parts:
            stream.write(np.ascontiguousarray(part, dtype).tobytes())


def template_bytes(mean: np.ndarray, space: Space) -> bytes:
    """A template in [0, 1] as a .nii.gz of uint8 with a slope of 1/255; same input, same bytes."""
    image = nib.Nifti1Image(np.rint(mean * 255).astype(np.uint8), space.affine)
    image.set_sform(space.affine, code="aligned")
    image.set_qform(space.affine, code="aligned")
    image.header.set_slope_inter(1 / 255, 0)  # so that nibabel writes the array's values unchanged
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"Mean of training brains"
    return gzip.compress(image.to_bytes(), mtime=0)
