"""What a session keeps of the scan that is open, so that a restored one has it aligned again."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.core.session import Projected
from napari_stylegan3d.core.worker import LongJob, Report
from napari_stylegan3d.project.filling import Filled
from napari_stylegan3d.project.jobs import Choice, align_scan
from napari_stylegan3d.project.label_maps import LabelMap
from napari_stylegan3d.project.regions import Region
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.scans.pose import NO_POSE, Pose
from stylegan3d.storage.formats import scan_stem
from stylegan3d.storage.jsontext import to_plain

if TYPE_CHECKING:
    from napari_stylegan3d.core.jobs import Loaded
    from napari_stylegan3d.project.controller import Projecting
    from stylegan3d.scans import AlignedScan, Scan

#: Millimetres and shares of 1: the same pose again.
SAME_POSE = 1e-6


@dataclass(frozen=True, eq=False)
class KeptScan:
    """Which scan it was, how it lay, and what was found of it.

    Attributes
    ----------
    choice
        The file, and which part of it.
    how, rigid
        "auto" or "centre", and the pose (4, 4) that came of it; "" and None if it was not aligned.
    pose
        How a person moved it from there.
    results
        Projections of it, without sources and voxels; by the sha256 of their latents.
    painted
        The region that was painted to be left out; None without one.
    labels
        Files of label maps that lay over it.
    """

    choice: Choice
    how: str = ""
    rigid: np.ndarray | None = None
    pose: Pose = NO_POSE
    results: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    painted: Region | None = None
    labels: tuple[Path, ...] = ()

    @classmethod
    def of(cls, projecting: Projecting) -> KeptScan | None:
        """The scan that is open; None without one."""
        opened, found = projecting.opened, projecting.aligned
        if opened is None:
            return None
        results = {
            str(p.source.sha256): {
                "similarity": p.similarity,
                "mean_brain": p.mean_brain,
                "remarks": p.remarks,
                "trust": p.trust,
                "filled": None if p.filled is None else p.filled.to_plain(),
            }
            for p in projecting.session.projected
            if found is not None and p.found is found
        }
        how = "" if found is None else "centre" if found.by_hand else "auto"
        rigid = None if found is None else found.rigid
        painted, labels = projecting.painting.region(), tuple(projecting.labels.paths)
        pose = projecting.panel.pose.pose
        return cls(opened.choice, how, rigid, pose, results, painted, labels)

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        painted = None if self.painted is None else self.painted.to_plain()
        rest = dataclasses.replace(self, painted=None)
        return {**to_plain(rest), "painted": painted, "labels": [str(path) for path in self.labels]}

    @classmethod
    def from_plain(cls, plain: Any) -> KeptScan | None:
        """As far as it makes sense: it was written to a file, which a person may have changed."""
        try:
            told = plain["choice"]
            choice = Choice(**{**told, "path": Path(told["path"]), "asked": tuple(told["asked"])})
            rigid = None if plain["rigid"] is None else np.array(plain["rigid"], np.float64)
            moved, turned = ((float(x), float(y), float(z)) for x, y, z in plain["pose"].values())
            results = {str(key): dict(value) for key, value in plain["results"].items()}
            # Older sessions know neither.
            painted = Region.from_plain(plain["painted"]) if plain.get("painted") else None
            labels = tuple(Path(path) for path in plain.get("labels", ()))
            pose = Pose(moved, turned)
            kept = cls(choice, str(plain["how"]), rigid, pose, results, painted, labels)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        aligned = kept.how in ("auto", "centre") and rigid is not None
        sound = rigid is not None and rigid.shape == (4, 4) and np.isfinite(rigid).all()
        return kept if sound or not aligned else dataclasses.replace(kept, how="", rigid=None)


class KeptScans(QObject):
    """Aligns a restored session's scan as it was, behind what is shown."""

    aligned = Signal()
    """It lies where it lay."""

    failed = Signal()
    """It could not be brought there."""

    def __init__(self, projecting: Projecting, parent: QObject) -> None:
        super().__init__(parent)
        self.projecting, self.session = projecting, projecting.session
        self.job = LongJob(self)
        self._kept: KeptScan | None = None
        self._scan: Scan | None = None
        self.job.finished.connect(self._on_done)
        self.job.failed.connect(lambda _: self.failed.emit())

    def restore(self, kept: KeptScan) -> None:
        """The scan is open again: bring it to where it lay.

        A failure is not told: the scan is then open and not aligned, as any other.
        """
        opened, loaded = self.projecting.opened, self.projecting.rendering.loaded
        if opened is None or loaded is None or not (kept.labels or kept.rigid is not None):
            return
        if opened.choice.path != kept.choice.path:  # it was asked which scan is meant
            return
        self._kept, self._scan = kept, opened.scan
        self.job.start(_again, loaded, opened.scan, kept, self.session.folder)

    def shutdown(self) -> None:
        """Stop."""
        self.job.shutdown()

    def _on_done(self, result: Again) -> None:
        for labels in result.labels:
            self.projecting.labels.add(labels)
        if result.aligned is not None:
            self._take(*result.aligned)

    def _take(self, found: AlignedScan, moved: AlignedScan) -> None:
        """The scan is aligned as it was, and so is what was found of it."""
        projecting, kept, generator = self.projecting, self._kept, self.session.generator
        if kept is None or generator is None or not generator.space.same_as(found.space):
            return
        busy = projecting.job.running or projecting.aligned is not None
        if busy or projecting.opened is None or projecting.opened.scan is not self._scan:
            return
        projecting.take_aligned(found, moved, kept.pose)
        if kept.painted is not None:
            projecting.painting.restore(kept.painted, found.space)
        name = projecting.opened.name
        known = {p.source.sha256 for p in self.session.projected}
        for source in projected_sources(self.session.history.states):
            told = kept.results.get(str(source.sha256))
            if told is not None and source.sha256 not in known:
                known.add(source.sha256)
                self.session.projected.append(_projected(name, source, moved, found, told))
        self.session.projectedChanged.emit()
        projecting.panel.show_recipe(self.session.recipe)
        self.aligned.emit()


