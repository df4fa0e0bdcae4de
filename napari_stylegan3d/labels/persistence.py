"""Edited labels of a session, of every subject: as plain data, and restored."""

from __future__ import annotations

import base64
import dataclasses
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject

from napari_stylegan3d.core.comparison import provenance_of
from napari_stylegan3d.core.jobs import SharpenRequest
from napari_stylegan3d.core.worker import LongJob
from napari_stylegan3d.labels.jobs import Base, EditedBrain, Origin, Wish, fit
from napari_stylegan3d.views.captions import NOBODY, Provenance
from stylegan3d.errors import RecipeError, SessionError
from stylegan3d.progress import Progress
from stylegan3d.recipe.recipe import Edit, Recipe, Source

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.core.jobs import Loaded
    from napari_stylegan3d.labels.controller import LabelsController
    from stylegan3d.scans import AlignedScan

#: Maximum number of voxels of a label map read from a session.
MOST_VOXELS = 100_000_000
#: Bytes of layers kept while the brain before is rendered.
LAYERS_KEPT = 32 * 2**20
NOT_ALIGNED = (
    "The edited labels were not restored because their scan could not be aligned again: "
    "open and align that scan to get them back."
)
UNKNOWN_SCAN = (
    "The edited labels were not restored because this session does not say which scan they "
    "belong to: segment that scan again."
)
DAMAGED = (
    "The edited labels of this session are damaged and were not restored: segment that brain again."
)
#: Tolerance for equal poses, in mm and rotation-matrix entries.
SAME_POSE = 1e-6


@dataclass(frozen=True, eq=False)
class SavedLabels:
    """Labels that were edited.

    Attributes
    ----------
    origin : Origin
        The brain before.
    labels, edited : ndarray, shape (X, Y, Z), uint8
        Its tissues and what became of them.
    """

    origin: Origin
    labels: np.ndarray
    edited: np.ndarray

    @classmethod
    def of_all(cls, relabelling: LabelsController, model: str) -> list[SavedLabels]:
        """Those of every subject, without those of another model's brain."""
        return [
            cls(base.origin, base.labels, edited)
            for base, edited in relabelling.edited_of_all()
            if base.labels is not None and base.origin and base.origin.model in ("", model)
        ]

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        steps = (*self.origin.edits, (self.labels, self.edited))
        recipe, rigid = self.origin.recipe, self.origin.rigid
        return {
            "recipe": None if recipe is None else recipe.to_dict(),
            "model": self.origin.model,
            "scan": self.origin.scan,
            "rigid": None if rigid is None else rigid.tolist(),
            "edits": [[_packed(before), _packed(after)] for before, after in steps],
        }

    @classmethod
    def from_plain(cls, plain: Any) -> SavedLabels | None:
        """Inverse of `to_plain`; invalid parts are dropped."""
        try:
            recipe = None if plain["recipe"] is None else Recipe.from_dict(plain["recipe"])
            steps = [(_unpacked(before), _unpacked(after)) for before, after in plain["edits"]]
            shapes = {labels.shape for pair in steps for labels in pair}
            if len(shapes) != 1:
                return None
            *edits, (labels, edited) = steps
            # Old sessions lack these.
            scan, rigid = str(plain.get("scan", "")), _pose(plain.get("rigid"))
            origin = Origin(recipe, str(plain["model"]), tuple(edits), scan, rigid)
            return cls(origin, labels, edited)
        except (KeyError, TypeError, ValueError, AttributeError, RecipeError, zlib.error):
            return None


def _pose(plain: Any) -> np.ndarray | None:
    """The pose (4, 4), if any; ValueError if it is none."""
    if plain is None:
        return None
    rigid = np.array(plain, np.float64)
    if rigid.shape != (4, 4) or not np.isfinite(rigid).all():
        raise ValueError("no pose")
    return rigid


