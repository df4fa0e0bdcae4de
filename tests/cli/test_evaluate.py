"""`stylegan3d evaluate` on a tiny generator and blobs that stand for people."""

import io
import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from stylegan3d.cli.evaluate import _parts
from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.evaluation.evaluation import CELL, ROWS
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.geometry.space import BAR, Space
from stylegan3d.metrics import features
from stylegan3d.model.generator import RandomBrains, load
from stylegan3d.render.figures import SOURCE_TYPES
from stylegan3d.scans import checks

PEOPLE, SET_ASIDE = 8, 3
OFFICIAL = Path(__file__).parent.parent / "checkpoints" / "data"
# Parts that need no network of their own, hence take no time here.
QUICK = "fidelity,diversity,plausibility,reconstruction"


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


def test_what_is_measured_is_written_in_one_page(run, model, data, tmp_path) -> None:
    out, picture = tmp_path / "out", tmp_path / "montage.png"
    words = ("--only", QUICK, "--out", out, "--montage", picture, "--json", *SMALL)
    result = run("evaluate", data, "--model", model, *words)
    assert result.status == 0, result.err
    report = json.loads((out / "report.json").read_text())
    printed = result.json
    figures = printed.pop("figures")
    assert printed == report
    assert report["model"]["hash"] == load(model).hash
    assert report["data"]["training_people"] == PEOPLE
    assert report["fidelity"]["fid"]["n"] == 3
    assert report["plausibility"]["synthetic"]["n"] == 6
    assert report["reconstruction"]["n"] == 2
    assert report["reconstruction"]["blurred"]["psnr"] > 0
    names = " ".join(figure["name"] for figure in figures)
    for word in ("FID", "KID", "bMMD2", "MS-SSIM", "plausible", "spread in feature"):
        assert word in names
    image = Image.open(io.BytesIO(picture.read_bytes()))
    assert image.size[0] > image.size[1]
    page = (out / "report.html").read_text()
    for text in (report["model"]["hash"], "Synthetic - not for diagnosis", report["data"]["name"]):
        assert text in page
    assert str(data.parent) not in page + json.dumps(report)
    # Nothing is fetched: pictures are in the page, and there is no script.
    fetched = r"<script|<link|(src|href)=.(?!data:)|url\(|https?:"
    assert not re.search(fetched, page.replace(SOURCE_TYPES, ""))
    assert not list((out / "work").glob("brains-*"))


def test_every_figure_with_numbers_has_an_interval(run, model, data) -> None:
    words = ("--only", "fidelity,diversity", "--json", *SMALL)
    for figure in run("evaluate", data, "--model", model, *words).json["figures"]:
        if figure["value"] is not None:
            assert figure["low"] <= figure["value"] <= figure["high"], figure["name"]
            assert figure["real_low"] is not None, figure["name"]


def test_a_stopped_evaluation_is_taken_up_again(run, model, data, tmp_path, monkeypatch) -> None:
    """The second part fails; the next run makes neither brains nor the first part again."""
    from stylegan3d.evaluation import parts
    from stylegan3d.model.generator import RandomBrains

    out = tmp_path / "out"
    words = ("--only", "fidelity,diversity", "--out", out, "--json", *SMALL)
    whole = run("evaluate", data, "--model", model, *words[:2], "--json", *SMALL).json
    with monkeypatch.context() as broken:
        broken.setattr(parts, "diversity", lambda material: 1 / 0)
        assert run("evaluate", data, "--model", model, *words).status == 1
    assert not (out / "report.json").exists()
    (next((out / "work").glob("features-*"))).write_bytes(b"cut o")
    with monkeypatch.context() as again:
        again.setattr(parts, "fidelity", lambda material: 1 / 0)
        again.setattr(RandomBrains, "stack", lambda self: 1 / 0)
        found = run("evaluate", data, "--model", model, *words)
    assert found.status == 0, found.err
    for part in ("fidelity", "diversity"):
        assert found.json[part] == whole[part]
    # A finished one, asked for again, makes the brains of its pictures alone.
    made = []
    with monkeypatch.context() as counted:
        stack = RandomBrains.stack
        counted.setattr(RandomBrains, "stack", lambda self: made.append(len(self)) or stack(self))
        assert run("evaluate", data, "--model", model, *words, "--overwrite").status == 0
    assert sum(made) == SET_ASIDE
    other = run("evaluate", data, "--model", model, *words, "--overwrite", "--seed", 9).json
    assert other["fidelity"] != whole["fidelity"]


