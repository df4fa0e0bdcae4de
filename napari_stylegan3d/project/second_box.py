"""The row of a second image beside the patient's scan."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QMenu, QWidget

from napari_stylegan3d.core.scans import in_event
from napari_stylegan3d.views.captions import NAME_LENGTH, shortened
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.controls import Chooser
from napari_stylegan3d.widgets.elided import ElidedLabel
from stylegan3d.session.case import Choice

NONE = "No second image"
#: How it comes to lie on the scan, as for `stylegan3d.scans.second_image`.
HOWS = {
    "auto": "Aligned automatically",
    "align": "Aligned to the scan",
    "header": "As its header says",
}


class OverlayBox(QWidget):
    """Opens, names and removes a second image; what the user says of it."""

    openRequested = Signal(object)
    """Choice"""
    removeRequested = Signal()
    howChanged = Signal(str)
    confirmed = Signal(bool)
    """Whether it is the same patient's."""
    maskRequested = Signal()
    visitsRequested = Signal()
    """What changed between it and the scan, as two visits."""
    joinRequested = Signal()
    """The scan that was opened last is to be the second image of the patient before."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("second.box")
        self.setAcceptDrops(True)
        self.setToolTip(
            "FLAIR, T2, an earlier T1 or a label map, shown over the patient's scan. Drop it here."
        )
        self.open = controls.push_button(
            "Open…",
            "second.open",
            (
                "Open a second image of this patient: FLAIR, T2, an earlier T1 or a label "
                "map\n(NIfTI, MGH or DICOM). It is aligned to the scan."
            ),
        )
        menu = QMenu(self)
        menu.addAction("A file…", self._ask_file)
        menu.addAction("A DICOM folder…", self._ask_folder)
        self.open.setMenu(menu)
        self.name = ElidedLabel(NONE, "second.name", "figure")
        self.remove = controls.tool_button("×", "second.remove", "Remove the second image.")
        self.how = controls.combo(
            "second.how",
            "How it is aligned to the scan. Automatically: images on the scan's own grid "
            "stay as\nthey are, others are moved and rotated until both agree best.",
            ((text, key) for (key, text) in HOWS.items()),
        )
        self.same = controls.check(
            "Same patient",
            "second.same",
            "Tick it if you know that both images are of one person; captions say so until then.",
        )
        self.mask = controls.push_button(
            "",
            "second.mask",
            "The projection ignores the labelled region and fills it in; align the scan first.",
        )
        self.visits = controls.push_button(
            "Compare as two visits…",
            "second.visits",
            "What changed between this image and the scan, if it is another T1 of the patient.",
        )
        self.join = controls.push_button(
            "",
            "second.join",
            "Close the scan that was just opened, and lay it over the one before.",
        )
        self.note = controls.hint(name="second.note")
        self.chooser = Chooser("second")
        self._lay_out()
        self.chooser.chosen.connect(self.openRequested)
        self.remove.clicked.connect(self.removeRequested)
        self.how.activated.connect(lambda _: self.howChanged.emit(self.how.currentData()))
        self.same.toggled.connect(self.confirmed)
        self.mask.clicked.connect(self.maskRequested)
        self.visits.clicked.connect(self.visitsRequested)
        self.join.clicked.connect(self.joinRequested)
        self.offer_joining("")

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
        self.name.setToolTip(name)
        self.note.setText(note)
        controls.set_role(self.note, "caution" if bad else "hint")
        self.note.setVisible(bool(note))
        self.remove.setVisible(bool(name))
        for widget in (self.same, self.how, self.visits):
            widget.setVisible(moves)
        self.mask.setText(f"Use {shortened(labels, NAME_LENGTH)} as lesion mask")
        self.mask.setVisible(bool(labels))

    def show_choices(self, how: str, same: bool) -> None:
        """Show what the user chose, without emitting signals."""
        controls.show_value(self.same, same)
        controls.show_value(self.how, how)

    def offer_joining(self, words: str) -> None:
        """Offer to make the newest scan a second image; nothing for empty words."""
        controls.show_text(self.join, words)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept images."""
        if self._image(event) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open an image beside the scan."""
        path = self._image(event)
        if path is not None:
            event.acceptProposedAction()
            self.openRequested.emit(Choice(path))

    @staticmethod
    def _image(event: QDropEvent) -> Path | None:
        dropped = in_event(event)
        return dropped.path if dropped is not None and dropped.kind in ("scan", "dicom") else None

    def _ask_file(self) -> None:
        path = dialogs.open_file(self, "Open a second image of this patient", dialogs.scans())
        if path is not None:
            self.openRequested.emit(Choice(path))

    def _ask_folder(self) -> None:
        path = dialogs.choose_folder(self, "Open a folder of DICOM files", Path.home())
        if path is not None:
            self.openRequested.emit(Choice(path))