def _packed(labels: np.ndarray) -> dict[str, Any]:
    voxels = base64.b64encode(zlib.compress(np.ascontiguousarray(labels, np.uint8).tobytes(), 1))
    return {"shape": [int(n) for n in labels.shape], "voxels": voxels.decode()}


def _unpacked(plain: Any) -> np.ndarray:
    """The labels; ValueError if they are none."""
    from stylegan3d.segmentation.classes import CLASSES

    x, y, z = (int(n) for n in plain["shape"])
    count = x * y * z
    if min(x, y, z) < 1 or count > MOST_VOXELS:
        raise ValueError("no grid")
    # A damaged file may contain more than its stated size.
    raw = zlib.decompressobj().decompress(base64.b64decode(plain["voxels"]), count + 1)
    labels = np.frombuffer(raw, np.uint8)
    if labels.size != count or labels.max() >= len(CLASSES):
        raise ValueError("no labels")
    return labels.reshape(x, y, z).copy()


def with_files_of(recipe: Recipe, states: Iterable[Recipe | None]) -> Recipe:
    """The recipe, with its files where other recipes have them; known by their sha256."""
    places: dict[str, str] = {}

    def note(part: Source | Edit) -> Source | Edit:
        if part.file is not None and part.sha256 is not None:
            places[part.sha256] = part.file
        return part

    def place(part: Source | Edit) -> Source | Edit:
        path = None if part.sha256 is None else places.get(part.sha256)
        return part if path is None or part.file is None else part.with_file(path, part.sha256)

    for state in filter(None, states):
        state.with_paths(note)
    return recipe.with_paths(place)


def have_again(
    report: Progress,
    loaded: Loaded,
    kept: SavedLabels,
    placed: tuple[str, AlignedScan] | None,
    provenance: Provenance,
    detailed: AlignedScan | None,
) -> tuple[Base, EditedBrain]:
    """The brain before and the one that fits; of a scan from `placed` (name, scan).

    A scan that lies elsewhere by now is taken as it lay.
    `provenance` is that of the recipe's brain, `detailed` the scan whose detail it shows.

    Raises
    ------
    StyleGAN3DError
        If the brain before cannot be had any more, or is on another grid.
    """
    from napari_stylegan3d.labels.jobs import of_recipe, of_scan, relabelled
    from stylegan3d.render.recipes import render_recipe

    report(0, 1, "Restoring edited labels")
    origin = kept.origin
    if origin.recipe is not None:
        renderer = loaded.renderer.companion(LAYERS_KEPT)
        rendered = render_recipe(renderer, origin.recipe, "full", report)
        base = of_recipe(origin.recipe, rendered, loaded.generator.hash, provenance)
        detail = origin.recipe.worn_detail
        if detail is not None and detailed is not None:
            volume, moved = rendered.volume, rendered.movement
            scan = SharpenRequest(rendered, detailed, moved, detail.strength, volume)
            base = dataclasses.replace(base, scan=scan)
    else:
        assert placed is not None
        name, aligned = placed
        if origin.rigid is not None and np.abs(aligned.rigid - origin.rigid).max() > SAME_POSE:
            aligned = aligned.posed(origin.rigid)
        base = of_scan(name, aligned)
    if base.volume.shape != kept.labels.shape:
        raise SessionError(
            "The edited labels of this session have a different grid and were not restored."
        )
    for before, after in origin.edits:
        base = base.with_labels(before)
        base = relabelled(base, fit(Wish(base, after)))
    base = base.with_labels(kept.labels)
    return base, fit(Wish(base, kept.edited))


