"""A model for other programs: what they make of it is what the engine makes."""

import json
import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_anatomy import small_anatomy
from tiny import tiny_generator

from stylegan3d.base import ModelError, OutputError, StyleGAN3DError
from stylegan3d.checkpoints.folder import write_folder
from stylegan3d.cli import main
from stylegan3d.model import export as exporting
from stylegan3d.model.export import LARGEST_DIFFERENCE, WholeFlow, export
from stylegan3d.model.generator import load
from stylegan3d.networks.flow import FLOOR, Flow
from stylegan3d.recipe.model import seed_z

CARD = {
    "name": "small",
    "version": "0.2",
    "modality": "T1-weighted MR",
    "licence": "CC BY-SA 4.0",
    "intended_use": "Tests.",
    "training_data": [],
    "training": {"people": 3, "images_seen": 10},
    "evaluation": {
        "fidelity": [{"name": "FID (n = 9)", "synthetic": "1.5", "real": "1.0", "value": 1.5}]
    },
}


def model_folder(generator, folder):
    """A model folder with a card that a page can be written from."""
    tensors = {"w_avg": generator.w_avg}
    for part in ("mapping", "synthesis"):
        state = getattr(generator, part).state_dict()
        tensors |= {f"{part}.{key}": value for key, value in state.items()}
    space = {
        "shape": list(generator.shape),
        "affine": generator.affine.tolist(),
        "axes": "RAS",
        "description": "Small.",
    }
    write_folder(folder, CARD | {"space": space, **generator.card, "name": "small"}, tensors)
    return load(folder, device="cpu")


def anatomy():
    """An anatomy model whose deformation, images and flow all do something."""
    settings = small_anatomy(flow_channels=(4, 6, 6), flow_steps=2, toe=True).generator
    made = tiny_generator(**replace(settings, size_curves=1).to_dict())
    torch.manual_seed(2)
    network = made.synthesis
    with torch.no_grad():
        for basis, size in ((network.velocity_basis, 0.02), (network.image_basis, 0.1)):
            basis.weight.copy_(size * torch.randn_like(basis.weight))
        network.image_const[0, 3:7, 4:9, 4:8] = 1.0
        network.image_const[0] -= 0.5
        network.detail_basis.weight.copy_(0.02 * torch.randn_like(network.detail_basis.weight))
        network.flow.head.weight.copy_(torch.randn_like(network.flow.head.weight))
        network.flow.spread.fill_(0.3)
        network.flow.noise_strength.fill_(0.1)
    return made


KINDS = {
    "stylegan": tiny_generator,
    "labelled": lambda: tiny_generator(label_dim=3),
    "anatomy": anatomy,
}


@pytest.fixture(params=KINDS)
def generator(request, tmp_path):
    return model_folder(KINDS[request.param](), tmp_path / "model")


@pytest.fixture(scope="module")
def recordings():
    """What was recorded, by model: it takes seconds each time."""
    return {}


@pytest.fixture
def recorded_once(recordings, monkeypatch):
    """For tests of what is written rather than of what is recorded."""
    record = exporting._recorded

    def recorded(generator, to):
        if generator.hash not in recordings:
            recordings[generator.hash] = record(generator, to)
        return recordings[generator.hash]

    monkeypatch.setattr(exporting, "_recorded", recorded)


def engine(generator, seed=1, psi=1.0):
    """What the engine makes of a seed: w and the volume."""
    w = generator.map(seed_z(generator, seed), truncation=psi)
    return w, generator.synthesize(w)


def inputs(generator, seed=1, psi=1.0):
    z, label = seed_z(generator, seed), torch.zeros(1, generator.config.label_dim)
    return (z, torch.full((1,), psi), *([label] if generator.config.label_dim else []))


def assert_same(made, wanted):
    # The bound of the export itself; a brain differs from another by far more.
    assert np.abs(np.asarray(made) - wanted.numpy()).max() <= LARGEST_DIFFERENCE


