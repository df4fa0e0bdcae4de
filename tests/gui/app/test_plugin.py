"""What napari sees: manifest, reader, writer, command line, and opening and closing the widget."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from npe2 import PluginManifest
from qtpy.QtTest import QTest

import napari_stylegan3d
from napari_stylegan3d.app import guidance
from napari_stylegan3d.app.explorer import Explorer
from napari_stylegan3d.app.layer_functions import get_reader, read_scans, write_image
from napari_stylegan3d.core.scans import what_is
from napari_stylegan3d.views.display import KEY
from napari_stylegan3d.widgets import dialogs
from stylegan3d.base import OutputError, ScanError
from stylegan3d.session.provenance import Provenance
from stylegan3d.storage import formats

PATIENCE_S = 60.0
MANIFEST = Path(napari_stylegan3d.__file__).parent / "napari.yaml"


def wait_until(condition) -> None:
    """Let Qt work until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "waited too long"
        QTest.qWait(10)


def test_the_manifest_is_valid_and_its_commands_exist():
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert {sample.key for sample in manifest.contributions.sample_data} == {
        "ucla-sub-04",
        "novosibirsk-sub-09",
    }


def test_a_folder_is_read_if_it_holds_dicom(tmp_path):
    (reader,) = PluginManifest.from_file(MANIFEST).contributions.readers
    assert reader.accepts_directories
    assert get_reader(str(tmp_path)) is None
    (tmp_path / "card.json").write_text("{}")
    assert get_reader(str(tmp_path)) is None
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "IM1").write_bytes(bytes(128) + b"DICM")
    assert get_reader(str(tmp_path)) is read_scans


def test_manifest_dialogs_and_drops_take_the_same_formats(tmp_path, monkeypatch):
    (reader,) = PluginManifest.from_file(MANIFEST).contributions.readers
    named = [f"*{suffix}" for suffix in formats.suffixes("scan", "dicom", "tensors", "checkpoint")]
    assert reader.filename_patterns == named
    assert all(get_reader(f"a{pattern[1:]}") is not None for pattern in named)
    toy = formats.Format("toy", "scan", (".toy",))
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, toy))
    for suffix in formats.suffixes("scan", "dicom"):
        assert f"*{suffix}" in re.split("[ ()]", dialogs.scans())
        path = tmp_path / f"a{suffix}"
        path.touch()
        assert what_is(path).kind in ("scan", "dicom")
    assert get_reader("a.toy") is not None
    assert all(f"*{suffix}" in dialogs.checkpoints() for suffix in formats.suffixes("checkpoint"))


def test_reader_gives_ras_millimetres(scan_file):
    ((data, meta, kind),) = get_reader(str(scan_file))(str(scan_file))
    assert kind == "image"
    assert meta["units"] == ("mm", "mm", "mm")
    assert all(size > 0 for size in meta["scale"])
    image = nib.load(scan_file)
    bright = np.argwhere(np.asarray(image.dataobj) > 350)
    expected = nib.affines.apply_affine(image.affine, bright).mean(axis=0)
    found = np.argwhere(data > 350).mean(axis=0) * meta["scale"] + meta["translate"]
    # mm, part of a voxel: interpolation moves the edge.
    np.testing.assert_allclose(found, expected, atol=0.5)
    assert meta["metadata"][KEY] == Provenance("scan", "sub-07")


def test_reader_leaves_other_files_alone():
    assert get_reader("picture.png") is None
    assert get_reader(["a.nii.gz", "b.png"]) is None


def test_reader_says_what_is_wrong_with_a_file(tmp_path):
    path = tmp_path / "text.nii"
    path.write_text("hello")
    with pytest.raises(ScanError, match=r"text\.nii"):
        get_reader(str(path))(str(path))


@pytest.mark.parametrize(
    ("kind", "synthetic"), [("generated", True), ("scan", False), ("second", False)]
)
def test_writer_keeps_geometry_and_says_synthetic(tmp_path, kind, synthetic):
    data = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    meta = {
        "name": "x",
        "scale": (2.0, 3.0, 4.0),
        "translate": (-1.0, 5.0, 7.0),
        "metadata": {KEY: Provenance(kind, "x")},
    }
    path = tmp_path / "x.nii.gz"
    assert write_image(str(path), data, meta) == [str(path)]
    image = nib.load(path)
    np.testing.assert_array_equal(np.asarray(image.dataobj), data)
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = meta["translate"]
    np.testing.assert_allclose(image.affine, affine)
    assert (b"SYNTHETIC" in image.header["descrip"].tobytes()) is synthetic


def test_writer_refuses_a_picture(tmp_path):
    with pytest.raises(OutputError, match="3D"):
        write_image(str(tmp_path / "x.nii.gz"), np.zeros((3, 4)), {"name": "x"})


def test_without_a_display_the_command_points_to_the_tour():
    environment = {
        key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    command = [sys.executable, "-m", "napari_stylegan3d"]
    if sys.platform != "linux":
        pytest.skip("only Linux can lack a display")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "make run" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_model_is_a_sentence_and_closing_the_window_leaks_nothing(
    make_napari_viewer_proxy, model, tmp_path, notifications
):
    """make_napari_viewer fails if a view is left over; the viewer is the proxy a plugin gets."""
    viewer = make_napari_viewer_proxy(show=True)
    viewer.add_image(np.zeros((5, 6, 7)), name="someone's work")
    orientation = viewer.scene.camera.orientation
    explorer = Explorer(viewer, tmp_path / "nothing")
    viewer.window.add_dock_widget(explorer, name="Explorer")
    wait_until(lambda: notifications)
    assert "nothing" in notifications[0]
    assert explorer.message.text() == notifications[0]
    assert not explorer.tabs.isEnabled()
    explorer.open_model(model)
    wait_until(lambda: explorer.directions.rows)
    assert explorer.tabs.isEnabled()
    assert explorer.comparison.picture is not None
    folder = explorer.session.folder
    assert folder.exists()
    explorer.rendering.renders.submit(None)
    gc.freeze()  # as it is done once all is prepared
    viewer.window.remove_dock_widget(explorer)
    assert explorer.views is None
    # Python 3.12 keeps some hundred immortal objects of its own there.
    assert gc.get_freeze_count() < 1000, "what is closed would never be let go"
    assert not folder.exists(), "latents that were not saved go away with the session"
    assert [layer.name for layer in viewer.layers] == ["someone's work"]
    assert viewer.dims.order == (0, 1, 2)
    assert viewer.scene.camera.orientation == orientation
    guidance.undo(viewer)
    assert "Open the explorer first" in notifications[-1]
