"""A report is one A4 page of real text that tells what was shown, measured and how it was made."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reportlab.graphics.shapes import String
from reportlab.platypus import Image as ReportImage
from reportlab.platypus import Paragraph

from stylegan3d.base import Doubt, OutputError
from stylegan3d.measures.attributes import TOLD
from stylegan3d.outputs import report as content
from stylegan3d.outputs import report_page
from stylegan3d.outputs.report import (
    ReportCase,
    ReportPicture,
    build_case,
    identity,
    report_name,
)
from stylegan3d.outputs.report_page import draw_page, html_report, report_files, writable
from stylegan3d.outputs.results import json_path
from stylegan3d.recipe.description import from_link
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Detail, Edit, Recipe, Source
from stylegan3d.render.figures import SOURCE_TYPES, Look, legible
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans.person import Person
from stylegan3d.scans.verdicts import VERDICTS
from stylegan3d.segmentation.classes import ALL_MEASURES, PAIRED
from stylegan3d.segmentation.norms import fit_norms
from stylegan3d.segmentation.numbers import numbers_of

LOOK = Look(pixels_per_mm=0.5)
TRUST = {
    "similarity": {"ssim": 0.91, "ncc": 0.97, "psnr": 27.3, "mae": 0.034},
    "verdicts": {"reconstruction": {"level": "amber", "sentence": "The search was short."}},
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


def small_case(**changes) -> ReportCase:
    picture = ReportPicture("Scan", Image.new("RGB", (60, 20)))
    measures = {"Scan": {"brain_ml": 1400.4, "ventricle_ml": float("nan")}}
    values = {
        "name": "sub-01",
        "recipe": Recipe(),
        "pictures": [[picture]],
        "measures": measures,
        "date": datetime.date(2026, 1, 2),
        **changes,
    }
    return ReportCase(**values)


def test_it_is_one_a4_page_that_is_the_same_each_time(tmp_path):
    page = draw_page(small_case(), tmp_path)
    assert page == draw_page(small_case(), tmp_path)
    assert page.startswith(b"%PDF")
    assert re.search(rb"/Count 1\b", page)
    box = re.search(rb"/MediaBox \[ 0 0 ([\d.]+) ([\d.]+) \]", page)
    # Points of A4 with two decimals.
    assert (float(box[1]), float(box[2])) == pytest.approx((595.28, 841.89), abs=0.01)
    assert b"/FontFile2" in page, "the font is in the file"


@pytest.mark.parametrize("name", ["sub-01", "Ärztin Łódź", "Ελλάδα Москва", "日本 🧠", "a" * 400])
def test_no_name_breaks_it(tmp_path, name):
    page = draw_page(small_case(name=name), tmp_path)
    assert re.search(rb"/Count 1\b", page)


@pytest.mark.parametrize(("header", "more"), [(52, " (as entered; the header says 52)"), (70, "")])
def test_an_age_that_differs_from_the_header_is_told_with_it(header, more):
    case = small_case(scan="a scan", person=Person(70, "F"), header_age=header)
    assert identity(case)[-1] == f"Female, 70 years old{more}."


def test_what_a_font_lacks_tells_names_apart():
    draw_page(small_case(), Path())
    from stylegan3d.outputs.report_page import _faces

    face = _faces()[0]
    assert writable("Müller\n 01", face) == "Müller 01"
    assert writable("日本", face) == "[U+65E5][U+672C]"
    assert writable("Lev כהן לב 7", face)[4:-2] in ("בל ןהכ", legible("בל ןהכ", {32}))


def test_a_synthetic_brain_is_shown_alone_with_more_slices(tiny_generator, renderer):
    case = build_case(Recipe(), tiny_generator, renderer, look=LOOK)
    titles = [picture.title for row in case.pictures for picture in row]
    assert titles == ["Synthetic brain", "Synthetic brain, from bottom to top"]
    assert not case.scan
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
    assert [len(row) for row in case.pictures] == [2, 2]
    assert case.name == "sub-01"
    assert case.scan == "sub-01_T1w.nii.gz"
    assert case.pictures[1][1].title.startswith("Change")
    assert case.assessment == TRUST
    assert "+2 sd" in case.steps[0]


def test_of_a_scan_without_an_edit_nothing_is_called_edited(
    tiny_generator, renderer, projected, monkeypatch
):
    aligned = types.SimpleNamespace(aligned=np.ones(tiny_generator.shape, np.float32))
    monkeypatch.setattr(content, "carried_detail", lambda *_args: aligned)
    recipe = projected.replace(detail=Detail(projected.source))
    case = build_case(recipe, tiny_generator, renderer, look=LOOK)
    assert list(case.measures) == ["Scan", "Reconstruction"]
    titles = [picture.title for row in case.pictures for picture in row]
    assert not any("Edited" in title for title in titles)


def test_the_json_beside_it_holds_recipe_and_measures(tiny_generator, renderer, projected):
    folder = Path(str(projected.source.path)).parent
    path = folder / report_name(projected)
    assert path.name == "sub-01_space-model_desc-projected_report.pdf"
    case = build_case(projected, tiny_generator, renderer, trust=TRUST, look=LOOK)
    files = report_files(path, case, tiny_generator)
    told = json.loads(files[json_path(path)])
    assert told["SyntheticImage"] is True
    assert told["Recipe"]["source"]["path"] == Path(str(projected.source.path)).name
    assert told["Verdicts"] == TRUST["verdicts"]
    assert set(told["Measures"]["Reconstruction"]) >= {"brain_ml", "ventricle_ml"}
    assert from_link(case.link(folder)).source.path == Path(str(projected.source.path)).name
    assert str(folder) not in files[json_path(path)].decode()


def test_of_an_unsuitable_acquisition_the_reason_stands_in_place_of_figures(
    tiny_generator, renderer, projected, tmp_path
):
    why = "The scan covers only 88 % of the brain."
    finding = {"place": "left frontal lobe", "ml": 2.0, "peak_z": 9.0, "center_mm": [0, 0, 0]}
    trust = {
        **TRUST,
        "verdicts": {"acquisition": {"level": "red", "sentence": why}},
        "findings": [finding],
    }
    case = build_case(projected, tiny_generator, renderer, trust=trust, look=LOOK)
    assert (case.measures, case.numbers, content.findings(case)) == ({}, None, "")
    (told,) = content.notes(case)
    assert told.endswith("is unsuitable (the scan covers only 88 % of the brain).")
    html = html_report(case, tmp_path)
    assert told in html
    assert "Brain tissue" not in html
    assert "left frontal lobe" not in html
    assert draw_page(case, tmp_path).startswith(b"%PDF")


def test_a_report_is_a_pdf(tiny_generator, tmp_path):
    with pytest.raises(OutputError, match=r"must end in \.pdf"):
        report_files(tmp_path / "x.txt", small_case(), tiny_generator)


def texts_of(part) -> Iterator[str]:
    """All texts of a part of the page, in order."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, Paragraph):
        yield part.getPlainText(identify=1)
    elif isinstance(part, String):
        yield part.text
    elif isinstance(part, list | tuple):
        for each in part:
            yield from texts_of(each)
    else:
        for name in ("_cellvalues", "_content", "contents"):
            yield from texts_of(getattr(part, name, ()))


