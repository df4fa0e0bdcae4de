"""`project` from a scan in an odd orientation to files in its own space and back to a recipe."""

import csv
import gzip
import json
import shutil
from typing import get_args

import dicoms
import nibabel as nib
import numpy as np
import pytest
import torch
from bundled import bundled, random_brain
from hops import functions_on_the_stack
from open_sides import KINDS, in_doubt, said_in
from private import private_in
from tolerances import SFORM_MM

from stylegan3d.model.generator import load
from stylegan3d.outputs import report_page
from stylegan3d.recipe.latents import load_latent
from stylegan3d.recipe.recipe import Edit, Recipe, Source
from stylegan3d.scans import alignment, read_scan
from stylegan3d.session.file import SUFFIX, SessionState, pack, unpack
from stylegan3d.storage.places import TEMPLATE
from stylegan3d.storage.volumes import sidecar_path

CENTER_MM = np.array([79.0, 111.0, 95.0])  # of the tiny generator's field of view
PREFIX = "sub-01"
FILES = [
    "dataset_description.json",
    f"{PREFIX}_desc-projected_T1w.json",
    f"{PREFIX}_desc-projected_T1w.nii.gz",
    f"{PREFIX}_desc-projected_latent.safetensors",
    f"{PREFIX}_desc-projected_report.json",
    f"{PREFIX}_space-model_desc-aligned_T1w.json",
    f"{PREFIX}_space-model_desc-aligned_T1w.nii.gz",
    f"{PREFIX}_space-model_desc-projected_T1w.json",
    f"{PREFIX}_space-model_desc-projected_T1w.nii.gz",
]
RESIDUAL = [f"{PREFIX}_desc-residual_T1w.json", f"{PREFIX}_desc-residual_T1w.nii.gz"]


def phantom(points_mm):
    """Intensity of an ellipsoid of a brain's size, with a larger ventricle on its right."""
    x, y, z = np.moveaxis(points_mm - CENTER_MM, -1, 0)
    inside = (x / 66) ** 2 + (y / 86) ** 2 + (z / 64) ** 2 < 1
    value = 0.7 + 0.1 * np.cos(y / 10) + 0.1 * np.sin(z / 12)
    for place, width in ((-16, 8), (20, 18)):
        hole = ((x - place) / width) ** 2 + ((y - 10) / 30) ** 2 + ((z - 8) / 20) ** 2 < 1
        value = np.where(hole, 0.15, value)
    return np.where(inside, value, 0).astype(np.float32)


def on_grid(shape, affine):
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return phantom(nib.affines.apply_affine(affine, index))


@pytest.fixture(scope="module")
def brain_model(model, tmp_path_factory):
    """The tiny generator with the phantom for its mean brain."""
    generator = load(model)
    folder = tmp_path_factory.mktemp("models") / "phantom"
    folder.mkdir()
    for file in model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    data = on_grid(generator.shape, generator.affine)
    nib.save(nib.Nifti1Image(data, generator.affine), folder / TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """The phantom as a 5 mm scan, stored posterior-superior-left, oblique, in units of hundreds."""
    world = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.05, 0.04, -0.06), [12, -20, 7])
    grid = np.diag([5.0, 5.0, 5.0, 1.0])
    shape = (34, 48, 40)
    data = 400 * on_grid(shape, grid)
    image = nib.Nifti1Image(data, world @ grid)
    to_psl = nib.orientations.ornt_transform(
        nib.io_orientation(image.affine), nib.orientations.axcodes2ornt("PSL")
    )
    path = tmp_path_factory.mktemp("scans") / f"{PREFIX}_T1w.nii.gz"
    nib.save(image.as_reoriented(to_psl), path)
    return path


