"""Saving the current view: the logic of the Export tab."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject
from qtpy.QtGui import QImage

from napari_stylegan3d.core.worker import LongJob
from napari_stylegan3d.export import jobs
from napari_stylegan3d.views.captions import KEY
from napari_stylegan3d.views.display import engine_volume
from napari_stylegan3d.views.look import VIEW_TITLES
from napari_stylegan3d.widgets.settings import SAVE_FOLDER, settings, unusual_z
from stylegan3d.errors import OutputError, StyleGAN3DError
from stylegan3d.session.provenance import scan_file_of

if TYPE_CHECKING:
    from napari_stylegan3d.core.context import Context
    from napari_stylegan3d.export.panel import ExportPanel
    from napari_stylegan3d.views.four import FourViews
    from stylegan3d.settings.option import PictureSettings

SUFFIX = ".nii.gz"
#: Pixels per mm of a film and of a lightbox as large as on the screen.
SCREEN_SCALE, PRINT_SCALE = 2.0, 4.0


class ExportController(QObject):
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
        for button, save in (
            (panel.save, self._save_volume),
            (panel.save_edited, self._save_edited),
            (panel.save_latent, self._save_latent),
            (panel.picture.save, self._save_picture),
            (panel.film.save, self._save_film),
            (panel.report, self._save_report),
        ):
            button.clicked.connect(save)
        panel.film.use_thumbnails(context.thumbnails)
        context.render.shown.connect(self._on_shown)

    def _note_folder(self, running: bool) -> None:
        """Where something is being saved: after a sudden end, the next start clears up there."""
        if running:
            settings().setValue(SAVE_FOLDER, self.panel.folder.text())

    def _on_shown(self, _recipe: Any, picture: Any) -> None:
        if picture.quality == "full":
            self.panel.film.set_seconds_each(picture.rendered.seconds)

    @property
    def _drawn(self) -> Any:
        """What is saved; without it the buttons are disabled."""
        drawn = self.session.state.drawn
        assert drawn is not None
        return drawn

    def _start(self, save: Callable[..., jobs.SavedFiles], name: str, *what: Any) -> None:
        self.job.start(save, self.render.loaded, self.panel.target(name), *what)

    def _save_volume(self) -> None:
        panel, recipe = self.panel, self._drawn
        typed = panel.name.text().strip()
        name = typed or panel.volume_name(recipe)
        if not name.endswith(SUFFIX):
            name += SUFFIX
        native = None
        if panel.form.value.native:
            beside = name.replace(SUFFIX, f"_native{SUFFIX}")
            native = panel.path_of(beside if typed else panel.volume_name(recipe, native=True))
        self._start(jobs.save_volume, name, recipe, native)

    def _save_edited(self) -> None:
        recipe = self._drawn
        self._start(jobs.save_edited, self.panel.volume_name(recipe, native=True), recipe)

    def _save_latent(self) -> None:
        from stylegan3d.outputs.results import name_beside

        recipe = self.session.brain
        scan = scan_file_of(self.session, recipe)
        self._start(jobs.save_latent, name_beside(recipe, "latent.safetensors", scan=scan), recipe)

    def _save_picture(self) -> None:
        from napari_stylegan3d.export.pictured import pictured

        if self.views is None or self.render.loaded is None:
            return
        settings = self.panel.picture.settings
        try:
            shown = pictured(self.comparison, alone=settings.plane is not None)
            picture = self._picture(settings)
        except (StyleGAN3DError, AttributeError) as error:
            self.messages.fail(error, "rendering the picture")
            return
        self._start(jobs.save_picture, shown.name(settings.what), shown, picture)

    def _picture(self, settings: PictureSettings) -> QImage | Callable[[], Any]:
        """A picture of the window, or a function that draws a lightbox."""
        from napari_stylegan3d.views.canvases import print_scale, view_picture
        from napari_stylegan3d.views.four import all_pictures

        views = self.views
        assert views is not None
        if settings.plane is not None:
            return self._lightbox(settings)
        view = None if settings.view == "all" else views.view(settings.view)
        if view is not None and not view.canvas.isVisible():
            raise OutputError(
                f"The {VIEW_TITLES[settings.view]} view is not on the screen: show it first (View "
                "menu)."
            )
        widget = views if view is None else view.canvas.canvas.native
        scale = {"screen": 1.0, "double": 2.0, "print": print_scale(widget.width())}[settings.size]
        return all_pictures(views, scale) if view is None else view_picture(view.canvas, scale)

    def _lightbox(self, settings: PictureSettings) -> Callable[[], Any]:
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

    def _save_film(self) -> None:
        from stylegan3d.outputs.films import Film
        from stylegan3d.render.figures import Look

        views, session = self.views, self.session
        recipes, settings = self.panel.film.recipes, self.panel.film.settings
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
        stem = self.panel.volume_name(recipes[0]).removesuffix(SUFFIX)
        self._start(jobs.save_film, f"{stem}_film{settings.suffix}", film)

    def _crosshair(self) -> tuple[float, float, float] | None:
        """The point that the slices pass through, if inside the model's field of view."""
        views, generator = self.views, self.session.generator
        if views is None or generator is None or len(views.viewer.dims.point) != 3:
            return None
        x, y, z = (float(value) for value in views.viewer.dims.point)
        index = np.linalg.inv(generator.affine) @ (x, y, z, 1.0)
        inside = ((index[:3] >= 0) & (index[:3] <= np.array(generator.shape) - 1)).all()
        return (x, y, z) if inside else None

    def _save_report(self) -> None:
        from stylegan3d.outputs.report import report_name

        session = self.session
        recipe, projected = self._drawn, session.result
        about: dict[str, Any] = {
            "name": "",
            "scan": None,
            "trust": None,
            "person": session.person_of(recipe)[0],
            "norms": session.norms,
        }
        if projected is not None:
            about |= {
                "name": projected.name,
                "scan": projected.aligned.volume if projected.aligned else None,
                "trust": {**projected.assessment, "similarity": projected.similarity},
            }
        name = report_name(recipe, scan=scan_file_of(session, recipe))
        settings = replace(self.panel.report_form.value, unusual_z=unusual_z())
        self._start(jobs.save_report, name, settings, recipe, about)