def test_torch_opens_what_was_recorded(recorded_once, tmp_path, monkeypatch):
    generators = {kind: model_folder(make(), tmp_path / kind) for kind, make in KINDS.items()}
    for kind, generator in generators.items():
        out = tmp_path / "out" / kind
        made = export(generator, "torch-export", out)
        assert made.difference <= LARGEST_DIFFERENCE
        assert sorted(made.files) == sorted(path.name for path in out.iterdir())
        assert not any(b"/stylegan3d/" in path.read_bytes() for path in out.glob("*.pt2"))
        torch.save(inputs(generator, 7, 0.5), tmp_path / f"{kind}.pt")
    code = (
        "import sys, torch\n"
        "for kind in sys.argv[2:]:\n"
        "    mapping, synthesis = (torch.export.load(f'{sys.argv[1]}/out/{kind}/{n}.pt2').module() "
        "for n in ('mapping', 'synthesis'))\n"
        "    file = f'{sys.argv[1]}/{kind}.pt'\n"
        "    w = mapping(*torch.load(file)); torch.save([w, synthesis(w)], file)\n"
        "assert not any(name.startswith('stylegan3d') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path, *KINDS], check=True)
    for kind, generator in generators.items():
        w, volume = torch.load(tmp_path / f"{kind}.pt")
        expected_w, expected = engine(generator, 7, 0.5)
        assert_same(w, expected_w)
        assert_same(volume, expected)
        assert (expected - engine(generator, 8)[1]).abs().max() > 10 * LARGEST_DIFFERENCE
        out = tmp_path / "out" / kind
        page, named = (out / "README.md").read_text(), {}
        assert "encoder is not included" in page
        monkeypatch.chdir(out)
        exec(page.split("```python")[1].split("```")[0], named)
        assert_same(named["volume"].detach(), engine(generator)[1])
        with pytest.raises(OutputError, match="exists already"):
            export(generator, "torch-export", out)


def test_a_flow_on_the_whole_grid_is_the_flow_in_its_box():
    torch.manual_seed(0)
    flow = Flow((4, 6, 6), (14, 13, 12), curves=True)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    flow.curves.ends.copy_(torch.tensor([0.1, 0.3]))
    flow.noise_strength.fill_(0.2)
    image = torch.full((1, 1, 28, 26, 24), 2 * FLOOR[0] - 1)
    image[:, :, 13:18, 6:17, 14:22] = torch.rand(5, 11, 8)
    with torch.no_grad():
        expected = flow(image, flow.noise, 2)
        whole = WholeFlow.of(flow)(image, flow.noise, 2)
    torch.testing.assert_close(whole, expected)
    empty = torch.full_like(image, -1.0)
    assert bool((WholeFlow.of(flow)(empty, flow.noise, 2) == -1).all())


def test_a_page_of_the_hub_and_the_model_beside_it(tmp_path, monkeypatch):
    yaml = pytest.importorskip("yaml")
    generator = model_folder(tiny_generator(), tmp_path / "model")
    (tmp_path / "model" / "privacy.safetensors").write_bytes(b"features of people")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "privacy.safetensors").write_bytes(b"of the model that was there")
    made = export(generator, "hub", tmp_path / "out", overwrite=True)
    _, front, page = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["license"] == "cc-by-sa-4.0"
    assert told["pipeline_tag"] == "unconditional-image-generation"
    (result,) = told["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "FID", "name": "FID (n = 9)", "value": 1.5}]
    assert "# small" in page
    assert not (tmp_path / "out" / "privacy.safetensors").exists()
    assert "privacy index" in made.left_out[0]
    assert made.difference is None

    # What is fetched from there is this folder.
    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = {"lab/small": tmp_path / "out"}.__getitem__
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    assert load("hf://lab/small", device="cpu").hash == generator.hash

    def unreachable(name):
        raise OSError("no network")

    hub.snapshot_download = unreachable
    with pytest.raises(ModelError, match=r"does not provide 'lab/small' \(no network\)"):
        load("hf://lab/small")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match="need another package"):
        load("hf://lab/small")


def test_any_licence_is_named(tmp_path):
    yaml = pytest.importorskip("yaml")
    generator = model_folder(tiny_generator(), tmp_path / "model")
    for licence, kind in {
        "CC0": "cc0-1.0",
        "CC BY-NC-SA 4.0 (as its data)": "cc-by-nc-sa-4.0",
        "For research: ask us": "other",
        "CC BY 4.0; CC BY-NC-SA 4.0": "other",
        "CC BY": "other",
    }.items():
        generator.card["licence"] = licence
        export(generator, "hub", tmp_path / "out", overwrite=True)
        front = yaml.safe_load((tmp_path / "out" / "README.md").read_text().split("---\n")[1])
        assert front["license"] == kind
        assert front.get("license_name") == (licence if kind == "other" else None)


