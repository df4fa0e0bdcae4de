"""Closing the dock or the viewer, or deleting the layer, in the middle of any long work."""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from qtpy.QtCore import QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QWidget

from napari_stylegan3d.app.explorer import Explorer
from napari_stylegan3d.browse import map as mapping
from napari_stylegan3d.core import tissues as tissue_reading
from napari_stylegan3d.core.session import logger
from napari_stylegan3d.export import jobs as exporting
from napari_stylegan3d.measure import jobs as measured
from napari_stylegan3d.project import controller as projecting
from stylegan3d.recipe.recipe import Edit, Recipe, Source
from stylegan3d.segmentation import inference
from stylegan3d.segmentation.classes import REGIONS
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.segmentation.network import TissueNetwork

PATIENCE_S = 60.0
#: Work that would be over before anything can be closed takes so long before and after.
SLOW_S = 0.3


def wait(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        QTest.qWait(10)


def our_threads() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("stylegan3d")]


def timers_at_work() -> list[QTimer]:
    """Of all windows, and those that belong to none."""
    found = [thing for thing in gc.get_objects() if issubclass(type(thing), QTimer)]
    for widget in QApplication.topLevelWidgets():
        found += widget.findChildren(QTimer)
    return [timer for timer in found if is_active(timer)]


def is_active(timer: QTimer) -> bool:
    try:
        return timer.isActive()
    except RuntimeError:  # its C++ half is gone
        return False


def whose(timer: QTimer) -> str:
    parent = timer.parent()
    return f"{type(parent).__module__}.{type(parent).__name__}, {timer.interval()} ms"


def slowly(monkeypatch: pytest.MonkeyPatch, place: Any, name: str) -> None:
    """Let a function take its time, so that what it does after the closing is seen, too."""
    real = getattr(place, name)

    def slow(*args: Any) -> Any:
        time.sleep(SLOW_S)
        result = real(*args)
        time.sleep(SLOW_S)
        return result

    monkeypatch.setattr(place, name, slow)


class Errors(logging.Handler):
    """What is logged, and what threads and destructors raise into the void."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(logging.WARNING)
        self.seen: list[str] = []
        monkeypatch.setattr(threading, "excepthook", lambda args: self.seen.append(repr(args)))
        monkeypatch.setattr("sys.unraisablehook", lambda args: self.seen.append(repr(args)))

    def emit(self, record: logging.LogRecord) -> None:
        """One more."""
        self.seen.append(record.getMessage())


@pytest.fixture
def errors(monkeypatch):
    handler = Errors(monkeypatch)
    logger.addHandler(handler)
    yield handler.seen
    logger.removeHandler(handler)


@pytest.fixture
def opened(make_napari_viewer, model, errors, notifications, monkeypatch, tmp_path):
    """The explorer in a window of its own, slow enough that it can be closed midway."""
    network = TissueNetwork((8, 8))
    card = {"name": "tissue-tiny", "space": {"voxel_mm": [8.0] * 3}}
    tiny = Segmenter(network, card, "0123456789", torch.device("cpu"))
    monkeypatch.setattr(inference, "bundled_segmenter", lambda: tiny)
    coarse = TissueNetwork((8, 8), len(REGIONS.classes))
    regions = Segmenter(coarse, card, "9876543210", torch.device("cpu"), REGIONS)
    monkeypatch.setattr(inference, "bundled_regions", lambda: regions)
    monkeypatch.setattr(tissue_reading, "screen_dtype", lambda: torch.float32)
    for place, name in (
        (exporting, "save_volume"),
        (exporting, "save_report"),
        (mapping, "grow"),
        (mapping, "locate"),
        (measured.Measurer, "__call__"),
        (projecting, "open_scan"),
    ):
        slowly(monkeypatch, place, name)
    before = {id(timer): timer for timer in timers_at_work()}
    viewer = make_napari_viewer(show=True)
    explorer = Explorer(viewer, model)
    viewer.window.add_dock_widget(explorer, name="Explorer")
    wait(lambda: explorer.directions.rows and explorer.rendering.is_prepared)
    explorer.findChild(QWidget, "export.folder").setText(str(tmp_path))
    held = SimpleNamespace(viewer=viewer, explorer=explorer, before=before)
    yield held
    vars(held).clear()  # pytest would keep the window alive


def click(explorer: Explorer, name: str) -> None:
    button = explorer.findChild(QWidget, name)
    assert button.isEnabled(), f"{name} is disabled"
    button.click()


def opening(explorer: Explorer, scan_file: Any) -> None:
    explorer.open_scan(scan_file)
    wait(lambda: explorer.projecting.opening.running)


def projection(explorer: Explorer, scan_file: Any) -> None:
    explorer.open_scan(scan_file)
    wait(lambda: explorer.project.start.isEnabled())
    steps: list[Any] = []
    explorer.projecting.job.progressed.connect(steps.append)
    budget = explorer.findChild(QWidget, "project.budget")
    budget.setCurrentIndex(budget.findData("thorough"))
    click(explorer, "project.start")
    wait(lambda: len(steps) > 3)
    assert explorer.projecting.job.running


def volume(explorer: Explorer, _scan_file: Any) -> None:
    click(explorer, "export.save")
    assert explorer.exporting.job.running


def report(explorer: Explorer, _scan_file: Any) -> None:
    click(explorer, "export.report")
    assert explorer.exporting.job.running


def film(explorer: Explorer, _scan_file: Any) -> None:
    box = explorer.findChild(QWidget, "export.film_kind")
    box.setCurrentIndex(box.findData(".gif"))
    explorer.findChild(QWidget, "export.film_seconds").setValue(60.0)
    explorer.findChild(QWidget, "export.film_fps").setValue(60)
    explorer.export.film.add_recipes(*(Recipe(Source("seed", seed)) for seed in range(3)))
    steps: list[Any] = []
    explorer.exporting.job.progressed.connect(steps.append)
    click(explorer, "export.film")
    wait(lambda: len(steps) > 3)
    assert explorer.exporting.job.running


def wall(explorer: Explorer, _scan_file: Any) -> None:
    click(explorer, "browse.wall")
    wait(lambda: explorer.thumbnails._work.busy)
    assert explorer.browsing.wall.isVisible()


def walk(explorer: Explorer, _scan_file: Any) -> None:
    session = explorer.session
    explorer.browse.walk.add.click()
    session.change(session.recipe.replace(source=Source("seed", 4)))
    explorer.browse.walk.add.click()
    explorer.browse.walk.play.click()
    wait(lambda: session.recipe.mix is not None)
    assert explorer.browse.walk._timer.isActive()


def latent_map(explorer: Explorer, _scan_file: Any) -> None:
    places = explorer.browse.map.places
    places.survey = places._generator = None
    places.use(explorer.session.generator)
    assert places._surveying.running


def tissues(explorer: Explorer, _scan_file: Any) -> None:
    explorer.measuring.box.unfold()
    explorer.measuring.box.labels.setChecked(True)
    wait(lambda: explorer.measuring._work.busy)


def side_by_side(explorer: Explorer, _scan_file: Any) -> None:
    explorer.panel("Compare")
    click(explorer, "compare.pin")
    wait(lambda: explorer.comparing._a_is_there)
    click(explorer, "compare.mode.side")
    wait(lambda: len(explorer.views.panes.panes) == 2)


def edits(explorer: Explorer, _scan_file: Any) -> None:
    """An edit is measured, a direction of one's own found, and a matrix of mixes drawn."""
    explorer.session.change(Recipe(edits=(Edit("PC 1", 2.0),)))
    for seed in range(6):
        explorer.session.favourites.add(Recipe(Source("seed", seed)))
    explorer.panel("Mix")
    click(explorer, "mix.open_matrix")
    explorer.panel("Directions")
    click(explorer, "directions.preview.0")
    click(explorer, "directions.new")
    for index in range(6):
        group = explorer.findChild(QWidget, f"directions.new_group.{index}")
        group.setCurrentIndex(1 + index % 2)
    explorer.findChild(QWidget, "directions.new_name").setText("Left half done")
    directing = explorer.directing
    wait(lambda: directing._request is not None)
    click(explorer, "directions.new_find")
    assert directing.strip.isVisible()
    assert explorer.mixing.matrix.isVisible()
    assert explorer.projecting.job.running, "both at once"