def test_a_scan_becomes_files_in_both_spaces(run, brain_model, scan, tmp_path, listing):
    words = ["--steps", "4", "--skull", "keep", "--model", brain_model, "--out", tmp_path]
    result = run("project", scan, *words, "--json")
    assert result.status == 0, result.err
    assert listing(tmp_path) == sorted([*FILES, *RESIDUAL, ".bidsignore"])

    generator, original = load(brain_model), nib.load(scan)
    native = nib.load(tmp_path / FILES[2])
    assert native.shape == original.shape
    np.testing.assert_allclose(native.affine, original.affine, atol=SFORM_MM)
    assert nib.aff2axcodes(native.affine) == ("P", "S", "L")
    assert native.header["descrip"].item().startswith(b"SYNTHETIC")
    for name in (FILES[6], FILES[8]):
        image = nib.load(tmp_path / name)
        assert image.shape == generator.shape
        np.testing.assert_allclose(image.affine, generator.affine, atol=SFORM_MM)
    assert json.loads((tmp_path / FILES[5]).read_text())["SyntheticImage"] is False

    report = json.loads((tmp_path / FILES[4]).read_text())
    assert set(report["similarity"]) == {"psnr", "ssim", "ncc", "mae"}
    assert report["alignment"]["correlation_with_mean_brain"] > 0.9
    assert set(report["seconds"]) == {"open", "align", "project"}
    assert report["scan"]["axes"] == "PSL"
    assert [row["step"] for row in report["history"]] == [1, 2, 3, 4]
    assert report["settings"]["space"] == "w+"
    # A generator with random weights cannot do better than the mean brain, and it must say so.
    assert any(
        "no more similar to the scan than the mean brain" in told["sentence"]
        for told in report["doubts"]
    )
    assert "no more similar to the scan" in result.err
    told = result.json
    assert told["files"]["latent"] == str(tmp_path / FILES[3])
    assert told["similarity"] == report["similarity"]

    # The aligned scan must be the phantom as the model's space has it, left and right included.
    aligned = nib.load(tmp_path / FILES[6]).get_fdata()
    expected = on_grid(generator.shape, generator.affine)
    assert np.corrcoef(aligned.ravel(), expected.ravel())[0, 1] > 0.95
    asymmetry = [(image - image[::-1]).ravel() for image in (aligned, expected)]
    assert np.corrcoef(*asymmetry)[0, 1] > 0.5  # -0.7 if left and right were exchanged


#: From a scan's file to its reconstruction in native space: functions of ours. What reads the file,
#: resamples a volume and makes a step of the search counts as one.
MOST_HOPS = 14


def test_the_way_of_a_scan_is_short_and_its_tissues_are_read_twice(
    run, brain_model, scan, tmp_path, monkeypatch
):
    """Of the scan and of what is written.

    project_file, read_scan, align (3: on the grid), search (5: a step), save_projection (4: carried
    to the scan's grid).
    """
    from scipy import ndimage

    from stylegan3d.outputs import results
    from stylegan3d.projection import projector

    counted, hops = [], {"read_scan": None}

    def noting(function):
        def noted(*args, **kwargs):
            way = functions_on_the_stack()
            on_the_way = {"on_grid", "SearchRun.follow", "NativeTransform.carried"} & {*way}
            if on_the_way and "_maps" not in way:
                hops.update(dict.fromkeys(way[way.index("project_file") :]))
            return function(*args, **kwargs)

        return noted

    monkeypatch.setattr(ndimage, "affine_transform", noting(ndimage.affine_transform))
    monkeypatch.setattr(torch.Tensor, "backward", noting(torch.Tensor.backward))

    def counting(volume, space, **options):
        counted.append(volume)
        return read_tissues(volume, space, **options)

    read_tissues = projector.read_tissues
    for module in (projector, results):
        monkeypatch.setattr(module, "read_tissues", counting)
    words = ["--steps", "2", "--skull", "keep", "--model", brain_model, "--out", tmp_path]
    assert run("project", scan, *words).status == 0
    assert len(counted) == 2
    way = {*hops} - {"resample"}
    assert {"on_grid", "Search.__iter__", "NativeTransform.carried"} < way
    assert len(way) <= MOST_HOPS, way
    sidecars = [json.loads((tmp_path / FILES[k]).read_text()) for k in (1, 7)]
    report = json.loads((tmp_path / FILES[4]).read_text())
    for sidecar in sidecars:
        assert sidecar["TissueVolumes"] == report["tissues"]["reconstruction"]


