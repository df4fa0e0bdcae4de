"""Numbers at the ends of their ranges, by the command line: a result, or one sentence and status 2.

Nothing is written where there is no result, and no volume that is not finite is ever written.
"""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest

from stylegan3d.checkpoints.folder import read_folder, write_folder
from stylegan3d.recipe.latents import save_directions

DIGITS = "9" * 5000
SEED, RECIPE = ["--seeds", "1"], '{"source":{"seed":1}}'


def sentence(result):
    """What was said on failure, if it is one sentence of the program's, after doubts."""
    assert result.status == 2, result.err
    assert result.out == ""
    assert "Traceback" not in result.err
    *doubts, told = result.err.strip().splitlines()
    if told.startswith("stylegan3d: "):
        assert all(" beyond normal variation" in doubt for doubt in doubts)
        assert told.endswith((".", "…"))
    return told


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([*SEED, "--truncation", "nan"], "finite"),
        ([*SEED, "--truncation", "-inf"], "finite"),
        ([*SEED, "--truncation", "1e38"], "non-finite"),
        ([*SEED, "--truncation", "1e308"], "non-finite"),
        ([*SEED, "--truncation", "much"], "--truncation"),
        ([*SEED, "--truncation-layers", "-1"], "from 0"),
        ([*SEED, "--truncation-layers", "99"], "more than the 4 layers"),
        (["--seeds", "-1"], "not a number or range"),
        (["--seeds", "4294967296"], "0 to 4294967295"),
        (["--seeds", DIGITS], "0 to 4294967295"),
        (["--seeds", f"0-{DIGITS}"], "more than 100000"),
        (["--seeds", "²"], "not a number or range"),
        ([*SEED, "--noise", "nan"], "not a noise setting"),
        ([*SEED, "--noise", DIGITS], "whole number"),
        ([*SEED, "--channel", "-1"], "from 0"),
        ([*SEED, "--channel", "7"], "have 1: choose 0"),
        ([*SEED, "--label", "age=nan"], "finite"),
        ([*SEED, "--label", "age=1e308"], "without labels"),
        (["--recipe", '{"source":{"seed":1},"truncation":{"psi":NaN}}'], "finite"),
        (["--recipe", '{"source":{"seed":1},"truncation":{"psi":1e999}}'], "finite"),
        (["--recipe", f'{{"source":{{"seed":{DIGITS}}}}}'], "not valid JSON"),
        (["--recipe", '{"source":{"seed":true}}'], "whole number"),
        (["--recipe", "[" * 100_000], "cannot be read"),
        (["--recipe", '{"source":' * 10_000], "nested too deeply"),
        (
            ["--recipe", '{"source":{"seed":1},"edits":[{"direction":"PC 1","strength":1e39}]}'],
            "not",
        ),
        (["--recipe", "a\0b"], "not a valid file name"),
    ],
)
def test_generate(run, model, tmp_path, listing, words, says):
    out = tmp_path / "out"
    assert says in sentence(run("generate", "--model", model, *words, "--out", out))
    assert listing(out) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--edit", "PC 1=nan"], "finite"),
        (["--edit", "PC 1=1e308"], "non-finite"),
        (["--edit", "PC 1=1@5-2"], "two numbers"),
        (["--edit", f"PC 1=1@0-{DIGITS}"], "reaches to layer"),
        (["--edit", "PC 99=1"], "no direction"),
    ],
)
def test_edits(run, model, tmp_path, listing, words, says):
    out = tmp_path / "out"
    told = sentence(run("edit", "--model", model, "--seed", 1, *words, "--out", out))
    assert says in told
    assert listing(out) == []


@pytest.mark.parametrize(
    "strength", ["nan", "inf", "-0.1", "1.1", "1e308", "1,1", "0.5,nan,0,0", "", "half"]
)
def test_mixes(run, model, tmp_path, listing, strength):
    out = tmp_path / "out"
    words = ["mix", "--model", model, "--a", 1, "--b", 2, f"--strength={strength}"]
    sentence(run(*words, "--out", out))
    assert listing(out) == []


@pytest.mark.parametrize("words", [["--truncation", "-1"], ["--truncation", "1e-300"]])
def test_what_is_odd_but_has_a_meaning_is_made(run, model, tmp_path, words):
    made = run("generate", "--model", model, *SEED, *words, "--out", tmp_path)
    assert made.status == 0
    (path,) = tmp_path.glob("*.nii.gz")
    assert np.isfinite(nib.load(path).get_fdata()).all()


def volume(shape=(20, 24, 22)):
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij"))
    inside = (grid**2).sum(axis=0) < 0.6
    return np.where(inside, np.random.RandomState(0).rand(*shape) + 1, 0)


def with_value(value):
    data = volume()
    data[10, 10, 10] = value
    return data


