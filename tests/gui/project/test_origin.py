"""What the program saved is opened again: no name beside it says that it was acquired."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from napari_stylegan3d.views.display import MADE_COLOR, RECORDED_COLOR, color_of
from stylegan3d.recipe.recipe import Edit
from stylegan3d.session.snapshot import SavedScan, plain_of, read_part
from stylegan3d.storage.about import EDITED_SCAN

UNPAINTED = True
NAME = "sub-07_desc-editedScan"
CAPTION = f"Edited scan: {NAME}\n{EDITED_SCAN}"


def save(window: Any, name: str) -> None:
    """Press a button of Export, and wait for its files."""
    window.click(name)
    window.wait(lambda: not window.explorer.exporting.job.running)


def opened(window: Any, path: Path) -> None:
    """Open a file, and wait until it is shown."""
    window.explorer.open_scan(path)
    window.wait(lambda: window.session.case is not None and window.session.case.path == path)
    window.wait(lambda: window.explorer.comparison.view == "scan")


@pytest.fixture
def saved(window, scan_file, tmp_path) -> Path:
    """The edited scan of sub-07, as Export wrote it; its sidecar is lost."""
    window.project(scan_file)
    window.session.change(window.recipe.replace(edits=(Edit("PC 1", 2.0),)))
    window.settle()
    window.find("export.folder").setText(str(tmp_path / "saved"))
    save(window, "export.save_edited")
    back = tmp_path / "back"
    back.mkdir()
    name = f"{NAME}_T1w.nii.gz"
    return Path(shutil.copy(tmp_path / "saved" / name, back / name))


def test_a_map_of_what_an_edit_changed_is_shown_and_not_aligned(window, saved, second_file):
    changed = saved.with_name(saved.name.replace("Scan_", "Change_"))
    opened(window, saved.rename(changed))
    assert all("Difference – not for diagnosis" in caption for caption in window.captions)
    controls = [window.find(f"project.{name}") for name in ("align", "by_hand", "start")]
    for control in controls:
        assert not control.isEnabled()
        assert "not a scan: open the scan instead" in control.toolTip()
    opened(window, second_file)
    assert all(control.isEnabled() for control in controls)
    assert not any("not a scan" in control.toolTip() for control in controls)


def test_an_edited_scan_stays_one_and_its_report_says_so(window, saved, tmp_path):
    opened(window, saved)
    assert window.captions == {CAPTION}
    assert {color_of(view.labels.provenance) for view in window.views.views} == {MADE_COLOR}
    assert window.viewer.title.startswith(f"{NAME}, edited – ")
    assert window.find("project.name").text() == f"Edited scan {NAME}"
    assert EDITED_SCAN[1:] in window.find("project.doubts").text()
    assert window.patients()[NAME].startswith("edited scan")
    kept = SavedScan.of(window.session.case, window.session.snapshot)
    again = read_part(SavedScan, json.loads(json.dumps(plain_of(kept))))
    assert again.case().origin == "edited", "before its file is read again"
    window.find("export.folder").setText(str(tmp_path / "out"))
    window.click("export.screenshot")
    pictures = tmp_path / "out"
    window.wait(lambda: list(pictures.glob("*.png.json")))
    told = json.loads(next(pictures.glob("*.png.json")).read_text())
    assert told["SyntheticImage"] is True
    assert told["Description"] == "Picture of an edited scan, not an acquired image."
    window.show("sub-07")
    window.settle()
    window.click("explorer.undo")
    window.settle()
    assert window.captions == {"Scan: sub-07"}
    assert {color_of(view.labels.provenance) for view in window.views.views} == {RECORDED_COLOR}
    assert window.viewer.title.startswith("sub-07 – ")
    assert window.patients()["sub-07"] == "projected"

    window.show(NAME)
    window.choose("project.budget", "draft")
    window.click("project.start")
    window.wait(lambda: window.session.result is not None and window.session.result.name == NAME)
    window.settle()
    assert window.captions == {CAPTION}
    assert window.patients()[NAME] == "edited scan, projected"
    save(window, "export.report")
    page = next((tmp_path / "out").glob("*.html")).read_text()
    assert f"Edited scan {saved.name}" in page
    assert ">Scan (edited)<" in page
    assert ">Scan<" not in page
