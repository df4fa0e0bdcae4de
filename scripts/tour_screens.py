"""The window in pictures: `stylegan3d-tour --screens docs` writes `docs/screens.md` anew.

It operates the real window like the tour: each panel, state and size of screen, in both themes.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tour_page import (
    FOLDER,
    PAGE,
    SIZES,
    THEMES,
    WIDEST_PX,
    fits,
    names,
    page,
    size_name,
)
from tour_stops import SAMPLE, SECOND_SEED, Tour, TourError

from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.session.case import Choice
from stylegan3d.storage.files import atomic_write_bytes, atomic_write_text

if TYPE_CHECKING:
    from qtpy.QtGui import QPixmap
    from qtpy.QtWidgets import QWidget

#: Of the pictures, which are WebP.
QUALITY = 62


class Screens(Tour):
    """Takes the pictures of the page."""

    def __init__(self, viewer: Any, explorer: Any, docs: Path) -> None:
        super().__init__(viewer, explorer, docs / FOLDER)
        self.docs, self.home = docs, Path(os.environ["STYLEGAN3D_SESSIONS"]).parent
        self.out.mkdir(parents=True, exist_ok=True)

    def take(self, name: str) -> None:
        """Save a picture of the window at once."""
        self.save(self.explorer.window(), name, "")

    def at_rest(self, name: str) -> None:
        """Save a picture of the window once it is idle."""
        self.shoot(name, "", errors=False)

    def other(self, window: QWidget, name: str) -> None:
        """Save a picture of another window, and close it."""
        self.shoot_window(window, name, "")

    def save(self, window: QWidget, name: str, text: str) -> None:
        """Save a picture as WebP."""
        from qtpy.QtCore import Qt

        if name not in names():
            raise TourError(f"The page has no picture named {name}.")
        picture: QPixmap = window.grab()
        picture.setDevicePixelRatio(1)
        if picture.width() > WIDEST_PX:
            smooth = Qt.TransformationMode.SmoothTransformation
            picture = picture.scaledToWidth(WIDEST_PX, smooth)
        if not picture.save(str(self.out / f"{name}.webp"), "WEBP", QUALITY):
            raise TourError("Qt cannot write WebP here: install its image formats.")
        print(f"{name}.webp: {picture.width()} x {picture.height()}", flush=True)

    def unfold(self, panel: str, *names: str) -> None:
        """Open parts of a panel, and scroll to the last."""
        from napari_stylegan3d.core.panel import bring_into_view

        for name in names:
            self.find(name).setChecked(True)
        self.rest(1.0)
        bring_into_view(self.explorer.panel(panel), self.find(names[-1]))


def screens(tour: Screens) -> None:
    """Take all pictures but those of the sizes, and write the page.

    The explorer must have been opened with a model that does not exist.
    """
    os.chdir(tour.home)  # messages name files without a folder
    for stop in (_start, _panels, _looks, _windows, _patient, _changed):
        stop(tour)
    atomic_write_text(tour.docs / PAGE, page(), overwrite=True)


def sizes(tour: Screens, scale: float) -> None:
    """Take the pictures of all screens at one scale, with a projected scan.

    Parameters
    ----------
    scale : float
        Device pixels per pixel of the window.
    """
    _open_sample(tour)
    _project(tour)
    window = tour.explorer.window()
    for width, height in (size for size in SIZES if fits(size, scale)):
        for theme in THEMES:
            tour.click(f"views.theme.{theme}")
            tour.explorer.panel("Project" if theme == THEMES[0] else "Directions")
            window.resize(round(width / scale), round(height / scale))
            tour.rest(1.0)
            tour.at_rest(size_name(width, height, scale, theme))


def _start(tour: Screens) -> None:
    explorer = tour.explorer
    tour.wait_for(explorer.message.text, "the message", errors=False)
    tour.rest(1.0)
    tour.take("no-model")
    explorer.open_model(None)
    tour.rest(0.1)
    tour.take("loading")
    tour.wait_for(lambda: explorer.comparison.picture is not None, "the brain", errors=False)
    tour.wait_for(lambda: explorer.guidance.card, "the first steps", errors=False)
    tour.wait_for_thumbnails()
    tour.at_rest("welcome")
    tour.click("welcome.skip")


def _panels(tour: Screens) -> None:
    explorer = tour.explorer
    explorer.panel("Browse")
    tour.click("browse.next")
    tour.wait_for_thumbnails()
    tour.at_rest("browse")
    folds = [f"browse.{name}_fold" for name in ("walk", "texture", "privacy", "about")]
    tour.unfold("Browse", *folds)
    tour.at_rest("browse-more")
    explorer.panel("Project")
    tour.at_rest("project")
    explorer.panel("Mix")
    tour.set("mix.seed", SECOND_SEED)
    tour.set("mix.group.fine", 100)
    tour.set("mix.group.middle", 50)
    tour.wait_for_thumbnails()
    tour.at_rest("mix")
    tour.click("mix.reset")
    explorer.panel("Directions")
    tour.wait_for(lambda: explorer.directions.rows, "the directions")
    tour.set("directions.strength.0", 2.0)
    effect = explorer.directions.effect
    tour.wait_for(lambda: effect.cells[0][0].text() and effect.told.isEnabled(), "what changed")
    tour.at_rest("directions")
    explorer.panel("Compare")
    tour.click("compare.pin")
    tour.set("directions.strength.3", 2.0)
    tour.click("compare.mode.side")
    tour.wait_for(lambda: tour.find("compare.volumes_by").text(), "the figures")
    tour.at_rest("compare")
    tour.click("compare.mode.curtain")
    tour.at_rest("curtain")
    tour.click("compare.mode.difference")
    tour.at_rest("difference")
    _row(tour)
    explorer.panel("Export")
    tour.find("export.folder").setText("~/brains")
    explorer.export.film.add_recipes(*(Recipe(Source("seed", seed)) for seed in (0, 1, 2)))
    tour.wait_for_thumbnails()
    tour.at_rest("export")
    _measure(tour)
    _labels(tour)


def _row(tour: Screens) -> None:
    for seed in (4, 5, 6):
        tour.explorer.session.change(Recipe(Source("seed", seed)))
        tour.wait_for(lambda: not tour.explorer.rendering.busy, "the brain")
        tour.click("compare.mode.row")
        tour.click("compare.row_add")
    tour.explorer.session.change(Recipe(Source("seed", SECOND_SEED)))
    tour.at_rest("up-to-four")
    tour.click("compare.mode.off")
    tour.click("compare.unpin")


def _measure(tour: Screens) -> None:
    from qtpy.QtCore import QPoint

    explorer = tour.explorer
    explorer.panel("Browse")
    explorer.measuring.box.unfold()
    tour.set("measure.age", 50)
    tour.find("measure.sex").setCurrentIndex(1)
    tour.find("measure.labels").setChecked(True)
    tour.wait_for(lambda: tour.find("measure.grey.percentile").text(), "the volumes")
    tour.at_rest("measure")
    tour.find("measure.regions").setChecked(True)
    tour.rest(0.5)
    body = explorer.measuring.box.body
    body.verticalScrollBar().setValue(
        tour.find("measure.regions").mapTo(body.widget(), QPoint()).y()
    )
    tour.at_rest("regions")
    tour.find("measure.labels").setChecked(False)
    explorer.measuring.box.unfold(False)


def _labels(tour: Screens) -> None:
    explorer = tour.explorer
    part = explorer.relabelling
    part.box.unfold()
    tour.rest(1.0)
    tour.click("labels.take")
    tour.wait_for(lambda: part.base is not None, "the labels")
    tour.at_rest("labels")
    tour.click("labels.close")
    part.box.unfold(False)
    for seed in (1, 2, 3):
        explorer.session.favourites.add(Recipe(Source("seed", seed)))
    tour.click("history.show_favourites")
    tour.wait_for_thumbnails()
    tour.at_rest("favourites")
    tour.click("history.show_history")


def _looks(tour: Screens) -> None:
    views = tour.explorer.views
    assert views is not None
    for name, look in (
        ("lightbox", {"layout": "lightbox"}),
        ("one-view", {"layout": "one", "alone": "3D"}),
        ("surface", {"layout": "four", "rendering": "iso"}),
    ):
        views.looks.change(**look)
        tour.at_rest(name)
    tour.click("views.look_reset")
    tour.click("views.theme.light")
    tour.at_rest("light")
    tour.click("views.theme.dark")


def _windows(tour: Screens) -> None:
    explorer = tour.explorer
    explorer.panel("Browse")
    tour.click("browse.wall")
    tour.wait_for_thumbnails()
    tour.other(explorer.browsing.wall, "wall")
    explorer.panel("Mix")
    tour.click("mix.open_matrix")
    tour.wait_for_thumbnails()
    tour.other(explorer.mixing.matrix, "matrix")
    panel = explorer.panel("Directions")
    tour.click("directions.new")
    tour.wait_for_thumbnails()
    tour.other(tour.find("directions.new_window"), "new-direction")
    groups = tour.find("directions.people_window")
    groups.open_beside(panel)
    tour.other(groups, "groups")
    tour.click("views.menu")
    tour.other(tour.find("views.settings"), "settings")
    explorer.guidance.show_help()
    tour.other(explorer.guidance.help, "keys")
    explorer.guidance.open_guide("project")
    tour.other(explorer.guidance.guide, "guide")


def _open_sample(tour: Screens) -> None:
    from napari_stylegan3d.core.scans import sample_path

    tour.explorer.open_scan(sample_path(SAMPLE))
    tour.wait_for(lambda: tour.find("project.start").isEnabled(), "the scan")


def _project(tour: Screens) -> None:
    before = len(tour.explorer.session.projected)
    tour.choose("project.budget", "draft")
    tour.click("project.start")
    tour.wait_for(lambda: len(tour.explorer.session.projected) > before, "the projection")


def _patient(tour: Screens) -> None:
    """From opening a scan to its projection."""
    import nibabel as nib

    from napari_stylegan3d.core.scans import sample_path

    explorer = tour.explorer
    explorer.panel("Project")
    explorer.guidance.show_case()
    tour.at_rest("worked-case")
    tour.click("case.leave")
    few = Path("localizer.nii.gz")
    slices = nib.load(sample_path(SAMPLE)).slicer[:, :, 70:73]
    atomic_write_bytes(few, gzip.compress(slices.to_bytes()), overwrite=True)
    explorer.open_scan(few)
    tour.wait_for(lambda: not explorer.session.reading, "the refusal", errors=False)
    tour.at_rest("refused")
    explorer.say("")
    explorer.open_scan(sample_path(SAMPLE))
    tour.rest(0.2)
    tour.take("reading")
    tour.wait_for(lambda: tour.find("project.start").isEnabled(), "the scan", errors=False)
    tour.at_rest("scan")
    tour.click("project.align")
    tour.wait_for(lambda: not explorer.projecting.job.running, "the alignment")
    tour.at_rest("aligned")
    tour.choose("project.budget", "standard")
    tour.click("project.start")
    tour.wait_for(lambda: tour.find("project.pause").isEnabled(), "the search")
    tour.rest(5.0)
    tour.take("projecting")
    tour.click("project.cancel")
    tour.wait_for(lambda: not explorer.projecting.job.running, "the end")
    tour.at_rest("cancelled")
    _project(tour)
    tour.at_rest("verdict")
    for look, name in (("model", "model-brain"), ("unusual", "unusual")):
        tour.click(f"project.show.{look}")
        tour.wait_for(lambda: explorer.comparison.is_current, "the picture")
        tour.at_rest(name)


def _changed(tour: Screens) -> None:
    """The patient's scan edited, and that beside the scan as if it were a later visit."""
    explorer = tour.explorer
    tour.click("project.show.edited")
    explorer.panel("Directions")
    tour.find("directions.years").change_to(20)
    tour.wait_for(lambda: explorer.comparison.is_current, "the edited scan")
    effect = explorer.directions.effect
    tour.wait_for(lambda: effect.cells[0][0].text() and effect.told.isEnabled(), "what changed")
    tour.at_rest("edited")
    tour.click("project.show.movement")
    tour.wait_for(lambda: explorer.stage.overlay.legend, "the map")
    tour.at_rest("movement")
    explorer.panel("Export")
    tour.find("export.folder").setText(str(tour.home))
    tour.click("export.save_edited")
    tour.wait_for(lambda: not explorer.exporting.job.running, "saving")
    (aged,) = tour.home.glob("*_desc-editedScan_T1w.nii.gz")
    tour.click("project.show.scan")
    explorer.panel("Project")
    second = explorer.projecting.second
    second.open(Choice(aged))
    views = explorer.views
    assert views is not None
    tour.wait_for(lambda: "Overlay" in views.views[0].labels.caption, "the second image")
    tour.at_rest("second")
    visiting = explorer.measuring.visiting
    visiting.open(explorer.panel("Project"))
    tour.choose("measure.visits_order", False)
    tour.set("measure.visits_years", 20)
    tour.click("measure.visits_start")
    tour.wait_for(lambda: visiting.found, "the comparison of both visits")
    tour.choose("measure.visits_map", "volume")
    tour.rest(5.0)
    tour.at_rest("visits-map")
    tour.other(visiting.dialog, "visits")
    explorer.open_scan(Path("no-such-scan.nii.gz"))
    tour.wait_for(explorer.message.text, "the message", errors=False)
    tour.at_rest("error")
