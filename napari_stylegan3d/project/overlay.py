"""An overlay: a second image of the patient, laid over the scan.

Opened segmentations are napari Labels layers in the space of their scan.
"""

from __future__ import annotations

import dataclasses
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QWidget

from napari_stylegan3d.core.scans import Several, read_choice, scan_in
from napari_stylegan3d.core.session import report_done, sentence
from napari_stylegan3d.core.worker import LatestWins
from napari_stylegan3d.views.display import KEY, DisplayArray, keeping_point, put, upright
from napari_stylegan3d.views.layers import OverlayBar, OverlayLayer
from napari_stylegan3d.views.slices import Pane
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import Chooser, Links
from napari_stylegan3d.widgets.elided import ElidedLabel
from stylegan3d.base import ScanError, StyleGAN3DError, in_words
from stylegan3d.geometry.space import Space, voxel_ml_of
from stylegan3d.pages.shortening import shortened
from stylegan3d.scans.headers import SIDES
from stylegan3d.session.annotations import Overlay, OverlayLook
from stylegan3d.session.case import Case, Choice
from stylegan3d.session.provenance import NAME_LENGTH, UNCONFIRMED, Over
from stylegan3d.session.state import NOBODY
from stylegan3d.storage.formats import scan_stem

if TYPE_CHECKING:
    from napari_stylegan3d.core.rendering import DisplayController
    from napari_stylegan3d.views.four import FourViews
    from stylegan3d.scans import Scan, SecondImage
    from stylegan3d.scans.scan import How
    from stylegan3d.scans.scan_data import ScanData
    from stylegan3d.session.workspace import StateChange


#: Key of the `LabelMap` in a layer's metadata, until the user paints on it.
LABEL_MAP = "stylegan3d_label_map"
PAINTED = (
    "{0} is being changed. A session keeps its file as it was: save what you paint with napari, by "
    "File > Save Selected Layers."
)
OPACITY = 0.5
OPEN_SIDES = "Its header does not say which side is left: check that it is not mirrored."


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Labels on their own grid, in the world coordinates of their scan.

    Attributes
    ----------
    name : str
        File name without extension.
    data : ndarray, shape (I, J, K)
        Whole numbers; 0 is the background.
    affine : ndarray
        (4, 4) voxel indices to the scan's RAS+ millimetres.
    read : ScanData
        The image as it was read, without voxels.
    """

    name: str
    data: np.ndarray
    affine: np.ndarray
    read: ScanData

    @classmethod
    def of(cls, scan: ScanData, name: str = "") -> LabelMap:
        """A label map that was read as a scan, by default named after its file."""
        kind = np.uint8 if scan.data.max() <= np.iinfo(np.uint8).max else np.int32
        name = name or scan_stem(scan.path)
        return cls(name, scan.data.astype(kind), scan.affine, scan.without_voxels())

    def beside(self, scan: ScanData) -> LabelMap:
        """The same labels where they lie beside the scan they belong to."""
        from stylegan3d.scans.scan_data import affine_beside

        read = self.read
        affine = affine_beside(read.affine, read.geometry, self.data.shape, scan)
        return dataclasses.replace(self, affine=affine)

    @property
    def doubtful(self) -> bool:
        """Whether its header leaves left and right open, and no scan answers it."""
        return self.read.has_open_sides and self.affine is self.read.affine

    @property
    def path(self) -> Path:
        """Its file."""
        return self.read.path

    @property
    def in_words(self) -> str:
        """Such as "lesion: 1 label, 12.3 ml"."""
        count = len(np.unique(self.data[self.data != 0]))
        size = np.count_nonzero(self.data) * voxel_ml_of(self.affine)
        return f"{self.name}: {count} label{'' if count == 1 else 's'}, {size:.1f} ml"

    def placed(self, rigid: np.ndarray | None) -> DisplayArray:
        """For the views: in the scan's space, or moved to model space by `rigid` (4, 4)."""
        affine = self.affine if rigid is None else rigid @ self.affine
        return upright(self.data, affine, nearest=True)

    def layer(self) -> Labels:
        """A layer in the scan's space."""
        shown = self.placed(None)
        return Labels(
            np.ascontiguousarray(shown.data),
            name=self.name,
            opacity=OPACITY,
            metadata={LABEL_MAP: self},
            **shown.layer_kwargs(),
        )


