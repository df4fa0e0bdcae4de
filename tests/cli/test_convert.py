"""`model convert`, and official network files on the other verbs."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from tolerances import SFORM_MM

from stylegan3d.checkpoints.official import read_official
from stylegan3d.model.generator import load
from stylegan3d.recipe.model import seed_latents

NETWORK = Path(__file__).parents[1] / "checkpoints" / "data" / "official_tiny_skip.pkl"


def convert(run, network, *words):
    return run("model", "convert", network, *words)


def test_a_converted_network_makes_the_same_images(run, tmp_path):
    out = tmp_path / "model"
    result = convert(run, NETWORK, "--out", out, "--json")
    assert result.status == 0
    assert "LIA:8" in result.err
    told = result.json
    assert told["folder"] == str(out)
    assert told["model"]["frame"] == "LIA:8"
    assert [doubt["kind"] for doubt in told["model"]["doubts"]] == ["model-axes"]
    G, H = load(NETWORK), load(out)
    assert told["model"]["sha256"] == H.hash
    w = seed_latents(G, [0, 1])
    assert torch.equal(seed_latents(H, [0, 1]), w)
    images = G.synthesize(w)
    assert torch.equal(H.synthesize(w), images)
    assert torch.equal(H.score(images), G.score(images))
    assert H.space.same_as(G.space)
    assert H.frame_doubt.figures == G.frame_doubt.figures
    page = (out / "README.md").read_text()
    for words in ("official_tiny_skip", "assumed", "Unknown", "not for diagnosis", G.hash):
        assert words in page
    assert sorted(p.name for p in out.iterdir()) == ["README.md", "card.json", "model.safetensors"]


def test_the_frame_given_is_kept(run, tmp_path):
    result = convert(run, NETWORK, "--out", tmp_path / "a", "--frame", "RAS:1x2x3")
    assert (result.status, result.err) == (0, "")
    G = load(tmp_path / "a")
    assert (str(G.frame), G.frame_doubt) == ("RAS:1x2x3", None)
    assert load(tmp_path / "a", frame="LIA:2").voxel_size == (2.0, 2.0, 2.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_takes_half_the_space(run, tmp_path, dtype):
    convert(run, NETWORK, "--out", tmp_path / "whole")
    assert convert(run, NETWORK, "--out", tmp_path / "half", "--dtype", dtype).status == 0
    sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("whole", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    G, H = load(NETWORK), load(tmp_path / "half")
    w = seed_latents(G, [0])
    assert torch.equal(w, seed_latents(H, [0]))
    image = G.synthesize(w)
    assert (H.synthesize(w) - image).abs().max() < 0.02 * image.abs().max()


def test_what_is_there_is_kept_and_what_is_no_network_refused(run, tmp_path, listing):
    out = tmp_path / "model"
    assert convert(run, NETWORK, "--out", out).status == 0
    before = (out / "card.json").read_bytes()
    again = convert(run, NETWORK, "--out", out)
    assert again.status == 2
    assert "--overwrite" in again.err
    assert (out / "card.json").read_bytes() == before
    assert convert(run, NETWORK, "--out", out, "--overwrite", "--frame", "RAS:2").status == 0
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02cos\nsystem\n.")
    for words in (
        (tmp_path / "a.pkl", tmp_path / "b"),
        (tmp_path / "none.pkl", tmp_path / "b"),
        (out, tmp_path / "b"),
        (NETWORK, tmp_path / "b", "--frame", "XYZ:2"),
    ):
        result = convert(run, words[0], "--out", *words[1:])
        assert result.status == 2
        assert result.out == ""
        assert len(result.err.splitlines()) == 1
    assert "b" not in listing(tmp_path)


def test_info_tells_what_is_in_a_network_file(run):
    result = run("info", NETWORK, "--json")
    told = result.json
    assert told["sha256"] == read_official(NETWORK).hash
    assert (told["wiring"], told["channels"], told["discriminator"]) == ("skip", [16] * 3, True)
    assert told["origin"]["program"] == "3D-StyleGAN"
    assert told["frame"] == "LIA:8"
    assert [doubt["kind"] for doubt in told["doubts"]] == ["model-axes"]
    assert "assumed" in result.err
    lines = run("info", NETWORK, "--frame", "LIA:2").out
    assert "voxel size mm: [2.0, 2.0, 2.0]" in lines


@pytest.mark.parametrize("frame", [None, "RAS:1x1x2"])
def test_other_verbs_take_the_file_and_its_frame_and_record_it(run, tmp_path, frame):
    words = ["--model", NETWORK, *(["--frame", frame] if frame else [])]
    result = run("generate", "--seeds", "1", *words, "--out", tmp_path, "--json")
    assert result.status == 0
    assert ("assumed" in result.err) == (frame is None)
    assert result.json["model"]["frame"] == (frame or "LIA:8")
    saved = Path(result.json["volumes"][0]["path"])
    image = nib.load(saved)
    assert "".join(nib.aff2axcodes(image.affine)) == (frame or "LIA:8").split(":")[0]
    np.testing.assert_allclose(image.affine, load(NETWORK, frame=frame).affine, atol=SFORM_MM)
    sidecar = json.loads(Path(result.json["volumes"][0]["sidecar"]).read_text())
    assert sidecar["Model"]["Frame" if frame else "AssumedFrame"] == (frame or "LIA:8")
    assert (frame or "LIA:8") in sidecar["GeneratedBy"][0]["Description"]
    mixed = run("mix", "--a", "1", "--b", "2", *words, "--out", tmp_path, "--json")
    assert mixed.json["model"]["frame"] == (frame or "LIA:8")
    listed = run("directions", "--components", "2", "--samples", "50", *words, "--json")
    assert listed.json["model"]["frame"] == (frame or "LIA:8")


def test_a_frame_for_a_model_that_has_one_is_refused(run, model, tmp_path):
    for words in (
        ("generate", "--seeds", "1", "--out", tmp_path / "o"),
        ("info", model),
    ):
        more = () if words[0] == "info" else ("--model", model)
        result = run(*words, *more, "--frame", "LIA:2")
        assert result.status == 2
        assert "omit --frame" in result.err
        assert not (tmp_path / "o").exists()
