"""A case: one patient's scan, and all that is known of it.

Whatever names a patient (panel, captions, verdict, reports) reads the name from the one case that
made the picture, so a name can never stand beside another patient's result.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stylegan3d.base import Doubt, JsonView
from stylegan3d.scans.pose import NO_POSE, Pose
from stylegan3d.storage.formats import is_dicom, scan_stem

if TYPE_CHECKING:
    from stylegan3d.recipe.recipe import Source
    from stylegan3d.scans import AlignedScan, Scan
    from stylegan3d.storage.about import Origin


@dataclass(frozen=True)
class Choice:
    """Which scan, and its orientation; as for `read_scan`.

    Attributes
    ----------
    path : Path
        File, or folder of DICOM files.
    volume : int or None
        Which volume of a series of volumes.
    series : str or None
        UID of a DICOM series.
    orientation : str or None
        The answer to doubts about left and right.
    """

    path: Path
    volume: int | None = None
    series: str | None = None
    orientation: str | None = None

    @property
    def part(self) -> tuple[Path, int | None, str | None]:
        """What is read, whatever its orientation: the file or folder, the volume and the series."""
        return self.path, self.volume, self.series

    def oriented(self, orientation: str | None) -> Choice:
        """The same scan, read with another answer to its doubts."""
        return dataclasses.replace(self, orientation=orientation)


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where a scan was put: automatically or by its centre, and its pose (4, 4)."""

    how: Literal["auto", "centre"]
    rigid: np.ndarray

    def same_as(self, other: Alignment | None) -> bool:
        """Whether both put the scan in one place."""
        return (
            other is not None and self.how == other.how and np.array_equal(self.rigid, other.rigid)
        )


#: Key of a patient, and how the scan is read.
Reading = tuple[str, Choice | None]


@dataclass(frozen=True, eq=False)
class Case:
    """One patient's scan at one moment: being read, refused, open, aligned or projected.

    A case is immutable. Each processing step makes a new one with the same `key`.

    Attributes
    ----------
    name : str
        The patient's, from the scan's file or series.
    choice : Choice or None
        Where the scan came from; None where only a latent is known.
    scan : Scan or None
        None while it is read, if it could not be read, or after a session was restored.
    layer : tuple or None
        The scan ready for the views, as a napari layer tuple.
    problem : str
        Why it was refused, as a sentence; empty if it was not.
    found : AlignedScan or None
        The scan as the alignment put it.
    pose : Pose
        Manual correction of that.
    aligned : AlignedScan or None
        The scan with its current alignment; for a projection, that of the projection.
    model : str
        Hash of the model that it was aligned with or projected into.
    source : Source or None
        The latent that the projection found, for recipes.
    doubts : tuple of Doubt
        What is in doubt, of scan, alignment and reconstruction.
    assessment : mapping
        How far to trust the reconstruction, see `stylegan3d.projection.assessment.Assessment`.
    filled : object or None
        What the projection left to the model.
    residual_z : ndarray or None
        What stands out in the aligned scan, see `stylegan3d.projection.ProjectionResult`.
    stored_sha256, stored_origin : str
        Hash and origin of the scan as a restored session has stored them; empty, and "acquired",
        if it has none.
    stored_alignment : Alignment or None
        Where the scan was put, until a restored session has put it there again.
    key : str
        The same for all cases that one reading of a scan led to.
    """

    name: str
    choice: Choice | None = None
    scan: Scan | None = None
    layer: Any = None
    problem: str = ""
    found: AlignedScan | None = None
    pose: Pose = NO_POSE
    aligned: AlignedScan | None = None
    model: str = ""
    source: Source | None = None
    doubts: tuple[Doubt, ...] = ()
    assessment: JsonView = field(default_factory=dict)
    filled: Any = None
    residual_z: Any = None
    stored_sha256: str = ""
    stored_origin: Origin = "acquired"
    stored_alignment: Alignment | None = None
    key: str = field(default_factory=lambda: secrets.token_hex(8))

    @classmethod
    def of_latent(cls, source: Source) -> Case:
        """The case behind a projection whose scan is not known in this session.

        The name of one that was edited keeps saying so.
        """
        name = scan_stem(str(source.path)).partition("_desc-projected")[0]
        return cls(name, source=source, key=f"latent {source.sha256 or source.path}")

    @property
    def known_doubts(self) -> Sequence[Doubt]:
        """What is in doubt, as far as the scan has come."""
        newest = next((part for part in (self.aligned, self.found, self.scan) if part), None)
        return self.doubts or (newest.doubts if newest else ())

    @property
    def path(self) -> Path | None:
        """File or folder of the scan, where that is known."""
        return None if self.choice is None else self.choice.path

    def is_same_scan_as(self, other: Case) -> bool:
        """Whether both were read from one file or folder, and one volume or series of it."""
        if self.choice is None or other.choice is None:
            return False
        return self.choice.part == other.choice.part

    @property
    def reading(self) -> Reading:
        """Whose scan this is, and how it is read."""
        return self.key, self.choice

    @property
    def is_dicom(self) -> bool:
        """Whether the scan was read from a DICOM series."""
        return self.choice is not None and is_dicom(self.choice.path)

    @property
    def sha256(self) -> str:
        """Hash of the scan; until it was read the stored one, which may be empty."""
        return self.stored_sha256 if self.scan is None else self.scan.sha256

    @property
    def origin(self) -> Origin:
        """Whether the scan was acquired, or is synthetic or edited, as its files say."""
        scan = self.scan or (None if self.aligned is None else self.aligned.scan)
        return self.stored_origin if scan is None else scan.origin

    @property
    def alignment(self) -> Alignment | None:
        """Where the scan was put before it was moved by hand; the stored one until it is there."""
        if self.found is None:
            return self.stored_alignment
        return Alignment("centre" if self.found.by_hand else "auto", self.found.rigid)

    def is_of(self, source: Source) -> bool:
        """Whether this is the case whose projection gave the latent of a recipe."""
        if self.source is None or source.kind != "projected":
            return False
        mine = self.source.sha256 or self.source.path
        return mine is not None and mine == (source.sha256 or source.path)

    def refused(self, problem: str) -> Case:
        """The same scan, which could not be read or aligned."""
        return dataclasses.replace(self, problem=problem)

    def as_read(self) -> Case:
        """The scan alone, as for a model that it was not aligned with yet."""
        return Case(
            self.name,
            self.choice,
            self.scan,
            self.layer,
            stored_sha256=self.stored_sha256,
            stored_origin=self.stored_origin,
            key=self.key,
        )

    def lying(
        self, found: AlignedScan, aligned: AlignedScan, pose: Pose = NO_POSE, model: str = ""
    ) -> Case:
        """The scan with a new alignment; results of the old one are dropped."""
        return dataclasses.replace(
            self.as_read(),
            found=found,
            pose=pose,
            aligned=aligned,
            model=model or self.model,
        )