class LabelMaps(QObject):
    """Adds layers of label maps and moves them with the scan when it is aligned.

    Each belongs to a patient or to the synthetic brains, and is read again where it is missing. A
    layer that the user has painted on is not moved.
    """

    #: (layer of a label map, key of its case)
    added = Signal(object, str)

    def __init__(self, comparison: DisplayController, parent: QObject, links: Links) -> None:
        super().__init__(parent)
        self.comparison, self.viewer = comparison, comparison.stage.viewer
        self.session = comparison.session
        failed = self.session.messages.slot("placing labels")
        self.placing = LatestWins(_all_placed, self, self._on_placed, failed)
        #: Case keys and files of maps that a session had, each read once.
        self._restored: set[tuple[str, Path]] = set()
        failed = self.session.messages.slot("restoring a label map")
        self._restoring = LatestWins(_read_map, self, self._on_read, failed, key=tuple)
        comparison.placedChanged.connect(self._place)
        comparison.session.caseChanged.connect(self._on_case)
        links.connect(self.viewer.layers.events.removed, self._on_removed)
        self._setting, self._links = False, links
        #: The orientation of the scan that each layer was put beside.
        self._sides: weakref.WeakKeyDictionary[Labels, str | None] = weakref.WeakKeyDictionary()
        #: Case keys and files of layers, and those that are hidden while another patient is shown.
        self._owners: weakref.WeakKeyDictionary[Labels, str] = weakref.WeakKeyDictionary()
        self._files: weakref.WeakKeyDictionary[Labels, Path] = weakref.WeakKeyDictionary()
        self._hidden: weakref.WeakSet[Labels] = weakref.WeakSet()

    def add(self, labels: LabelMap, key: str | None = None) -> None:
        """Add a label map to the case with this key, by default the current one; notify.

        It is hidden while another case is shown, and left out if its own was closed.
        """
        key = self.session.key if key is None else key
        if key not in self.session.histories:
            return
        scan = self.session.scan_of(key)
        labels = labels if scan is None else labels.beside(scan)
        layer = labels.layer()
        for edited in (layer.events.labels_update, layer.events.paint):
            self._links.connect(edited, self._on_edited)
        with keeping_point(self.viewer):
            self.viewer.layers.append(layer)
            self._owners[layer], self._files[layer] = key, labels.path
            self._sides[layer] = self._side_of(key)
            maps = dict.fromkeys((*self.session.annotations_of(key).maps, labels.path))
            self.session.annotate(key, maps=tuple(maps))
            self._on_case()
            self._report(labels, key)
            if self._rigid is not None:
                self._place()
        self.added.emit(layer, key)

    def forget(self) -> None:
        """Remove all, before another session is restored."""
        self._files.clear()
        self._restored.clear()
        for layer in [layer for layer in self.viewer.layers if layer in self._owners]:
            self.viewer.layers.remove(layer)

    def _restore(self) -> None:
        """Read the label maps of the subject on the screen of which there are no layers."""
        key, case = self.session.key, self.session.case
        if case is not None and case.scan is None:
            return
        for path in self.session.annotations_of(key).maps:
            if (key, path) not in self._restored and path not in self._paths(key):
                self._restored.add((key, path))
                self._restoring.submit((key, path))

    def _on_read(self, asked: tuple[str, Path], labels: LabelMap) -> None:
        key, path = asked
        if path in self.session.annotations_of(key).maps and path not in self._paths(key):
            self.add(labels, key)

    def _paths(self, key: str) -> set[Path | None]:
        """Files of the layers that belong to a subject."""
        mine = (layer for layer in self.viewer.layers if self._owners.get(layer) == key)
        return {self._files.get(layer) for layer in mine}

    def _side_of(self, key: str) -> str | None:
        """The orientation that was said of a patient's scan."""
        case = self.session.patient(key)
        return None if case is None or case.choice is None else case.choice.orientation

    def _turn(self) -> None:
        """Let label maps follow their scan, if it was read again with its sides swapped.

        What was painted on is hidden: nobody knows on which side it was meant.
        """
        case, side = self.session.case, self._side_of(self.session.key)
        if case is None or case.scan is None:
            return
        for layer in [layer for layer in self.viewer.layers if layer in self._sides]:
            if self._owners.get(layer) != case.key or self._sides[layer] == side:
                continue
            self._sides[layer] = side
            labels = layer.metadata.get(LABEL_MAP)
            if labels is not None:
                layer.metadata[LABEL_MAP] = labels.beside(case.scan)
                continue
            layer.visible = False
            report_done(f"{layer.name} was painted on and is hidden because the scan was reloaded.")
        self._place()

    @property
    def newest(self) -> Labels | None:
        """The label map of the patient on the screen that was opened last, painted on or not."""
        key = self.session.key
        mine = [layer for layer in self.viewer.layers if self._owners.get(layer) == key]
        return mine[-1] if mine else None

    def _report(self, labels: LabelMap, key: str) -> None:
        """Notify that a label map was added."""
        doubts = [doubt.sentence for doubt in labels.read.doubts if doubt.kind != SIDES]
        doubts += [OPEN_SIDES] if labels.doubtful else []
        told = f"Label map {labels.in_words}; shown over the views and in the layer list."
        of = self.session.patient(key)
        if key == NOBODY:
            told += (
                " It stays with the synthetic brains, and no session keeps it: for a patient, open "
                "the scan first, then the map."
            )
        elif of is not None and key != self.session.key:
            told = (
                f"Label map {labels.in_words}; it belongs to {of.name} and is shown with that scan."
            )
        report_done(" ".join([told, *doubts]))

    @property
    def _layers(self) -> list[Labels]:
        return [layer for layer in self.viewer.layers if LABEL_MAP in layer.metadata]

    @property
    def _rigid(self) -> np.ndarray | None:
        placed = self.comparison.placed
        return None if placed is None else placed[1].rigid

    def is_of_case(self, layer: Labels) -> bool:
        """Whether a layer belongs to the current case, or to none."""
        return self._owners.get(layer, self.session.key) == self.session.key

    def _on_case(self) -> None:
        """Hide other patients' labels, painted on or not; those of closed ones go."""
        self._turn()
        there = self.session.histories
        for layer in [layer for layer in self.viewer.layers if layer in self._owners]:
            if self._owners[layer] not in there:
                self.viewer.layers.remove(layer)
                continue
            ours = self.is_of_case(layer)
            if ours and layer in self._hidden:
                self._hidden.discard(layer)
                layer.visible = True
            elif not ours and layer.visible:
                self._hidden.add(layer)
                layer.visible = False
        self._restore()

    def _place(self) -> None:
        layers = [layer for layer in self._layers if self.is_of_case(layer)]
        if layers:
            self.placing.submit(
                (layers, [layer.metadata[LABEL_MAP] for layer in layers], self._rigid)
            )

    def _on_placed(self, request: tuple[list[Labels], Any, Any], found: list[DisplayArray]) -> None:
        self._setting = True
        try:
            for layer, shown in zip(request[0], found, strict=True):
                if layer in self.viewer.layers and LABEL_MAP in layer.metadata:
                    put(layer, np.ascontiguousarray(shown.data), shown.scale, shown.translate)
        finally:
            self._setting = False

    def _on_edited(self, event: Any) -> None:
        """Stop moving a layer that the user has edited."""
        if not self._setting and event.source.metadata.pop(LABEL_MAP, None) is not None:
            report_done(PAINTED.format(event.source.name))

    def _on_removed(self, event: Any) -> None:
        """The user removed a layer from napari's list: its file lies over the scan no longer."""
        path = self._files.pop(event.value, None)
        if path is not None:
            key = self._owners[event.value]
            gone = {path} - self._paths(key)  # it may have been opened twice
            maps = (one for one in self.session.annotations_of(key).maps if one not in gone)
            self.session.annotate(key, maps=tuple(maps))


