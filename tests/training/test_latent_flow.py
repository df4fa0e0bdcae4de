"""A flow behind a decoder: its pairs, what noise draws, and what scans are spared."""

import json
from dataclasses import replace
from functools import partial

import nibabel as nib
import numpy as np
import pytest
import torch
from small_flow import SMALL, Texture
from tolerances import SUMS

from stylegan3d.base import ModelError
from stylegan3d.cli import main
from stylegan3d.geometry.space import to_display
from stylegan3d.model.generator import load
from stylegan3d.networks.flow import FLOOR, BandCurves, within
from stylegan3d.networks.latent_diffusion import DiffusionConfig
from stylegan3d.outputs.projections import save_projection
from stylegan3d.projection import project
from stylegan3d.projection.projector import ProjectionRun
from stylegan3d.recipe.latents import Latent, load_latent, save_latent
from stylegan3d.recipe.model import seed_latents
from stylegan3d.recipe.recipe import Mix, Recipe, Source, Truncation
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans import AlignedScan, Scan
from stylegan3d.scans.headers import geometry_of
from stylegan3d.training import flow_export, shape_matching
from stylegan3d.training.diffusion import export_diffusion, train_diffusion
from stylegan3d.training.export import ModelTarget
from stylegan3d.training.flow import flow_of, make_pairs, start_of, train_flow
from stylegan3d.training.flow_export import export_matched, export_with_flow
from stylegan3d.training.options import DiffusionSettings, FlowSettings, MatchSettings
from stylegan3d.training.shape_matching import match_flow

PLAIN = Truncation(1.0)
# Curves that are fitted to what a flow draws after its weights were rounded.
ROUNDED = 0.03


pytestmark = pytest.mark.usefixtures("few_brains")


