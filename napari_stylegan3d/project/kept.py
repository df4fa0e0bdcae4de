"""What a session keeps of its cases, so that a restored one has every patient's scan and result.

No image is kept. Name, verdict and warnings are there at once; the scan is read and aligned again,
behind what is shown, when its case is looked at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Qt, Signal

from napari_stylegan3d.core.messages import sentence
from napari_stylegan3d.core.worker import LongJob, Report
from napari_stylegan3d.project.filling import Filled
from napari_stylegan3d.project.jobs import align_scan, open_scan
from napari_stylegan3d.project.label_maps import LabelMap
from napari_stylegan3d.project.regions import Region
from napari_stylegan3d.widgets.text import _
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.recipe.recipe import Source
from stylegan3d.scans.pose import NO_POSE, Pose
from stylegan3d.session.case import Case, Choice
from stylegan3d.storage.formats import scan_stem
from stylegan3d.storage.jsontext import to_plain

if TYPE_CHECKING:
    from napari_stylegan3d.core.jobs import Loaded
    from napari_stylegan3d.project.controller import Projecting
    from stylegan3d.geometry.space import Space
    from stylegan3d.scans import AlignedScan

#: Millimetres and shares of 1: the same pose again.
SAME_POSE = 1e-6


@dataclass(frozen=True, eq=False)
class KeptScan:
    """Which scan it was, how it lay, and what was found of it.

    Attributes
    ----------
    choice : Choice
        The file, and which part of it.
    how, rigid : str, ndarray or None
        "auto" or "centre", and the pose (4, 4) that came of it; "" and None if it was not aligned.
    pose : Pose
        How a person moved it from there.
    results : mapping of str to mapping of str to object
        Projections of it, without sources and voxels; by the sha256 of their latents.
    painted : Region or None
        The region that was painted to be left out; None without one.
    labels : tuple of Path
        Files of label maps that lay over it.
    name : str
        The patient's; empty in sessions of before.
    model : str
        Hash of the model it was aligned with; empty in sessions of before.
    """

    choice: Choice
    how: str = ""
    rigid: np.ndarray | None = None
    pose: Pose = NO_POSE
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    painted: Region | None = None
    labels: tuple[Path, ...] = ()
    name: str = ""
    model: str = ""

    @classmethod
    def of(cls, case: Case, projected: Sequence[Case]) -> KeptScan | None:
        """A case whose scan was read, with its projections; None where it has no file."""
        if case.choice is None:
            return None
        found = case.found
        results = {
            str(p.source.sha256): {
                "similarity": p.similarity,
                "mean_brain": p.mean_brain,
                "remarks": p.remarks,
                "trust": p.trust,
                "filled": None if p.filled is None else p.filled.to_plain(),
                "pose": p.pose,
            }
            for p in projected
            if p.source is not None and found is not None and p.found is found
        }
        how = "" if found is None else "centre" if found.by_hand else "auto"
        rigid = None if found is None else found.rigid
        pose, name, model = case.pose, case.name, case.model
        return cls(case.choice, how, rigid, pose, results, name=name, model=model)

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
            results = {str(key): dict(value) for key, value in plain["results"].items()}
            pose = _pose(plain["pose"])
            # Sessions of before know less.
            painted = Region.from_plain(plain["painted"]) if plain.get("painted") else None
            labels = tuple(Path(path) for path in plain.get("labels", ()))
            name, model = str(plain.get("name", "")), str(plain.get("model", ""))
            kept = cls(
                choice, str(plain["how"]), rigid, pose, results, painted, labels, name, model
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        aligned = kept.how in ("auto", "centre") and rigid is not None
        sound = rigid is not None and rigid.shape == (4, 4) and np.isfinite(rigid).all()
        return kept if sound or not aligned else dataclasses.replace(kept, how="", rigid=None)

    def case(self) -> Case:
        """The case before its scan is read again."""
        return Case(self.name or scan_stem(self.choice.path), self.choice, pose=self.pose)

    def projected(self, case: Case, sources: Sequence[Source], space: Space) -> list[Case]:
        """Its projections, as far as recipes have them; still without voxels."""
        found = []
        for source in sources:
            told = self.results.get(str(source.sha256))
            with suppress(KeyError, TypeError, ValueError, AttributeError):
                if told is not None:
                    found.append(_projected(case, source, told, self, space))
        return found


def _pose(plain: Any) -> Pose:
    moved, turned = ((float(x), float(y), float(z)) for x, y, z in plain.values())
    return Pose(moved, turned)


def _projected(
    case: Case, source: Source, told: Mapping[str, Any], kept: KeptScan, space: Space
) -> Case:
    return dataclasses.replace(
        case,
        source=source,
        similarity=dict(told["similarity"]),
        mean_brain=dict(told["mean_brain"]),
        remarks=tuple(told["remarks"]),
        trust=dict(told["trust"]),
        filled=Filled.from_plain(told.get("filled"), space),
        pose=_pose(told["pose"]) if "pose" in told else kept.pose,
        model=kept.model,
    )


class KeptScans(QObject):
    """Reads and aligns the scans of a restored session as they were, behind what is shown."""

    aligned = Signal()
    """The scan that was open lies where it lay."""
    failed = Signal()
    """It could not be brought there."""

    def __init__(self, projecting: Projecting, parent: QObject) -> None:
        super().__init__(parent)
        self.projecting, self.session = projecting, projecting.session
        self.job = LongJob(self)
        #: What is known of cases whose scans are not read again yet, by their keys.
        self._kept: dict[str, KeptScan] = {}
        self._key = self._first = ""
        self._arriving: Case | None = None
        self.job.finished.connect(self._on_done)
        self.job.failed.connect(self._on_failed)
        self.job.runningChanged.connect(self._look, Qt.ConnectionType.QueuedConnection)
        self.session.caseChanged.connect(self._look)

    def of_session(self) -> tuple[list[KeptScan], list[int | None]]:
        """All cases, and which of them each step of the history is of."""
        session, projecting = self.session, self.projecting
        kept: list[KeptScan] = []
        places: dict[tuple[str, int], int] = {}

        def place(case: Case | None) -> int | None:
            if case is None:
                return None
            at = (case.key, id(case.found))
            if at not in places:
                one = self._kept.get(case.key) if case.scan is None else None
                one = one or KeptScan.of(case, session.all_projected)
                if one is None:
                    return None
                places[at] = len(kept)
                kept.append(one)
            return places[at]

        now = place(session.case)
        if now is not None and session.case is not None and session.case.scan is not None:
            painted, labels = projecting.painting.region(), tuple(projecting.labels.paths)
            kept[now] = dataclasses.replace(
                kept[now], painted=painted, labels=labels, pose=session.case.pose
            )
        for case in session.all_projected:
            place(case)
        return kept, [place(entry.case) for entry in session.history.states]

    def forget(self) -> None:
        """Another session is restored."""
        self.job.cancel()
        self._kept.clear()
        self._first = ""

    def know(self, case: Case, kept: KeptScan, *, first: bool = False) -> None:
        """A case can be read again; `first` is the one that was open."""
        self._kept[case.key] = kept
        if first:
            self._first = case.key

    def shutdown(self) -> None:
        """Stop."""
        self.job.shutdown()

    def _look(self, _: object = None) -> None:
        """Read the scan of the case that is looked at, where that was not done."""
        case, loaded = self.session.case, self.projecting.rendering.loaded
        if case is None or case.scan is not None or case.problem or self.job.running:
            return
        kept = self._kept.get(case.key)
        if kept is None or loaded is None or self.session.reading:
            return
        self._key = case.key
        self._arriving = Case(case.name, case.choice)
        self.session.expect(self._arriving)
        self.job.start(_again, loaded, case.key, kept, self.session.folder)

    def _arrived(self) -> None:
        if self.session.arriving is self._arriving:
            self.session.expect(None)

    def _on_failed(self, error: Exception) -> None:
        key = self._key
        problem = sentence(error, _("opening the scan"))
        for case in self.session.cases:
            if case.key == key:
                self.session.swap(case, case.refused(problem))
        self._arrived()
        self.session.caseChanged.emit()
        if key == self._first:
            self.failed.emit()

    def _on_done(self, result: Again) -> None:
        # The result says whose it is: what follows may begin with another patient's scan.
        kept = self._kept.pop(result.key, None)
        if kept is None:
            self._arrived()
            return
        if not isinstance(result.read, Case):  # it is to be said which scan is meant
            self._arrived()
            self.projecting.take_opened(result.read)
            return
        session, loaded = self.session, self.projecting.rendering.loaded
        there = loaded is not None and any(
            loaded.generator.space.same_as(one.space) for one in result.aligned.values()
        )
        for case in session.cases:
            if case.key == result.key and case.scan is None:
                session.swap(case, _filled_in(case, result, there))
        self._arrived()
        for labels in result.labels:
            self.projecting.labels.add(labels)
        now = session.case
        if kept.painted is not None and now is not None and now.key == result.key:
            session.caseChanged.emit()
            if now.aligned is not None:
                self.projecting.painting.restore(kept.painted, now.aligned.space)
        session.projectedChanged.emit()
        session.caseChanged.emit()
        if result.key == self._first:
            (self.aligned if there else self.failed).emit()


def _filled_in(case: Case, result: Again, there: bool) -> Case:
    """A case with its scan, and where it lay."""
    from stylegan3d.projection.pipeline import place

    read = result.read
    assert isinstance(read, Case)
    case = dataclasses.replace(case, scan=read.scan, layer=read.layer, name=read.name)
    found = result.found
    if found is None or not there:
        return case
    moved = result.aligned.get(case.pose, found)
    filled = case.filled
    aligned = moved if filled is None else place(moved, operator=filled.operator)
    return dataclasses.replace(case, found=found, aligned=aligned, model=result.model)


@dataclass(frozen=True, eq=False)
class Again:
    """What is there again.

    Attributes
    ----------
    key : str
        Of the case it belongs to.
    read : object
        The scan as a case; else what `open_scan` asks.
    found : AlignedScan or None
        As the alignment put it; None if it was not aligned.
    aligned : mapping of Pose to AlignedScan
        Where it was moved to, by pose.
    labels : sequence of LabelMap
        Label maps over it.
    model : str
        Hash of the model that it is aligned with.
    """

    key: str
    read: Any
    found: AlignedScan | None = None
    aligned: Mapping[Pose, AlignedScan] = field(default_factory=dict)
    labels: Sequence[LabelMap] = ()
    model: str = ""


def _again(report: Report, loaded: Loaded, key: str, kept: KeptScan, folder: Path) -> Again:
    """In a thread; a label map that cannot be read any more is left out."""
    from stylegan3d.scans import read_scan

    read = open_scan(report, kept.choice)
    labels = []
    for path in kept.labels:
        with suppress(StyleGAN3DError):
            labels.append(LabelMap.of(read_scan(path), scan_stem(path)))
    model = loaded.generator.hash
    if kept.rigid is None or not isinstance(read, Case) or kept.model not in ("", model):
        return Again(key, read, labels=labels)
    assert read.scan is not None
    try:
        found = align_scan(report, loaded, read.scan, folder, kept.how)
    except StyleGAN3DError:
        return Again(key, read, labels=labels)  # open and not aligned, as any other
    if np.abs(found.rigid - kept.rigid).max() > SAME_POSE:
        found = found.posed(kept.rigid)
    poses = {kept.pose, *(_pose(r["pose"]) for r in kept.results.values() if "pose" in r)}
    return Again(key, read, found, {pose: pose.of(found) for pose in poses}, labels, model)
