"""Names to save under: complete, and asked about where they exist."""

import pytest
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

from napari_stylegan3d.widgets import dialogs


@pytest.fixture
def parent(qtbot):
    widget = QWidget()
    qtbot.addWidget(widget)
    return widget


@pytest.mark.parametrize(("answer", "replaced"), [("Yes", True), ("No", False)])
def test_a_name_without_its_ending_is_asked_about_once_it_is_whole(
    parent, tmp_path, monkeypatch, answer, replaced
):
    asked = []

    def question(_parent, _title, text):
        asked.append(text)
        return getattr(QMessageBox.StandardButton, answer)

    typed = tmp_path / "monday"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(typed), ""))
    monkeypatch.setattr(QMessageBox, "question", question)
    whole = tmp_path / "monday.sg3d"
    assert dialogs.save_file(parent, "Save", dialogs.SESSIONS) == whole
    assert not asked
    whole.write_bytes(b"")
    assert dialogs.save_file(parent, "Save", dialogs.SESSIONS) == (whole if replaced else None)
    assert asked == ["monday.sg3d already exists. Replace it?"]


def test_a_whole_name_was_asked_about_by_the_dialog(parent, tmp_path, monkeypatch):
    typed = tmp_path / "sub-01_T1w.nii.gz"
    typed.write_bytes(b"")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(typed), ""))
    assert dialogs.save_file(parent, "Save", dialogs.VOLUMES) == typed
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: ("", ""))
    assert dialogs.save_file(parent, "Save", dialogs.VOLUMES) is None
