"""The scan with missing parts filled in from the current brain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.core.worker import LatestWins, LongJob
from napari_stylegan3d.project.regions import Region
from napari_stylegan3d.widgets import dialogs
from stylegan3d.errors import StyleGAN3DError
from stylegan3d.progress import Progress

if TYPE_CHECKING:
    from napari_stylegan3d.core.comparison import Comparison
    from napari_stylegan3d.core.jobs import Loaded, Picture
    from napari_stylegan3d.core.rendering import Rendering
    from napari_stylegan3d.project.result import ResultBox
    from stylegan3d.geometry.space import Space
    from stylegan3d.projection.operators import Operator
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.scans import AlignedScan
    from stylegan3d.session.case import Case


@dataclass(frozen=True, eq=False)
class Filled:
    """The degradation that a projection modelled.

    Attributes
    ----------
    operator : Operator
        Operator, not bound to a grid.
    volume : ndarray, shape (X, Y, Z), or None
        The aligned scan, filled in from the reconstruction, values in [0, 1]; None until shown in a
        restored session.
    region, loss : Region or None, str
        Masked region, and other degradation as text for `pipeline.loss_of`.
    """

    operator: Operator
    volume: np.ndarray | None = None
    region: Region | None = None
    loss: str = ""

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        region = None if self.region is None else self.region.to_plain()
        return {"region": region, "loss": self.loss}

    @classmethod
    def from_plain(cls, plain: Any, space: Space) -> Filled | None:
        """Inverse of `to_plain`, for a model's grid; None if empty."""
        if not isinstance(plain, Mapping):
            return None
        from stylegan3d.projection.pipeline import loss_of

        region = None if plain.get("region") is None else Region.from_plain(plain["region"])
        loss = str(plain.get("loss", ""))
        try:
            mask = None if region is None else region.mask(space)
            operator = loss_of(loss, mask)
        except StyleGAN3DError:
            return None
        return None if operator is None else cls(operator, None, region, loss)

    @property
    def masked(self) -> bool:
        """Whether only a masked region is filled in."""
        from stylegan3d.projection.operators import Mask

        return isinstance(self.operator, Mask)


def fill(aligned: AlignedScan, operator: Operator, made: np.ndarray) -> np.ndarray:
    """The aligned scan, filled in from a brain, (X, Y, Z) in [0, 1]."""
    from stylegan3d.outputs.restored import restored_brain

    return restored_brain(aligned, operator.on(aligned.space, aligned), made)


def save_filled(
    report: Progress, loaded: Loaded, projected: Case, recipe: Recipe, folder: Path
) -> list[Path]:
    """Write the scan, filled in from a recipe's brain, on its own grid and on the model's.

    Returns the paths of the volumes, which have sidecars; all files are written or none.

    Raises
    ------
    OutputError
        If one of the files exists already, or cannot be written.
    """
    from stylegan3d.outputs.restored import restored_files, restored_names
    from stylegan3d.render.recipes import render_recipe
    from stylegan3d.render.renderer import Renderer
    from stylegan3d.storage.volumes import check_output, sidecar_path, write_together

    operator, aligned = projected.filled.operator, projected.aligned
    assert aligned is not None
    names = restored_names(aligned.scan.path, folder, operator).values()
    check_output([*names, *map(sidecar_path, names)])
    report(0, 1, "Saving the filled scan")
    made = render_recipe(Renderer(loaded.generator), recipe).volume
    files = restored_files(folder, loaded.generator, aligned, operator, made, recipe)
    write_together(files)
    return list(names)


class FillController(QObject):
    """Updates the filled-in scan when the brain changes while it is shown; saves it."""

    failed = Signal(object, str)
    """(exception, what was being done)"""

    def __init__(
        self, rendering: Rendering, comparison: Comparison, box: ResultBox, parent: QObject
    ) -> None:
        super().__init__(parent)
        self.rendering, self.comparison, self.box = rendering, comparison, box
        self.working, self.job = LatestWins(_fill, self), LongJob(self)
        comparison.pictured.connect(self._again)
        self.working.ready.connect(self._on_filled)
        self.working.failed.connect(
            lambda _request, error: self.failed.emit(error, "filling in the region")
        )
        box.save_filled.clicked.connect(self._ask)
        self.job.runningChanged.connect(lambda on: box.save_filled.setEnabled(not on))
        self.job.finished.connect(box.show_saved)
        self.job.failed.connect(lambda error: self.failed.emit(error, "saving the filled scan"))

    def shutdown(self) -> None:
        """Stop."""
        self.working.shutdown()
        self.job.shutdown()

    @property
    def _projected(self) -> Case | None:
        """The projection of the current brain, if there is anything to fill in."""
        projected = self.rendering.session.result
        there = projected is not None and projected.aligned is not None
        return projected if projected is not None and there and projected.filled else None

    def _again(self) -> None:
        projected, picture = self._projected, self.comparison.picture
        if projected is not None and picture is not None:
            self.working.submit((projected, picture))

    def _on_filled(self, request: tuple[Case, Picture], volume: np.ndarray) -> None:
        self.comparison.show_filled(request[0], volume)

    def _ask(self) -> None:
        loaded, projected = self.rendering.loaded, self._projected
        if loaded is None or projected is None:
            return
        folder = dialogs.choose_folder(self.box, "Save the filled scan to", Path.home())
        if folder is not None:
            recipe = self.rendering.session.recipe.replace(detail=None)
            self.job.start(save_filled, loaded, projected, recipe, folder)


def _fill(request: tuple[Case, Picture]) -> np.ndarray:
    """In a thread."""
    projected, picture = request
    aligned = projected.aligned
    assert aligned is not None
    return fill(aligned, projected.filled.operator, picture.on_grid(aligned.volume.shape))