@pytest.fixture(scope="module")
def pairs(stage, even_pack, tmp_path_factory):
    return make_pairs(stage, even_pack, tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def run(pairs, tmp_path_factory):
    return train_flow(pairs, tmp_path_factory.mktemp("flow"), FlowSettings(steps=60, **SMALL))


@pytest.fixture(scope="module")
def model(run, stage, even_pack, few_brains, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "model"
    return export_with_flow(run, stage.folder, even_pack, out, steps=2)


@pytest.fixture(scope="module")
def scanned(model, even_pack, tmp_path_factory):
    """A recipe of a person's latent, as a projection leaves it."""
    volume = torch.from_numpy(even_pack.volumes[0].astype(np.float32))[None, None] / 127.5 - 1
    path = tmp_path_factory.mktemp("scan") / "scan_latent.safetensors"
    latent = Latent.of(model, model.encoder(volume)[0], scan={"name": "scan.nii.gz"})
    return Recipe(Source("projected", path=str(path), sha256=save_latent(path, latent)))


def test_pairs_go_from_a_person_to_random_brains(pairs, stage, even_pack):
    assert pairs.made.shape == (20, 3, *even_pack.space.shape)
    like = np.array(
        [
            [
                np.corrcoef(pairs.person(i).ravel(), made.ravel())[0, 1]
                for made in pairs.made[i].astype(float)
            ]
            for i in range(0, 20, 2)
        ]
    ).mean(axis=0)
    assert like[0] > like[1] > like[2]
    person = torch.from_numpy(pairs.person(0).astype(np.float32))[None, None] / 127.5 - 1
    code = stage.encoder(person)[:, 0]
    z = torch.randn(1, stage.z_dim)
    assert torch.allclose(stage.mapping.varied(code, z, 0.0), code, atol=SUMS)
    assert torch.allclose(stage.mapping.varied(code, z, 1.0), stage.mapping(z), atol=SUMS)


def test_noise_draws_the_texture_and_none_leaves_the_decoders_brain(run, model, stage):
    w = seed_latents(model, [3])
    plain = stage.synthesis(w)
    assert torch.equal(model.synthesis(w, "none"), plain)
    assert torch.equal(model.synthesis(w, draft=True), plain)
    fixed, again, other = (model.synthesis(w, noise) for noise in ("fixed", "fixed", 7))
    assert torch.equal(fixed, again)
    assert float((fixed - plain).abs().mean()) > 0.01
    assert not torch.equal(fixed, other)
    both = model.synthesis(torch.cat([seed_latents(model, [4]), w]))
    assert torch.allclose(both[1:], fixed, atol=1e-5)  # whatever stands beside it
    flow = run.average
    flow.noise_strength.fill_(run.task.settings.noise)
    noise = torch.randn(flow.noise.shape, generator=torch.Generator().manual_seed(0))
    bands, near, box = flow.followed(plain, noise, 2)
    curves = model.synthesis.flow.curves
    expected = within(curves(bands), near, box, tuple(curves.ends.tolist()))
    torch.testing.assert_close(fixed, expected, rtol=0, atol=0.05)  # its weights are rounded
    assert model.can("noise")
    assert not stage.can("noise")
    assert not model.has_layer_noise


def test_an_export_leaves_the_run_as_it_is_and_takes_its_flow_to_the_cpu(
    pairs, stage, even_pack, tmp_path, monkeypatch
):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = train_flow(pairs, tmp_path / "flow", FlowSettings(steps=1, **SMALL), device=device)
    before = {name: value.clone() for name, value in run.average.state_dict().items()}
    outlined = []

    def outline(generator, flow, steps, pack):
        outlined.append(flow)
        return BandCurves(FLOOR)

    monkeypatch.setattr(flow_export, "outline_latent_flow", outline)
    export_with_flow(run, stage.folder, even_pack, tmp_path / "model", steps=1)
    (flow,) = outlined
    assert {value.device.type for value in flow.state_dict().values()} == {"cpu"}
    assert float(flow.noise_strength) == pytest.approx(run.settings.noise)
    for name, value in run.average.state_dict().items():
        assert value.device.type == device.type
        assert torch.equal(value, before[name]), name


def test_the_folder_holds_no_noise_and_says_what_was_learned(model, tmp_path):
    from safetensors import safe_open

    with safe_open(model.folder / "model.safetensors", "pt") as file:
        names = list(file.keys())
    assert "flow.head.weight" in names
    assert "flow.noise" not in names
    page = (model.folder / "README.md").read_text(encoding="utf-8")
    assert "60 x 4 cubes of 16 voxels" in page
    assert "pairs of a decoded brain" in page
    once, twice = (load(model.folder, device="cpu").synthesis.flow.noise for _ in range(2))
    assert torch.equal(once, twice)


def test_brains_end_like_subjects(model):
    curves = model.synthesis.flow.curves
    assert model.card["architecture"]["flow"]["curves"] is True
    # Phantoms end sharply: what is darker than all of their tissue is nothing.
    assert 0 < float(curves.ends[0]) < float(curves.ends[1])
    assert torch.equal(curves.gain, torch.ones(7))
    assert torch.equal(curves.tail, torch.zeros(7))
    assert not any("curves" in name for name in flow_of(model).state)


@pytest.mark.soak
def test_it_is_matched_to_what_is_measured_of_people(model, stage, even_pack, tmp_path):
    measure, settings = Texture(), MatchSettings(rounds=3, brains=20, slopes=3, judged=6)
    search = partial(match_flow, measures=[measure], settings=settings)
    found = search(model, even_pack, tmp_path / "search")
    assert found.finished
    made = export_matched(found, model.folder, even_pack, tmp_path / "made", share=1.0)
    assert made.card["architecture"] == model.card["architecture"]
    assert made.card["training"]["flow"]["matched"]["steps"] == found.steps > 0
    assert torch.equal(made.synthesis.flow.noise, model.synthesis.flow.noise)
    people = measure.of(even_pack.volumes[row] for row in even_pack.indices("train"))

    def apart(generator):
        """Of random brains that were not looked at, in deviations of people."""
        images = (generator.synthesis(seed_latents(generator, [k]), k)[0, 0] for k in range(60))
        found = [measure.soft(((image + 1) / 2).clamp(0, 1)) for image in images]
        return np.abs(np.mean(found, axis=0) - people.mean(axis=0)) / people.std(axis=0)

    assert np.square(apart(made)).sum() < 0.5 * np.square(apart(model)).sum()
    with pytest.raises(ModelError, match="has no flow to match"):
        search(stage, even_pack, tmp_path / "none")


def test_brains_without_a_tissue_are_left_out_of_a_search(model, even_pack, tmp_path, monkeypatch):
    first = shape_matching.FIRST_SEED
    drawn, missing = [], set()

    class Tissues(Texture):
        """Cannot measure the brains of some seeds."""

        def soft(self, image):
            if drawn[-1] in missing:
                raise ValueError("Grey or white matter is missing.")
            return super().soft(image)

        def of(self, volumes):
            rows = Texture().of(volumes)
            judged = len(rows) == 1
            return np.full_like(rows, np.nan) if judged and drawn[-1] in missing else rows

    def latents(generator, seeds):
        drawn.extend(seeds)
        return seed_latents(generator, seeds)

    monkeypatch.setattr("stylegan3d.training.flow.seed_latents", latents)
    settings = MatchSettings(rounds=1, brains=20, slopes=3, judged=6)
    search = partial(match_flow, model, even_pack, measures=[Tissues()])
    judged, slopes = [first + k for k in range(6)], [first + 20 + k for k in range(3)]
    missing.update((judged[1], judged[4], slopes[1]))
    found = search(tmp_path / "search", settings=settings)
    assert found.finished
    assert found.steps > 0
    left = [seed for seed in judged if seed not in missing]
    assert drawn[20:] == [*judged, *slopes, *left * 3]
    # Also after a pause, and where they could be measured now.
    drawn.clear()
    missing.clear()
    search(tmp_path / "search", settings=replace(settings, rounds=2), resume=True)
    assert drawn[3:] == left * 3
    for number, some in enumerate((judged[:4], slopes[:2])):
        missing.clear()
        missing.update(some)
        with pytest.raises(ModelError, match=r"Only [12] of [36] random brains have all tissues"):
            search(tmp_path / f"few-{number}", settings=settings)


def test_a_scan_is_shown_as_it_was_found(model, stage, scanned):
    renderer = Renderer(model)
    w = scanned.latent(model)
    assert scanned.shown_noise(model) == "none"
    assert scanned.shown_noise(stage) == "fixed"  # there it has no meaning

    def shown(recipe):
        from stylegan3d.render.recipes import render_recipe

        return render_recipe(renderer, recipe).volume

    assert np.array_equal(shown(scanned), to_display(stage.synthesis(w[None]))[0])
    seed = Recipe(Source("seed", 1), PLAIN)
    assert seed.shown_noise(model) == "fixed"
    assert not np.array_equal(shown(seed), shown(seed.replace(noise="none")))
    # Of a mix the greater share decides.
    for strength, noise in ((0.3, "none"), (0.7, "fixed")):
        assert scanned.replace(mix=Mix(seed.source, (strength,))).shown_noise(model) == noise
        other = seed.replace(mix=Mix(scanned.source, (1 - strength,)))
        assert other.shown_noise(model) == noise


def test_a_scan_is_sought_without_texture(model, stage, even_pack):
    volume = even_pack.volumes[1].astype(np.float32) / 255
    found, plain = (project(g, volume, budget="draft", steps=3) for g in (model, stage))
    assert np.array_equal(found.volume, plain.volume)
    assert found.settings["noise"] == "fixed"  # what its recipe says of random brains beside it


def test_what_a_projection_writes_is_what_was_found(model, even_pack, tmp_path):
    volume, affine = even_pack.volumes[1].astype(np.float32) / 255, even_pack.space.affine
    header = nib.Nifti1Image(volume, affine).header
    scan = Scan(volume, affine, geometry_of(header), tmp_path / "sub-1_T1w.nii.gz", "0" * 64)
    aligned = AlignedScan(volume, even_pack.space, np.eye(4), 0.95, volume > 0.05, 1.0, [], scan)
    found = project(model, aligned, budget="draft", steps=2)
    save_projection(tmp_path / "found", ProjectionRun(model, aligned, aligned, found))
    (made,) = (tmp_path / "found").glob("*space-model_desc-projected*.nii.gz")
    (path,) = (tmp_path / "found").glob("*_latent.safetensors")
    w = load_latent(path, model).to_w(model)[None]
    written = nib.load(made).get_fdata()
    plain, textured = (to_display(model.synthesis(w, noise))[0] for noise in ("none", "fixed"))
    assert np.abs(written - plain).max() < 1e-3
    assert np.abs(written - textured).mean() > 0.005
    report = json.loads(next((tmp_path / "found").glob("*_report.json")).read_text())
    assert report["recipe"]["source"]["kind"] == "projected"


def test_previews_have_no_texture(model):
    renderer, w = Renderer(model), seed_latents(model, [2])[0]
    preview = renderer.render(w, "preview").volume
    plain = to_display(model.synthesis(w[None], "none"))[0]
    assert np.abs(preview - plain).max() < 0.05
    full = renderer.render(w, "full").volume
    assert np.array_equal(full, to_display(model.synthesis(w[None]))[0])


@pytest.mark.soak
def test_a_diffusions_brains_are_varied_by_its_own_steps(stage, even_pack, tmp_path):
    shape = DiffusionConfig((4, 3, 4, 3), (8, 16), 1, 4)
    run = train_diffusion(
        even_pack, stage, tmp_path / "run", shape, DiffusionSettings(steps=5, people=4)
    )
    model = export_diffusion(run, even_pack, stage, ModelTarget(tmp_path / "model", "diffused"))
    w, z = seed_latents(model, [0])[:, 0], torch.randn(1, model.z_dim)
    near, far = (float((model.mapping.varied(w, z, s) - w).norm()) for s in (0.3, 0.95))
    assert 0 < near < far
    made = make_pairs(model, even_pack, tmp_path / "pairs", draws=1)
    flow = train_flow(made, tmp_path / "flow", FlowSettings(steps=2, **SMALL))
    out = export_with_flow(flow, model.folder, even_pack, tmp_path / "sharp", steps=1)
    assert out.can("noise")
    assert torch.equal(seed_latents(out, [4]), seed_latents(model, [4]))
    assert torch.equal(out.invert(seed_latents(out, [4])), model.invert(seed_latents(out, [4])))


def test_a_flow_begins_with_anothers(run, model, stage, even_pack, tmp_path, capsys, monkeypatch):
    assert flow_of(stage) is None
    start = start_of(model.folder)
    assert start.channels == (8, 8, 8)
    words = ("train", "flow", stage.folder, even_pack.path, "--steps", 1, "--json")

    def told(*more):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in (*words, *more)])
        return ended.value.code or 0, capsys.readouterr()

    with monkeypatch.context() as patch:
        quiet = partial(FlowSettings, **(SMALL | {"learning_rate": 0.0}))
        patch.setattr("stylegan3d.cli.train.FlowSettings", quiet)
        first = ("--out", tmp_path / "a", "--init-from", model.folder)
        code, out = told(*first, "--export", tmp_path / "made")
    assert (code, json.loads(out.out)["steps"]) == (0, 1)
    of_run = start_of(tmp_path / "a")
    assert of_run.learned["begun_with"]["steps_done"] == 60
    for name, value in load(tmp_path / "made", device="cpu").synthesis.flow.named_parameters():
        # Exported weights are bfloat16.
        torch.testing.assert_close(value, start.state[name], rtol=0, atol=1e-3)
        # Exported weights are bfloat16.
        torch.testing.assert_close(of_run.state[name], start.state[name], rtol=0, atol=1e-3)
    page = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert "started from a flow trained for 60 steps" in page
    none = told("--out", tmp_path / "c", "--init-from", stage.folder)[1]
    assert "has no flow to start from" in none.err
    assert "for new runs" in told(*first, "--resume")[1].err


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"channels": [8, 8], "steps": 1}, "three widths"),
        ({"channels": [8, 8, 8], "steps": 0}, "from 1 to 64"),
        ({"channels": [8, 8, 8], "steps": 1000}, "from 1 to 64"),
        ({"channels": [9000, 8, 8], "steps": 1}, "far larger"),
        ({"channels": [8, 8, 8], "steps": 1, "curves": "yes"}, "not true or false"),
        ({"channels": [8, 8, 8], "steps": 1}, "its card does not fit"),
        ("yes", "not a table"),
        ({"channels": [8, 8, 16], "steps": 1}, "its card does not fit"),
    ],
)
def test_a_card_with_a_flow_that_cannot_be_is_refused(model, plan, reason, tmp_path):
    import shutil

    folder = shutil.copytree(model.folder, tmp_path / "model")
    card = json.loads((folder / "card.json").read_text())
    card["architecture"]["flow"] = plan
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match=reason):
        load(folder, device="cpu")


def test_a_flow_needs_an_encoder(model, even_pack, tmp_path):
    model.encoder, before = None, model.encoder
    try:
        with pytest.raises(ModelError, match="needs an encoder"):
            make_pairs(model, even_pack, tmp_path)
    finally:
        model.encoder = before
