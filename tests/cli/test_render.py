"""`render picture`, `film` and `report`: files with recipes beside them, and what is refused."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegan3d.model.generator import load
from stylegan3d.recipe.description import read_recipe
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Detail, Edit, Recipe, Source, Truncation
from stylegan3d.storage.volumes import write_volume


def test_pictures_of_seeds(run, model, tmp_path, listing):
    words = ("--seeds", "1-2", "--truncation", "0.5", "--scale", "1", "--model", model)
    result = run("render", "picture", *words, "-o", tmp_path)
    assert (result.status, result.err) == (0, "")
    names = [f"seed-000{n}_desc-synthetic_T1w_planes.png" for n in (1, 2)]
    assert listing(tmp_path) == sorted(name + end for name in names for end in ("", ".json"))
    recipe = Recipe(Source("seed", 1), Truncation(0.5))
    assert read_recipe(tmp_path / f"{names[0]}.json") == recipe
    image = Image.open(tmp_path / names[0])
    assert "Synthetic - not for diagnosis" in image.text["Description"]
    assert "/trainedAlgorithmicMedia<" in image.info["XML:com.adobe.xmp"]
    if exiftool := shutil.which("exiftool"):
        asked = [exiftool, "-s3", "-DigitalSourceType", tmp_path / names[0]]
        assert b"trainedAlgorithmicMedia" in subprocess.check_output(asked)
    again = run("render", "picture", *words, "-o", tmp_path)
    assert again.status == 2
    assert "exists already" in again.err


def test_what_lies_beyond_the_people_is_told_whatever_is_made_of_it(run, model, tmp_path):
    made = {
        "picture": ("1", "", "--scale", "1"),
        "film": ("1-2", "walk.gif", "--fps", "2", "--seconds", "1"),
        "report": ("1", "report.pdf", "--no-html"),
    }
    for verb, (seeds, name, *more) in made.items():
        words = ("--seeds", seeds, "--truncation", "3", "--model", model, "-o", tmp_path / name)
        told = run("render", verb, *words, *more, "--json")
        said = "truncation 3 is outside 0 to 1.5, beyond normal variation"
        assert said in told.err, (verb, told.err)
        assert said in told.json["doubts"][0]["sentence"], verb


def test_a_lightbox_of_a_recipe(run, model, tmp_path):
    recipe = Recipe(Source("seed", 5)).to_json()
    words = ("picture", recipe, "--planes", "coronal", "--lightbox", "6", "--columns", "3")
    result = run("render", *words, "--scale", "1", "--model", model, "-o", tmp_path, "--json")
    (path,) = result.json["pictures"]
    width, height = Image.open(path).size
    assert path.endswith("_lightbox.png")
    assert width > height


def test_a_film_of_seeds(run, model, tmp_path):
    path = tmp_path / "way.gif"
    words = ("--seeds", "1,2", "--seconds", "0.5", "--fps", "4", "--scale", "1", "--loop")
    result = run(
        "render", "film", *words, "--model", model, "--planes", "axial", "-o", path, "--json"
    )
    assert result.json["frames"] == Image.open(path).n_frames == 4
    told = json.loads((tmp_path / "way.gif.json").read_text())
    assert [recipe["source"]["seed"] for recipe in told["Recipes"]] == [1, 2]


def test_a_report_of_a_projected_scan_finds_what_the_projection_left(run, model, tmp_path):
    generator = load(model)
    aligned = tmp_path / "sub-01_space-model_desc-aligned_T1w.nii.gz"
    scan = np.ones(generator.shape, np.float32)
    write_volume(aligned, scan, generator.affine, description="x", sidecar={}, synthetic=False)
    verdicts = {"reconstruction": {"level": "green", "sentence": "It follows the scan."}}
    trust = {"verdicts": verdicts, "similarity": {"ssim": 0.5}}
    told = {"trust": trust}
    (tmp_path / "sub-01_desc-projected_report.json").write_text(json.dumps(told))
    latent = tmp_path / "sub-01_desc-projected_latent.safetensors"
    w = Recipe().latent(generator)
    save_latent(latent, Latent.of(generator, w, scan={"path": "sub-01_T1w.nii.gz"}))
    recipe = Recipe(Source("projected", path=str(latent)))
    out = tmp_path / "reports"
    result = run(
        "render", "report", recipe.to_json(), "--model", model, "-o", out, "--json", "--no-html"
    )
    (path,) = result.json["reports"]
    assert Path(path).read_bytes().startswith(b"%PDF")
    assert not list(out.glob("*.html"))
    beside = json.loads((out / "sub-01_space-model_desc-projected_report.pdf.json").read_text())
    assert beside["Verdicts"]["reconstruction"]["level"] == "green"
    assert list(beside["Measures"]) == ["Scan", "Reconstruction"]
    # Of another scan of this name it takes nothing.
    (tmp_path / "sub-01_desc-projected_report.json").write_text(
        json.dumps(told | {"scan": {"sha256": "b"}})
    )
    words = ("render", "report", recipe.to_json(), "--model", model, "-o", tmp_path / "other")
    assert run(*words, "--no-html").status == 0
    (page,) = (tmp_path / "other").glob("*.json")
    alone = json.loads(page.read_text())
    assert "reconstruction" not in (alone.get("Verdicts") or {})
    assert "Scan" not in alone["Measures"]


def test_a_report_of_an_edited_flair_is_not_that_of_the_t1_image(run, model, tmp_path):
    generator = load(model)
    latent = tmp_path / "sub-01_desc-projected_latent.safetensors"
    w = Recipe().latent(generator)
    save_latent(latent, Latent.of(generator, w, scan={"path": "sub-01_FLAIR.nii.gz"}))
    source = Source("projected", path=str(latent))
    recipe = Recipe(source, edits=(Edit("PC 1", 1.0),), detail=Detail(source))
    names = [f"sub-01_space-model_desc-editedScan{end}_report.pdf" for end in ("", "_FLAIR")]
    for name, said in zip(names, ("give it with --scan", "exists already"), strict=True):
        (tmp_path / name).write_bytes(b"%PDF")
        result = run("render", "report", recipe.to_json(), "--model", model, "-o", tmp_path)
        assert result.status == 2
        assert said in result.err
    assert names[1] in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("picture", "--seeds", "1", "--lightbox", "5"), "one plane"),
        (("picture", "--seeds", "1", "--overlay", "flair.nii.gz"), "a projected scan"),
        (("picture", "--seeds", "1", "--planes", "oblique"), "not planes"),
        (("picture", "--seeds", "1", "--at", "1,2"), "not a point"),
        (("picture", "--seeds", "1", "--scale", "99"), "pixels per mm"),
        (("film", "--seeds", "1,2", "--easing", "bounce"), "bounce"),
        (("film", "--seeds", "1", "--out", "x.gif"), "at least two"),
        (("film", "--seeds", "1,2", "--out", "x.avi"), "must end in"),
        (("film", "--seeds", "1,2", "--fps", "0"), "1 to 60"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(
    run, model, words, said, tmp_path, monkeypatch, listing
):
    monkeypatch.chdir(tmp_path)
    result = run("render", *words, "--model", model)
    assert result.status == 2
    assert said in result.err
    assert listing(tmp_path) == []
