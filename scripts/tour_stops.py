"""The stops of the tour."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan3d.recipe.recipe import Recipe, Source

if TYPE_CHECKING:
    import napari
    from qtpy.QtWidgets import QWidget

    from napari_stylegan3d.app.explorer import Explorer

SAMPLE = "ucla-sub-04"
SECOND_SEED = 7
#: Timeout.
PATIENCE_S = 1800.0
#: Delay until the 3D view is updated.
SETTLE_S = 1.0
#: Longest wait until thumbnails are sharp.
THUMBNAILS_S = 180.0


class TourError(Exception):
    """The tour failed; the message is one sentence."""


class Tour:
    """Operates an explorer by the names of its controls.

    Parameters
    ----------
    viewer, explorer : napari.Viewer, Explorer
        The open window.
    out : Path
        Folder for pictures and files.
    """

    def __init__(self, viewer: napari.Viewer, explorer: Explorer, out: Path) -> None:
        self.viewer, self.explorer, self.out = viewer, explorer, out
        self.pictures: list[tuple[str, str]] = []

    def find(self, name: str) -> Any:
        """The control with an object name."""
        from qtpy.QtWidgets import QWidget

        for root in (self.explorer, self.explorer.views):
            widget = root and root.findChild(QWidget, name)
            if widget is not None:
                return widget
        raise TourError(f"The window has no control named {name}.")

    def click(self, name: str) -> None:
        """Press a button."""
        self.find(name).click()

    def set(self, name: str, value: float) -> None:
        """Set a spin box, or the number beside a slider."""
        widget = self.find(name)
        getattr(widget, "spin", widget).setValue(value)

    def choose(self, name: str, data: Any) -> None:
        """Choose an entry of a list by its data."""
        box = self.find(name)
        box.setCurrentIndex(box.findData(data))

    def shoot(self, name: str, text: str, *, errors: bool = True) -> None:
        """Save a screenshot of the window once it is idle."""
        explorer = self.explorer
        for _ in range(2):
            self.wait_for(
                lambda: not (explorer.rendering.busy or explorer.sharpening.busy),
                name,
                errors=errors,
            )
            self.rest(SETTLE_S / 2)
        self.save(self.explorer.window(), name, text)

    def shoot_window(self, window: QWidget, name: str, text: str) -> None:
        """Save a screenshot of another window, and close it."""
        self.wait_for(window.isVisible, name)
        self.rest(SETTLE_S / 2)
        self.save(window, name, text)
        window.close()

    def wait_for_thumbnails(self) -> None:
        """Wait until all thumbnails are sharp; on a slow machine at most a while."""
        self.rest(SETTLE_S)
        thumbnails, end = self.explorer.thumbnails, time.monotonic() + THUMBNAILS_S
        self.wait_for(
            lambda: thumbnails.is_finished or time.monotonic() > end, "the small pictures"
        )

    def wait_for(self, condition: Callable[[], Any], what: str, *, errors: bool = True) -> None:
        """Process events until a condition is met.

        Raises
        ------
        TourError
            If the explorer reports an error (unless one is expected), or it takes too long.
        """
        end = time.monotonic() + PATIENCE_S
        while not condition():
            self.rest(0.02)
            if errors and self.explorer.message.text():
                raise TourError(self.explorer.message.text())
            if time.monotonic() > end:
                raise TourError(f"Waiting for {what} took too long: run the tour again.")

    def save(self, window: QWidget, name: str, text: str) -> None:
        """Save a screenshot as it is now."""
        file = f"{len(self.pictures) + 1:02d}-{name}.png"
        self.pictures.append((file, text))
        print(f"{file}: {text}", flush=True)
        window.grab().save(str(self.out / file))

    @staticmethod
    def rest(seconds: float) -> None:
        """Process events for a while."""
        from qtpy.QtTest import QTest

        QTest.qWait(round(1000 * seconds))


def first_steps(tour: Tour) -> None:
    """The window with its first brain and the welcome text."""
    tour.wait_for(lambda: tour.explorer.comparison.picture is not None, "the first brain")
    tour.wait_for(lambda: tour.explorer.guidance.card, "the first steps")
    tour.shoot("welcome", "The explorer opens with a synthetic brain and the first steps.")
    tour.click("welcome.skip")
    tour.wait_for_thumbnails()
    tour.shoot("explorer", "Four linked views, the panels at the right, the history below.")
    tour.explorer.guidance.show_help()
    tour.shoot_window(tour.explorer.guidance.help, "keys", "F1 lists keys and mouse gestures.")


def browse(tour: Tour) -> None:
    """Other brains: by number, by variety, from a wall."""
    tour.click("browse.next")
    tour.set("browse.truncation", 1.0)
    tour.shoot(
        "browse", "Browse: the full variety of the model; the map shows the position of the brain."
    )
    tour.set("browse.truncation", 0.7)
    tour.click("browse.wall")
    tour.wait_for_thumbnails()
    tour.shoot_window(
        tour.explorer.browsing.wall, "wall", "The gallery: random brains to choose from."
    )


def project(tour: Tour) -> None:
    """A real scan, its projection, and the comparison of the two."""
    from napari_stylegan3d.core.scans import sample_path

    explorer = tour.explorer
    explorer.open_scan(sample_path(SAMPLE))
    tour.wait_for(lambda: tour.find("project.start").isEnabled(), "the scan")
    tour.shoot("scan", "Project: a real scan, marked as such in its caption.")
    tour.choose("project.budget", "draft")
    tour.click("project.start")
    tour.wait_for(lambda: explorer.session.projected, "the projection")
    tour.shoot(
        "project", "After the projection: the scan itself, and how far the model's brain fits it."
    )
    tour.click("project.show.residual")
    tour.wait_for(lambda: explorer.comparison.is_current, "the reconstruction")
    tour.shoot("difference", "The model's brain minus the scan.")
    tour.click("project.show.edited")


def edit_scan(tour: Tour) -> None:
    """The scan itself with larger ventricles, and where its tissue moves."""
    explorer = tour.explorer
    explorer.panel("Directions")
    tour.wait_for(lambda: explorer.directions.rows, "the directions")
    names = [row.entry.name for row in explorer.directions.rows.values()]
    number = next((k for k, name in enumerate(names) if "entric" in name), 0)
    tour.set(f"directions.strength.{number}", 2.0)
    tour.wait_for(lambda: explorer.comparison.is_current, "the edited scan")
    tour.shoot("edited-scan", "The scan itself, edited; it keeps its own detail.")
    tour.click("project.show.movement")
    tour.wait_for(lambda: explorer.stage.overlay.legend, "the map")
    tour.shoot("movement", "Movement: where tissue grows and shrinks, and which way it moves.")
    tour.click("project.show.edited")
    tour.set(f"directions.strength.{number}", 0.0)


def mix(tour: Tour) -> None:
    """Coarse structures of the projected scan, fine ones of another brain."""
    tour.explorer.panel("Mix")
    tour.set("mix.seed", SECOND_SEED)
    from stylegan3d.model.layers import (
        WHOLE,  # imports Qt, whose binding must be checked first
    )

    generator = tour.explorer.session.generator
    if generator is not None and not generator.can("layers"):
        tour.set(f"mix.group.{WHOLE[0]}", 50)
        tour.wait_for_thumbnails()
        tour.shoot("mix", "Mix: halfway to another brain.")
        return
    tour.set("mix.group.fine", 100)
    tour.set("mix.group.middle", 50)
    tour.wait_for_thumbnails()
    tour.shoot("mix", "Mix: coarse structures of the scan's brain, fine ones of another.")
    tour.click("mix.open_matrix")
    tour.wait_for_thumbnails()
    tour.shoot_window(tour.explorer.mixing.matrix, "matrix", "The mixing matrix, to choose from.")


def push(tour: Tour) -> None:
    """Along the first direction, with previews."""
    explorer = tour.explorer
    explorer.session.change(Recipe(Source("seed", 0)))
    explorer.panel("Directions")
    tour.wait_for(lambda: explorer.directions.rows, "the directions")
    tour.set("directions.age", 30.0)
    tour.set("directions.strength.0", 2.0)
    effect = explorer.directions.effect
    tour.wait_for(lambda: effect.cells[0][0].text() and effect.told.isEnabled(), "what changed")
    tour.shoot("directions", "Directions: two standard deviations along the first.")


def compare(tour: Tour) -> None:
    """The brain before and after, in every way there is."""
    tour.explorer.panel("Compare")
    tour.click("compare.pin")
    tour.set("directions.strength.3", 2.0)
    for mode, text in (
        ("side", "Compare: side by side, cameras and crosshair linked."),
        ("curtain", "Swipe: A to the left of the line, B to the right."),
        ("difference", "The difference, in colours that colour-blind readers can distinguish."),
    ):
        tour.click(f"compare.mode.{mode}")
        ssim = tour.explorer.comparing.panel.figures.labels["ssim"]
        tour.wait_for(lambda ssim=ssim: ssim.text() != "–", "the figures")
        tour.shoot(f"compare-{mode}", text)
    tour.click("compare.mode.off")


def labels(tour: Tour) -> None:
    """The brain's tissues, larger ventricles, and the brain that fits."""
    explorer = tour.explorer
    explorer.session.change(Recipe(Source("seed", 0)))
    explorer.panel("Browse")
    part = explorer.relabelling
    tour.wait_for(lambda: not explorer.rendering.busy, "the brain")
    part.box.unfold()
    tour.rest(1.0)
    tour.click("labels.take")
    tour.wait_for(lambda: part.base is not None, "the labels")
    tour.shoot("labels", "Labels: the tissues of the brain, to paint or resize.")
    tour.set("labels.resize", 3.0)
    tour.wait_for(lambda: explorer.comparison.view == "painted", "the brain that fits")
    tour.click("labels.visible")
    tour.shoot(
        "labels-after", "The brain generated after moving the border of the ventricles by 3 mm."
    )
    tour.click("labels.show.difference")
    tour.shoot("labels-difference", "The change.")
    tour.click("labels.close")
    part.box.unfold(False)


