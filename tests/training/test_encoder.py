"""An encoder is trained on a generator's own brains, and goes into its folder."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stylegan3d.base import ModelError
from stylegan3d.model.generator import load
from stylegan3d.recipe.model import seed_latents
from stylegan3d.training.autoencoder import EncoderTask, export_encoder, train_encoder
from stylegan3d.training.export import ModelTarget, export_stylegan
from stylegan3d.training.options import EncoderSettings, tiny
from stylegan3d.training.run import load_run
from stylegan3d.training.stylegan import train_stylegan

pytestmark = pytest.mark.usefixtures("few_brains")
SETTINGS = EncoderSettings(steps=150, batch=4, warm_up=5, decay=0.9, validate_every=150)


@pytest.fixture(scope="module")
def generator(pack, few_brains, tmp_path_factory):
    """A StyleGAN that has learned little, without an encoder."""
    folder = tmp_path_factory.mktemp("gan")
    run = train_stylegan(pack, folder / "run", replace(tiny(), steps=2))
    return export_stylegan(run, pack, ModelTarget(folder / "model", "phantoms"))


@pytest.fixture(scope="module")
def run(generator, pack, tmp_path_factory):
    return train_encoder(generator, pack, tmp_path_factory.mktemp("encoder"), SETTINGS)


def test_latents_of_random_brains_are_found(generator, run):
    w = seed_latents(generator, range(40))
    with torch.no_grad():
        found = run.average(generator.synthesize(w))
    # An encoder that has learned nothing gives the mean of all.
    explained = 1 - (found - w).square().mean() / w.var(dim=0).mean()
    assert explained > 0.3
    assert set(run.measured) == {"psnr", "ssim"}


def test_the_generator_keeps_its_latents_and_encodes(generator, run, pack, tmp_path):
    made = export_encoder(run, generator.folder, pack, tmp_path / "model")
    assert made.hash == generator.hash
    assert generator.encoder is None
    w = seed_latents(made, [1])
    assert torch.equal(made.synthesize(w), generator.synthesize(w))
    found = load(tmp_path / "model", device="cpu").encoder(made.synthesize(w))
    with torch.no_grad():
        expected = run.average(made.synthesize(w))
    # Stored in bfloat16: eight bits of mantissa.
    assert (found - expected).abs().mean() < 0.05 * expected.abs().mean()
    page = (Path(tmp_path) / "model" / "README.md").read_text()
    assert "trained afterwards on 600 random brains" in page


def test_a_run_goes_on_bit_for_bit_with_its_own_generator(generator, pack, run, tmp_path):
    short = replace(SETTINGS, steps=4)
    whole = train_encoder(generator, pack, tmp_path / "whole", short)
    steps = iter(range(100))
    stop = lambda: next(steps) >= 2  # noqa: E731
    train_encoder(generator, pack, tmp_path / "cut", short, should_stop=stop)
    assert load_run(EncoderTask, tmp_path / "cut", torch.device("cpu")).steps == 2
    resumed = train_encoder(generator, pack, tmp_path / "cut", resume=True)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value), name
    other = load(generator.folder, device="cpu")
    other.hash = "another"
    with pytest.raises(ModelError, match="begun with another generator"):
        train_encoder(other, pack, tmp_path / "cut", resume=True)
