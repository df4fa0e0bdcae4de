"""The scans of a session: as plain data, and read and aligned again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Qt, Signal

from napari_stylegan3d.core.context import sentence
from napari_stylegan3d.core.worker import LongJob
from napari_stylegan3d.project.jobs import align_scan, open_scan
from napari_stylegan3d.project.label_maps import LabelMap
from napari_stylegan3d.project.regions import Region
from napari_stylegan3d.project.result import Filled
from stylegan3d.errors import ScanError, StyleGAN3DError
from stylegan3d.progress import Progress
from stylegan3d.recipe.recipe import Source
from stylegan3d.scans.pose import NO_POSE, Pose
from stylegan3d.session.case import Case, Choice
from stylegan3d.storage.about import ORIGIN_NAMES, Origin
from stylegan3d.storage.formats import scan_stem
from stylegan3d.storage.jsontext import to_plain

if TYPE_CHECKING:
    from napari_stylegan3d.core.jobs import Loaded
    from napari_stylegan3d.project.controller import ProjectController
    from stylegan3d.geometry.space import Space
    from stylegan3d.scans import AlignedScan

#: Tolerance for equal poses, in mm and rotation-matrix entries.
SAME_POSE = 1e-6


@dataclass(frozen=True, eq=False)
class SavedScan:
    """A stored scan with its pose and results.

    Attributes
    ----------
    choice : Choice
        The file and the part of it that was chosen.
    how, rigid : str, ndarray or None
        "auto" or "centre", and the resulting pose (4, 4); "" and None if not aligned.
    pose : Pose
        The user's adjustment of that pose.
    results : mapping of str to mapping of str to object
        Its projections by the sha256 of their latents, without sources and voxels.
    painted : Region or None
        The painted mask, if any.
    labels : tuple of Path
        Files of its label maps.
    second : mapping or None
        The second image over it, as `Overlay.to_plain`.
    name : str
        Name of the patient; empty in old sessions.
    model : str
        Hash of the model it was aligned to; empty in old sessions.
    sha256 : str
        Hash of the scan, so that another patient's file of the same name is not taken for it; empty
        in old sessions.
    origin : {"acquired", "synthetic", "edited"}
        What the scan's files said that it is.
    """

    choice: Choice
    how: str = ""
    rigid: np.ndarray | None = None
    pose: Pose = NO_POSE
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    painted: Region | None = None
    labels: tuple[Path, ...] = ()
    second: Mapping[str, Any] | None = None
    name: str = ""
    model: str = ""
    sha256: str = ""
    origin: Origin = "acquired"

    @classmethod
    def of(cls, case: Case, projected: Sequence[Case]) -> SavedScan | None:
        """Store a case with its projections; None if it has no file."""
        if case.choice is None:
            return None
        found = case.found
        results = {
            str(p.source.sha256): {
                "similarity": p.similarity,
                "mean_brain": p.mean_brain,
                "remarks": p.remarks,
                "trust": p.assessment,
                "filled": None if p.filled is None else p.filled.to_plain(),
                "pose": p.pose,
            }
            for p in projected
            if p.source is not None and found is not None and p.found is found
        }
        how = "" if found is None else "centre" if found.by_hand else "auto"
        rigid = None if found is None else found.rigid
        told = case.name, case.model, case.sha256, case.origin
        return cls(case.choice, how, rigid, case.pose, results, None, (), None, *told)

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        painted = None if self.painted is None else self.painted.to_plain()
        rest = dataclasses.replace(self, painted=None)
        return {**to_plain(rest), "painted": painted, "labels": [str(path) for path in self.labels]}

    @classmethod
    def from_plain(cls, plain: Any) -> SavedScan | None:
        """Inverse of `to_plain`; invalid parts are dropped, since files can be edited."""
        try:
            told = plain["choice"]
            choice = Choice.from_plain(told)
            rigid = None if plain["rigid"] is None else np.array(plain["rigid"], np.float64)
            results = {str(key): dict(value) for key, value in plain["results"].items()}
            pose = _pose(plain["pose"])
            # Old sessions lack these.
            painted = Region.from_plain(plain["painted"]) if plain.get("painted") else None
            labels = tuple(Path(path) for path in plain.get("labels", ()))
            name, model, sha256 = (str(plain.get(key, "")) for key in ("name", "model", "sha256"))
            how, second = str(plain["how"]), plain.get("second")
            kinds = (one for one in ORIGIN_NAMES if one == plain.get("origin"))
            origin: Origin = next(kinds, "acquired")
            more = name, model, sha256, origin
            kept = cls(choice, how, rigid, pose, results, painted, labels, second, *more)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        aligned = kept.how in ("auto", "centre") and rigid is not None
        sound = rigid is not None and rigid.shape == (4, 4) and np.isfinite(rigid).all()
        return kept if sound or not aligned else dataclasses.replace(kept, how="", rigid=None)

    def case(self) -> Case:
        """The case before its scan is read again."""
        name = self.name or scan_stem(self.choice.path)
        return Case(
            name,
            self.choice,
            pose=self.pose,
            stored_sha256=self.sha256,
            stored_origin=self.origin,
        )

    def projected(self, case: Case, sources: Sequence[Source], space: Space) -> list[Case]:
        """Its projections that occur in `sources`, without voxels."""
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
    case: Case, source: Source, told: Mapping[str, Any], kept: SavedScan, space: Space
) -> Case:
    return dataclasses.replace(
        case,
        source=source,
        similarity=dict(told["similarity"]),
        mean_brain=dict(told["mean_brain"]),
        remarks=tuple(told["remarks"]),
        assessment=dict(told["trust"]),
        filled=Filled.from_plain(told.get("filled"), space),
        pose=_pose(told["pose"]) if "pose" in told else kept.pose,
        model=kept.model,
    )


class ScanRestorer(QObject):
    """Reads and aligns the scans of a restored session in the background."""

    aligned = Signal(str)
    """The scan of the case with this key lies where it lay."""
    failed = Signal(str)
    """It could not be brought there."""

    def __init__(self, projecting: ProjectController, parent: QObject) -> None:
        super().__init__(parent)
        self.projecting, self.session = projecting, projecting.session
        self.job = LongJob(self)
        #: Stored scans that are not read again yet, by case key.
        self._kept: dict[str, SavedScan] = {}
        #: Files of label maps that could not be read again, by case key.
        self._unread: dict[str, tuple[Path, ...]] = {}
        self._key = ""
        self.job.finished.connect(self._on_done)
        self.job.failed.connect(self._on_failed)
        self.job.runningChanged.connect(self._look, Qt.ConnectionType.QueuedConnection)
        self.session.caseChanged.connect(self._look)

    def of_session(self) -> tuple[list[SavedScan], list[int | None]]:
        """All cases, and the index of the case of each step of the history."""
        session, projecting = self.session, self.projecting
        kept: list[SavedScan] = []
        places: dict[tuple[str, int], int] = {}

        def place(case: Case | None) -> int | None:
            if case is None:
                return None
            at = (case.key, id(case.found))
            if at not in places:
                one = self._kept.get(case.key) if case.scan is None else None
                one = one or SavedScan.of(case, session.all_projected)
                if one is None:
                    return None
                unread = self._unread.get(case.key, ())
                labels = (*one.labels, *projecting.labels.paths_of(case.key), *unread)
                one = dataclasses.replace(one, labels=tuple(dict.fromkeys(labels)))
                if case.scan is not None:
                    second, painted = projecting.second.of(case), projecting.region_of(case)
                    one = dataclasses.replace(one, second=second, painted=painted)
                places[at] = len(kept)
                kept.append(one)
            return places[at]

        place(session.case)
        for case in session.all_projected:
            place(case)
        return kept, [place(entry.case) for entry in session.entries]

    def forget(self) -> None:
        """Forget all, before another session is restored."""
        self.job.cancel()
        self._kept.clear()
        self._unread.clear()

    def know(self, case: Case, kept: SavedScan) -> None:
        """Register a stored case; of a patient that of the scan as it was aligned."""
        known = self._kept.get(case.key)
        if known is None or known.rigid is None:
            self._kept[case.key] = kept

    def shutdown(self) -> None:
        """Stop."""
        self.job.shutdown()

    def _look(self, _: object = None) -> None:
        """Read the scan of the current case if necessary."""
        case, loaded = self.session.case, self.projecting.rendering.loaded
        if case is None or case.scan is not None or case.problem or self.job.running:
            return
        kept = self._kept.get(case.key)
        if kept is None or loaded is None:
            return
        self._key = case.key
        self.job.start(_again, loaded, case.key, kept, self.session.folder)

    def _on_failed(self, error: Exception) -> None:
        key = self._key
        problem = sentence(error, "opening the scan")
        with self.session.changing("patients"):
            for case in self.session.cases:
                if case.key == key:
                    self.session.swap(case, case.refused(problem))
        self.failed.emit(key)

    def _on_done(self, result: ReloadedScan) -> None:
        # The result names its case: another patient's scan may be current by now.
        kept = self._kept.pop(result.key, None)
        if kept is None:
            return
        if not isinstance(result.read, Case):  # the user must choose which scan
            self.projecting.take_opened(result.read, self.session.state)
            return
        session, loaded = self.session, self.projecting.rendering.loaded
        there = loaded is not None and any(
            loaded.generator.space.same_as(one.space) for one in result.aligned.values()
        )
        name = kept.name or result.read.name  # the stored one may have a number
        with session.changing("projected", "patients"):
            for case in session.cases:
                if case.key == result.key and case.scan is None:
                    full = _filled_in(dataclasses.replace(case, name=name), result, there)
                    session.swap(case, full)
        for labels in result.labels:
            self.projecting.labels.add(labels, result.key)
        self._unread[result.key] = tuple(result.unread)
        for error in result.unread.values():
            self.projecting.failed.emit(error, "restoring a label map")
        if kept.second is not None:
            self.projecting.second.restore(result.key, kept.second)
        mine = loaded is not None and kept.model in ("", loaded.generator.hash)
        if kept.painted is not None and loaded is not None and mine:
            self.projecting.restore_region(result.key, kept.painted, loaded.generator.space)
        (self.aligned if there else self.failed).emit(result.key)


def _filled_in(case: Case, result: ReloadedScan, there: bool) -> Case:
    """A case completed with its scan and pose."""
    from stylegan3d.projection.projector import place

    read = result.read
    assert isinstance(read, Case)
    case = dataclasses.replace(case, scan=read.scan, layer=read.layer)
    found = result.found
    if found is None or not there:
        return case
    moved = result.aligned.get(case.pose, found)
    filled = case.filled
    aligned = moved if filled is None else place(moved, operator=filled.operator)
    return dataclasses.replace(case, found=found, aligned=aligned, model=result.model)


@dataclass(frozen=True, eq=False)
class ReloadedScan:
    """A scan that was read again.

    Attributes
    ----------
    key : str
        Key of its case.
    read : object
        The scan as a case; otherwise the question of `open_scan`.
    found : AlignedScan or None
        As aligned automatically; None if not aligned.
    aligned : mapping of Pose to AlignedScan
        Adjusted scans by pose.
    labels : sequence of LabelMap
        Its label maps.
    unread : mapping of Path to StyleGAN3DError
        Files of label maps that cannot be read any more, and why.
    model : str
        Hash of the model it is aligned to.
    """

    key: str
    read: Any
    found: AlignedScan | None = None
    aligned: Mapping[Pose, AlignedScan] = field(default_factory=dict)
    labels: Sequence[LabelMap] = ()
    unread: Mapping[Path, StyleGAN3DError] = field(default_factory=dict)
    model: str = ""


def _again(
    report: Progress, loaded: Loaded, key: str, kept: SavedScan, folder: Path
) -> ReloadedScan:
    """Runs in a thread."""
    from stylegan3d.scans import read_scan

    read = open_scan(report, kept.choice)
    if isinstance(read, Case) and kept.sha256 not in ("", read.sha256):
        raise ScanError(
            f"{kept.choice.path} is not the scan of {kept.name} that this session was saved with: "
            "put that scan in its place, then open the session again."
        )
    labels: list[LabelMap] = []
    unread: dict[Path, StyleGAN3DError] = {}
    for path in kept.labels:
        try:
            labels.append(LabelMap.of(read_scan(path), scan_stem(path)))
        except StyleGAN3DError as error:
            unread[path] = error
    plain = ReloadedScan(key, read, labels=labels, unread=unread)
    model = loaded.generator.hash
    if kept.rigid is None or not isinstance(read, Case) or kept.model not in ("", model):
        return plain
    assert read.scan is not None
    try:
        found = align_scan(report, loaded, read.scan, folder, kept.how)
    except StyleGAN3DError:
        return plain  # open but not aligned
    if np.abs(found.rigid - kept.rigid).max() > SAME_POSE:
        found = found.posed(kept.rigid)
    poses = {kept.pose, *(_pose(r["pose"]) for r in kept.results.values() if "pose" in r)}
    aligned = {pose: pose.of(found) for pose in poses}
    return dataclasses.replace(plain, found=found, aligned=aligned, model=model)