def _read_map(asked: tuple[str, Path]) -> LabelMap:
    """In a thread."""
    from stylegan3d.scans import read_scan

    return LabelMap.of(read_scan(asked[1]))


def _all_placed(request: tuple[Any, list[LabelMap], np.ndarray | None]) -> list[DisplayArray]:
    """In a thread."""
    return [labels.placed(request[2]) for labels in request[1]]


#: Letters of a name on the button that joins two scans.
JOINED_LENGTH = 20
#: Ways to compare that show columns instead of the views.
COLUMNS = ("side", "row")
#: Of an overlay: the patient's key and scan, what is wanted, the key of one whose scan it was.
Request = tuple[str, "Scan", Overlay, str]
#: Voxels of the overlay in model space are at most this large.
LARGEST_MM = 1.25


class OverlayManager(QObject):
    """The second images of a window, one for each patient at most.

    Parameters
    ----------
    comparison : DisplayController
        Has the session and the stage.
    labels : LabelMaps
        Shows those that are maps of labels.
    box : OverlayBox
    parent : QObject
    links : Links
        Of what ends it.
    """

    #: The views show another one, or it is called something else: captions are to be updated.
    drawn = Signal()
    #: Labels layer to use as a mask.
    maskRequested = Signal(object)

    def __init__(
        self,
        comparison: DisplayController,
        labels: LabelMaps,
        box: OverlayBox,
        parent: QObject,
        links: Links,
    ) -> None:
        super().__init__(parent)
        self.comparison, self.session = comparison, comparison.session
        self.labels, self.box, self.bar = labels, box, OverlayBar()
        self.layer = OverlayLayer(comparison.stage.viewer)
        #: Can show it beside the patient's picture; the window sets them.
        self.views: FourViews | None = None
        self._beside_picture: Image | None = None
        #: The image placed last, whether in the model's space, and its voxels.
        self._placed: tuple[SecondImage, bool, DisplayArray] | None = None
        #: Image, aligned scan and scan that were asked to be placed last.
        self._asked: tuple[object, ...] = ()
        #: Keys of the patient that was opened last and of the one before, if they may be joined.
        self._joinable = ("", "")
        #: Reads one of each patient in turn.
        self.reading = LatestWins(
            _read, self, self._on_read, self._on_unread, key=lambda request: request[0]
        )
        failed = self.session.messages.slot("placing the overlay")
        self.placing = LatestWins(_placed, self, self._on_placed, failed)
        box.openRequested.connect(self.open)
        box.remove.clicked.connect(self.remove)
        box.how.activated.connect(lambda _: self._on_how(box.how.currentData()))
        box.same.toggled.connect(lambda same: self._change(same=same))
        box.mask.clicked.connect(self._on_mask)
        box.join.clicked.connect(self._on_join)
        self.bar.lookChanged.connect(lambda look: self._change(look=look))
        self.session.changed.connect(self._on_change)
        comparison.placedChanged.connect(self._place)
        links.callback(self.layer.remove)
        links.connect(comparison.viewChanged, self._draw)
        links.connect(comparison.stage.viewer.layers.events.removed, self._on_removed)
        self.refresh()

    @property
    def current(self) -> Overlay | None:
        """What lies over the scan of the current case."""
        return self.session.annotations.overlay

    def scan_of(self, key: str) -> Scan | None:
        """The image that lies over the scan of the case with this key."""
        from stylegan3d.scans import Scan

        found = self.session.annotations_of(key).overlay
        image = None if found is None or found.image is None else found.image.image
        return image if isinstance(image, Scan) else None

    def reads_for(self, key: str) -> bool:
        """Whether an image is being read for the case with this key."""
        return self.reading.request_of(key) is not None

    def show_patient(self) -> None:
        """Show the patient's picture alone, so that something else can lie over it."""
        now = self.current
        if now is not None and now.image is not None:
            look = dataclasses.replace(now.look, way="patient")
            self._change(look=look)
            self.bar.show_look(look)

    def open(self, choice: Choice, joined: str = "") -> None:
        """Read an image and lay it over the current scan; it is that of the patient `joined`."""
        case = self.session.case
        if case is not None and case.scan is not None:
            was = self.current
            look = OverlayLook() if was is None else was.look
            self._begin(case, Overlay(choice, look=look), joined)

    def remove(self) -> None:
        """Remove the second image of the current case, else its newest label map."""
        labels, there = self.labels.newest, self.current is not None
        self.session.annotate(self.session.key, overlay=None, refused="")
        if labels is not None and not there:
            self.labels.viewer.layers.remove(labels)
        self.refresh()

    def opened(self, before: Case | None) -> None:
        """A new patient's scan was opened while another one's was there: offer to join them."""
        now, self._joinable = self.session.case, ("", "")
        if before is not None and before.scan is not None and now is not None:
            another = before.key != now.key and not now.is_same_scan_as(before)
            self._joinable = (now.key, before.key) if another else ("", "")
        self.refresh()

    @property
    def _before(self) -> Case | None:
        """The patient over whose scan that on the screen may be laid: it was opened just now."""
        case, (opened, before) = self.session.case, self._joinable
        may = case is not None and case.key == opened and case.aligned is None
        return self.session.patient(before) if may else None

    def _begin(self, case: Case, wanted: Overlay, joined: str = "") -> None:
        side = None if case.choice is None else case.choice.orientation
        self.reading.submit((case.key, case.scan, dataclasses.replace(wanted, side=side), joined))
        self.session.annotate(case.key, refused="")
        self.refresh()

    def _on_read(self, request: Request, result: SecondImage | Several) -> None:
        key, _, wanted, joined = request
        if self.reads_for(key):
            return  # another one was asked for
        opened = self.session.patient(joined)
        if isinstance(result, Several):
            if self.session.key == key:
                self.box.chooser.ask(result.question, result.entries)
            self._refuse(key, "")
            opened = None
        elif result.labels:
            self.labels.add(LabelMap.of(result.image, result.name), key)
        else:
            lies = dataclasses.replace(wanted, image=result, problem="", sha256=result.image.sha256)
            self.session.annotate(key, overlay=lies)
        if opened is not None and opened.aligned is None and self.session.key != joined:
            self.session.close_patient(joined)
        self.refresh()

    def _on_unread(self, request: Request, error: Exception) -> None:
        key = request[0]
        if self.reads_for(key):
            return
        self._refuse(key, sentence(error, "opening the overlay"))
        if not isinstance(error, StyleGAN3DError):
            self.session.messages.fail(error, "opening the overlay")
        self.refresh()

    def _refuse(self, key: str, problem: str) -> None:
        """Say why nothing lies over a scan; what an earlier session had there is not read again."""
        kept = self.session.annotations_of(key).overlay
        if kept is not None and kept.image is None:
            problem = problem or f"{kept.name} has several images now: choose one."
            self.session.annotate(key, overlay=dataclasses.replace(kept, problem=problem))
        else:
            self.session.annotate(key, refused=problem)

    def _on_how(self, how: How) -> None:
        case, now = self.session.case, self.current
        if case is not None and now is not None and case.scan is not None and now.how != how:
            self._begin(case, dataclasses.replace(now, how=how, sha256=""))

    def _on_mask(self) -> None:
        if self.labels.newest is not None:
            self.maskRequested.emit(self.labels.newest)

    def _on_join(self) -> None:
        """Go back to the patient before, and lay the scan that was opened over that one's."""
        case, before = self.session.case, self._before
        if before is not None and case is not None and case.choice is not None:
            self.session.show(before.key)
            if self.session.key == before.key:
                self.open(case.choice, case.key)

    def _on_removed(self, event: Any) -> None:
        """The user removed a layer from napari's list."""
        if isinstance(event.value, Labels):
            self.refresh()

    def _change(self, **changes: Any) -> None:
        """What the user says of it, or how it looks."""
        if self.current is not None:
            changed = dataclasses.replace(self.current, **changes)
            self.session.annotate(self.session.key, overlay=changed)

    def _on_change(self, change: StateChange) -> None:
        if change.another_subject:
            self.box.chooser.hide()  # what was asked was of the one before
        if change.parts & {"case", "annotations", "comparison"}:
            self.refresh()

    def refresh(self) -> None:
        """Show the current case's second image in the panel and the views."""
        case, now = self.session.case, self.current
        choice = None if case is None else case.choice
        if case and choice and now and now.image and now.side != choice.orientation:
            # The scan was read again, say with its sides swapped: so is this.
            now = dataclasses.replace(now, image=None, problem="")
            self.session.annotate(case.key, overlay=now)
        self.box.setEnabled(case is not None and case.scan is not None)
        reading = self.reads_for(self.session.key)
        self.box.chooser.setVisible(self.box.chooser.isVisible() and not reading)
        before, words = self._before, ""
        if before is not None:
            words = f"Open as overlay of {shortened(before.name, JOINED_LENGTH)}"
        controls.show_text(self.box.join, words)
        self._show_text(now)
        if now is not None:
            controls.show_value(self.box.same, now.same)
            controls.show_value(self.box.how, now.how)
            self.bar.show_look(now.look)
        self._place()
        waits = now is not None and now.image is None and not (now.problem or reading)
        if waits and now and case is not None and case.scan is not None:
            self._begin(case, now)

    def _show_text(self, now: Overlay | None) -> None:
        reading = self.reading.request_of(self.session.key)
        labels = self.labels.newest
        name, note, bad = "", self.session.annotations.refused, True
        if now is not None:
            name = now.name
            if not note:
                doubts = [] if now.image is None else now.image.doubts
                told = [] if now.image is None else dict.fromkeys([now.image.note, *doubts])
                note = " ".join(map(in_words, told)) or now.problem
                bad = bool(now.problem or doubts)
        elif labels is not None:
            name = labels.name
        if reading is not None:
            file = reading[2].choice.path.name
            note, bad = f"Reading {file} and aligning it to the scan…", False
        there = now is not None and now.image is not None
        map_name = "" if labels is None else labels.name
        self.box.show_second(name, note, moves=there, labels=map_name, bad=bad)
        self.box.mask.setEnabled(self.session.placed is not None)

    def _place(self) -> None:
        """Bring it onto the grid of the picture."""
        self._draw()
        case, now, placed = self.session.case, self.current, self.session.placed
        if case is None or case.scan is None or now is None or now.image is None:
            return
        asked = (now.image, placed, case.key)
        if self._asked and all(a is b for a, b in zip(asked, self._asked, strict=True)):
            return
        self._asked = asked
        if placed is None:
            self.placing.submit((now.image, case.scan.space, None))
            return
        finer = max(1, round(max(placed.space.voxel_size) / LARGEST_MM))
        space = placed.space.resized([finer * count for count in placed.space.shape])
        self.placing.submit((now.image, space, placed.rigid))

    def _on_placed(self, request: tuple[SecondImage, Space, Any], found: DisplayArray) -> None:
        self._placed = request[0], request[2] is not None, found
        self._draw()

    def _draw(self, _view: str = "") -> None:
        """Show it over the picture, if that is the patient's."""
        case, now, placed = self.session.case, self.current, self._placed
        there = case is not None and now is not None and now.image is not None
        self.bar.setVisible(there and self._of_patient)
        if (
            case is None
            or now is None
            or placed is None
            or not self._of_patient
            or now.look.way == "patient"
            # It was placed in another space than the picture's, or is of an earlier image.
            or placed[0] is not now.image
            or placed[1] != (self.session.placed is not None)
        ):
            self.layer.remove()
            self._hide_beside()
        elif now.look.way == "side":
            self.layer.remove()
            self._show_beside(placed[2], now, case.name)
        else:
            self._hide_beside()
            self.layer.show(placed[2], now.look, Over(now.name, case.name, now.same))
        self.drawn.emit()

    def _show_beside(self, volume: DisplayArray, now: Overlay, name: str) -> None:
        """Show it on the left of the patient's picture."""
        picture = self.comparison.stage.layer
        if self.views is None or picture is None:
            return
        image = self._beside_picture
        if image is None or image.data is not volume.data:
            image = self._beside_picture = Image(volume.data, **volume.layer_kwargs())
        image.contrast_limits = self.layer.limits(volume, now.look)
        image.metadata = {KEY: Over(now.name, name, now.same).alone}
        patient = Pane(picture, name, self.comparison.stage.viewer.layers)
        title = now.name if now.same else f"{now.name}, {UNCONFIRMED}"
        self.views.show_row([Pane(image, title), patient])

    def _hide_beside(self) -> None:
        if self.views is not None and self._beside_picture is not None:
            self._beside_picture = None
            if self.session.state.comparison not in COLUMNS:
                self.views.show_row([])

    @property
    def _of_patient(self) -> bool:
        """Whether the picture is the current case's alone, in the place where its scan lies."""
        if self.session.state.comparison != "off":
            return False  # those pictures say what they show, but not what lies over them
        if self.session.state.what in ("scan", "search"):
            return True
        return self.session.result is not None and self.session.placed is not None


