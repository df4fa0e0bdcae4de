"""The generator: truncation, seeds, mixing and its folder, against their definitions."""

import json
import shutil
from copy import copy

import numpy as np
import pytest
import torch
from tiny import tiny_generator
from tolerances import FLOAT32

from stylegan3d.base import ModelError, OutputError
from stylegan3d.checkpoints.folder import UNFINISHED, write_folder
from stylegan3d.geometry.space import Space
from stylegan3d.model.generator import load
from stylegan3d.recipe.latents import mix
from stylegan3d.recipe.model import seed_latents
from stylegan3d.render.renderer import Renderer
from stylegan3d.storage import files
from stylegan3d.storage.places import CARD, MODEL


def save(generator, folder, **kwargs):
    tensors = {f"mapping.{k}": v for k, v in generator.mapping.state_dict().items()}
    tensors |= {f"synthesis.{k}": v for k, v in generator.synthesis.state_dict().items()}
    tensors["w_avg"] = generator.w_avg
    space = {"shape": list(generator.shape), "affine": generator.affine.tolist()}
    write_folder(folder, {**generator.card, "space": space}, tensors, **kwargs)
    return folder


@pytest.fixture(scope="module")
def generator():
    return tiny_generator()


@pytest.mark.parametrize("cutoff", [None, 0, 2])
def test_truncation_is_the_papers(generator, cutoff):
    """Karras et al. 2019, appendix B: w' = mean + psi (w - mean), on the first rows."""
    z = torch.randn(3, generator.z_dim)
    whole = generator.map(z)
    cut = generator.map(z, truncation=0.3, truncation_layers=cutoff)
    rows = generator.num_layers if cutoff is None else cutoff
    expected = whole.clone()
    expected[:, :rows] = generator.w_avg + 0.3 * (whole[:, :rows] - generator.w_avg)
    torch.testing.assert_close(cut, expected)
    average = generator.map(z, truncation=0.0)
    torch.testing.assert_close(average, generator.w_avg.expand_as(average))


def test_a_seed_is_the_fields_convention(generator):
    z = np.random.RandomState(42).randn(1, generator.z_dim)
    expected = generator.map(torch.from_numpy(z).float())
    assert torch.equal(seed_latents(generator, [7, 42])[1:], expected)


def test_mixing_is_linear_per_layer(generator):
    a, b = seed_latents(generator, [1, 2])
    assert torch.equal(mix(a, b, 0.0), a)
    torch.testing.assert_close(mix(a, b, 1.0), b)
    strengths = [0.0, 1.0, 0.25, 0.5]
    mixed = mix(a, b, strengths)
    for row, s in enumerate(strengths):
        torch.testing.assert_close(mixed[row], (1 - s) * a[row] + s * b[row])
    with pytest.raises(ModelError, match="3 mixing strengths for 4 layers"):
        mix(a, b, [0, 0, 1])


def test_mixing_coarse_rows_only_keeps_fine_styles(generator):
    """Taking row 0 from another brain changes the picture, its last style stays."""
    a, b = seed_latents(generator, [1, 2])
    mixed = mix(a, b, [1, 0, 0, 0])
    assert torch.equal(mixed[1:], a[1:])
    assert (generator.synthesize(mixed[None]) - generator.synthesize(a[None])).abs().mean() > 1e-3


def test_wrong_shapes_are_refused_in_words(generator):
    with pytest.raises(ModelError, match=r"takes \(n, 16\)"):
        generator.map(torch.randn(1, 5))
    with pytest.raises(ModelError, match=r"takes \(n, 4, 16\)"):
        generator.synthesize(torch.randn(1, 3, 16))
    with pytest.raises(ModelError, match="without its discriminator"):
        generator.score(torch.randn(1, 1, 20, 28, 24))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_latents_that_are_not_finite_are_refused_in_words(generator, bad):
    z, w = torch.zeros(2, 16), torch.zeros(2, 4, 16)
    z[1, 3] = w[1, 2, 3] = bad
    for take in (
        lambda: generator.map(z),
        lambda: generator.synthesize(w),
        lambda: generator.mix(w[0], w[1], [0, 0, 0, 0]),
    ):
        with pytest.raises(ModelError, match="contains NaN or infinity: give finite numbers"):
            take()


def test_folder_round_trip(generator, tmp_path):
    opened = load(save(generator, tmp_path / "model"))
    w = seed_latents(generator, [3])
    assert torch.equal(opened.synthesize(w), generator.synthesize(w))
    assert opened.space.same_as(generator.space)
    assert opened.name == generator.name
    assert len(opened.hash) == 64
    assert load(tmp_path / "model" / MODEL).hash == opened.hash
    with pytest.raises(OutputError, match="already contains a model"):
        save(generator, tmp_path / "model")