def test_the_latent_makes_the_same_files_again(run, brain_model, scan, tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    options = ["--model", brain_model]
    words = ["--steps", "2", "--skull", "keep", "--space", "w", *options, "--out", first]
    assert run("project", scan, *words).status == 0
    latent = load_latent(first / FILES[3], load(brain_model))
    assert latent.space == "W"
    assert latent.scan["path"] == scan.name
    for sidecar, volume, native in ((FILES[1], FILES[2], True), (FILES[7], FILES[8], False)):
        words = ["--recipe", first / sidecar, "--out", again, *options]
        result = run("generate", *words, *(["--native"] if native else []))
        assert result.status == 0, result.err
        assert (again / volume).read_bytes() == (first / volume).read_bytes()

    mixed = ["mix", "--a", first / FILES[3], "--b", "3", "--native", "--out", again, *options]
    assert run(*mixed).status == 0
    image = nib.load(again / f"{PREFIX}_desc-mixedWithSeed0003_T1w.nii.gz")
    np.testing.assert_allclose(image.affine, nib.load(scan).affine, atol=SFORM_MM)


@pytest.fixture(scope="module")
def projected(brain_model, scan, tmp_path_factory):
    """A projection of the scan, as another day left it."""
    from stylegan3d.cli import main

    out = tmp_path_factory.mktemp("projected")
    words = ["project", scan, "--steps", "2", "--skull", "keep", "--model", brain_model]
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in [*words, "--out", out]])
    assert not end.value.code
    return out


def test_the_residual_is_the_scan_minus_the_reconstruction_on_its_grid(projected, scan):
    original, residual = nib.load(scan), nib.load(projected / RESIDUAL[1])
    made = nib.load(projected / FILES[2])
    np.testing.assert_allclose(residual.affine, original.affine, atol=SFORM_MM)
    inside = made.get_fdata() > 0
    expected = original.get_fdata() - made.get_fdata()
    # The scan went through the model's 8 mm grid; its fine detail did not.
    assert np.corrcoef(residual.get_fdata()[inside], expected[inside])[0, 1] > 0.6
    assert residual.get_fdata().min() < 0 < residual.get_fdata().max()
    assert (
        "minus reconstruction" in json.loads((projected / RESIDUAL[0]).read_text())["Description"]
    )


def test_what_is_left_open_is_written_on_the_scans_grid(run, brain_model, scan, tmp_path):
    words = ["--steps", "2", "--skull", "keep", "--model", brain_model, "--out", tmp_path]
    result = run("project", scan, *words, "--uncertainty", "2")
    assert result.status == 0, result.err
    assert "reconstruction: amber. Not calibrated" in result.out
    image = nib.load(tmp_path / f"{PREFIX}_desc-uncertainty_T1w.nii.gz")
    np.testing.assert_allclose(image.affine, nib.load(scan).affine, atol=SFORM_MM)
    spread, made = image.get_fdata(), nib.load(tmp_path / FILES[2]).get_fdata()
    assert 0 < spread[made > 0].mean() < 100  # of 400
    assert not spread[made == 0].all()
    sidecar = json.loads((tmp_path / f"{PREFIX}_desc-uncertainty_T1w.json").read_text())
    assert (sidecar["Restarts"], sidecar["SyntheticImage"]) == (2, True)


def test_the_scan_itself_is_edited(run, brain_model, projected, scan, tmp_path, listing):
    words = ["--latent", projected / FILES[3], "--edit", "PC 1=3", "--model", brain_model]
    result = run("edit", *words, "--scan", scan, "--out", tmp_path, "--json")
    assert result.status == 0, result.err
    kinds = ("", "Change", "Scan", "Movement")
    names = {kind: f"{PREFIX}_desc-edited{kind}_T1w.nii.gz" for kind in kinds}
    assert set(names.values()) < set(listing(tmp_path))
    original = nib.load(scan)
    images = {kind: nib.load(tmp_path / name) for kind, name in names.items()}
    for kind, image in images.items():
        assert image.header["descrip"].item().startswith(b"SYNTHETIC")
        if kind != "Movement":
            assert image.shape == original.shape
            np.testing.assert_allclose(image.affine, original.affine, atol=SFORM_MM)
    change = images["Scan"].get_fdata() - original.get_fdata()
    # Float32 files of intensities up to 1,000: 6e-5 each.
    np.testing.assert_allclose(images["Change"].get_fdata(), change, atol=1e-3)
    assert np.abs(change).max() > 5  # of 400
    moved = images["Movement"]
    assert moved.shape[3:] == (1, 3)
    assert moved.header.get_intent()[0] == "displacement vector"
    told = json.loads((tmp_path / f"{PREFIX}_desc-editedMovement_T1w.json").read_text())
    assert told["Movement"]["LeastJacobian"] > 0
    # The sidecar has two decimals.
    assert told["Movement"]["MaximumMm"] == pytest.approx(
        np.linalg.norm(moved.get_fdata(), axis=-1).max(), abs=1e-2
    )
    sidecar = json.loads((tmp_path / f"{PREFIX}_desc-editedScan_T1w.json").read_text())
    assert scan.name in sidecar["Sources"]
    assert sidecar["SyntheticImage"] is True
    assert sidecar["Description"].startswith("Edited scan, not an acquired image")
    assert sidecar["Recipe"]["edits"]
    assert sidecar["Recipe"]["detail"]["strength"] == 1
    made = result.json["volumes"][0]
    assert made["edit_scan"] == str(tmp_path / names["Scan"])


