"""A panel is its widgets, what works behind them, and one line of the table of features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from gui.conftest import open_window
from qtpy.QtCore import QObject, Signal

from napari_stylegan3d.app import explorer as dock
from napari_stylegan3d.core.panel import Context, ExplorerPanel
from napari_stylegan3d.core.worker import LongJob
from napari_stylegan3d.widgets import controls
from stylegan3d.recipe.recipe import Recipe, Source


class ToyPanel(ExplorerPanel):
    """The file `toy/panel.py`: shows the seed, and asks for the one after it."""

    key = title = "Toy"
    nextRequested = Signal()

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self.seed = controls.hint(name="toy.seed")
        self.more = controls.push_button("toy.next", "Next", "Show the next seed.")
        self.column.addWidget(self.seed)
        self.column.addWidget(self.more)
        self.more.clicked.connect(self.nextRequested)

    def show_recipe(self, recipe: Recipe) -> None:
        self.seed.setText(f"seed {recipe.source.seed}")


class Toying(QObject):
    """The file `toy/controller.py`."""

    def __init__(self, context: Context, panel: ToyPanel) -> None:
        super().__init__(context.dock)
        self.session, self.job, self.stopped = context.session, LongJob(self), False
        context.links.callback(setattr, self, "stopped", True)
        panel.nextRequested.connect(self._go_on)

    def _go_on(self) -> None:
        seed = (self.session.recipe.source.seed or 0) + 1
        self.session.change(self.session.recipe.replace(source=Source("seed", seed)))


@pytest.fixture
def window(qapp: Any, model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import napari

    monkeypatch.setattr(dock, "FEATURES", (*dock.FEATURES, (ToyPanel, Toying)))
    viewer = napari.Viewer(show_welcome_screen=False)
    window = open_window(viewer, model)
    yield window
    viewer.close()


def test_a_new_panel_is_in_the_dock_and_works_on_the_shown_brain(window: Any) -> None:
    explorer = window.explorer
    assert explorer.tabs.tabText(explorer.tabs.count() - 1) == "Toy"
    assert explorer.panel("Toy").isVisible()
    before = window.recipe.source.seed
    window.click("toy.next")
    window.settle()
    assert window.recipe.source.seed == before + 1
    assert window.find("toy.seed").text() == f"seed {before + 1}"
    assert window.session.can_undo
    toying = explorer.controllers[-1]
    explorer.close_explorer()
    assert toying.stopped
    assert toying.job.closed
