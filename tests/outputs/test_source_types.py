"""What a file shows, synthetic brains or an edited scan, travels in its XMP."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from stylegan3d.outputs.films import Film, film_files, has_ffmpeg
from stylegan3d.outputs.report import ReportCase, ReportPicture
from stylegan3d.outputs.report_page import draw_page, html_report
from stylegan3d.outputs.results import picture_files
from stylegan3d.recipe.recipe import Detail, Recipe, Source
from stylegan3d.render import figures
from stylegan3d.render.figures import COMPOSITE, Look, source_type, with_source_type, xmp
from stylegan3d.render.renderer import Renderer
from stylegan3d.settings.option import FilmSettings

MADE = source_type()
RECIPES = tuple(Recipe(Source("seed", number)) for number in (1, 2))
SCAN = Source("projected", path="/p/sub-01.safetensors", sha256="a" * 64)


def told_by(path: Path) -> str:
    """The DigitalSourceType of a file: as exiftool reads it, or by the one packet in its bytes."""
    if exiftool := shutil.which("exiftool"):
        read = [exiftool, "-n", "-s3", "-DigitalSourceType", path]
        return subprocess.check_output(read, text=True).strip()
    (found,) = re.findall(rb"DigitalSourceType(?:>|\" content=\")(http[^<\"]+)", path.read_bytes())
    return found.decode()


def assert_told(path: Path, kind: str) -> None:
    assert told_by(path) == kind


def film_of(suffix, generator, folder):
    path = folder / f"way{suffix}"
    film = Film(RECIPES, FilmSettings(seconds=0.5, fps=4), planes=("axial",), look=Look(1))
    files = film_files(path, film, generator, Renderer(generator))
    path.write_bytes(files[path])
    return path


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_a_film_that_others_open(tiny_generator, tmp_path, suffix):
    path = film_of(suffix, tiny_generator, tmp_path)
    assert_told(path, MADE)
    with Image.open(path) as film:
        assert film.n_frames == 3
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
        # Where Pillow knows the place, it finds the same packet.
        if suffix != ".gif":
            assert film.info["xmp"].rstrip() == xmp(MADE).rstrip()


def test_an_mp4(tiny_generator, tmp_path):
    """Without ffmpeg the least that is called one: where its boxes end another is added."""
    path = tmp_path / "way.mp4"
    if has_ffmpeg():
        film_of(".mp4", tiny_generator, tmp_path)
    else:
        least = b"\0\0\0\x14ftypisom\0\0\0\0isom" + b"\0\0\0\x08free"
        path.write_bytes(with_source_type(least, ".mp4", MADE))
    assert_told(path, MADE)
    data, boxes, at = path.read_bytes(), [], 0
    while at < len(data):
        boxes.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    assert at == len(data)
    assert boxes[0] == b"ftyp"
    assert boxes[-1] == b"uuid"


@pytest.mark.parametrize("size", [0, 1])
def test_a_webp_of_any_length_is_whole(tmp_path, monkeypatch, size):
    """Its parts have even lengths."""
    monkeypatch.setattr(figures, "xmp", lambda kind: xmp(kind) + b"\n" * size)
    path = tmp_path / "a.webp"
    both = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    both[0].save(path, save_all=True, append_images=both[1:])
    data = with_source_type(path.read_bytes(), ".webp", MADE)
    assert int.from_bytes(data[4:8], "little") + 8 == len(data)
    assert len(data) % 2 == 0


def test_a_picture_of_a_scan_that_wears_an_edit(tiny_generator, tmp_path, monkeypatch):
    monkeypatch.setattr(Source, "scan", lambda self: None)
    monkeypatch.setattr("stylegan3d.outputs.results.picture_sidecar", lambda *_: {})
    for recipe, kind in ((Recipe(SCAN, detail=Detail(SCAN)), COMPOSITE), (RECIPES[0], MADE)):
        path = tmp_path / "a.png"
        files = picture_files(path, Image.new("RGB", (9, 9)), recipe, tiny_generator)
        path.write_bytes(files[path])
        assert_told(path, kind)


@pytest.mark.parametrize(("scan", "kind"), [("", MADE), ("sub-01_T1w.nii.gz", COMPOSITE)])
def test_a_report(tmp_path, scan, kind):
    pictures = [[ReportPicture("Brain", Image.new("RGB", (60, 20)))]]
    case = ReportCase("sub-01", Recipe(), pictures, {}, date=datetime.date(2026, 1, 2), scan=scan)
    (tmp_path / "a.pdf").write_bytes(draw_page(case, tmp_path))
    (tmp_path / "a.html").write_text(html_report(case, tmp_path), "utf-8")
    assert_told(tmp_path / "a.pdf", kind)
    assert_told(tmp_path / "a.html", kind)
    assert draw_page(case, tmp_path) == (tmp_path / "a.pdf").read_bytes()