def test_only_the_scan_that_was_projected_is_edited(
    run, brain_model, projected, scan, tmp_path, listing
):
    other = tmp_path / "other.nii.gz"
    image = nib.load(scan)
    nib.save(nib.Nifti1Image(image.get_fdata() * 2, image.affine), other)
    out = tmp_path / "out"
    model = ["--model", brain_model, "--out", out]
    latent = ["--latent", projected / FILES[3]]
    mixed = ["mix", "--a", projected / FILES[3], "--b", "3"]
    for words, sentence in (
        (
            ["edit", *latent, "--edit", "PC 1=1", "--scan", other],
            "not the scan that was",
        ),
        (
            ["edit", "--seed", "1", "--edit", "PC 1=1", "--scan", scan],
            "was not projected from a scan",
        ),
        (["edit", "--scan", scan], "--seed or --latent"),
        (["generate", "--recipe", projected / FILES[1], "--scan", scan], "no edit to apply"),
        ([*mixed, "--scan", tmp_path / "missing.nii"], "missing.nii"),
        (
            ["edit", *latent, "--edit", "PC 1=1", "--scan", scan, "--detail", "0"],
            "--scan is ignored",
        ),
    ):
        result = run(*words, *model)
        assert result.status == 2, words
        assert sentence in result.err
        assert listing(out) == []
    assert run(*mixed, "--scan", scan, *model).status == 0
    assert f"{PREFIX}_desc-mixedWithSeed0003Scan_T1w.nii.gz" in listing(out)


def test_taken_names_are_refused_before_the_work(
    run, brain_model, scan, tmp_path, listing, monkeypatch
):
    (tmp_path / FILES[5]).write_text("precious")
    monkeypatch.setattr("stylegan3d.model.generator.load", lambda *_: pytest.fail("work was begun"))
    result = run("project", scan, "--model", brain_model, "--out", tmp_path)
    assert result.status == 2
    assert "exists already" in result.err
    assert listing(tmp_path) == [FILES[5]]


def bad_scans(folder):
    affine = np.eye(4)
    text = folder / "text.nii.gz"
    text.write_text("no image")
    flat = folder / "flat.nii.gz"
    nib.save(nib.Nifti1Image(np.random.RandomState(0).rand(30, 40), affine), flat)
    series = folder / "series.nii.gz"
    nib.save(nib.Nifti1Image(np.random.RandomState(0).rand(30, 40, 20, 5), affine), series)
    constant = folder / "constant.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((30, 40, 20), np.float32), affine), constant)
    broken = folder / "broken.nii.gz"
    broken.write_bytes(constant.read_bytes()[:200])
    holes = folder / "holes.nii.gz"
    nib.save(nib.Nifti1Image(np.full((30, 40, 20), np.nan, np.float32), affine), holes)
    return [text, flat, series, constant, broken, holes, folder / "missing.nii.gz"]


def test_bad_scans_are_one_sentence_status_2_and_no_file(run, brain_model, tmp_path, listing):
    out = tmp_path / "out"
    for scan in bad_scans(tmp_path):
        result = run("project", scan, "--model", brain_model, "--out", out)
        assert result.status == 2, scan.name
        assert len(result.err.splitlines()) == 1, result.err
        assert scan.name in result.err
        assert (result.out, listing(out)) == ("", [])


def test_every_choice_has_words():
    from stylegan3d.projection.settings import BUDGETS, Choices, Method, Space
    from stylegan3d.settings.option import options_of

    words = {
        known.name: {*known.option.choices} for known in options_of(Choices) if known.option.choices
    }
    del words["skull"]
    assert words == {
        "space": {*get_args(Space)},
        "budget": {*BUDGETS},
        "method": {*get_args(Method)},
    }