def projected_sources(recipes: Iterable[Recipe]) -> Iterable[Source]:
    """Projected scans that recipes are made from."""
    for recipe in recipes:
        for source in (recipe.source, *([recipe.mix.source] if recipe.mix else ())):
            if source.kind == "projected":
                yield source


def _projected(
    name: str, source: Source, moved: AlignedScan, found: AlignedScan, told: Mapping[str, Any]
) -> Projected:
    from stylegan3d.projection.pipeline import place

    filled = Filled.from_plain(told.get("filled"), moved.space)
    return Projected(
        name,
        source,
        moved if filled is None else place(moved, operator=filled.operator),
        dict(told["similarity"]),
        dict(told["mean_brain"]),
        tuple(told["remarks"]),
        dict(told["trust"]),
        found,
        filled,
    )


@dataclass(frozen=True, eq=False)
class Again:
    """What is there again: the scan as the alignment put it and as it was moved; label maps."""

    aligned: tuple[AlignedScan, AlignedScan] | None
    labels: list[LabelMap]


def _again(report: Report, loaded: Loaded, scan: Scan, kept: KeptScan, folder: Path) -> Again:
    """In a thread; a label map that cannot be read any more is left out."""
    from stylegan3d.scans import read_scan

    labels = []
    for path in kept.labels:
        with suppress(StyleGAN3DError):
            labels.append(LabelMap.of(read_scan(path), scan_stem(path)))
    if kept.rigid is None:
        return Again(None, labels)
    found = align_scan(report, loaded, scan, folder, kept.how)
    if np.abs(found.rigid - kept.rigid).max() > SAME_POSE:
        found = found.posed(kept.rigid)
    return Again((found, kept.pose.of(found)), labels)
