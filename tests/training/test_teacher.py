"""A StyleGAN learns from a teacher: it has its latents, draws its brains, and goes on as itself."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tolerances import LAYERS

from stylegan3d.base import ModelError
from stylegan3d.model.generator import load
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.synthesis import TEXTURE_UNIT
from stylegan3d.recipe.model import seed_latents
from stylegan3d.training.data import as_input
from stylegan3d.training.export import ModelTarget, export_stylegan
from stylegan3d.training.options import tiny
from stylegan3d.training.stylegan import train_stylegan

pytestmark = pytest.mark.usefixtures("few_brains")
LESSONS = 90


@pytest.fixture(scope="module")
def teacher(anatomy_models):
    return load(anatomy_models / "plain", device="cpu")


def settings(**changes):
    known = {"steps": LESSONS, "teacher_steps": LESSONS, "validate_every": LESSONS}
    network = replace(tiny().generator, base_input="dense")
    return replace(tiny(), **({"generator": network} | known | changes))


@pytest.fixture(scope="module")
def taught(pack, teacher, tmp_path_factory):
    folder = tmp_path_factory.mktemp("taught")
    return train_stylegan(pack, folder, settings(), teacher=teacher)


def test_it_draws_its_teachers_brains_and_people_who_were_set_aside(pack, teacher, taught):
    pupil = lambda w: taught.averages["synthesis"](w, "none")  # noqa: E731
    z = torch.from_numpy(np.random.RandomState(5).randn(8, teacher.z_dim)).float()
    rows = taught.averages["mapping"](z)[:, None].expand(-1, 4, -1)
    with torch.no_grad():
        made, wanted = pupil(rows), teacher.synthesize(teacher.map(z), "none").clamp(-1, 1)
        average = pupil(torch.zeros_like(rows[:1]))
    # Seed by seed, against one who draws the same brain for all.
    assert (made - wanted).square().mean() < 0.92 * (average - wanted).square().mean()
    assert taught.measured["explained_coarse"] > 0.2


def test_its_latents_are_its_teachers(pack, teacher, taught, tmp_path):
    made = export_stylegan(taught, pack, ModelTarget(tmp_path / "model", "pupil"), teacher=teacher)
    shared = taught.extra["teacher"]
    scan = as_input(pack.volumes[:2]).transpose(0, 1)
    torch.testing.assert_close(
        made.encoder(scan) * shared["scale"] + shared["centre"],
        teacher.encoder(scan),
        atol=LAYERS,
        rtol=LAYERS,
    )
    assert not made.can("score")  # nothing taught a discriminator
    w, known = (seed_latents(g, range(4)) for g in (made, teacher))
    torch.testing.assert_close(
        w * shared["scale"] + shared["centre"], known, atol=LAYERS, rtol=LAYERS
    )
    assert (
        f"{4 * LESSONS} training volumes to learn to draw what its teacher draws"
        in (tmp_path / "model" / "README.md").read_text()
    )


def test_noise_means_to_it_what_it_means_to_its_teacher(pack, teacher, tmp_path):
    flowing = copy.copy(teacher)
    vars(flowing).pop("has_noise", None)  # cached
    flowing.synthesis = AnatomyNetwork(replace(teacher.config, flow_channels=(8, 8, 8)))
    flowing.synthesis.load_state_dict(teacher.synthesis.state_dict(), strict=False)
    flowing.synthesis.flow.noise_strength.fill_(1.0)
    lessons = settings(steps=45, teacher_steps=45)
    run = train_stylegan(pack, tmp_path / "run", lessons, teacher=flowing)
    pupil = run.averages["synthesis"]
    assert pupil.config.noise_bands
    rows = run.averages["mapping"](torch.randn(4, teacher.z_dim))[:, None].expand(-1, 4, -1)
    shared = run.extra["teacher"]
    w = rows * shared["scale"] + shared["centre"]
    # Its noise lies in the common anatomy.
    (white,) = flowing.synthesis.noise_maps(1)
    white = flowing.synthesis.noise_there(w, white.expand(4, -1, -1, -1, -1))
    assert 0.95 < white.std() < 1.05  # still white
    wanted = flowing.synthesis(w, [white]).clamp(-1, 1)
    same, other = ((pupil(rows, seed) - wanted).square().mean() for seed in (1, 2))
    assert same < 0.95 * other


def test_its_texture_and_deformation_are_its_teachers(pack, anatomy_models, tmp_path):
    flowing = load(anatomy_models / "calibrated", device="cpu")
    calibrated = flowing.synthesis
    flowing.synthesis = AnatomyNetwork(replace(flowing.config, flow_channels=(8, 8, 8)))
    flowing.synthesis.load_state_dict(calibrated.state_dict(), strict=False)
    flowing.synthesis.flow.noise_strength.fill_(1.0)
    few = settings(steps=6, teacher_steps=6)  # what is taken over is not learned
    run = train_stylegan(pack, tmp_path / "run", few, teacher=flowing)
    pupil = run.averages["synthesis"]
    rows = run.averages["mapping"](torch.randn(8, flowing.z_dim))[:, None].expand(-1, 4, -1)
    shared = run.extra["teacher"]
    w = rows * shared["scale"] + shared["centre"]
    close = {"atol": LAYERS, "rtol": LAYERS}
    with torch.no_grad():
        texture = pupil.texture(rows[:, 1]) * TEXTURE_UNIT
        torch.testing.assert_close(texture, calibrated._details(w), **close)
        torch.testing.assert_close(pupil.warp(rows), calibrated.velocity(w), **close)
        assert torch.equal(pupil.warp.toe.ends, calibrated.image_toe.ends)
        # What it draws is warped by it, at every level.
        pupil.warp.toe.ends.copy_(torch.tensor([-10.0, -9.0]))  # nothing is as dark
        still = copy.deepcopy(pupil)
        for values in (still.warp.basis.weight, still.warp.const):
            values.zero_()
        for level in (0, 1, 2):
            plain = still(rows, "none", level)
            moved = calibrated.moved(plain, w)
            torch.testing.assert_close(
                calibrated.finished(pupil(rows, "none", level)), moved, **close
            )


def test_it_is_held_to_its_teachers_coarse_content_afterwards(pack, teacher, tmp_path):
    away = {}
    for anchor in (0.0, 1000.0):
        told = []
        chosen = settings(steps=10, teacher_steps=0, anchor=anchor, validate_every=10)
        run = train_stylegan(
            pack,
            tmp_path / f"{anchor:g}",
            chosen,
            teacher=teacher,
            progress=lambda done, total, figures, told=told: told.append(figures["anchor"]),
        )
        away[anchor] = np.mean(told[-5:])
        assert not any(p.requires_grad for p in run.networks["mapping"].parameters())
    assert away[1000.0] < 0.9 * away[0.0]


SHORT = settings(steps=9, teacher_steps=5, validate_every=9)


@pytest.fixture(scope="module")
def whole(pack, teacher, tmp_path_factory):
    """A run that was never stopped."""
    return train_stylegan(pack, tmp_path_factory.mktemp("whole"), SHORT, teacher=teacher)


@pytest.mark.parametrize("cut", [3, 7])
def test_a_run_goes_on_with_its_own_teacher_alone(pack, teacher, whole, tmp_path, cut):
    left = iter([False] * cut)
    stop = lambda: next(left, True)  # noqa: E731
    train_stylegan(pack, tmp_path / "cut", SHORT, teacher=teacher, should_stop=stop)
    with pytest.raises(ModelError, match="give the same --teacher"):
        train_stylegan(pack, tmp_path / "cut", resume=True)
    resumed = train_stylegan(pack, tmp_path / "cut", teacher=teacher, resume=True)
    for name, network in whole.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(resumed.networks[name].state_dict()[key], value), (name, key)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conditions": ("age",)}, "model labels"),
        ({"generator": replace(tiny().generator, channels=(8,), head="image")}, "rows of w"),
    ],
)
def test_what_cannot_be_taught_is_said(pack, teacher, tmp_path, change, words):
    wrong = settings()
    for name, value in change.items():
        object.__setattr__(wrong, name, value)
    with pytest.raises(ModelError, match=words):
        train_stylegan(pack, tmp_path / "run", wrong, teacher=teacher)


def test_a_generator_without_an_encoder_does_not_teach(pack, taught, tmp_path):
    made = export_stylegan(taught, pack, ModelTarget(tmp_path / "model", "no encoder"))
    with pytest.raises(ModelError, match="encode"):
        train_stylegan(pack, tmp_path / "run", settings(), teacher=made)


def test_what_only_a_teacher_gives_is_not_taken_without_one(pack, tmp_path):
    network = replace(tiny().generator, warps=4)
    with pytest.raises(ModelError, match="Only a teacher"):
        train_stylegan(pack, tmp_path / "run", replace(tiny(), generator=network))