def look(tour: Tour) -> None:
    """Other ways to look."""
    views = tour.explorer.views
    assert views is not None
    views.looks.change(layout="lightbox")
    tour.shoot("lightbox", "The lightbox: slices through the whole brain.")
    views.looks.change(layout="one", alone="3D")
    tour.shoot("one-view", "One enlarged view.")
    views.looks.change(layout="four")
    tour.click("views.theme.light")
    tour.shoot("light", "The light theme.")
    tour.click("views.theme.dark")


def save(tour: Tour) -> None:
    """Volume, latent, film and report."""
    explorer = tour.explorer
    explorer.panel("Export")
    tour.find("export.folder").setText(str(tour.out))
    tour.find("export.overwrite").setChecked(True)
    tour.find("export.film_kind").setCurrentText("GIF")
    tour.set("export.film_seconds", 0.5)
    explorer.export.film.add_recipes(*(Recipe(Source("seed", seed)) for seed in (0, 1, 2)))
    for button in ("export.save", "export.report", "export.film", "export.save_latent"):
        tour.click(button)
        tour.wait_for(lambda: not explorer.exporting.job.running, "saving")
    tour.wait_for_thumbnails()
    # The default folder, so that no local path is shown.
    tour.find("export.overwrite").setChecked(False)
    tour.find("export.folder").setText("~/brains")
    tour.shoot("export", "Export: volume, latent, pictures, report, film, recipe.")


def mistake(tour: Tour) -> None:
    """What an error looks like."""
    explorer = tour.explorer
    missing = Path("no-such-scan.nii.gz")
    explorer.open_scan(missing)
    tour.wait_for(lambda: explorer.message.text(), "the message", errors=False)
    tour.shoot("error", "An error is a sentence that says what to do.", errors=False)
    explorer.say("")


STOPS = (first_steps, browse, project, edit_scan, mix, push, compare, labels, look, save, mistake)
