"""What all tests share: a machine left untouched, one thread, a tiny generator."""

import gc
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from functools import cache, wraps
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator

# Settings, caches and plugin lists go to a folder of this run. Set while this file is imported:
# napari, npe2 and Qt look the places up when they are imported, before any fixture runs.
_HOME = Path(tempfile.mkdtemp(prefix="stylegan3d-tests-"))
for _kind in ("CONFIG", "CACHE", "DATA", "STATE", "RUNTIME"):
    _folder = _HOME / _kind.lower()
    _folder.mkdir(mode=0o700)
    os.environ[f"XDG_{_kind}_{'DIR' if _kind == 'RUNTIME' else 'HOME'}"] = str(_folder)
os.environ["NAPARI_CONFIG"] = str(_HOME / "config" / "napari-settings.yaml")
# What Mesa compiles for one window it compiles for those of all workers, and of their programs.
# Workers have this from the process that starts them, which removes it when they have ended.
os.environ.setdefault("MESA_SHADER_CACHE_DIR", str(_HOME / "shaders"))
# A viewer touched from a worker thread raises here instead of crashing at a user's desk.
os.environ["NAPARI_ENSURE_PLUGIN_MAIN_THREAD"] = "1"
# Tests run beside each other, and volumes as small as theirs take longer on two threads. And the
# same number everywhere: sums in another order differ in their last bits.
_THREADS = os.environ.get("STYLEGAN3D_TEST_THREADS", "1")
os.environ["OMP_NUM_THREADS"] = _THREADS
# Idle threads sleep instead of waiting busily: other processes of the run want the cores.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
# The same of Mesa, which draws the windows in software.
os.environ["LP_NUM_THREADS"] = "1"
# Tests write thousands of files that no power cut threatens; a disk takes 10 ms for each.
os.fsync = lambda descriptor: None
# Gone through again and again while all is imported, and nothing of it can go.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    # Seldom: a window makes tens of thousands of objects that stay.
    gc.set_threshold(50_000, 20, 100)
    gc.enable()


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak", action="store_true", help="run what is slow or hostile by nature, nothing else"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Programs that last hours are not even imported without `--soak`."""
    return True if collection_path.name == "soak" and not config.getoption("soak") else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of a file run in one process, and of a folder those that share a window.

    So what they share is made once. (Marks of groups are lost between pytest 9.2 and xdist 3.8.)
    """
    from xdist.scheduler import LoadScopeScheduling

    @cache
    def together(file: str) -> str:
        text = (config.rootpath / file).read_text("utf-8")
        # After napari's own factory no other window can be opened: such files come last.
        shared = re.search(r"\bwindow\b", text) and not re.search("OWN_WINDOW|make_napari", text)
        return str(Path(file).parent) if file.startswith("tests/gui/") and shared else file

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return together(nodeid.split("::")[0])

    return Together(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep what was asked for, and mark the tests that open a window.

    Without a screen for windows, say what is missing.
    """
    soak = config.getoption("soak")
    left_out = [item for item in items if (item.get_closest_marker("soak") is None) == soak]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if (item.get_closest_marker("soak") is None) != soak]
    window_fixtures = {"qtbot", "qapp", "make_napari_viewer"}
    for item in items:
        if window_fixtures.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("gui")
    has_screen = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    needs_screen = sys.platform == "linux" and not has_screen and shutil.which("Xvfb") is None
    if needs_screen and any(item.get_closest_marker("gui") for item in items):
        raise pytest.UsageError(
            "The window's tests need a screen: install Xvfb (apt-get install xvfb), "
            'or leave them out with -m "not gui".'
        )


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    import torch

    torch.set_num_threads(int(_THREADS))


@pytest.fixture(scope="session", autouse=True)
def _brief_bias(request: pytest.FixtureRequest) -> None:
    """The bias field of a scan takes N4 nearly two seconds, and few tests are about it."""
    if not request.config.getoption("soak"):
        from stylegan3d.scans import scan

        scan.ITERATIONS = (1,)


