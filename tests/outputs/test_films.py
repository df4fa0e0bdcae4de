"""Films: as many pictures as promised, marked synthetic, with their key frames beside them."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from stylegan3d.base import OutputError, StyleGAN3DError
from stylegan3d.outputs import films
from stylegan3d.outputs.films import Film, draw_film, encode, film_files, has_ffmpeg
from stylegan3d.outputs.results import json_path
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.recipe.keyframes import Still
from stylegan3d.recipe.recipe import Detail, Recipe, Source
from stylegan3d.render.figures import Look
from stylegan3d.render.renderer import Renderer
from stylegan3d.settings.option import FilmSettings
from stylegan3d.storage.about import EDITED_SCAN, WORN_DETAIL

RECIPES = tuple(Recipe(Source("seed", number)) for number in (1, 2))


@pytest.fixture(scope="module")
def renderer(tiny_generator):
    return Renderer(tiny_generator)


def small(**changes) -> Film:
    names = ("seconds", "fps", "loop")
    pace = {"seconds": 0.5, "fps": 8} | {k: v for k, v in changes.items() if k in names}
    shown = {"planes": ("axial",), "look": Look(1)}
    shown |= {k: v for k, v in changes.items() if k not in names}
    return Film(RECIPES, FilmSettings(**pace), **shown)


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_a_film_has_all_its_pictures_at_its_pace(tiny_generator, renderer, tmp_path, suffix):
    path = tmp_path / f"way{suffix}"
    seen = []
    files = film_files(path, small(), tiny_generator, renderer, lambda *at: seen.append(at))
    assert set(files) == {path, json_path(path)}
    film = Image.open(io.BytesIO(files[path]))
    assert film.n_frames == small().frames == 5
    frames = [np.asarray(f.convert("RGB"), float) for f in ImageSequence.Iterator(film)]
    assert np.abs(frames[0] - frames[-1]).mean() > 0.5
    # GIF counts in hundredths of a second.
    assert film.info["duration"] == pytest.approx(125, abs=10)
    assert [one[:2] for one in seen] == [(number, 5) for number in range(5)]


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
@pytest.mark.parametrize("fps", [12, 30, 60])
def test_a_film_is_as_long_as_its_rate_says(suffix, fps):
    pictures = [Image.new("RGB", (8, 8), (4 * k, 0, 255 - 4 * k)) for k in range(fps)]
    film = Image.open(io.BytesIO(encode(iter(pictures), suffix, fps)))
    lasts = [frame.copy().info["duration"] for frame in ImageSequence.Iterator(film)]
    # Milliseconds are rounded.
    assert sum(lasts) == pytest.approx(1000, abs=1)


def test_every_picture_says_synthetic(tiny_generator, renderer):
    marked = [np.asarray(f, float) for f in draw_film(small(), tiny_generator, renderer)]
    plain = small(look=Look(1, caption=""))
    bare = [np.asarray(f, float) for f in draw_film(plain, tiny_generator, renderer)]
    for with_words, without in zip(marked, bare, strict=True):
        corner = np.abs(with_words - without)[-30:, : with_words.shape[1] // 2]
        assert corner.max() > 100


def test_each_picture_has_the_mark_of_its_own_brain(tiny_generator, renderer, monkeypatch):
    scan = Source("projected", path="/p/sub-01.safetensors", sha256="a" * 64)
    w = RECIPES[0].latent(tiny_generator)
    moments = [
        Still(w, detail=detail, is_edited_scan=own, shows=(Recipe(scan),))
        for detail, own in ((Detail(scan), True), (Detail(scan, 0.5), False), (None, False))
    ]
    plain = renderer.render(w)
    monkeypatch.setattr(films, "stills", lambda *_, **__: iter(moments))
    monkeypatch.setattr(films, "render_moment", lambda *_: plain)
    monkeypatch.setattr(films, "draw_planes", lambda _volume, look, **_: look.caption)
    own, worn, synthetic = draw_film(small(), tiny_generator, renderer)
    whose, _, synthetic = synthetic.partition(". ")
    assert "sub-01" in whose
    assert own == f"{whose}. {EDITED_SCAN}. {synthetic}"
    assert worn == f"{whose}. {WORN_DETAIL}. {synthetic}"


def test_a_film_says_whose_brains_it_shows(tiny_generator, renderer, monkeypatch):
    monkeypatch.setattr(films, "draw_planes", lambda _volume, look, **_: look.caption)
    first, *between, last = draw_film(small(), tiny_generator, renderer)
    names = [describe_recipe(recipe) for recipe in (RECIPES[0], RECIPES[-1])]
    assert (first.split(". ")[0], last.split(". ")[0]) == tuple(names)
    assert any(" to " in caption for caption in between)
    scans = [Source("projected", path=f"/p/{n}.safetensors", sha256="a" * 64) for n in "ab"]
    four = tuple(map(Recipe, (*scans, scans[0], RECIPES[0].source)))
    film = replace(small(), recipes=four)
    assert film.name == "filmToB"
    assert small().name == "film"


def test_the_key_frames_stand_beside_the_film(tiny_generator, renderer, tmp_path):
    path = tmp_path / "way.gif"
    told = json.loads(film_files(path, small(loop=True), tiny_generator, renderer)[json_path(path)])
    assert [Recipe.from_dict(recipe) for recipe in told["Recipes"]] == list(RECIPES)
    assert told["SyntheticImage"] is True
    assert told["Model"]["SHA256"] == tiny_generator.hash
    assert told["Film"]["Frames"] == 8
    assert told["Film"]["Loop"] is True


def test_work_can_be_stopped_between_pictures(tiny_generator, renderer, tmp_path):
    class Enough(Exception):
        pass

    def stop(done, total, *_):
        if done == 2:
            raise Enough

    for suffix in (".gif", ".mp4") if has_ffmpeg() else (".gif",):
        with pytest.raises(Enough):
            film_files(tmp_path / f"way{suffix}", small(), tiny_generator, renderer, stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not has_ffmpeg(), reason="there is no ffmpeg here")
def test_an_mp4_has_the_size_and_length_of_the_film(tiny_generator, renderer, tmp_path):
    import re
    import subprocess

    path = tmp_path / "way.mp4"
    path.write_bytes(film_files(path, small(), tiny_generator, renderer)[path])
    said = subprocess.run([films.ffmpeg(), "-i", path], capture_output=True, text=True).stderr
    width, height = next(draw_film(small(), tiny_generator, renderer)).size
    even = f"{width + width % 2}x{height + height % 2}"
    assert re.search(rf"Video: h264.*yuv420p.*{even}.*8 fps", said), said


def test_without_ffmpeg_an_mp4_is_refused_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setattr(films.shutil, "which", lambda name: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert not has_ffmpeg()
    with pytest.raises(OutputError, match="ffmpeg: install it"):
        films.check_suffix(tmp_path / "way.mp4")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"fps": 0}, "1 to 60"), ({"seconds": 100.0}, "0.1 to 60"), ({"planes": ()}, "plane")],
)
def test_what_is_no_film_is_a_sentence(options, said):
    with pytest.raises(StyleGAN3DError, match=said):
        small(**options)
    with pytest.raises(OutputError, match="must end in"):
        films.check_suffix(Path("way.avi"))
