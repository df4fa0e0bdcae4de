"""Saving a scan whose region was filled in: the work behind the Project tab's button."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d import dialogs
from napari_stylegan3d.worker import LongJob, Report

if TYPE_CHECKING:
    from napari_stylegan3d.jobs import Loaded
    from napari_stylegan3d.panels.project_result import ResultBox
    from napari_stylegan3d.rendering import Rendering
    from napari_stylegan3d.session import Projected
    from stylegan3d.projection.operators import Mask


@dataclass(frozen=True, eq=False)
class Filled:
    """What a region was filled in with.

    Attributes
    ----------
    mask
        As it was drawn, not bound to a grid.
    made
        (X, Y, Z) in [0, 1]: the reconstruction, without any later edit.
    volume
        (X, Y, Z) in [0, 1]: the aligned scan with the region made up.
    """

    mask: Mask
    made: np.ndarray
    volume: np.ndarray


def save_filled(report: Report, loaded: Loaded, projected: Projected, folder: Path) -> list[Path]:
    """Write the filled scan on its own grid and on the model's, with sidecars; all or none.

    Raises
    ------
    OutputError
        If one of the files exists already, or cannot be written.
    """
    from stylegan3d.restored_outputs import restored_files, restored_names
    from stylegan3d.volumes import check_output, sidecar_path, write_together

    filled, aligned = projected.filled, projected.aligned
    names = restored_names(aligned.scan.path, folder, filled.mask).values()
    check_output([*names, *map(sidecar_path, names)])
    report(0, 1, "Saving the filled scan")
    files = restored_files(folder, loaded.generator, aligned, filled.mask, filled.made)
    write_together(files)
    return list(names)


class Filling(QObject):
    """Asks where to, and saves as a long job."""

    failed = Signal(object, str)
    """(exception, what was being done)"""

    def __init__(self, rendering: Rendering, box: ResultBox, parent: QObject) -> None:
        super().__init__(parent)
        self.rendering, self.box = rendering, box
        self.job = LongJob(self)
        box.save_filled.clicked.connect(self._ask)
        self.job.runningChanged.connect(lambda on: box.save_filled.setEnabled(not on))
        self.job.finished.connect(box.show_saved)
        self.job.failed.connect(lambda error: self.failed.emit(error, "saving the filled scan"))

    def shutdown(self) -> None:
        """Stop the job."""
        self.job.shutdown()

    def _ask(self) -> None:
        session, loaded = self.rendering.session, self.rendering.loaded
        projected = session.find_projected(session.recipe.source)
        if loaded is None or projected is None or projected.filled is None:
            return
        folder = dialogs.choose_folder(self.box, "Save the filled scan to", Path.home())
        if folder is not None:
            self.job.start(save_filled, loaded, projected, folder)