@pytest.fixture(scope="session", autouse=True)
def _found_once() -> None:
    """Many tests measure or align the same few brains, which takes a second or more each time."""
    from stylegan3d.base import doubts_in
    from stylegan3d.projection import assessment
    from stylegan3d.scans import alignment

    def outline(brain: Any, generator: Any = None) -> tuple[Any, ...]:
        doubts, model = map(repr, doubts_in(brain.notes)), getattr(generator, "hash", None)
        return model, brain.volume, brain.brain_mask, brain.space.affine, *doubts

    def pose(brain: Any, space: Any, target: Any, *how: Any, **named: Any) -> tuple[Any, ...]:
        levels = alignment.LEVELS_MM
        grids = space.affine, target.space.affine
        return brain, *grids, target.template, levels, how, *sorted(named.items())

    once(assessment.outline_doubts, outline)
    once(alignment.align_rigid, pose)


def once(function: Any, parts: Any) -> None:
    """Let a function, wherever it was imported to, keep what it made of the same `parts`."""
    known: dict[bytes, Any] = {}

    @wraps(function)
    def kept(*arguments: Any, **named: Any) -> Any:
        digest = sha256()
        for part in parts(*arguments, **named):
            shape = getattr(part, "shape", None)
            digest.update(repr(part if shape is None else (shape, part.dtype)).encode())
            digest.update(b"" if shape is None else part.tobytes())
        if (key := digest.digest()) not in known:
            known[key] = function(*arguments, **named)
        return deepcopy(known[key])

    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get(function.__name__) is function:
            vars(module)[function.__name__] = kept


@pytest.fixture
def whole_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it."""
    monkeypatch.setattr("stylegan3d.scans.scan.ITERATIONS", (10, 10, 10))


PRIORITY = os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0


@pytest.fixture(autouse=True)
def _same_priority() -> Iterator[None]:
    """What lowers the priority of its thread is not run in that of the tests: all others wait."""
    yield
    if hasattr(os, "getpriority"):
        assert os.getpriority(os.PRIO_PROCESS, 0) == PRIORITY


@pytest.fixture
def two_threads() -> Iterator[None]:
    """For what shares work among cores."""
    import torch

    torch.set_num_threads(2)
    yield
    torch.set_num_threads(int(_THREADS))


@pytest.fixture(scope="session")
def tiny_generator() -> "Generator":
    """A generator with random weights, fast as it is small. Shared: do not change it."""
    from tiny import tiny_generator

    return tiny_generator(seed=0)


@pytest.fixture
def few_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Directions of components are described with 12 random brains instead of 200."""
    from stylegan3d.directions.attributes import measured_brains

    monkeypatch.setattr(measured_brains, "__defaults__", (12, *measured_brains.__defaults__[1:]))


@pytest.fixture(scope="session")
def labelled(tmp_path_factory):
    """(pack, folder with the label maps) of phantoms."""
    from labelled_phantoms import write_labelled

    folder = tmp_path_factory.mktemp("labels")
    return write_labelled(folder), folder


@pytest.fixture(scope="session")
def people(labelled):
    """The same, their tissues read by intensity."""
    from painted_phantoms import Reader

    from stylegan3d.training.translation import load_painted

    return load_painted(*labelled, Reader())


@pytest.fixture(scope="session")
def painter_run(people, tmp_path_factory):
    """A run of the network that paints labels, and its folder."""
    from painted_phantoms import trained_on

    return trained_on(people, tmp_path_factory.mktemp("painter"))


@pytest.fixture(scope="session")
def painter_folder(painter_run, people, tmp_path_factory):
    """The same, exported."""
    from painted_phantoms import Reader

    from stylegan3d.training.export import ModelTarget
    from stylegan3d.training.translation import export_translation

    folder = tmp_path_factory.mktemp("exported") / "paint-tiny"
    notes = {"limits": ["phantoms only"]}
    export_translation(painter_run, people, Reader(), ModelTarget(folder), notes=notes)
    return folder


@pytest.fixture
def cluster(monkeypatch):
    """Address of a Dask cluster whose two workers are threads of this process."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr("stylegan3d.pools._use_threads", lambda count: None)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as found:
        yield found.scheduler_address
