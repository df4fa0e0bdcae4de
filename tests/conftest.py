"""What all tests share: a machine left untouched, one thread, a tiny generator."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

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
# A viewer touched from a worker thread raises here instead of crashing at a user's desk.
os.environ["NAPARI_ENSURE_PLUGIN_MAIN_THREAD"] = "1"
# Tests run beside each other, and volumes as small as theirs take longer on two threads. And the
# same number everywhere: sums in another order differ in their last bits.
_THREADS = os.environ.get("STYLEGAN3D_TEST_THREADS", "1")
os.environ["OMP_NUM_THREADS"] = _THREADS
# Idle threads sleep instead of waiting busily: other processes of the run want the cores.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


#: MB that each process of a run may take at most.
MOST_MEMORY_MB = 2048
#: What those of this run took at most, by their names.
_taken: dict[str, float] = {}


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Note the most memory that this process took."""
    if resource is None:
        return
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kB elsewhere
    mine = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["memory_mb"] = mine
    else:
        _taken["main"] = mine


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """What a worker of pytest-xdist took."""
    output = getattr(node, "workeroutput", {})
    if "memory_mb" in output:
        _taken[node.gateway.id] = output["memory_mb"]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what each process took, in red if that is too much."""
    if _taken:
        told = ", ".join(f"{name} {taken:.0f}" for name, taken in sorted(_taken.items()))
        wrong = max(_taken.values()) > MOST_MEMORY_MB
        limit = f"more than {MOST_MEMORY_MB}, the limit" if wrong else f"at most {MOST_MEMORY_MB}"
        terminalreporter.write_line(f"Memory, MB: {told} ({limit})", red=wrong)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is slow or hostile by nature runs when it is asked for: `make soak`."""
    wanted = any("soak" in argument for argument in config.args)
    return True if collection_path.name == "soak" and not wanted else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that open a window; without a screen for them, say what is missing."""
    window_fixtures = {"qtbot", "qapp", "make_napari_viewer"}
    for item in items:
        if window_fixtures.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("gui")
    # Last, for napari forgets in `make_napari_viewer` what other windows have registered.
    own = {item.path for item in items if "make_napari_viewer" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path in own)
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

    from stylegan3d.training.translation import export_translation

    folder = tmp_path_factory.mktemp("exported") / "paint-tiny"
    export_translation(painter_run, people, Reader(), folder, notes={"limits": ["phantoms only"]})
    return folder