def test_a_bundle_of_monai(recorded_once, tmp_path):
    """Its configuration says what to run; MONAI itself runs it in `make soak`."""
    generator = model_folder(tiny_generator(label_dim=3), tmp_path / "model")
    export(generator, "monai", tmp_path / "out")
    metadata = json.loads((tmp_path / "out" / "configs" / "metadata.json").read_text())
    assert metadata["version"] == "0.2"
    assert metadata["network_data_format"]["outputs"]["pred"]["spatial_shape"] == [20, 28, 24]
    config = json.loads((tmp_path / "out" / "configs" / "inference.json").read_text())
    given = {"numpy": np, "torch": torch}
    z = eval(config["z"][1:].replace("@seed", "1"), given)
    assert torch.equal(z, seed_z(generator, 1))
    assert config["label"] == [0, 0, 0]
    assert "[@label]" in config["volume"]
    assert metadata["network_data_format"]["inputs"]["label"]["spatial_shape"] == [3]
    assert (tmp_path / "out" / "models" / "synthesis.pt2").is_file()
    assert "CC BY-SA 4.0" in (tmp_path / "out" / "LICENSE").read_text()


def test_what_cannot_be_recorded_or_differs_is_said(tmp_path, monkeypatch):
    generator = model_folder(tiny_generator(), tmp_path / "model")
    monkeypatch.setattr(generator, "synthesize", lambda w: 2 * generator.synthesis(w))
    with pytest.raises(ModelError, match="differs from the engine's by"):
        export(generator, "torch-export", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("torch.export.export", lambda *_, **__: 1 / 0)
    with pytest.raises(ModelError, match="cannot be recorded for torch-export"):
        export(generator, "torch-export", tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(StyleGAN3DError, match=r"napari-stylegan3d\[export\]"):
        export(generator, "onnx", tmp_path / "out")
    with pytest.raises(ModelError, match="file of another program"):
        export(tiny_generator(), "hub", tmp_path / "out")


@pytest.mark.parametrize("to", ["hub", "torch-export"])
def test_an_export_that_was_killed_between_files_is_begun_anew(recorded_once, tmp_path, to):
    generator, out = model_folder(tiny_generator(), tmp_path / "model"), tmp_path / "out"
    whole = export(generator, to, out)
    for name in whole.files[1:]:
        (out / name).unlink()
    assert export(generator, to, out).files == whole.files
    (out / whole.files[-1]).unlink()
    (out / "notes.txt").touch()  # somebody's folder
    with pytest.raises(OutputError, match="exists already"):
        export(generator, to, out)


def test_the_command_says_what_was_written_and_what_is_left_out(recorded_once, tmp_path, capsys):
    generator = model_folder(tiny_generator(), tmp_path / "model")
    words = ("model", "export", "--model", generator.folder, "--to", "torch-export")
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in (*words, "--out", tmp_path / "out")])
    assert not end.value.code
    told = capsys.readouterr().out
    assert "mapping.pt2, synthesis.pt2, README.md, metadata.json" in told
    assert "differs from the engine by" in told
    assert "Scans cannot be projected" in told
    with pytest.raises(SystemExit):
        main([str(word) for word in (*words, "--out", tmp_path / "again", "--json")])
    told = json.loads(capsys.readouterr().out)
    assert told["to"] == "torch-export"
    assert told["difference"] <= LARGEST_DIFFERENCE
    assert told["files"][:2] == ["mapping.pt2", "synthesis.pt2"]


@pytest.mark.soak
def test_onnx_runtime_makes_the_same_volume(generator, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    made = export(generator, "onnx", tmp_path / "out")
    assert made.difference <= LARGEST_DIFFERENCE
    names = ("z", "truncation", "label")
    given = {n: v.numpy() for n, v in zip(names, inputs(generator, 7, 0.5), strict=False)}
    (w,) = runtime.InferenceSession(tmp_path / "out" / "mapping.onnx").run(None, given)
    (volume,) = runtime.InferenceSession(tmp_path / "out" / "synthesis.onnx").run(None, {"w": w})
    assert_same(volume, engine(generator, 7, 0.5)[1])


@pytest.mark.soak
@pytest.mark.parametrize("labels", [0, 3])
def test_monai_runs_the_bundle(labels, tmp_path):
    pytest.importorskip("monai")
    import nibabel as nib

    from stylegan3d.geometry.space import to_display

    generator = model_folder(tiny_generator(label_dim=labels), tmp_path / "model")
    export(generator, "monai", tmp_path / "out")
    command = "-m monai.bundle run --config_file configs/inference.json --bundle_root . --seed 3"
    subprocess.run([sys.executable, *command.split()], cwd=tmp_path / "out", check=True)
    image = nib.load(tmp_path / "out" / "eval" / "brain-3_synthetic.nii.gz")
    np.testing.assert_array_equal(image.affine, generator.affine)
    shown = to_display(engine(generator, 3)[1])[0]
    assert_same(image.get_fdata(), torch.from_numpy(shown))