@pytest.mark.parametrize("placed", [0, 1])
def test_an_export_that_was_killed_while_writing_is_begun_anew(
    generator, tmp_path, monkeypatch, placed
):
    """Without --overwrite: what it left is neither a model nor somebody's files."""
    place, done = files._place, []

    def killed(*args):
        if len(done) == placed:
            raise KeyboardInterrupt
        done.append(place(*args))

    unfinished = copy(generator)
    unfinished.card = generator.card | {UNFINISHED: True}
    with monkeypatch.context() as patch:
        patch.setattr(files, "_place", killed)
        for name in ("_undo", "_remove"):
            patch.setattr(files, name, lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            save(unfinished, tmp_path / "model")
    monkeypatch.setattr(files, "process_began", lambda _: None)
    assert any(path.suffix == ".part" for path in (tmp_path / "model").iterdir())
    again = load(save(unfinished, tmp_path / "model"))
    assert again.w_dim == generator.w_dim
    assert [doubt.kind for doubt in again.doubts] == ["unfinished"], "who uses it is told"
    assert not generator.doubts


def test_damaged_folders_are_refused_in_one_sentence(generator, tmp_path):
    folder = save(generator, tmp_path / "model")
    card = json.loads((folder / CARD).read_text())

    def broken(text_or_card):
        text = text_or_card if isinstance(text_or_card, str) else json.dumps(text_or_card)
        (folder / CARD).write_text(text)
        with pytest.raises(ModelError) as error:
            load(folder)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "cannot be read" in broken("{")
    assert "does not describe" in broken({"format": "other"})
    assert "newer version" in broken({**card, "format_version": 99})
    assert "incomplete" in broken({k: v for k, v in card.items() if k != "space"})
    wrong = {**card, "space": {**card["space"], "shape": [2, 2, 2]}}
    assert "card is wrong" in broken(wrong)
    (folder / CARD).write_text(json.dumps(card))
    data = bytearray((folder / MODEL).read_bytes())
    data[-1] ^= 1
    (folder / MODEL).write_bytes(data)
    with pytest.raises(ModelError, match="not the file its card describes"):
        load(folder)
    shutil.copytree(save(generator, tmp_path / "other"), tmp_path / "swapped")
    card = json.loads((tmp_path / "swapped" / CARD).read_text())
    card["files"]["template.nii.gz"] = "0" * 64
    (tmp_path / "swapped" / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"template\.nii\.gz' is not the file"):
        load(tmp_path / "swapped")
    with pytest.raises(ModelError, match="no generator at"):
        load(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"has no card\.json"):
        load(tmp_path)


def test_unknown_device_and_precision(generator, tmp_path):
    folder = save(generator, tmp_path / "model")
    with pytest.raises(ModelError, match="not available"):
        load(folder, device="warp")
    with pytest.raises(ModelError, match="precision 'int3'"):
        load(folder, dtype="int3")


def test_renderer_full_is_float32_and_repeats(generator):
    renderer = Renderer(generator)
    w = seed_latents(generator, [5], truncation=0.7)[0]
    full = renderer.render(w)
    assert full.volume.dtype == np.float32
    assert full.volume.shape == generator.shape
    assert np.array_equal(full.volume, renderer.render(w).volume)
    exact = generator.synthesis(w[None]).detach()[0, 0].numpy()
    np.testing.assert_allclose(full.volume, np.clip((exact + 1) / 2, 0, 1.5), atol=FLOAT32)


def test_preview_shows_the_same_brain_in_the_same_place(generator):
    renderer = Renderer(generator)
    w = seed_latents(generator, [5], truncation=0.7)[0]
    full, preview = renderer.render(w), renderer.render(w, "preview")
    assert preview.volume.shape == tuple(n // 2 for n in generator.shape)
    # The same corner of the field of view, in millimetres.
    for space in (full.space, preview.space):
        corner = space.affine @ [-0.5, -0.5, -0.5, 1]
        np.testing.assert_allclose(
            corner[:3], generator.affine @ [-0.5, -0.5, -0.5, 1] @ np.eye(4)[:, :3]
        )
    exact = generator.synthesize(w[None], level=-2).numpy()[0, 0]
    # A preview is read from the layer before the last.
    np.testing.assert_allclose(preview.volume, np.clip((exact + 1) / 2, 0, 1.5), atol=0.05)


def test_preview_of_a_generator_without_coarse_images_is_full():
    generator = tiny_generator(wiring="orig", head="image")
    rendered = Renderer(generator).render(seed_latents(generator, [0])[0], "preview")
    assert rendered.volume.shape == generator.shape


def test_template_without_a_file_is_the_average_brain(generator):
    w = generator.w_avg.expand(1, generator.num_layers, -1)
    made = generator.synthesize(w, noise="none").detach()[0, 0].numpy()
    np.testing.assert_allclose(generator.template, np.clip((made + 1) / 2, 0, 1.5), atol=FLOAT32)


def test_space_resized_keeps_the_field_of_view():
    affine = np.array([[-2.0, 0, 0, 78], [0, 0, 3, -10], [0, 1.5, 0, 5], [0, 0, 0, 1]])
    space = Space((8, 6, 4), affine)
    small = space.resized((4, 3, 2))
    np.testing.assert_allclose(small.voxel_size, np.multiply(space.voxel_size, 2))
    np.testing.assert_allclose(small.center_mm, space.center_mm)


def test_a_generator_knows_whether_noise_does_anything():
    generator = tiny_generator()
    assert generator.has_noise
    silent = tiny_generator()
    for level in silent.synthesis.typed_levels:
        for layer in level.layers:
            torch.nn.init.zeros_(layer.noise_strength)
    assert not silent.has_noise
    w = seed_latents(silent, [0])
    assert torch.equal(silent.synthesize(w, 1), silent.synthesize(w, "none"))


def test_models_are_not_written_over_other_files(generator, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(OutputError, match="contains other files"):
        save(generator, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        save(generator, tmp_path / "file" / "model")


def test_it_is_moved_to_a_device_as_modules_are(generator):
    assert generator.to("cpu") is generator
    # What takes no memory stands for an accelerator.
    moved = tiny_generator().to("meta")
    assert {str(p.device) for p in moved.synthesis.parameters()} == {"meta"}
    assert moved.w_avg.device.type == moved.device.type == "meta"
    with pytest.raises(ModelError, match="not available on this machine"):
        generator.to("nowhere")