SCANS = {
    "nan": (with_value(np.nan), "not numbers"),
    "infinite": (with_value(-np.inf), "not numbers"),
    "more than single precision holds": (volume() * 1e39, "not numbers"),
    "huge": (volume() * 1e37, "out of range"),
    "tiny": (volume() * 1e-44, "out of range"),
    "constant": (np.full((20, 24, 22), 7.0), "same value"),
    "empty": (np.zeros((20, 24, 22)), "same value"),
    "one voxel thick": (volume()[:, :, :1], "2D"),
    "one voxel": (volume()[:1, :1, :1], "2D"),
    "two voxels": (volume()[:2], "at least 16"),
}


@pytest.mark.parametrize("name", SCANS)
def test_scans(run, model, tmp_path, listing, name):
    data, says = SCANS[name]
    path = tmp_path / "scan.nii.gz"
    image = nib.Nifti1Image(data, np.diag([8.0, 8, 8, 1]))
    path.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
    out = tmp_path / "out"
    assert says in sentence(run("info", path))
    assert says in sentence(run("project", path, "--model", model, "--out", out))
    assert listing(out) == []


def test_a_header_that_claims_a_million_million_voxels_is_refused_at_once(run, tmp_path):
    for dims in ([32_767] * 3, [736, 736, 740]):
        header = nib.Nifti1Header()
        header.set_data_shape(dims)
        header.set_data_dtype(np.int16)
        header.set_xyzt_units("mm")
        header["magic"], header["vox_offset"] = b"n+1", 352
        path = tmp_path / "scan.nii"
        path.write_bytes(header.structarr.tobytes() + b"\0" * 1000)
        assert "its header claims" in sentence(run("info", path))


def test_a_model_of_nan_is_refused(run, model, tmp_path, listing):
    files = read_folder(model)
    card = {k: v for k, v in files.card.items() if k not in ("files", "format", "format_version")}
    tensors = dict(files.tensors)
    name = next(k for k in tensors if k.endswith("conv.weight"))
    tensors[name] = tensors[name] * float("nan")
    write_folder(tmp_path / "m", card, tensors)
    out = tmp_path / "out"
    told = sentence(run("generate", "--model", tmp_path / "m", *SEED, "--out", out))
    assert "infinite or undefined numbers" in told
    assert listing(out) == []


def test_a_network_whose_image_overflows_is_told_and_writes_nothing(run, model, tmp_path, listing):
    """Every weight is finite; the sum of the image is not."""
    files = read_folder(model)
    card = {k: v for k, v in files.card.items() if k not in ("files", "format", "format_version")}
    tensors = dict(files.tensors)
    for name in tensors:
        if "to_rgb" in name and name.endswith("conv.weight"):
            tensors[name] = tensors[name] * 0 + 1e38
    write_folder(tmp_path / "m", card, tensors)
    save_directions(tmp_path / "m/directions.safetensors", load_tiny(tmp_path / "m"))
    out = tmp_path / "out"
    for words in (
        ["generate", *SEED],
        ["edit", "--seed", 1, "--edit", "PC 1=1"],
        ["mix", "--a", 1, "--b", 2],
        ["render", "picture", RECIPE],
    ):
        told = sentence(run(*words, "--model", tmp_path / "m", "--out", out))
        assert "non-finite" in told, words
        assert listing(out) == []


def load_tiny(folder):
    from stylegan3d.model.generator import load
    from stylegan3d.model.random_latents import pca_directions

    return pca_directions(load(folder), samples=100)


@pytest.mark.parametrize("cell", ["inf", "-1e999"])
def test_infinite_values_of_a_table(run, model, tmp_path, listing, cell):
    rows = [f"{seed},{seed % 7}" for seed in range(30)]
    rows[3] = f"3,{cell}"
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["brain,score", *rows]))
    out = tmp_path / "out"
    words = ["directions", "--values", table, "--column", "score", "--name", "Score"]
    told = sentence(run(*words, "--model", model, "--save", out / "d.safetensors"))
    assert "infinite" in told
    assert listing(out) == []


def test_paths_in_a_recipe_stay_in_its_folder(run, model, tmp_path, listing):
    (tmp_path / "in").mkdir()
    (tmp_path / "private.safetensors").write_bytes(b"x" * 100)
    out = tmp_path / "out"
    for name in (str(tmp_path / "private.safetensors"), "../private.safetensors", "/etc/passwd"):
        for part in (
            {"source": {"kind": "latent", "path": name}},
            {
                "source": {"seed": 1},
                "edits": [{"direction": f"{name}.safetensors#x", "strength": 1}],
            },
        ):
            recipe = tmp_path / "in/r.json"
            recipe.write_text(json.dumps(part))
            told = sentence(run("generate", "--recipe", recipe, "--model", model, "--out", out))
            assert "outside the folder" in told
    assert listing(out) == []