def test_the_scans_detail_goes_wherever_its_recipe_goes(
    run, brain_model, projected, scan, tmp_path, listing
):
    """From the sidecar of an edit to pictures, films and reports, each marked as what it is."""
    model = ["--model", brain_model]
    latent, out = projected / FILES[3], tmp_path / "out"
    words = ["edit", "--latent", latent, "--edit", "PC 1=3", "--scan", scan, "--detail", "0.5"]
    assert run(*words, *model, "--out", out).status == 0
    told = json.loads((out / f"{PREFIX}_desc-editedScan_T1w.json").read_text())
    assert told["Recipe"]["detail"]["strength"] == 0.5
    recipe = json.dumps(told["Recipe"]).replace(f'"path": "{latent.name}', f'"path": "{latent}')
    for words, name in (
        (["generate", "--recipe", recipe], f"{PREFIX}_space-model_desc-editedScan_T1w.json"),
        (
            ["render", "picture", recipe],
            f"{PREFIX}_space-model_desc-editedScan_T1w_planes.png.json",
        ),
        (["render", "report", recipe], f"{PREFIX}_space-model_desc-editedScan_report.pdf.json"),
    ):
        missing = run(*words, *model, "--out", out)
        assert missing.status == 2
        assert "give it with --scan" in missing.err
        assert name not in listing(out)
    result = run("render", "picture", recipe, "--scan", scan, *model, "--out", out)
    assert result.status == 0, result.err
    told = json.loads(
        (out / f"{PREFIX}_space-model_desc-editedScan_T1w_planes.png.json").read_text()
    )
    assert told["Description"].startswith("Edited scan, not an acquired image")
    film = tmp_path / "film.gif"
    words = ["render", "film", recipe, projected / FILES[1], "--seconds", "0.1", "--fps", "10"]
    result = run(*words, "--scan", scan, *model, "--out", film)
    assert result.status == 0, result.err
    told = json.loads((tmp_path / "film.gif.json").read_text())
    assert told["Description"].startswith("Edited scan, not an acquired image")
    result = run("render", "report", recipe, "--scan", scan, *model, "--out", out)
    assert result.status == 0, result.err
    assert f"{PREFIX}_space-model_desc-editedScan_report.pdf" in listing(out)


def test_a_random_brain_wears_the_detail_of_a_scan(run, brain_model, projected, scan, tmp_path):
    words = ["mix", "--a", "4", "--b", "5", "--detail-of", projected / FILES[3], "--scan", scan]
    result = run(*words, "--model", brain_model, "--out", tmp_path)
    assert result.status == 0, result.err
    (sidecar,) = tmp_path.glob("seed-0004_desc-mixed*DetailOf*_T1w.json")
    told = json.loads(sidecar.read_text())
    assert told["Description"].startswith("Synthetic brain with the detail of a scan")
    result = run(*words, "--native", "--model", brain_model, "--out", tmp_path / "native")
    assert result.status == 2


def test_what_the_program_wrote_is_known_when_it_comes_back(
    run, brain_model, projected, scan, tmp_path
):
    """With its sidecar, without it, unpacked, and as DICOM."""
    lost, latent = tmp_path / "lost", projected / FILES[3]
    hole = np.zeros(nib.load(scan).shape, np.uint8)
    hole[14:20, 22:28, 18:24] = 1
    nib.save(nib.Nifti1Image(hole, nib.load(scan).affine), tmp_path / "hole_mask.nii.gz")
    recipe = Recipe(Source("seed", 4), edits=(Edit("PC 1", 1.0),))
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    for words in (
        ("generate", "--seeds", 3),
        ("generate", "--recipe", tmp_path / "recipe.json"),
        ("mix", "--a", 3, "--b", latent),
        ("edit", "--latent", latent, "--edit", "PC 1=3", "--scan", scan),
        ("project", scan, "--steps", 1, "--skull", "keep", "--mask", tmp_path / "hole_mask.nii.gz"),
    ):
        told = run(*words, "--model", brain_model, "--out", tmp_path)
        assert told.status == 0, told.err
    lost.mkdir()
    found = {}
    for path in tmp_path.glob("*_T1w.nii.gz"):
        if "Movement" in path.name:  # vectors
            continue
        stem = path.name.removesuffix(".nii.gz")
        found[stem] = read_scan(path).origin
        (lost / f"{stem}.nii").write_bytes(gzip.decompress(path.read_bytes()))
        copied = shutil.copy(path, lost)
        assert {read_scan(way).origin for way in (copied, lost / f"{stem}.nii")} == {found[stem]}
    edited = {f"{PREFIX}_desc-{what}_T1w" for what in ("editedScan", "filled")}
    acquired = {f"{PREFIX}_space-model_desc-aligned_T1w"}
    assert {stem for stem, origin in found.items() if origin == "edited"} == edited
    assert {stem for stem, origin in found.items() if origin == "acquired"} == acquired
    assert found[f"{PREFIX}_desc-editedChange_T1w"] == "difference"
    assert len(found) > 10
    for stem in (f"{PREFIX}_desc-filled_T1w", "seed-0003_desc-synthetic_T1w", *acquired):
        done = run("render", "dicom", tmp_path / f"{stem}.nii.gz", "--out", tmp_path / "dicom")
        assert done.status == 0, done.err
        assert read_scan(tmp_path / "dicom" / stem).origin == found[stem]