@pytest.mark.soak
def test_an_official_checkpoint_is_measured_like_any_other(run, tmp_path, monkeypatch) -> None:
    """A file of the original program: no encoder, no attributes, a grid of its own."""
    monkeypatch.setattr(checks, "MIN_EXTENT_MM", 10.0)  # the grid of a test is no head's
    official = OFFICIAL / "official_tiny.pkl"
    generator = load(official)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in generator.shape), indexing="ij")
    inside = sum(axis**2 for axis in grid) < 0.8
    brains = RandomBrains(generator, range(50, 61)).stack()
    people = np.where(inside, np.maximum(brains, 20), 0).astype(np.uint8)
    rows = [
        {"name": f"sub-{i}", "person": f"sub-{i}", "split": "train" if i < PEOPLE else "validation"}
        for i in range(len(people))
    ]
    volumes = {row["name"]: volume for row, volume in zip(rows, people, strict=True)}
    write_pack(tmp_path / "p", rows, lambda row: volumes[row["name"]], generator.space, {})
    parts = f"{QUICK},anatomy,utility,membership,edits"
    words = ("--only", parts, "--json", "--out", tmp_path / "out", *SMALL)
    result = run("evaluate", tmp_path / "p", "--model", official, *words)
    assert result.status == 0, result.err
    report = result.json
    assert report["model"]["hash"] == generator.hash
    assert report["model"]["kind"] == "generator"
    assert report["fidelity"]["fid"]["synthetic"] >= 0
    assert report["plausibility"]["synthetic"]["n"] == 6
    left_out = report["left_out"]
    assert "has no directions of attributes" in left_out["edits"]
    assert "does not know volumes on this grid" in left_out["anatomy"]
    assert "has no encoder" in left_out["utility, age"]
    assert generator.hash in (tmp_path / "out" / "report.html").read_text()


@pytest.fixture
def volumes(model, data, tmp_path) -> Path:
    """Twelve volumes of "another" program: of the model, as floats in [-1, 1], half of them on a
    grid turned round, the others with an affine that says nothing.
    """
    import nibabel as nib

    generator, folder = load(model), tmp_path / "made"
    folder.mkdir()
    pack = load_pack(data)
    for i, row in enumerate([*range(6), *range(6)]):
        noise = np.random.default_rng(i).normal(0, 0.01, generator.shape)
        volume = pack.volumes[row] / 127.5 - 1 + np.where(pack.volumes[row] > 0, noise, 0)
        image = nib.Nifti1Image(np.clip(volume, -1, 1).astype(np.float32), generator.affine)
        if i % 2:
            image = image.as_reoriented(np.array([[1, -1], [0, 1], [2, 1]]))
        else:
            image = nib.Nifti1Image(np.asarray(image.dataobj), np.eye(4))
        nib.save(image, folder / f"vol-{i:02}.nii.gz")
    return folder