def test_a_long_name_is_written_whole_in_the_heading(tmp_path):
    name = "sub-ds00001101_ses-baseline-followup_acq-mprage3dsagittal_run-03"
    heading = report_page.laid_out(small_case(name=name), tmp_path)[0]
    assert heading.getPlainText(identify=1) == name
    assert report_page.height_of([heading]) < 2 * 15 * report_page.LEADING


@pytest.fixture(scope="module")
def full_case():
    """A case with everything, names and sentences as long as they get."""
    rng = np.random.default_rng(0)
    rows = [{n: 100 * float(np.exp(rng.normal(0, 0.1))) for n in ALL_MEASURES} for _ in range(80)]
    people = [Person(19 + 0.75 * i, "FM"[i % 2]) for i in range(80)]
    norms = fit_norms(rows, people, [""] * 80, "80 people")
    person = Person(60, "F")
    measures = {**rows[0], "left_hippocampus_ml": 60.0}
    numbers = numbers_of(measures, person, norms)
    wide = ReportPicture("Edited scan minus scan: blue darker", Image.new("RGB", (90, 35)))
    tissues = {key: rows[0][key] for key in TOLD}
    lights = {
        name: {"level": "amber", "sentence": "A sentence <b>that</b> takes two lines. " * 4}
        for name in VERDICTS
    }
    found = {"place": "left frontal lobe", "ml": 2.0, "peak_z": -6.0, "center_mm": [1.0, 2.0, 3.0]}
    return small_case(
        name="<script>alert(1)</script>" + "Ärztin_" * 12,
        recipe=Recipe(edits=tuple(Edit(f"Direction {i}", 1.0) for i in range(12))),
        pictures=[[wide, wide], [wide, wide]],
        measures={"Scan": tissues, "Reconstruction": tissues, "Edited scan": tissues},
        measured="by a network",
        doubts=[Doubt("likeness", "ask", "The search was short. " * 6)],
        assessment={**TRUST, "verdicts": lights, "findings": [found] * 9},
        model=["Model x, sha256 0."],
        numbers=numbers,
        scan="sub-01_T1w.nii.gz, 9 x 9 x 9 voxels",
        person=person,
    )