def test_what_is_made_of_an_edited_scan_is_no_acquired_one(
    run, brain_model, projected, scan, tmp_path, monkeypatch
):
    # What a look at a head finds is tested where it looks.
    monkeypatch.setattr(alignment, "header_doubts", lambda scan, target: [])
    words = ("edit", "--latent", projected / FILES[3], "--edit", "PC 1=3", "--scan", scan)
    assert run(*words, "--model", brain_model, "--out", tmp_path).status == 0
    file, again = tmp_path / f"{PREFIX}_desc-editedScan_T1w.nii.gz", tmp_path / "again"
    file.with_name(file.name.replace(".nii.gz", ".json")).unlink()
    words = ("--steps", 1, "--skull", "keep", "--pose", "centre")
    words += ("--model", brain_model, "--out", again, "--json")
    told = run("project", file, *words)
    sentence = "This is an edited scan, not an acquired image (its header says so)."
    assert sentence in [doubt["sentence"] for doubt in told.json["doubts"]]
    assert sentence in " ".join(told.err.split())
    assert told.json["scan"]["origin"] == "edited"
    aligned = next(again.glob("*aligned*.nii.gz"))
    assert read_scan(aligned).origin == "edited"
    assert json.loads(sidecar_path(aligned).read_text())["SyntheticImage"] is True
    assert load_latent(next(again.glob("*.safetensors"))).scan["origin"] == "edited"
    assert "origin" not in load_latent(projected / FILES[3]).scan
    recipe = next(again.glob("*_space-model*projected_T1w.json"))
    words = ("render", "report", recipe, "--html", "--model", brain_model, "--out", again)
    assert run(*words).status == 0
    page = next(again.glob("*.html")).read_text()
    assert f"Edited scan {file.name}" in page
    assert "This is an edited scan, not an acquired image (its header says so)." in page
    assert ">Scan (edited)<" in page
    assert ">Scan<" not in page
    for path, origin in ((file, "edited"), (scan, "acquired")):
        told = run("info", path, "--json").json
        assert told["origin"] == origin
        assert any(sentence == doubt["sentence"] for doubt in told["doubts"]) == (
            origin == "edited"
        )


def test_the_same_edit_of_many_scans(run, brain_model, projected, scan, tmp_path, listing):
    latents, out = tmp_path / "latents", tmp_path / "out"
    for name in ("sub-01", "sub-02"):
        (latents / name).mkdir(parents=True)
    (latents / "sub-01" / FILES[3]).write_bytes((projected / FILES[3]).read_bytes())
    (latents / "sub-02" / "bad_latent.safetensors").write_bytes(b"no latent")
    words = ["edit", "--latent", latents, "--edit", "PC 1=3", "--model", brain_model]
    result = run(*words, "--scan", scan.parent, "--out", out, "--json")
    assert result.status == 2
    assert (result.json["done"], result.json["failed"]) == (1, 1)
    assert "bad_latent" in result.err
    assert f"{PREFIX}_desc-editedScan_T1w.nii.gz" in listing(out / "sub-01")
    with (out / "edits.tsv").open() as stream:
        row, failed = csv.DictReader(stream, delimiter="\t")
    assert float(row["least_jacobian"]) > 0
    assert float(row["moved_p99_mm"]) >= float(row["moved_median_mm"]) > 0
    doubts = json.loads((out / "sub-01" / f"{PREFIX}_desc-editedScan_T1w.json").read_text())[
        "Doubts"
    ]
    assert doubts
    assert all(doubt["sentence"] in row["doubts"] for doubt in doubts)
    assert failed["status"] == "failed"
    listed = tmp_path / "list.txt"
    listed.write_text(f"{latents / 'sub-01' / FILES[3]}\t{scan}\n")
    words[2] = listed
    assert run(*words, "--out", tmp_path / "again").status == 0
    again = run(*words, "--out", tmp_path / "again", "--json")
    assert (again.json["done"], again.json["kept"]) == (0, 1)


