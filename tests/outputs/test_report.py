"""A report is one A4 page of real text that tells what was shown, measured and how it was made."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegan3d.errors import OutputError
from stylegan3d.outputs import report_page
from stylegan3d.outputs.pictures import json_path
from stylegan3d.outputs.report import Case, Picture, build_case, report_name
from stylegan3d.outputs.report_page import draw_page, report_files, writable
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Edit, Recipe, Source
from stylegan3d.recipe.text import from_link
from stylegan3d.render.figures import Look
from stylegan3d.render.renderer import Renderer

LOOK = Look(pixels_per_mm=0.5)
TRUST = {
    "similarity": {"ssim": 0.91, "ncc": 0.97, "psnr": 27.3, "mae": 0.034},
    "verdict": "typical features only",
    "sentence": "The search was short.",
}


@pytest.fixture(scope="module")
def renderer(tiny_generator):
    return Renderer(tiny_generator)


@pytest.fixture
def projected(tiny_generator, tmp_path):
    """Recipe of a projected scan."""
    path = tmp_path / "sub-01_desc-projected_latent.safetensors"
    w = Recipe(Source("seed", 3)).latent(tiny_generator)
    save_latent(path, Latent.of(tiny_generator, w, scan={"path": "sub-01_T1w.nii.gz"}))
    return Recipe(Source("projected", path=str(path)))


def small_case(**changes) -> Case:
    picture = Picture("Scan", Image.new("RGB", (60, 20)))
    measures = {"Scan": {"brain_ml": 1400.4, "ventricle_ml": float("nan")}}
    values = {
        "name": "sub-01",
        "recipe": Recipe(),
        "pictures": [[picture]],
        "measures": measures,
        "date": datetime.date(2026, 1, 2),
        **changes,
    }
    return Case(**values)


def test_it_is_one_a4_page_that_is_the_same_each_time(tmp_path):
    page = draw_page(small_case(), tmp_path)
    assert page == draw_page(small_case(), tmp_path)
    assert page.startswith(b"%PDF")
    assert re.search(rb"/Count 1\b", page)
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", page)
    assert (float(box[1]), float(box[2])) == pytest.approx((595.28, 841.89), abs=0.01)
    assert b"/FontFile2" in page, "the font is in the file"


@pytest.mark.parametrize("name", ["sub-01", "Ärztin Łódź", "Ελλάδα Москва", "日本 🧠", "a" * 400])
def test_no_name_breaks_it(tmp_path, name):
    page = draw_page(small_case(name=name), tmp_path)
    assert re.search(rb"/Count 1\b", page)


def test_what_a_font_lacks_is_replaced():
    draw_page(small_case(), Path())
    from stylegan3d.outputs.report_page import _faces

    face = _faces()[0]
    assert writable("Müller\n 01", face) == "Müller 01"
    assert writable("日", face) == "?"
    assert writable("\ufb01ne", face) in ("fine", "\ufb01ne")


def test_a_synthetic_brain_is_shown_alone_with_more_slices(tiny_generator, renderer):
    case = build_case(Recipe(), tiny_generator, renderer, look=LOOK)
    titles = [picture.title for row in case.pictures for picture in row]
    assert titles == ["Synthetic brain", "Synthetic brain, from bottom to top"]
    assert list(case.measures) == ["Synthetic brain"]
    assert case.name == "Seed 0"
    assert any(tiny_generator.hash in line for line in case.model)


def test_an_edit_of_a_scan_is_shown_beside_scan_and_reconstruction(
    tiny_generator, renderer, projected
):
    recipe = projected.replace(edits=(Edit(tiny_generator.directions.names[0], 2.0),))
    scan = np.ones(tiny_generator.shape, np.float32)
    case = build_case(recipe, tiny_generator, renderer, scan=scan, trust=TRUST, look=LOOK)
    assert list(case.measures) == ["Scan", "Reconstruction", "Edited"]
    assert [len(row) for row in case.pictures] == [2, 2, 1]
    assert case.pictures[1][1].title.startswith("Change")
    assert case.verdict == TRUST["verdict"]
    assert case.similarity == TRUST["similarity"]
    assert "+2 sd" in case.steps[0]


def test_the_json_beside_it_holds_recipe_and_measures(tiny_generator, renderer, projected):
    folder = Path(str(projected.source.path)).parent
    path = folder / report_name(projected)
    assert path.name == "sub-01_space-model_desc-projected_report.pdf"
    case = build_case(projected, tiny_generator, renderer, trust=TRUST, look=LOOK)
    files = report_files(path, case, tiny_generator)
    told = json.loads(files[json_path(path)])
    assert told["SyntheticImage"] is True
    assert told["Recipe"]["source"]["path"] == Path(str(projected.source.path)).name
    assert told["Verdict"] == TRUST["verdict"]
    assert set(told["Measures"]["Reconstruction"]) >= {"brain_ml", "ventricle_ml"}
    assert from_link(case.link(folder)).source.path == Path(str(projected.source.path)).name
    assert str(folder) not in files[json_path(path)].decode()


def test_a_report_is_a_pdf(tiny_generator, tmp_path):
    with pytest.raises(OutputError, match=r"must end in \.pdf"):
        report_files(tmp_path / "x.txt", small_case(), tiny_generator)


def test_a_long_name_is_written_whole_in_the_heading():
    name = "sub-ds00001101_ses-baseline-followup_acq-mprage3dsagittal_run-03"
    face = report_page._faces()[1]
    size = report_page._shrunk(name, face, 15, report_page.INNER * report_page.MM)
    lines = report_page._lines(name, face, size, report_page.INNER * report_page.MM, 2)
    assert "".join(lines) == name
