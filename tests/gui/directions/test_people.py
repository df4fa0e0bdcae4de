"""Groups of people compared in the window: a table is dropped, the difference lies on a brain."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication

from napari_stylegan3d.widgets import dialogs
from stylegan3d.evaluation import groups
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.segmentation.classes import HEAD

#: What is asked is what is shown, not how it is drawn.
UNPAINTED = True


@pytest.fixture
def people(window, tmp_path):
    """The dialog, and a table of two groups that differ along the first component."""
    generator = window.session.generator
    step = generator.directions.step("PC 1")
    rows = ["brain,group,age"]
    for seed in range(8):
        w = Recipe(Source("seed", seed)).latent(generator)
        w = w + 4.0 * (seed % 2) * w.new_tensor(step)
        save_latent(tmp_path / f"sub-{seed}.safetensors", Latent.of(generator, w))
        rows.append(f"sub-{seed}.safetensors,{'ab'[seed % 2]},{40 + seed % 3}")
    (tmp_path / "people.csv").write_text("\n".join(rows))
    window.explorer.panel("Directions")
    panel = window.explorer.directions
    menu = panel.menus.common()
    next(a for a in menu.actions() if a.text() == "Compare groups of subjects…").trigger()
    menu.deleteLater()
    dialog = window.explorer.directing.files.people
    assert dialog.isVisible()
    yield dialog
    dialog.hide()
    window.session.change(Recipe(Source("seed", 0)))
    window.settle()
    window.explorer.panel("Browse")


def test_a_dropped_table_is_compared_and_its_difference_shown(
    window, people, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        groups, "label_brain", lambda volume, _: SimpleNamespace(measures={HEAD: volume.sum()})
    )
    assert not people.start.isEnabled()
    assert people.start.toolTip() == "Open a table of subjects first."
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(tmp_path / "people.csv"))])
    action, none = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    held = action, data, Qt.MouseButton.LeftButton, none
    QApplication.sendEvent(people, QDragEnterEvent(QPoint(5, 5), *held))
    drop = QDropEvent(QPointF(5, 5), *held)
    QApplication.sendEvent(people, drop)
    assert drop.isAccepted()
    assert people.path.text() == "people.csv: 8 brains"
    assert [people.by.itemText(k) for k in range(people.by.count())] == ["group", "age"]
    people.fixed.item(1).setCheckState(Qt.CheckState.Checked)
    assert people.hold_fixed() == ["age"]
    window.click("directions.people_start")
    QApplication.sendEvent(people, QDragEnterEvent(QPoint(5, 5), *held))
    drop = QDropEvent(QPointF(5, 5), *held)
    QApplication.sendEvent(people, drop)  # what was begun is of the table before
    window.wait(lambda: not people.job.running)
    assert people.compared is None
    people.fixed.item(1).setCheckState(Qt.CheckState.Checked)
    window.click("directions.people_start")
    window.wait(lambda: people.compared is not None or "cannot" in people.told.text())
    assert people.compared.found.design.levels == ("a", "b")
    assert people.regions.item(0, 0).text()
    assert people.contrast.currentText() == "b minus a"
    assert "The direction: " in people.told.text()

    overlay = window.explorer.comparison.stage.overlay
    window.click("directions.people_show")
    window.settle()
    assert window.session.recipe.source.path.endswith("_latent.safetensors")
    assert (overlay.legend.label, overlay.legend.unit) == ("b minus a", "%")
    window.session.change(Recipe(Source("seed", 3)))  # another brain has no such difference
    window.settle()
    assert overlay.legend is None

    monkeypatch.setattr(dialogs, "choose_folder", lambda *_: tmp_path / "out")
    window.click("directions.people_save")
    window.wait(lambda: people.told.text().startswith("Saved: "))
    assert (tmp_path / "out" / "groups.html").exists()
    assert (tmp_path / "out" / "desc-average_latent.safetensors").exists()
    assert np.isfinite(people.compared.changes[0]).all()


def test_what_is_wrong_with_a_table_is_said(window, people, tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("brain,group\n1,a\n2,a\n3,a\n")
    people.open_table(path)
    window.click("directions.people_start")
    window.wait(lambda: "one value only" in people.told.text())
    assert not people.show_it.isEnabled()