def _read(request: Request) -> SecondImage | Several:
    """In a thread."""
    from stylegan3d.scans import second_image

    _, scan, wanted, _ = request
    image = read_choice(wanted.choice)
    if isinstance(image, Several):
        return image
    if wanted.sha256 not in ("", image.sha256):
        raise ScanError(
            f"{wanted.choice.path} is not the overlay that this session was saved with: put "
            "that one in its place, then open the session again."
        )
    return second_image(scan, image, wanted.how)


def _placed(request: tuple[SecondImage, Space, np.ndarray | None]) -> DisplayArray:
    """In a thread."""
    image, space, rigid = request
    return upright(image.on(space, rigid), space.affine)


NONE = "No overlay"
#: How it comes to lie on the scan, as for `stylegan3d.scans.second_image`.
HOWS = {
    "auto": "Aligned automatically",
    "align": "Aligned to the scan",
    "header": "As its header says",
}


class OverlayBox(QWidget):
    """Opens, names and removes a second image; what the user says of it."""

    #: Choice
    openRequested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("second.box")
        dialogs.DropOn(self, scan_in, lambda path: self.openRequested.emit(Choice(path)))
        self.setToolTip(
            "FLAIR, T2, an earlier T1 or a label map, shown over the patient's scan. Drop it here."
        )
        self.open = controls.push_button("second.open")
        dialogs.offer_scans(
            self.open, "Open an overlay", lambda path: self.openRequested.emit(Choice(path))
        )
        self.name = ElidedLabel(NONE, "second.name", "figure")
        self.remove = controls.tool_button("second.remove")
        self.how = controls.combo(
            "second.how", entries=((text, key) for (key, text) in HOWS.items())
        )
        self.same = controls.check("second.same")
        self.mask = controls.push_button("second.mask")
        self.visits = controls.push_button("second.visits")
        self.join = controls.push_button("second.join")
        self.note = controls.hint(name="second.note")
        self.chooser = Chooser("second")
        self._lay_out()
        self.chooser.chosen.connect(self.openRequested)
        controls.show_text(self.join, "")

    def _lay_out(self) -> None:
        controls.stack(
            self.join,
            controls.row(self.open, self.name, self.remove, stretch=1),
            self.chooser,
            controls.row(self.same, self.how, stretch=1),
            self.mask,
            self.visits,
            self.note,
            on=self,
        )

    def show_second(
        self, name: str, note: str, *, moves: bool = False, labels: str = "", bad: bool = False
    ) -> None:
        """Show what lies over the scan.

        Parameters
        ----------
        name : str
            Empty for none.
        note : str
            How it lies, what is being done, or why a file was refused.
        moves : bool
            Whether it can be aligned.
        labels : str
            Name of a map of labels that can be a mask; empty for none.
        bad : bool
            Whether the note is a refusal or a warning.
        """
        self.name.setText(name or NONE)
        controls.show_text(self.note, note)
        controls.set_role(self.note, "caution" if bad else "hint")
        self.remove.setVisible(bool(name))
        controls.reveal(moves, self.same, self.how, self.visits)
        self.mask.setText(f"Use {shortened(labels, NAME_LENGTH)} as lesion mask")
        self.mask.setVisible(bool(labels))
