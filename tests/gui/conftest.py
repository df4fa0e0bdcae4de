"""The real window with a tiny generator, worked by the object names of its controls."""

from __future__ import annotations

import dataclasses
import functools
import gc
import hashlib
import importlib
import os
import shutil
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
import pytest

from stylegan3d.session.workspace import Snapshot

if TYPE_CHECKING:
    import napari

    from napari_stylegan3d.app.explorer import Explorer

# A busy machine needs its time; nothing is slower for it where all is well.
PATIENCE_MS = 60_000
#: Of the window: smaller than a person's, since drawing it takes a third of these tests' time.
SIZE = (1000, 640)
#: What came of projections, by model, name and content of the scan's file: (case, latent).
PROJECTED: dict[tuple[str, str, str], tuple[Any, bytes]] = {}
#: What a model says of its direction Age.
AGEING = {
    "name": "Age",
    "attribute": "age",
    "unit": "years",
    "per_unit": 10.0,
    "ageing": {
        "ages": [20.0, 70.0],
        "expected": {
            "ventricle_ml": [[20.0, 5.0, 10.0, 15.0], [70.0, 10.0, 30.0, 50.0]],
            "tissue_percent": [[20.0, 85.0, 90.0, 95.0], [70.0, 75.0, 80.0, 85.0]],
        },
    },
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that share one window come first, so that it is opened once.

    Files with `make_napari_viewer` come last of all: after it napari cannot open a viewer without
    it. (It clears the memory of which plugins are registered, but not the registry.)
    """
    first: dict[Path, int] = {}
    sharing: set[Path] = set()
    factory: set[Path] = set()
    for index, item in enumerate(items):
        first.setdefault(item.path.parent, index)
        names, module = getattr(item, "fixturenames", ()), item.getparent(pytest.Module)
        own = {"OWN_WINDOW", "model"}.intersection(vars(module.obj))
        if "shared_window" in names and not own:
            sharing.add(item.path)
        if "make_napari_viewer" in names:
            factory.add(item.path)
    items.sort(
        key=lambda item: (item.path in factory, item.path not in sharing, first[item.path.parent])
    )


@pytest.fixture
def _others_collected(qapp: Any) -> None:
    """Collect the closed windows of other files, which napari's own fixture takes for leaks."""
    collect_closed()


@pytest.fixture
def make_napari_viewer(
    _others_collected: None, make_napari_viewer: Any
) -> Iterator[Callable[..., napari.Viewer]]:
    """napari's own, which fails if a view is left over.

    It does not wait until Qt has deleted what was closed, and collects but once.
    """
    made: list[napari.Viewer] = []

    def make(**options: Any) -> napari.Viewer:
        made.append(make_napari_viewer(**options))
        return made[-1]

    yield make
    while made:
        made.pop().close()
    collect_closed()


def label_maps(window: Any) -> list[Path]:
    """Files of the label maps over what is on the screen."""
    return list(window.session.annotations.maps)


class Window:
    """What a person can do with the explorer, and what they see."""

    def __init__(self, viewer: napari.Viewer, explorer: Explorer) -> None:
        self.viewer, self.explorer = viewer, explorer
        self.session, self.views = explorer.session, explorer.views
        self._found: dict[str, Any] = {}

    def close(self) -> None:
        """Close the viewer, and wait until the explorer is closed, too."""
        explorer = self.explorer
        self.viewer.close()
        vars(self).clear()
        wait_until(partial(is_closed, explorer))

    def find(self, name: str) -> Any:
        from qtpy.QtWidgets import QWidget

        roots = self.explorer, self.explorer.views
        # Thousands of widgets are gone through each time.
        try:
            widget = self._found[name]
            if widget.objectName() == name and any(root.isAncestorOf(widget) for root in roots):
                return widget
        except (KeyError, RuntimeError):  # its C++ half is gone
            pass
        for root in roots:
            widget = root.findChild(QWidget, name)
            if widget is not None:
                self._found[name] = widget
                return widget
        raise AssertionError(f"no control is named {name}")

    def click(self, name: str) -> None:
        """Press a button, which must be one that can be pressed."""
        button = self.find(name)
        assert button.isEnabled(), f"{name} is disabled"
        button.click()

    def set(self, name: str, value: float) -> None:
        """Type a number."""
        widget = self.find(name)
        getattr(widget, "spin", widget).setValue(value)

    def paint(self) -> None:
        """Paint the window until the test ends, in files with `UNPAINTED` too."""
        self.viewer.window._qt_window.setUpdatesEnabled(True)

    def choose(self, name: str, data: Any) -> None:
        box = self.find(name)
        box.setCurrentIndex(box.findData(data))

    def pick(self, name: str, data: Any) -> None:
        """Choose an entry of a list as a person does, which tells it apart from a program."""
        box = self.find(name)
        index = [box.itemData(index) for index in range(box.count())].index(data)
        box.setCurrentIndex(index)
        box.activated.emit(index)

    def open(self, model: Any) -> None:
        """Open another model, and wait for its first brain, directions and previews."""
        self.explorer.open_model(model)
        self.wait_for_model()

    def begin_anew(self) -> None:
        """Brain number 0 of the model that is loaded; nothing was done before."""
        self.session.restore(Snapshot({}))
        self.session.keep_frames({})

    def open_scan(self, path: Path) -> None:
        """Open the scan that `scan_file` made, and wait until it is shown."""
        self.explorer.open_scan(path)
        self.wait(lambda: self.explorer.comparison.view == "scan")
        assert self.find("project.name").text() == "sub-07"
        assert self.find("project.start").isEnabled()

    def show(self, name: str) -> None:
        """Click a patient, or "Synthetic brains", in the list."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        patients = self.find("patients.list")
        (item,) = patients.findItems(name, Qt.MatchFlag.MatchExactly)
        patients.scrollToItem(item)
        place = patients.visualItemRect(item).center()
        QTest.mouseClick(patients.viewport(), Qt.MouseButton.LeftButton, pos=place)

    def patients(self) -> dict[str, str]:
        """What the list says of each patient, by name."""
        from napari_stylegan3d.app.explorer import STATUS

        patients = self.find("patients.list")
        items = [patients.item(row) for row in range(1, patients.count())]
        return {item.text(): item.data(STATUS) for item in items}

    def wait_for_model(self) -> None:
        """Wait until the model that is being opened is there and ready."""
        self.wait(lambda: not self.explorer.models.loading.running)
        self.wait(lambda: is_warm(self.explorer))
        self.settle()

    def wait(self, condition: Callable[[], Any], patience_ms: float = PATIENCE_MS) -> None:
        wait_until(condition, patience_ms)

    def settle(self) -> None:
        """Wait until the full volume of the current recipe is there."""
        shown = self.explorer.comparison
        there = lambda: shown.is_current or self.session.recipe is None  # noqa: E731
        self.wait(lambda: not self.explorer.rendering.busy and there())
        self.views.view("3D").follower.settle()

    def project(self, path: Path) -> Any:
        """Open a scan and project it; its case.

        Through the controls the first time; after that what came of it is brought back.
        """
        name = path.name.split("_")[0]
        self.explorer.open_scan(path)
        self.wait(lambda: self.find("project.name").text().removesuffix(" FLAIR") == name)
        before = len(self.session.projected)
        opened = self.session.case
        key = self.session.generator.hash, path.name, opened.sha256
        if key in PROJECTED:
            case, latent = PROJECTED[key]
            # Where the session keeps latents that were not saved.
            file = self.session.folder / Path(case.source.path).name
            file.write_bytes(latent)
            source = dataclasses.replace(case.source, path=str(file))
            aligned = dataclasses.replace(case.aligned, scan=opened.scan)
            own = ("name", "choice", "scan", "key", "layer")
            kept: dict[str, Any] = {name: getattr(opened, name) for name in own}
            kept |= {"found": aligned, "aligned": aligned, "source": source}
            self.session.add_projected(dataclasses.replace(case, **kept))
        else:
            self.choose("project.budget", "draft")
            self.click("project.start")
            self.wait(lambda: len(self.session.projected) > before)
            case = self.session.projected[-1]
            PROJECTED[key] = case, Path(case.source.path).read_bytes()
        self.settle()
        return self.session.projected[-1]

    @property
    def recipe(self) -> Any:
        return self.session.recipe

    @property
    def volume(self) -> np.ndarray:
        """What the axial view holds."""
        return np.array(self.explorer.stage.layer.data)

    @property
    def captions(self) -> set[str]:
        return {view.labels.caption for view in self.views.views}

    def pixels(self, name: str) -> np.ndarray:
        """(H, W, 3) the OpenGL canvas of a view, as it is drawn."""
        return self.views.view(name).canvas.screenshot(flash=False)[..., :3].astype(float)


def is_warm(explorer: Explorer) -> bool:
    """Whether the model's directions and previews are ready, or there is an error."""
    ready = explorer.directions.rows and not explorer.models.warming.running
    return bool(ready or explorer.message.text())


def delete_later() -> None:
    """Delete what Qt would at its next turn, which `qWait` of PySide6 leaves undone."""
    from qtpy.QtCore import QCoreApplication, QEvent

    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def collect_closed() -> None:
    """Collect closed windows: parts of them go only when Qt has deleted what was collected."""
    from qtpy.QtTest import QTest

    for _ in range(3):
        QTest.qWait(20)
        delete_later()
        if not gc.collect():
            break


def wait_until(condition: Callable[[], Any], patience_ms: float = PATIENCE_MS) -> None:
    """Let Qt work until something is so."""
    import time

    from qtpy.QtTest import QTest

    end = time.monotonic() + patience_ms / 1000
    while not condition():
        assert time.monotonic() < end, "waited too long"
        QTest.qWait(10)
        delete_later()


def open_window(viewer: Any, model: Any) -> Window:
    """Dock the explorer in a viewer and wait for the first brain and the directions."""
    from napari_stylegan3d.app.explorer import Explorer

    explorer = Explorer(viewer, model)
    viewer.window.add_dock_widget(explorer, name="Explorer", area="right")
    viewer.window.resize(*SIZE)
    wait_until(lambda: is_warm(explorer))
    return Window(viewer, explorer)


def collected_young() -> None:
    """In place of the `set_aside` of a window; counts how often."""
    vars(collected_young)["times"] = vars(collected_young).get("times", 0) + 1
    gc.collect(1)


@pytest.fixture(scope="session", autouse=True)
def _no_step_back() -> None:
    """Other tests, which a busy machine runs beside these, would keep such threads for a minute."""
    worker = importlib.import_module("napari_stylegan3d.core.worker")
    if hasattr(os, "getpriority"):
        worker.step_back.__defaults__ = (os.getpriority(os.PRIO_PROCESS, 0),)


@pytest.fixture(scope="session", autouse=True)
def _modules_frozen(qapp: Any) -> None:
    """napari collects garbage whenever a layer goes, once for each view.

    What was imported need not be gone through every time; the window itself does so too. Only once:
    what a window left behind would never be collected, and pass for a leak. What the tests of other
    files hold is as much again: a collection of the younger generations is enough here.
    """
    for module in ("napari.qt", "napari_stylegan3d.app.window"):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    # napari does it for drivers of Windows; these tests draw in software.
    canvas = importlib.import_module("napari._vispy.canvas")
    vars(canvas)["gc"] = types.SimpleNamespace(collect=lambda: gc.collect(1))
    # And the window itself, whenever a model is ready: what is frozen here stays so.
    viewing = importlib.import_module("napari_stylegan3d.app.viewing")
    vars(viewing)["set_aside"] = collected_young


@pytest.fixture(scope="session", autouse=True)
def _short_ways(qapp: Any) -> None:
    """What napari asks a hundred thousand times a test, answered the same with less of Python.

    Private attributes of its models are looked up in the dictionary that holds them; what a
    protocol asks for is found out once. And its window filters all events of the program for a menu
    bar that is hidden, which it never is here.
    """
    import typing

    from napari._qt.qt_main_window import _QtMainWindow
    from napari.utils.events import EventedModel
    from pydantic import BaseModel

    known = object.__getattribute__
    long_way = vars(BaseModel)["__getattr__"]

    def short_way(self: Any, item: str) -> Any:
        try:
            return known(self, "__pydantic_private__")[item]
        except (AttributeError, KeyError, TypeError):
            return long_way(self, item)

    BaseModel.__getattr__ = short_way
    type.__setattr__(EventedModel, "events", property(lambda self: short_way(self, "_events")))
    found_out = functools.cache(vars(typing)["_get_protocol_attrs"])
    vars(typing)["_get_protocol_attrs"] = found_out
    if "eventFilter" in vars(_QtMainWindow):
        del _QtMainWindow.eventFilter


@pytest.fixture(scope="session", autouse=True)
def _no_thumbnails() -> None:
    """Only napari's list of layers shows them; they take a twentieth of these tests' time."""
    for kind in ("Image", "Labels"):
        layer = getattr(importlib.import_module("napari.layers"), kind)
        layer._update_thumbnail = lambda self: None


@pytest.fixture(scope="session", autouse=True)
def _measured_once() -> None:
    """Most tests show the same few brains."""
    module = vars(importlib.import_module("stylegan3d.measures.attributes"))
    measure, known = module["measure_tissues"], {}

    def measured(volume: np.ndarray, space: Any) -> tuple[dict[str, float], dict[str, np.ndarray]]:
        key = hashlib.sha256(volume.tobytes() + space.affine.tobytes()).digest()
        if key not in known:
            known[key] = measure(volume, space)
        figures, masks = known[key]
        return dict(figures), dict(masks)

    module["measure_tissues"] = measured


@pytest.fixture(scope="session", autouse=True)
def prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Brain mask, bias field and pose of a scan are found once for all windows, and soon."""
    # The eggs are smooth.
    vars(importlib.import_module("stylegan3d.scans.scan"))["LEVELS_MM"] = (8.0, 6.0, 4.0)
    folder = tmp_path_factory.mktemp("prepared")
    for module in ("napari_stylegan3d.project.controller", "napari_stylegan3d.measure.controller"):
        # Absolute, so that it takes the place of the session's own.
        vars(importlib.import_module(module))["STEPS_FOLDER"] = str(folder)
    return folder


@pytest.fixture
def nothing_prepared(prepared_folder: Path) -> Iterator[None]:
    """What other tests found of scans is found anew, and there again afterwards."""
    aside = prepared_folder.rename(prepared_folder.with_name("aside"))
    prepared_folder.mkdir()
    yield
    shutil.rmtree(prepared_folder)
    aside.rename(prepared_folder)


@pytest.fixture(scope="session", autouse=True)
def _no_sharper() -> None:
    """Scans stay on the model's grid, but where it is tested that they are shown on a finer one.

    What is compared voxel by voxel would change its grid whenever nothing happens for a moment.
    """
    from napari_stylegan3d.core import rendering as sharpening

    vars(sharpening)["SHARP_REST_MS"] = 10**8


@pytest.fixture(scope="session", autouse=True)
def _previews_help() -> None:
    """Previews are used however the machine's speed varies while a model is timed."""
    from napari_stylegan3d.core import jobs

    vars(jobs)["WORTHWHILE"] = float("inf")


@pytest.fixture(scope="session", autouse=True)
def _greeted() -> None:
    """The first steps would lie over the views in every test."""
    from napari_stylegan3d.app.guidance import SEEN
    from napari_stylegan3d.widgets.settings import settings

    settings().setValue(SEEN, True)


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    """How one test leaves its window is not how the next finds it."""
    yield
    forget()


def forget() -> None:
    """Remove what a window remembers of the last one."""
    from napari_stylegan3d.widgets.settings import (
        FOLDER,
        LOOK,
        MEASURE,
        SAVE_FOLDER,
        WIDTH,
        settings,
    )

    for key in (FOLDER, LOOK, MEASURE, SAVE_FOLDER, WIDTH):
        settings().remove(key)


def is_closed(explorer: Explorer) -> bool:
    """Whether an explorer's window was closed."""
    return explorer.views is None


class OneWindow:
    """The window that tests share: opening and closing one takes seconds."""

    def __init__(self) -> None:
        self.window: Any = None
        self.of: tuple[Path, Any] | None = None

    def get(self, place: Path, model: Any, opened: Callable[[Any, Any], Any] = open_window) -> Any:
        """The window of all tests with this model, or of those of a file."""
        import napari

        if self.window is None or self.of != (place, model):
            self.close()
            # What the window of other files remembered when it was closed.
            forget()
            self.window = opened(napari.Viewer(show_welcome_screen=False), model)
            self.of = place, model
        return self.window

    def close(self) -> None:
        """Close it, if it is open."""
        if self.window is None:
            return
        self.window.close()
        self.window = self.of = None
        gc.collect()


@pytest.fixture(scope="session")
def one_window(qapp: Any) -> Iterator[OneWindow]:
    """Closed at the end."""
    kept = OneWindow()
    yield kept
    kept.close()


@pytest.fixture(scope="module", autouse=True)
def _no_other_window(request: pytest.FixtureRequest, one_window: OneWindow) -> None:
    """Files with windows of their own do not find that of others beside them."""
    own = (item for item in request.session.items if item.path == request.path)
    if not any("shared_window" in item.fixturenames for item in own):
        one_window.close()


@pytest.fixture(scope="module")
def shared_window(request: pytest.FixtureRequest, one_window: OneWindow, model: Any) -> Window:
    """One explorer for all tests; for those of a file with `OWN_WINDOW`.

    Not for files that use `make_napari_viewer`, which allows no other viewer beside its own.
    """
    own = hasattr(request.module, "OWN_WINDOW")
    return one_window.get(request.path if own else Path(), model)


@pytest.fixture
def window(request: pytest.FixtureRequest, shared_window: Window) -> Window:
    """The explorer as it opens: brain number 0, nothing undone, nothing projected.

    It is not painted for files with `UNPAINTED`, which takes a fifth of the time of tests that ask
    what is shown and not how it looks.
    """
    from napari._qt.dialogs.qt_notification import NapariQtNotification
    from qtpy.QtTest import QTest

    explorer = shared_window.explorer
    main = shared_window.viewer.window._qt_window
    main.setUpdatesEnabled(False)
    main.resize(*SIZE)
    for told in shared_window.views.findChildren(NapariQtNotification):
        told.close()
    explorer.exporting.job.cancel()
    explorer.projecting.job.cancel()
    wait_until(lambda: not (explorer.exporting.job.running or explorer.projecting.job.running))
    explorer.rendering.request()
    shared_window.begin_anew()
    # A projection is named after those that are there.
    for latent in explorer.session.folder.glob("*_latent.safetensors"):
        latent.unlink()
    explorer.directions.show_directions(shared_window.session.generator)
    explorer.panel("Browse")
    for part in (explorer.measuring, explorer.relabelling):
        part.box.unfold(False)
    shared_window.find("project.outline").setChecked(True)
    shared_window.settle()
    shared_window.views.looks.change(convention="radiological")
    main.setUpdatesEnabled(not hasattr(request.module, "UNPAINTED"))
    QTest.qWait(30)
    return shared_window


@pytest.fixture
def notifications() -> Iterator[list[str]]:
    """Messages of napari's notifications during the test."""
    from napari.utils.notifications import notification_manager

    seen: list[str] = []

    def note(notification: Any) -> None:
        seen.append(str(notification.message))

    notification_manager.notification_ready.connect(note)
    yield seen
    notification_manager.notification_ready.disconnect(note)


def head(mm: np.ndarray) -> np.ndarray:
    """Brightness of an asymmetric egg at points (3, ...) in mm about its middle."""
    x, y, z = mm
    egg = np.sqrt((x / 62) ** 2 + (y / (80 + 0.1 * z)) ** 2 + (z / (62 - 0.15 * y)) ** 2)
    inside = 1 / (1 + np.exp((egg - 1) * 25))
    folds = 0.15 * np.sin(x / 9) * np.cos(y / 13 + z / 11) + 0.1 * np.sin(z / 10)
    dark = 0.5 * np.exp(-((x - 15) ** 2 + (y - 10) ** 2 + z**2) / 400)
    return np.clip(inside * (0.8 + folds - dark), 0, 1).astype(np.float32)


def head_on(space: Any, middle_mm: np.ndarray) -> np.ndarray:
    """The egg on a grid, with its middle at a point of the world."""
    index = np.stack(np.meshgrid(*map(np.arange, space.shape), indexing="ij")).reshape(3, -1)
    mm = space.affine[:3, :3] @ index + space.affine[:3, 3:] - np.reshape(middle_mm, (3, 1))
    return head(mm).reshape(space.shape)


@pytest.fixture(scope="session")
def model() -> Any:
    """A tiny generator whose mean brain is the egg, so that scans of the egg can be aligned.

    Of its directions the first is described.
    """
    from tiny import tiny_generator

    generator = tiny_generator(seed=0)
    vars(generator)["directions"] = dataclasses.replace(
        generator.directions, descriptions={"PC 1": "larger egg (r = 0.93)"}
    )
    vars(generator)["template"] = head_on(generator.space, generator.space.center_mm)
    return generator


@pytest.fixture(scope="session")
def scan_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of the egg without a skull: an LAS array, oblique by 5 degrees."""
    from stylegan3d.geometry.space import Space

    angle = np.radians(5)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([-3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = turn[:3, :3] @ [75, -95, -80]
    space = Space((50, 64, 56), affine)
    data = head_on(space, space.center_mm)
    data[data < 0.1] = 0
    path = tmp_path_factory.mktemp("scans") / "sub-07_T1w.nii.gz"
    nib.Nifti1Image((700 * data).astype(np.int16), affine).to_filename(path)
    return path


@pytest.fixture(scope="session")
def second_file(scan_file, tmp_path_factory) -> Path:
    """Another patient than that of `scan_file`."""
    image = nib.load(scan_file)
    data = np.asarray(image.dataobj).astype(np.float32)
    waves = 40 * np.sin(np.indices(data.shape)[1] / 4)
    path = tmp_path_factory.mktemp("second") / "sub-08_T1w.nii.gz"
    changed = np.where(data > 0, data + waves, 0).clip(0, None)
    nib.Nifti1Image(changed.astype(np.int16), image.affine).to_filename(path)
    return path


@pytest.fixture
def ageing(window: Window, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The box of a model that knows how brains age."""
    panel, generator = window.explorer.directions, window.session.generator
    found = generator.directions
    reading = np.zeros(generator.w_dim + 1)
    directions = dataclasses.replace(
        found, names=("Age", *found.names[1:]), checks=(AGEING,), age_reading=reading
    )
    monkeypatch.setattr(generator, "directions", directions)
    window.explorer.panel("Directions")
    panel.show_model(generator)
    panel.show_directions(generator)
    window.settle()
    yield panel.ageing
    monkeypatch.undo()
    window.session.change(window.session.recipe.replace(edits=()))
    panel.show_model(generator)
    panel.show_directions(generator)
    window.settle()
    window.explorer.panel("Browse")


@pytest.fixture(scope="module")
def segmenter() -> Iterator[Any]:
    """An untrained network for the tiny generator's voxels, in place of the bundled one."""
    import torch

    from napari_stylegan3d.core import tissues
    from stylegan3d.scans.person import Person
    from stylegan3d.segmentation import inference, norms
    from stylegan3d.segmentation.classes import ALL_MEASURES, REGIONS
    from stylegan3d.segmentation.inference import Segmenter
    from stylegan3d.segmentation.network import TissueNetwork

    torch.manual_seed(0)
    card = {
        "name": "tissue-tiny",
        "space": {"voxel_mm": [8.0, 8.0, 8.0]},
    }
    network = TissueNetwork((8, 8), len(REGIONS.classes))
    regions = Segmenter(network, card, "0123456789", torch.device("cpu"), REGIONS)
    tiny = regions.as_tissues()
    rng = np.random.default_rng(0)
    rows = [{n: 100 * float(np.exp(rng.normal(0, 0.1))) for n in ALL_MEASURES} for _ in range(80)]
    people = [Person(19 + 0.75 * i, "FM"[i % 2]) for i in range(80)]
    of_people = norms.fit_norms(rows, people, [""] * 80, "80 people")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "bundled_segmenter", lambda: tiny)
        patch.setattr(inference, "bundled_regions", lambda: regions)
        patch.setattr(norms, "bundled_norms", lambda: of_people)
        patch.setattr(tissues, "screen_dtype", lambda: torch.float32)
        yield tiny
