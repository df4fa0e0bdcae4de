"""The montage shows each view the right way round, with its sides and the word synthetic."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from tiny import tiny_generator

from stylegan3d.base import Doubt
from stylegan3d.geometry.space import CELL, PLANES, Space, Upright, cut, draw_montage
from stylegan3d.outputs.labels import LesionsOfScan
from stylegan3d.render.renderer import Rendered
from stylegan3d.scans.reading import read_scan


@pytest.fixture
def marked(space: Space) -> np.ndarray:
    """The right front top eighth is bright, everything else dim."""
    volume = np.full(space.shape, 40, np.uint8)
    volume[10:, 14:, 12:] = 250
    return volume


@pytest.mark.parametrize("axes", ["RAS", "LIA", "PSR"])
def test_right_is_left_and_the_front_is_up(marked: np.ndarray, space: Space, axes: str) -> None:
    image = nib.Nifti1Image(marked, space.affine)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(space.affine), nib.orientations.axcodes2ornt(axes)
    )
    turned = image.as_reoriented(turn)
    volume = np.asarray(turned.dataobj)
    grid = Space(volume.shape, turned.affine)
    for view in PLANES:
        picture = cut(Upright.of(volume, grid), view).picture
        rows, columns = (n // 2 for n in picture.shape)
        assert picture[: rows - 1, : columns - 1].min() == 250, view
        assert picture[rows + 1 :].max() == 40, view
        assert picture[:, columns + 1 :].max() == 40, view


def test_columns_stand_beside_each_other(blobs: np.ndarray, space: Space) -> None:
    png = draw_montage({"synthetic": blobs[:2], "real": np.zeros_like(blobs[:2])}, space)
    assert png == draw_montage({"synthetic": blobs[:2], "real": np.zeros_like(blobs[:2])}, space)
    sheet = np.asarray(Image.open(io.BytesIO(png)))
    assert sheet.shape == (22 + 2 * CELL, 6 * CELL)
    left, right = sheet[:, : 3 * CELL - 2], sheet[:, 3 * CELL + 2 :]
    assert (left[22:] > 100).mean() > 0.15
    # Only letters where the volumes are empty, but there are letters, the title too.
    assert 0 < (right[22:] > 100).mean() < 0.01
    assert (left[:22] > 100).any()
    assert (right[:22] > 100).any()


def test_larger_pictures_show_the_same_brains(blobs: np.ndarray, space: Space) -> None:
    columns = {"synthetic": blobs[:1]}
    small, large = (
        Image.open(io.BytesIO(draw_montage(columns, space, cell=cell))) for cell in (64, 192)
    )
    assert small.size == (3 * 64, 22 + 64)
    assert large.size == (3 * 192, 22 + 192)
    below = (slice(22, None), slice(16, 48))  # letters are as large in both
    again = large.crop((0, 22, 3 * 192, 22 + 192)).resize((3 * 64, 64), Image.Resampling.BOX)
    apart = np.asarray(small, float)[below] - np.asarray(again, float)[:, 16:48]
    # Of 255; edges are sharper where there are more pixels.
    assert abs(apart).mean() < 10


def test_a_notebook_shows_a_volume_with_its_fields(blobs: np.ndarray, space: Space) -> None:
    shown = Rendered(blobs[0] / np.float32(255), space, "full", 0.25)._repr_html_()
    start = shown.index("base64,") + len("base64,")
    png = base64.b64decode(shown[start : shown.index('"', start)])
    title = "synthetic - not for diagnosis"
    assert png == draw_montage({title: [blobs[0]]}, space)
    assert "<tr><th>volume</th><td>float32 (" in shown
    assert "<tr><th>quality</th><td>&#x27;full&#x27;</td></tr>" in shown


def test_a_notebook_shows_a_scan_to_scale(tmp_path: Path, marked: np.ndarray) -> None:
    def shown(data: np.ndarray, mm: float) -> tuple[str, np.ndarray]:
        nib.save(nib.Nifti1Image(data, np.diag([mm, 8, 8, 1])), tmp_path / "scan.nii.gz")
        scan = read_scan(tmp_path / "scan.nii.gz")
        html = scan._repr_html_()
        assert 'alt="synthetic' in replace(scan, origin="synthetic")._repr_html_()
        doubtful = replace(scan, notes=[*scan.notes, Doubt("sides", "ask", "Which side is left?")])
        assert "Which side is left?" in doubtful._repr_html_()
        start = html.index("base64,") + len("base64,")
        png = base64.b64decode(html[start : html.index('"', start)])
        return html, np.asarray(Image.open(io.BytesIO(png)), float)

    few = marked.astype(np.int16)
    html, coarse = shown(few, 8.0)
    assert 'alt="scan"' in html
    assert abs(coarse - shown(np.repeat(few, 2, axis=0), 4.0)[1]).mean() < 4


def test_a_notebook_shows_a_model_and_what_is_found_as_tables() -> None:
    generator = tiny_generator()
    shown = generator._repr_html_()
    assert "<tr><th>Grid</th><td>20 x 28 x 24 voxels of 8 x 8 x 8 mm, axes RAS</td></tr>" in shown
    assert "<tr><th>Labels</th><td>none</td></tr>" in shown
    assert f"<tr><th>Cannot</th><td>{generator.cannot['encode']}</td></tr>" in shown
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4))
    place = {"place": "left <insula>", "ml": 2.0, "unusual": 3.0}
    found = LesionsOfScan(image, [place, place], 4.0, [Doubt("slices", "ask", "Slices lack.")])
    shown = found._repr_html_()
    told = "<tr><th>left &lt;insula&gt;</th><td>2.0 ml, 3.0 times the reporting threshold</td></tr>"
    assert shown.count(told) == 2
    assert shown.endswith("<tr><th>Check</th><td>Slices lack.</td></tr></table>")
