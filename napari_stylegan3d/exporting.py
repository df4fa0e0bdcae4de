"""Saving volumes and pictures: the work behind the Export tab."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtGui import QPixmap

from napari_stylegan3d.saving import SaveRequest, save_volume
from napari_stylegan3d.worker import LongJob

if TYPE_CHECKING:
    from napari_stylegan3d.panels.export import ExportPanel
    from napari_stylegan3d.rendering import Rendering


class Exporting(QObject):
    """Saves volumes as a long job, pictures at once, and tells the panel."""

    failed = Signal(object, str)
    """(exception, what was being done)"""
    pictureWanted = Signal(object)
    """Path that the four views should be saved to."""

    def __init__(self, rendering: Rendering, panel: ExportPanel, parent: QObject) -> None:
        super().__init__(parent)
        self.rendering, self.panel = rendering, panel
        self.job = LongJob(self)
        self.job.finished.connect(panel.show_saved)
        self.job.failed.connect(lambda error: self.failed.emit(error, "saving"))
        self.job.runningChanged.connect(lambda on: panel.save.setEnabled(not on))
        panel.saveRequested.connect(self._save)
        panel.screenshotRequested.connect(self.pictureWanted)

    def save_picture(self, picture: QPixmap, path: Path) -> None:
        """Save the views as they are."""
        from stylegan3d.errors import OutputError
        from stylegan3d.volumes import check_output

        try:
            check_output([path], self.panel.overwrite.isChecked())
            if not picture.save(str(path)):
                raise OutputError(f"{path} could not be written: choose another folder.")
        except OutputError as error:
            self.failed.emit(error, "saving the picture")
        else:
            self.panel.show_done([path])

    def _save(self, request: SaveRequest) -> None:
        self.job.start(save_volume, self.rendering.loaded, request)