def test_an_empty_folder_of_latents_is_told_of(run, tmp_path):
    result = run("edit", "--latent", tmp_path, "--edit", "PC 1=3", "--out", tmp_path / "out")
    assert result.status == 2
    assert "There is no latent file" in result.err


def test_nothing_that_is_handed_on_names_a_patient(run, brain_model, scan, tmp_path, monkeypatch):
    """Neither the folders of a scan nor its DICOM headers, whatever is written."""
    private = tmp_path / "DOE^JANE" / "19700101"
    nifti = private / scan.name
    private.mkdir(parents=True)
    shutil.copy(scan, nifti)
    image = nib.load(scan)
    voxels = np.round(image.get_fdata()).astype(np.int16)
    dicoms.write_series(private / "dicom", voxels, image.affine)
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    scans = private / "scans.txt"
    scans.write_text(f"{nifti}\n{private / 'dicom'}\n{private / 'missing.nii.gz'}\n")
    model, one = ("--model", brain_model), ("--steps", 1)
    brief = ("--fps", 1, "--seconds", 1)
    assert run("project", scans, *model, *one, "--out", "many").status == 2  # one is missing
    latent = next(out.rglob("sub-01_desc-projected_latent.safetensors"))
    recipe = latent.with_name("sub-01_desc-projected_T1w.json")
    sidecar = out / "many" / "edited" / "sub-01_desc-editedScan_T1w.json"
    edit = ("--latent", latent, "--edit", "PC 1=1", "--scan", nifti)
    for words in (
        ("edit", *edit, *model, "--out", "many/edited"),
        ("render", "picture", sidecar, "--scan", nifti, *model, "--out", "pictures"),
        ("render", "report", recipe, *model, "--out", "reports"),
        ("render", "film", sidecar, recipe, "--scan", nifti, *model, *brief, "--out", "a.gif"),
        ("render", "dicom", recipe.with_suffix(".nii.gz"), "--enhanced", "--out", "dicom"),
    ):
        done = run(*words)
        assert done.status == 0, done.err
    source = Source.from_file(latent)
    cases = [
        {
            "choice": {"path": str(nifti), "series": None},
            "name": "sub-01",
            "results": {"a": {"doubts": [{"sentence": f"{private}/x.nii is thick."}]}},
            "labels": [str(private / "lesion.nii.gz")],
        },
        {
            "choice": {"path": str(private / "dicom" / "DOE^JANE"), "series": "1.2.19700101.4"},
            "name": "series-0003",
        },
    ]
    state = SessionState(
        (Recipe(source),), model_path=str(private / "m"), scan=str(nifti), view={"cases": cases}
    )
    (out / f"session{SUFFIX}").write_bytes(pack(state, latent.parent))
    assert len(list(out.rglob("*.*"))) > 30
    assert private_in(out) == set()
    # What was handed on is looked for beside the file that names it.
    read, _ = unpack(out / f"session{SUFFIX}", tmp_path)
    assert read.scan == str(out / nifti.name)
    assert read.model_path == str(out / "m")
    one, two = read.view["cases"]
    assert one["choice"]["path"] == str(out / nifti.name)
    assert one["labels"] == [str(out / "lesion.nii.gz")]
    assert one["results"]["a"]["doubts"] == [{"sentence": "x.nii is thick."}]
    assert two["choice"]["path"] == str(out / "series-0003")