def test_nothing_of_a_full_page_is_cut_off(full_case):
    story = report_page.laid_out(full_case, Path())
    assert report_page.height_of(story) <= report_page.ROOM
    words = list(texts_of(story))
    for told in (
        full_case.name,
        full_case.doubts[0].sentence.strip(),
        *(sentence.strip() for _, _, sentence in content.verdicts(full_case)),
        *(cell.text for row in content.whole_table(full_case) for cell in row),
        *(cell.text for row in content.sides_table(full_case) for cell in row),
        *(f"{curve.title}, {curve.unit}" for curve in content.curves(full_case)),
        *(" ".join(note.split()) for note in content.notes(full_case)),
        content.RESTORE_BY_FILE,  # a link that is too long for the page
        "Model x, sha256 0.",
    ):
        assert any(told in text for text in words), told
    assert content.RESTORE not in words
    page = draw_page(full_case, Path())
    assert re.search(rb"/Count 1\b", page)
    assert page.count(b"/Subtype /Image") == 1  # four times the same picture


def test_pictures_take_what_the_texts_leave(full_case):
    heights = []
    for case in (small_case(pictures=full_case.pictures), full_case):
        story = report_page.laid_out(case, Path())
        images = [cell[1] for part in story for row in getattr(part, "_cellvalues", [])
                  for cell in row if isinstance(cell, list) and len(cell) == 2
                  and isinstance(cell[1], ReportImage)]  # fmt: skip
        assert len(images) == 4
        heights.append(images[0].drawHeight)
    assert heights[1] < heights[0]


def test_what_lies_beyond_the_limit_is_marked_everywhere(full_case):
    marked = [row[0].text for row in content.sides_table(full_case) if row[2].marked]
    assert "Hippocampus" in marked
    assert len(marked) < len(PAIRED) / 2
    assert "Beyond z ±2: Hippocampus, left 60.0 ml (z -" in content.notes(full_case)[0]
    lenient = dataclasses.replace(full_case, unusual_z=50.0)
    assert "Beyond z ±50: " in content.notes(lenient)[0]
    assert "In a healthy person about 3 of 73 measures lie beyond" in content.notes(full_case)[0]
    guide = (Path(__file__).parents[2] / "docs/window/save.md").read_text("utf-8")
    assert f"about three of the {len(ALL_MEASURES)} measures" in guide
    assert not any(cell.marked for row in content.sides_table(lenient) for cell in row)
    assert [curve.title for curve in content.curves(full_case)][:2] == [
        "Ventricles",
        "Temporal horn, left",
    ]
    unknown = small_case(numbers=numbers_of(full_case.numbers.measures, Person()))
    assert not content.curves(unknown)
    assert "age and sex" in content.notes(unknown)[0]


def test_the_html_needs_nothing_else_and_holds_no_markup_of_a_name(full_case):
    page = html_report(full_case, Path())
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "<b>that" not in page
    assert not re.search(
        r"(src|href)=\"(?!data:)|url\(|@import|http:", page.replace(SOURCE_TYPES, "")
    )
    assert page.count("<svg") == 8
    assert page.count("data:image/jpeg;base64,") == 4


@pytest.mark.parametrize(("count", "end"), [(0, ""), (1, "3) mm."), (9, "3) mm; and 1 more.")])
def test_findings_are_told_in_a_sentence(count, end):
    found = {"place": "left frontal lobe", "ml": 2.0, "peak_z": -6.0, "center_mm": [1, 2, 3]}
    said = content.findings(small_case(assessment={**TRUST, "findings": [found] * count}))
    assert said.endswith(end)
    assert said.count("left frontal lobe, 2.0 ml, z up to -6.0, around (1, 2, 3) mm") == min(
        count, 8
    )
    assert " ;" not in said