#: What can be at work at the same time; opening a window takes too long for one each.
TOGETHER = {
    "search": (latent_map, tissues, film, projection, edits),
    "hands": (side_by_side, opening, wall, volume, walk),
    "report": (report,),
}


@pytest.mark.parametrize(
    ("works", "how"),
    [
        ("search", "dock"),
        *(
            pytest.param(works, how, marks=pytest.mark.soak)
            for works in TOGETHER
            for how in ("dock", "viewer")
            if (works, how) != ("search", "dock")
        ),
    ],
)
def test_closing_midway_leaves_nothing(
    opened, scan_file, errors, notifications, tmp_path, works, how
):
    viewer, explorer = opened.viewer, opened.explorer
    for work in TOGETHER[works]:
        work(explorer, scan_file)
    if how == "dock":
        viewer.window.remove_dock_widget(explorer)
    else:
        viewer.close()
    assert explorer.views is None
    left = [whose(timer) for timer in explorer.findChildren(QTimer) if is_active(timer)]
    assert left == []
    assert not any(widget.isVisible() for widget in explorer.findChildren(QWidget))
    directing, mixing = explorer.directing, explorer.mixing
    windows = (directing.strip, directing.files.dialog, mixing.matrix)
    assert not any(window.isVisible() for window in windows)
    assert directing.measuring.closed
    wait(lambda: not our_threads())
    QTest.qWait(50)

    def left_at_work():
        left = [whose(timer) for timer in timers_at_work() if id(timer) not in opened.before]
        return [timer for timer in left if "stylegan3d" in timer or "NoneType" in timer]

    # Of the process, not of the window: what that has freed is given back a second later.
    wait(lambda: left_at_work() == [] and not our_threads())
    assert errors == []
    assert notifications == []
    assert list(tmp_path.rglob("*.part")) == []
    if how == "dock":
        assert list(viewer.layers) == []


@pytest.mark.soak
@pytest.mark.parametrize("works", ["search", "hands"])
def test_deleting_the_layers_midway_stops_nothing(opened, scan_file, errors, notifications, works):
    """A person may delete what the explorer shows in napari's list: it comes back."""
    viewer, explorer = opened.viewer, opened.explorer
    for work in TOGETHER[works]:
        work(explorer, scan_file)
    viewer.layers.clear()
    QTest.qWait(200)
    explorer.exporting.job.cancel()
    explorer.projecting.job.cancel()
    explorer.browse.walk.stop()
    wait(lambda: not (explorer.exporting.job.running or explorer.projecting.job.running))
    explorer.session.change(Recipe(Source("seed", 9)))
    wait(lambda: explorer.comparison.recipe == explorer.session.recipe)
    wait(lambda: not explorer.rendering.busy and not explorer.comparison.is_preview)
    assert explorer.stage.layer in viewer.layers
    assert explorer.stage.layer.visible
    QTest.qWait(100)
    viewer.window.remove_dock_widget(explorer)
    wait(lambda: not our_threads())
    assert list(viewer.layers) == []
    assert errors == []
    # A scan that was opened while something else is shown offers itself.
    offer = "sub-07 is open: choose it in the list of patients to see it."
    assert set(notifications) <= {offer}