def kinds_in(told):
    """Kinds of all doubts anywhere in a JSON object."""
    if isinstance(told, dict):
        own = {told["kind"]} if {"kind", "severity", "sentence"} <= told.keys() else set()
        return own.union(*map(kinds_in, told.values()))
    return set().union(*map(kinds_in, told)) if isinstance(told, list) else set()


def test_no_doubt_is_dropped_on_the_way(run, brain_model, tmp_path, monkeypatch):
    """Reading tells two; so do the console, `--json`, every sidecar, every table and the report."""
    grid = nib.affines.from_matvec(np.diag([5.0, 5.0, 5.0]), CENTER_MM - [100, 135, 115])
    data = 400 * on_grid((40, 54, 46), grid)
    scan = in_doubt(tmp_path / "study" / "sub-01_ce-gad_T1w.nii.gz", data, grid)
    assert {doubt.kind for doubt in read_scan(scan).doubts} == KINDS
    # A look at a phantom takes long and finds nothing.
    monkeypatch.setattr(alignment, "header_doubts", lambda scan, target: [])
    told = run("info", scan, "--json")
    assert kinds_in(told.json) >= said_in(told.err) == KINDS
    assert "correct the header" in told.err
    assert "--orientation" not in told.err, "info has no such option"

    words = ("--steps", 1, "--skull", "keep", "--model", brain_model, "--json")
    one, many = tmp_path / "one", tmp_path / "many"
    told = run("project", scan, *words, "--out", one)
    assert told.status == 0, told.err
    assert kinds_in(told.json["doubts"]) >= KINDS
    assert said_in(told.err) == KINDS
    assert "--orientation" in told.err
    sidecars = [path for path in one.glob("*.json") if path.name != "dataset_description.json"]
    assert len(sidecars) >= 5
    for path in sidecars:
        assert kinds_in(json.loads(path.read_text())) >= KINDS, path.name

    told = run("project", scan.parent, *words, "--out", many)
    assert said_in(told.err) == KINDS
    assert "--orientation" in told.err
    assert said_in((many / "projections.tsv").read_text()) == KINDS

    recipe = next(one.glob("*_space-model*projected_T1w.json"))
    pages = tmp_path / "pages"
    drawn = []
    monkeypatch.setattr(report_page, "draw_page", lambda case, folder: drawn.append(case) or b"")
    told = run("render", "report", recipe, "--html", "--model", brain_model, "--out", pages)
    assert told.status == 0, told.err
    assert said_in(next(pages.glob("*.html")).read_text()) == KINDS
    assert kinds_in(json.loads(next(pages.glob("*.json")).read_text())) >= KINDS
    texts = (part.getPlainText(identify=1) for part in paragraphs(drawn[0], pages))
    assert said_in(" ".join(texts)) == KINDS

    edited = ("--latent", next(one.glob("*.safetensors")), "--edit", "PC 1=2")
    told = run("edit", *edited, "--model", brain_model, "--out", tmp_path / "edited")
    assert told.status == 0, told.err
    (sidecar,) = (tmp_path / "edited").glob("*_T1w.json")
    assert kinds_in(json.loads(sidecar.read_text())) >= KINDS

    words = ("--model", brain_model, "--skull", "keep", "--out", tmp_path / "pack", "--json")
    told = run("prepare", scan.parent, *words)
    assert told.status == 0, told.err
    assert said_in(told.err) == KINDS
    assert kinds_in(told.json) >= KINDS
    assert kinds_in(json.loads((tmp_path / "pack/dataset.json").read_text())) >= KINDS
    assert said_in(next((tmp_path / "pack").glob("*.html")).read_text()) == KINDS


def paragraphs(case, folder):
    return [part for part in report_page.laid_out(case, folder) if hasattr(part, "getPlainText")]


def test_no_doubt_is_dropped_by_labels(run, tmp_path):
    generator, brain = bundled(), random_brain(1)
    name = "sub-01_ce-gad_T1w.nii.gz"
    scan = in_doubt(tmp_path / "study" / name, brain.astype(np.float32), generator.affine)
    out, table = tmp_path / "labels.nii.gz", tmp_path / "numbers.csv"
    told = run("segment", scan, "--out", out, "--table", table, "--json")
    assert told.status == 0, told.err
    assert kinds_in(told.json) == said_in(told.err) == KINDS
    assert kinds_in(json.loads(sidecar_path(out).read_text())) == KINDS
    assert said_in(table.read_text()) == KINDS