def test_volumes_of_another_program_are_measured_like_a_generator(
    run, data, volumes, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(checks, "MIN_EXTENT_MM", 10.0)  # the grid of a test is no head's
    words = ("--only", QUICK, "--json", "--out", tmp_path / "out", *SMALL)
    result = run("evaluate", data, "--model", volumes, *words, "--samples", 20)
    assert result.status == 0, result.err
    report = result.json
    assert report["model"]["kind"] == "folder of volumes"
    assert report["random_brains"] == 12
    assert "folder of volumes" in report["left_out"]["reconstruction"]
    assert any("resampled" in note for note in report["notes"])
    assert any("identity" in note for note in report["notes"])
    # They are training people: as close to those as people are to themselves.
    assert report["fidelity"]["fid"]["ratio"] < 1.5
    assert "made" in (tmp_path / "out" / "report.html").read_text()
    card = run("evaluate", data, "--model", volumes, "--card", *SMALL)
    assert card.status == 2
    assert "without a card" in card.err


def test_real_brains_may_be_a_folder_of_volumes(run, model, data, tmp_path) -> None:
    import nibabel as nib

    pack, folder = load_pack(data), tmp_path / "people"
    folder.mkdir()
    lines = ["participant_id\tsplit"]
    for row, volume in zip(pack.table, pack.volumes, strict=True):
        nib.save(
            nib.Nifti1Image(np.array(volume), pack.space.affine), folder / f"{row['name']}.nii"
        )
        lines.append(f"{row['name']}\t{row['split']}")
    told = ("--only", "plausibility", "--json", *SMALL)
    report = run("evaluate", folder, "--model", model, *told).json
    assert any("does not name the held-out subjects" in note for note in report["notes"])
    (folder / "participants.tsv").write_text("\n".join(lines))
    report = run("evaluate", folder, "--model", model, *told).json
    assert report["data"]["training_people"] == PEOPLE
    assert not report["notes"]
    expected = run("evaluate", data, "--model", model, *told).json
    for key in ("limits", "synthetic", "validation"):
        assert report["plausibility"][key] == expected["plausibility"][key]
    nib.save(nib.Nifti1Image(np.array(pack.volumes[0]), np.diag([7.0, 8, 8, 1])), folder / "z.nii")
    refused = run("evaluate", folder, "--model", model, *told)
    assert refused.status == 2
    assert "z.nii has a different grid" in refused.err


def test_volumes_that_do_not_fit_are_refused(run, data, volumes, monkeypatch) -> None:
    monkeypatch.setattr(checks, "MIN_EXTENT_MM", 10.0)
    import nibabel as nib

    image = nib.load(volumes / "vol-01.nii.gz")
    far = image.affine.copy()
    far[:3, 3] += 60
    # No constant background: that would be taken off.
    noise = np.random.default_rng(0).normal(0, 20, image.shape)
    odd = np.asarray(image.dataobj) * 900 + noise
    for name, sentence, data_of, affine in (
        ("far", "outside the grid", np.asarray(image.dataobj), far),
        ("odd", "intensities from -9", odd, image.affine),
    ):
        nib.save(nib.Nifti1Image(data_of, affine), volumes / f"{name}.nii.gz")
        result = run("evaluate", data, "--model", volumes, "--only", "fidelity", *SMALL)
        assert result.status == 2
        assert sentence in result.err
        (volumes / f"{name}.nii.gz").unlink()


def test_the_table_says_what_is_compared_to_what(run, model, data, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = run("evaluate", data, "--model", model, "--only", "diversity", *SMALL)
    assert result.status == 0, result.err
    for word in ("MS-SSIM of pairs", "real vs real", "within 0.03"):
        assert word in result.out
    assert "FID" not in result.out


def test_same_seed_same_figures_from_the_cache_too(run, model, data, tmp_path) -> None:
    words = ("--only", "fidelity", "--json", "--cache", tmp_path / "cache", *SMALL)
    first = run("evaluate", data, "--model", model, *words)
    files = list((tmp_path / "cache").iterdir())
    again = run("evaluate", data, "--model", model, *words)
    other = run("evaluate", data, "--model", model, *words, "--seed", 50)
    assert len(files) == 1  # of the real brains alone
    assert first.json["fidelity"] == again.json["fidelity"]
    assert first.json["fidelity"] != other.json["fidelity"]
    files[0].write_bytes(b"damaged")
    once_more = run("evaluate", data, "--model", model, *words).json
    assert once_more["fidelity"] == first.json["fidelity"]


def test_copies_of_training_brains_are_caught(run, model, data, tmp_path) -> None:
    pack = load_pack(data)
    for kind, rows in (("copies", range(5)), ("fresh", range(PEOPLE, PEOPLE + SET_ASIDE))):
        for row in rows:
            file = tmp_path / kind / f"brain-{row}_T1w.nii.gz"
            file.parent.mkdir(exist_ok=True)
            image = nib.Nifti1Image(np.asarray(pack.volumes[row]), pack.space.affine)
            nib.save(image, file)
    words = ("--only", "privacy", "--json", *SMALL)
    found, usual = (
        run("evaluate", data, "--model", tmp_path / kind, *words).json["privacy"]["features"]
        for kind in ("copies", "fresh")
    )
    assert found["closer_than_closest"] == 5
    assert usual["closer_than_closest"] == 0
    assert {(p["seed"], p["person"]) for p in found["nearest"]} == {
        (i, f"sub-{i}") for i in range(5)
    }


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--only", "beauty"), "no part 'beauty'"),
        (("nowhere",), "not a prepared dataset"),
        (
            ("--budget", "endless", "--only", "reconstruction"),
            "--budget is 'endless', but must",
        ),
        (("--montage", "montage.jpg"), "does not end in .png"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(run, model, data, words, sentence) -> None:
    given = words if words[0] == "nowhere" else (data, *words)
    result = run("evaluate", "--model", model, *SMALL, *given)
    assert result.status == 2
    assert sentence in result.err
    assert "Traceback" not in result.err


def test_contradictory_words_are_refused(run, model, data, tmp_path) -> None:
    for words, sentence in (
        ((model, data), "Give one dataset, and the model with --model"),
        ((), "Missing argument"),
        ((data, "--names", "a,b"), "--names needs --compare"),
        (("--compare", "a", "b", "--samples", "9"), "--samples cannot be combined with --compare"),
    ):
        result = run("evaluate", *words)
        assert result.status == 2
        assert sentence in result.err
        assert result.err.count("\n") == 1


def test_all_is_what_is_measured_by_default() -> None:
    assert _parts("all") == EvaluationSettings().parts
    assert _parts("all,fidelity") == EvaluationSettings().parts
    assert _parts("edits, edits") == ("edits",)


def test_data_on_another_grid_is_refused(run, model, data, tmp_path) -> None:
    pack = load_pack(data)
    elsewhere = Space(pack.space.shape, pack.space.affine + np.eye(4)[:, ::-1])
    write_pack(tmp_path / "p", pack.table, lambda row: pack.volumes[0], elsewhere, {})
    result = run("evaluate", tmp_path / "p", "--model", model, *SMALL)
    assert result.status == 2
    assert "a different grid" in result.err


def test_the_card_keeps_what_was_measured_part_by_part(
    run, model, data, tmp_path, complete_card
) -> None:
    """Figures and a montage join the model's card and page; the weights stay the same."""
    mine = tmp_path / "mine"
    shutil.copytree(model, mine)
    before = load(mine).hash
    incomplete = run("evaluate", data, "--model", mine, "--card", *SMALL)
    assert incomplete.status == 2
    assert "complete card.json" in incomplete.err
    complete_card(mine)
    for parts in ("plausibility", "diversity"):  # in the card as in the report
        words = (data, "--only", parts, "--card", *SMALL)
        assert run("evaluate", "--model", mine, *words).status == 0
    generator = load(mine)
    assert generator.hash == before
    evaluation = generator.card["evaluation"]
    assert list(evaluation) == ["diversity", "plausibility"]
    page = (mine / "README.md").read_text(encoding="utf-8")
    for row in (evaluation["diversity"][0], evaluation["plausibility"][0]):
        assert f"| {row['name']} | {row['synthetic']} |" in page
    with Image.open(mine / "montage.png") as montage:
        # Three planes of a synthetic and of a real brain in each row.
        rows, rest = divmod(montage.height - BAR, CELL)
        assert (montage.width, rest) == (6 * CELL, 0)
        assert rows == min(ROWS, len(load_pack(data).indices("validation")))


def test_a_report_is_not_overwritten(run, model, data, tmp_path) -> None:
    out = tmp_path / "report.json"
    out.write_text("kept")
    words = ("--only", "plausibility", "--out", out, *SMALL)
    assert run("evaluate", data, "--model", model, *words).status == 2
    assert out.read_text() == "kept"
    assert run("evaluate", data, "--model", model, *words, "--overwrite").status == 0
    assert json.loads(out.read_text())["plausibility"]
