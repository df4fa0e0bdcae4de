"""Where the tour stops: every panel and every state worth a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stylegan3d.recipe.recipe import Recipe, Source

if TYPE_CHECKING:
    from napari_stylegan3d.app.tour import Tour

SAMPLE = "ucla-sub-04"
SECOND_SEED = 7


def first_steps(tour: Tour) -> None:
    """The window with its first brain, and what it says to a newcomer."""
    tour.wait_for(lambda: tour.explorer.comparison.picture is not None, "the first brain")
    tour.wait_for(lambda: tour.explorer.guidance.welcome, "the first steps")
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
    tour.shoot("browse", "Browse: the full variety of the model; the map says where a brain lies.")
    tour.set("browse.truncation", 0.7)
    tour.click("browse.wall")
    tour.wait_for_thumbnails()
    tour.shoot_window(
        tour.explorer.browsing.wall, "wall", "The wall: numbered brains to pick from."
    )


def project(tour: Tour) -> None:
    """A real scan, its projection, and the comparison of the two."""
    from napari_stylegan3d.core.samples import sample_path

    explorer = tour.explorer
    explorer.open_scan(sample_path(SAMPLE))
    tour.wait_for(lambda: tour.find("project.start").isEnabled(), "the scan")
    tour.shoot("scan", "Project: a real scan, as it was recorded; its caption says so.")
    tour.choose("project.budget", "draft")
    tour.click("project.start")
    tour.wait_for(lambda: explorer.session.projected, "the projection")
    tour.shoot(
        "project", "Its projection: the synthetic brain most like it, and how far to believe it."
    )
    tour.click("project.show.difference")
    tour.shoot("difference", "Reconstruction minus scan.")
    tour.click("project.show.reconstruction")


def mix(tour: Tour) -> None:
    """Coarse structures of the projected scan, fine ones of another brain."""
    tour.explorer.panel("Mix")
    tour.set("mix.seed", SECOND_SEED)
    from napari_stylegan3d.core.session import (
        WHOLE,  # imports Qt, which may have to be refused first
    )

    generator = tour.explorer.session.generator
    if generator is not None and not generator.can("layers"):
        tour.set(f"mix.group.{WHOLE[0]}", 50)
        tour.wait_for_thumbnails()
        tour.shoot("mix", "Mix: half of the way to another brain.")
        return
    tour.set("mix.group.fine", 100)
    tour.set("mix.group.middle", 50)
    tour.wait_for_thumbnails()
    tour.shoot("mix", "Mix: coarse structures of the scan's brain, fine ones of another.")
    tour.click("mix.open_matrix")
    tour.wait_for_thumbnails()
    tour.shoot_window(tour.explorer.mixing.matrix, "matrix", "The mixing matrix, to look and pick.")


def push(tour: Tour) -> None:
    """Along the first direction, with previews."""
    explorer = tour.explorer
    explorer.session.change(Recipe(Source("seed", 0)))
    explorer.panel("Directions")
    tour.wait_for(lambda: explorer.directions.rows, "the directions")
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
        ("curtain", "A curtain to draw between the two."),
        ("difference", "The difference in colours that the colour-blind can tell apart."),
    ):
        tour.click(f"compare.mode.{mode}")
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
    tour.shoot("labels", "Labels: the tissues of the brain, to be painted on or resized.")
    tour.set("labels.resize", 3.0)
    tour.wait_for(lambda: explorer.comparison.view == "painted", "the brain that fits")
    tour.click("labels.visible")
    tour.shoot("labels-after", "The brain that fits ventricles whose border was moved by 3 mm.")
    tour.click("labels.show.difference")
    tour.shoot("labels-difference", "What it changed.")
    tour.click("labels.close")
    part.box.unfold(False)


def look(tour: Tour) -> None:
    """Other ways to look."""
    views = tour.explorer.views
    assert views is not None
    views.looks.change(layout="lightbox")
    tour.shoot("lightbox", "The lightbox: slices through the whole brain.")
    views.looks.change(layout="one", alone="3D")
    tour.shoot("one-view", "One view over the whole middle.")
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
    # As a person finds it; a place of this machine is nothing to print.
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


STOPS = (first_steps, browse, project, mix, push, compare, labels, look, save, mistake)
