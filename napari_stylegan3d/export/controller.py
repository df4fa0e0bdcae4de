"""Saving the current view: the logic of the Export tab."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject
from qtpy.QtGui import QImage

from napari_stylegan3d.core.worker import LongJob
from napari_stylegan3d.export.jobs import (
    EditedRequest,
    FilmRequest,
    LatentRequest,
    PictureRequest,
    ReportRequest,
    SaveRequest,
    save_edited,
    save_film,
    save_latent,
    save_picture,
    save_report,
    save_volume,
)
from napari_stylegan3d.views.captions import KEY
from napari_stylegan3d.views.display import engine_volume
from napari_stylegan3d.views.look import VIEW_TITLES
from napari_stylegan3d.widgets.settings import SAVE_FOLDER, settings, unusual_z
from stylegan3d.errors import OutputError, StyleGAN3DError

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.export.panel import ExportPanel
    from napari_stylegan3d.views.four import FourViews
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.settings.film import FilmSettings
    from stylegan3d.settings.picture import PictureSettings

#: Pixels per mm of a film and of a lightbox as large as on the screen.
SCREEN_SCALE, PRINT_SCALE = 2.0, 4.0


class Exporting(QObject):
    """Runs one export at a time as a long job, and reports its progress to the panel."""

    def __init__(self, context: Context, panel: ExportPanel) -> None:
        super().__init__(context.dock)
        self.panel, self.session = panel, context.session
        self.render, self.comparison = context.render, context.comparison
        self.messages = context.messages
        #: While there are any.
        self.views: FourViews | None = None
        self.job = LongJob(self)
        self.job.finished.connect(panel.show_saved)
        self.job.failed.connect(lambda error: self.messages.fail(error, "saving"))
        self.job.cancelled.connect(lambda: panel.done.setText("Cancelled. Nothing was saved."))
        self.job.progressed.connect(panel.show_progress)
        self.job.runningChanged.connect(panel.show_running)
        self.job.runningChanged.connect(self._note_folder)
        panel.cancel.clicked.connect(self.job.cancel)
        panel.saveRequested.connect(self._save)
        panel.editedRequested.connect(self._save_edited)
        panel.latentRequested.connect(self._save_latent)
        panel.pictureRequested.connect(self._save_picture)
        panel.filmRequested.connect(self._save_film)
        panel.reportRequested.connect(self._save_report)
        panel.film.use_thumbnails(context.thumbnails)
        context.render.shown.connect(self._on_shown)

    def shutdown(self) -> None:
        """Stop; unfinished files are not written."""
        self.job.shutdown()

    def _note_folder(self, running: bool) -> None:
        """Where something is being saved: after a sudden end, the next start clears up there."""
        if running:
            settings().setValue(SAVE_FOLDER, self.panel.folder.text())

    def _on_shown(self, _recipe: Any, picture: Any) -> None:
        if picture.quality == "full":
            self.panel.film.set_seconds_each(picture.rendered.seconds)

    def _save(self, request: SaveRequest) -> None:
        self.job.start(save_volume, self.render.loaded, request)

    def _save_edited(self, request: EditedRequest) -> None:
        self.job.start(save_edited, self.render.loaded, request)

    def _save_latent(self, request: LatentRequest) -> None:
        self.job.start(save_latent, self.render.loaded, request)

    def _save_picture(self, settings: PictureSettings) -> None:
        from napari_stylegan3d.export.pictured import pictured

        if self.views is None or self.render.loaded is None:
            return
        try:
            shown = pictured(self.comparison, alone=settings.plane is not None)
            image, draw = self._picture(settings)
        except (StyleGAN3DError, AttributeError) as error:
            self.messages.fail(error, "rendering the picture")
            return
        path = self.panel.path_of(shown.name(settings.what))
        overwrite, folder = self.panel.overwrite.isChecked(), self.session.folder
        request = PictureRequest(path, overwrite, folder, shown, image, draw)
        self.job.start(save_picture, self.render.loaded, request)

    def _picture(self, settings: PictureSettings) -> tuple[QImage | None, Any]:
        """A picture of the window, or a function that draws a lightbox."""
        from napari_stylegan3d.views.view_pictures import all_pictures, print_scale, view_picture

        views = self.views
        assert views is not None
        if settings.plane is not None:
            return None, self._lightbox(settings)
        view = None if settings.view == "all" else views.view(settings.view)
        if view is not None and not view.canvas.isVisible():
            raise OutputError(
                f"The {VIEW_TITLES[settings.view]} view is not on the screen: show it first (View "
                "menu)."
            )
        widget = views if view is None else view.canvas.canvas.native
        scale = {"screen": 1.0, "double": 2.0, "print": print_scale(widget.width())}[settings.size]
        return (all_pictures(views, scale) if view is None else view_picture(view, scale)), None

    def _lightbox(self, settings: PictureSettings) -> Any:
        """What draws a lightbox of the volume on the stage, as bright as it is shown."""
        from stylegan3d.render.figures import Look, lightbox

        assert settings.plane is not None
        layer = self.comparison.stage.layer
        if layer is None:
            raise OutputError("Nothing to save yet: wait for the first brain.")
        provenance = layer.metadata[KEY]
        low, high = layer.contrast_limits
        views = self.views
        look = Look(
            {"screen": 1.0, "double": SCREEN_SCALE, "print": PRINT_SCALE}[settings.size],
            (low, high),
            "radiological" if views is None else views.convention,
            provenance.kind == "difference",
            provenance.one_line.replace("–", "-").replace("·", "|"),
        )
        volume = engine_volume(layer)
        return partial(lightbox, volume, settings.plane, look)

    def _save_film(self, recipes: tuple[Recipe, ...], settings: FilmSettings, path: Path) -> None:
        from stylegan3d.outputs.films import Film
        from stylegan3d.render.figures import Look

        views, session = self.views, self.session
        try:
            film = Film(
                recipes,
                settings,
                settings.planes,
                self._crosshair(),
                Look(SCREEN_SCALE, convention="radiological" if not views else views.convention),
            )
            if session.generator is not None:
                from stylegan3d.recipe.keyframes import check_key_frames

                check_key_frames(film.recipes, session.generator)
        except StyleGAN3DError as error:
            self.messages.fail(error, "preparing the film")
            return
        request = FilmRequest(path, self.panel.overwrite.isChecked(), session.folder, film)
        self.job.start(save_film, self.render.loaded, request)

    def _crosshair(self) -> tuple[float, float, float] | None:
        """The point that the slices pass through, if inside the model's field of view."""
        views, generator = self.views, self.session.generator
        if views is None or generator is None or len(views.viewer.dims.point) != 3:
            return None
        x, y, z = (float(value) for value in views.viewer.dims.point)
        index = np.linalg.inv(generator.affine) @ (x, y, z, 1.0)
        inside = ((index[:3] >= 0) & (index[:3] <= np.array(generator.shape) - 1)).all()
        return (x, y, z) if inside else None

    def _save_report(self, path: Path) -> None:
        session = self.session
        recipe = session.shown.drawn
        projected = session.result
        trust: Any = None
        if projected is not None:
            trust = {**projected.trust, "similarity": projected.similarity}
        request = ReportRequest(
            path,
            self.panel.overwrite.isChecked(),
            session.folder,
            recipe,
            projected.name if projected else "",
            projected.aligned.volume if projected and projected.aligned else None,
            trust,
            person=session.person_of(recipe)[0],
            norms=session.norms,
            settings=replace(self.panel.report_form.value, unusual_z=unusual_z()),
            dicom=self.panel.as_dicom(),
        )
        self.job.start(save_report, self.render.loaded, request)
