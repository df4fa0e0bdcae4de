"""`stylegan3d evaluate` on a tiny generator and blobs that stand for people."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stylegan3d.generator import load
from stylegan3d.metrics import features
from stylegan3d.metrics.sampling import RandomBrains
from stylegan3d.space import Space
from stylegan3d.training.pack import load_pack, write_pack

PEOPLE, SET_ASIDE = 8, 3


@pytest.fixture(scope="module")
def data(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pack of eleven "people": random brains of the model inside an ellipsoid, numbers 100 on."""
    generator = load(model)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in generator.shape), indexing="ij")
    inside = sum(axis**2 for axis in grid) < 0.8
    brains = RandomBrains(generator, range(100, 100 + PEOPLE + SET_ASIDE)).stack()
    people = np.where(inside, np.maximum(brains, 20), 0).astype(np.uint8)
    rows = [
        {"name": f"sub-{i}", "person": f"sub-{i}", "split": "train" if i < PEOPLE else "validation"}
        for i in range(len(people))
    ]
    volumes = {row["name"]: volume for row, volume in zip(rows, people, strict=True)}
    folder = tmp_path_factory.mktemp("data") / "people"
    write_pack(folder, rows, lambda row: volumes[row["name"]], generator.space, {})
    return folder


@pytest.fixture(autouse=True)
def _coarse_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "FEATURE_MM", 5.0)


SMALL = ("--samples", 6, "--privacy-samples", 5, "--limit-validation", 2, "--budget", "none")


def test_every_part_is_measured_and_written(run, model, data, tmp_path) -> None:
    out, picture = tmp_path / "report.json", tmp_path / "montage.png"
    words = ("--speed", "--out", out, "--montage", picture, "--json", *SMALL)
    result = run("evaluate", "--model", model, "--data", data, *words)
    assert result.status == 0, result.err
    report = json.loads(out.read_text())
    printed = result.json
    figures = printed.pop("figures")
    assert printed == report
    assert report["model"]["hash"] == load(model).hash
    assert report["data"]["training_people"] == PEOPLE
    assert report["fidelity"]["fid"]["n"] == (PEOPLE + SET_ASIDE) // 2
    assert report["plausibility"]["synthetic"]["n"] == 6
    assert report["privacy"]["correlation"]["n"] == 5
    assert report["privacy"]["correlation"]["nearest"][0]["person"].startswith("sub-")
    assert report["reconstruction"]["n"] == 2
    assert report["reconstruction"]["blurred"]["psnr"] > 0
    assert report["speed"]["full"]["float32"] > 0
    names = " ".join(figure["name"] for figure in figures)
    for word in ("FID", "KID", "bMMD2", "MS-SSIM", "plausible", "nearest", "float32"):
        assert word in names
    image = Image.open(io.BytesIO(picture.read_bytes()))
    assert image.size[0] > image.size[1]
    assert str(data.parent) not in out.read_text()


def test_the_table_says_what_is_compared_to_what(run, model, data, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = run("evaluate", "--model", model, "--data", data, "--only", "diversity", *SMALL)
    assert result.status == 0, result.err
    for word in ("MS-SSIM of pairs", "real vs real", "within 0.03"):
        assert word in result.out
    assert "FID" not in result.out


def test_same_seed_same_figures_from_the_cache_too(run, model, data, tmp_path) -> None:
    words = ("--only", "fidelity", "--json", "--cache", tmp_path / "cache", *SMALL)
    first = run("evaluate", "--model", model, "--data", data, *words)
    files = list((tmp_path / "cache").iterdir())
    again = run("evaluate", "--model", model, "--data", data, *words)
    other = run("evaluate", "--model", model, "--data", data, *words, "--seed", 50)
    assert len(files) == 1
    assert first.json == again.json
    assert first.json["fidelity"] != other.json["fidelity"]
    files[0].write_bytes(b"damaged")
    assert run("evaluate", "--model", model, "--data", data, *words).json == first.json


def test_training_brains_made_again_are_caught(run, model, data) -> None:
    """Numbers 100 on are what the training people were made of."""
    words = ("--only", "privacy", "--json", *SMALL)
    copies = run("evaluate", "--model", model, "--data", data, *words, "--seed", 100).json
    fresh = run("evaluate", "--model", model, "--data", data, *words, "--seed", 500).json
    found, usual = copies["privacy"]["correlation"], fresh["privacy"]["correlation"]
    assert found["closer_than_closest"] == 5
    assert usual["closer_than_closest"] < 5
    assert {(p["seed"], p["person"]) for p in found["nearest"]} == {
        (100 + i, f"sub-{i}") for i in range(5)
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--only", "beauty"), "no part 'beauty'"),
        (("--data", "nowhere"), "not a prepared data set"),
        (("--budget", "endless", "--only", "reconstruction"), "budget 'endless' is unknown"),
        (("--out", "report.txt"), "does not end in .json"),
        (("--montage", "montage.jpg"), "does not end in .png"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(run, model, data, words, sentence) -> None:
    result = run("evaluate", "--model", model, "--data", data, *SMALL, *words)
    assert result.status == 2
    assert sentence in result.err
    assert "Traceback" not in result.err


def test_data_on_another_grid_is_refused(run, model, data, tmp_path) -> None:
    pack = load_pack(data)
    elsewhere = Space(pack.space.shape, pack.space.affine + np.eye(4)[:, ::-1])
    write_pack(tmp_path / "p", pack.table, lambda row: pack.volumes[0], elsewhere, {})
    result = run("evaluate", "--model", model, "--data", tmp_path / "p", *SMALL)
    assert result.status == 2
    assert "not on the same grid" in result.err


def test_the_card_keeps_what_was_measured_part_by_part(
    run, model, data, tmp_path, complete_card
) -> None:
    """Figures and a montage join the model's card and page; the weights stay the same."""
    mine = tmp_path / "mine"
    shutil.copytree(model, mine)
    before = load(mine).hash
    incomplete = run("evaluate", "--model", mine, "--data", data, "--card", *SMALL)
    assert incomplete.status == 2
    assert "complete card.json" in incomplete.err
    complete_card(mine)
    for parts in ("diversity", "plausibility"):
        words = ("--data", data, "--only", parts, "--card", *SMALL)
        assert run("evaluate", "--model", mine, *words).status == 0
    generator = load(mine)
    assert generator.hash == before
    evaluation = generator.card["evaluation"]
    assert list(evaluation) == ["diversity", "plausibility"]
    page = (mine / "README.md").read_text(encoding="utf-8")
    for row in (evaluation["diversity"][0], evaluation["plausibility"][0]):
        assert f"| {row['name']} | {row['synthetic']} |" in page
    assert Image.open(mine / "montage.png").width > 0


def test_a_report_is_not_overwritten(run, model, data, tmp_path) -> None:
    out = tmp_path / "report.json"
    out.write_text("kept")
    words = ("--only", "diversity", "--out", out, *SMALL)
    assert run("evaluate", "--model", model, "--data", data, *words).status == 2
    assert out.read_text() == "kept"
    assert run("evaluate", "--model", model, "--data", data, *words, "--overwrite").status == 0
    assert json.loads(out.read_text())["diversity"]
