"""Latent files: exact, typed, refused by other models."""

import json
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy
import torch
from tiny import tiny_generator

from stylegan3d.base import LatentError, OutputError
from stylegan3d.recipe.latents import Latent, latent_bytes, load_latent, read_latent, save_latent
from stylegan3d.recipe.recipe import Source


@pytest.fixture(scope="module", name="generator")
def shared_generator(tiny_generator):
    return tiny_generator


@pytest.fixture
def latent(generator):
    w = np.random.RandomState(0).randn(generator.num_layers, generator.w_dim)
    scan = {"path": "sub-01_T1w.nii.gz", "rigid": np.eye(4) * (0.1 + 0.2), "shape": (3, 4, 5)}
    return Latent.of(generator, w, truncation=0.7, truncation_layers=3, noise=11, scan=scan)


def test_round_trip_is_exact(generator, latent, tmp_path):
    path = tmp_path / "new folder" / "a.safetensors"
    sha256 = save_latent(path, latent)
    again, hashed = read_latent(path, generator)
    assert hashed == sha256
    assert again.w.dtype == np.float32
    np.testing.assert_array_equal(again.w, latent.w)
    for name in ("space", "model_hash", "model_name", "truncation", "truncation_layers", "noise"):
        assert getattr(again, name) == getattr(latent, name)
    assert again.scan == {
        "path": "sub-01_T1w.nii.gz",
        "rigid": (np.eye(4) * (0.1 + 0.2)).tolist(),
        "shape": [3, 4, 5],
    }
    np.testing.assert_array_equal(again.to_w(generator), latent.w)


def test_a_z_is_mapped_with_its_own_truncation(generator, tmp_path):
    z = np.random.RandomState(4).randn(generator.z_dim)
    save_latent(tmp_path / "z.safetensors", Latent.of(generator, z, "Z", truncation=0.5))
    w = load_latent(tmp_path / "z.safetensors").to_w(generator)
    expected = generator.map(torch.from_numpy(z).float()[None], truncation=0.5)[0]
    assert torch.equal(w, expected)


def test_bytes_depend_on_the_content_alone(latent, tmp_path):
    save_latent(tmp_path / "a.safetensors", latent)
    # safetensors shuffles metadata from process to process.
    program = (
        "import sys; from stylegan3d.recipe.latents import *;"
        "save_latent(sys.argv[2], load_latent(sys.argv[1]))"
    )
    files = [str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]
    subprocess.run([sys.executable, "-c", program, *files], check=True)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_other_programs_read_the_file(latent):
    tensors = safetensors.numpy.load(latent_bytes(latent))
    np.testing.assert_array_equal(tensors["w"], latent.w)


def test_it_never_overwrites_without_being_told(latent, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists already"):
        save_latent(path, latent)
    assert path.read_bytes() == b"precious"
    save_latent(path, latent, overwrite=True)
    assert load_latent(path).noise == 11
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_another_models_latent_is_refused_by_name(latent, tmp_path):
    save_latent(tmp_path / "a.safetensors", latent)
    with pytest.raises(
        LatentError, match=r"a.safetensors belongs to the model tiny-0 \(tiny0\), but tiny-1"
    ):
        load_latent(tmp_path / "a.safetensors", tiny_generator(1))


def test_damaged_and_other_files_are_refused(generator, latent, tmp_path):
    good = latent_bytes(latent)
    metadata = json.loads(good[8 : 8 + int.from_bytes(good[:8], "little")])["__metadata__"]

    def packed(tensors, **changes):
        return safetensors.numpy.save(tensors, metadata={**metadata, **changes})

    w = {"w": latent.w}
    bad = {
        "is damaged": good[:-4],
        "is damaged or": b"",
        "damaged or is not a safetensors file": b"not a latent at all, but text\n" * 9,
        "of another program, not a latent": safetensors.numpy.save(w),
        "is a directions, not a latent": packed(w, kind="directions"),
        "later version": packed(w, version="3"),
        "at least one weight": packed(w, version="2"),
        "lacks a part": packed({"v": latent.w}),
        "not a latent space": packed(w, space="X"),
        "cannot have the shape": packed({"w": latent.w[0]}),
        "NaN": packed({"w": latent.w * np.nan}),
        "W has equal vectors": packed(w, space="W"),
        "needs": packed({"w": latent.w[:-1]}),
    }
    for number, (says, data) in enumerate(bad.items()):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(data)
        with pytest.raises(LatentError, match=says) as caught:
            load_latent(path, generator)
        assert f"{number}.safetensors" in str(caught.value)
    with pytest.raises(LatentError, match="does not exist"):
        load_latent(tmp_path / "none.safetensors")
    with pytest.raises(LatentError, match="is a folder"):
        load_latent(tmp_path)


def test_source_from_file_tells_projected_from_other_latents(generator, latent, tmp_path):
    sha256 = save_latent(tmp_path / "a.safetensors", latent)
    expected = Source("projected", path=str(tmp_path / "a.safetensors"), sha256=sha256)
    assert Source.from_file(tmp_path / "a.safetensors") == expected
    save_latent(tmp_path / "b.safetensors", Latent.of(generator, latent.w))
    assert Source.from_file(tmp_path / "b.safetensors").kind == "latent"