class LabelsRestorer(QObject):
    """Restores a session's edited labels, without showing them.

    Those of a scan are put on that scan only, known by its sha256, once it is open and aligned.
    """

    def __init__(self, context: Context, relabelling: LabelsController) -> None:
        super().__init__(context.dock)
        self.context, self.relabelling = context, relabelling
        self.job = LongJob(self)
        #: Labels that are not restored yet, and remain part of the session.
        self.waiting: list[SavedLabels] = []
        #: The first of those that are being restored, and whose they are.
        self._now: tuple[SavedLabels, str] | None = None
        self._model = ""
        self.job.finished.connect(self._on_done)
        self.job.failed.connect(self._on_failed)
        self.job.cancelled.connect(self.go_on)
        context.session.caseChanged.connect(self.go_on)
        context.session.recipeChanged.connect(lambda *_: self.go_on())

    def restore(
        self,
        kept: Sequence[SavedLabels],
        states: Iterable[Recipe | None],
        scans: Sequence[str],
    ) -> None:
        """Begin; labels wait until their subject is on the screen, and its scan aligned again.

        Files that a brain is made from are where `states`, of the same session, have them. `scans`
        are those of the session: their sha256, or path in old sessions.
        """
        self.job.cancel()
        self.waiting = []
        self.relabelling.close_all()
        generator = self.context.session.generator
        if generator is None:
            return
        self._model = generator.hash
        known = list(states)
        for one in kept:
            origin = one.origin
            if origin.model not in ("", generator.hash):
                continue
            if origin.recipe is not None:
                origin = dataclasses.replace(origin, recipe=with_files_of(origin.recipe, known))
            elif not origin.scan and len(set(scans)) == 1:
                origin = dataclasses.replace(origin, scan=scans[0])
            elif not origin.scan:
                self.context.messages.fail(SessionError(UNKNOWN_SCAN), "restoring labels")
                continue
            if origin.recipe is None and origin.scan not in scans:
                self._tell()
            self.waiting.append(dataclasses.replace(one, origin=origin))
        self.go_on()

    def go_on(self, _key: str = "") -> None:
        """Restore the labels that wait for the subject on the screen, if it is ready."""
        loaded, session = self.context.render.loaded, self.context.session
        if loaded is None or loaded.generator.hash != self._model or self.job.running:
            return
        # Labels that the user has opened meanwhile stay.
        kept = next(filter(self._is_of_subject, self.waiting), None)
        if kept is None or self.relabelling.base is not None:
            return
        recipe = kept.origin.recipe
        told = NOBODY if recipe is None else provenance_of(session, recipe)
        detail = None if recipe is None else recipe.worn_detail
        case = None if detail is None else session.find_projected(detail.source)
        detailed = None if case is None else case.aligned
        self._now = kept, session.key
        placed = self.context.comparison.placed
        self.job.start(have_again, loaded, kept, placed, told, detailed)

    def _is_of_subject(self, kept: SavedLabels) -> bool:
        """Whether labels are of the subject on the screen, and can be put on it."""
        session, recipe = self.context.session, kept.origin.recipe
        if recipe is not None:
            return session.key == session.key_of(recipe)
        placed = self.context.comparison.placed
        if placed is None or session.case is None:
            return False
        return kept.origin.scan in (placed[1].scan.sha256, str(session.case.path))

    def give_up(self, key: str) -> None:
        """A patient's scan could not be restored to its place."""
        case = next((c for c in self.context.session.patients if c.key == key), None)
        mine = () if case is None else (case.sha256, str(case.path))
        if any(one.origin.recipe is None and one.origin.scan in mine for one in self.waiting):
            self._tell()

    def shutdown(self) -> None:
        """Stop."""
        self.job.shutdown()

    def _tell(self) -> None:
        self.context.messages.fail(SessionError(NOT_ALIGNED), "restoring labels")

    def _on_done(self, result: tuple[Base, EditedBrain]) -> None:
        if self._now is None:
            return
        (kept, key), self._now = self._now, None
        if key != self.context.session.key or self.relabelling.base is None:
            self.waiting = [one for one in self.waiting if one is not kept]
            self.relabelling.take_up(key, *result)
        self.go_on()

    def _on_failed(self, error: Exception) -> None:
        if self._now is not None:
            self.waiting = [one for one in self.waiting if one is not self._now[0]]
            self._now = None
        self.context.messages.fail(error, "restoring labels")
