"""What is in an official file is opened as it is, or refused by its name."""

from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints.official_files import Maker, Network, dumps
from tolerances import DOUBLE

import stylegan3d
from stylegan3d.base import ModelError
from stylegan3d.checkpoints.official import is_official
from stylegan3d.geometry.space import Frame
from stylegan3d.model.generator import load
from stylegan3d.recipe.model import seed_latents
from stylegan3d.storage.files import sha256_of

DATA = Path(__file__).parent / "data"
FIXTURE = DATA / "official_tiny.pkl"


def small(**variant):
    return Maker(**{"levels": 2, "base": (2, 1, 2), **variant}).all()


@pytest.fixture
def opened(tmp_path):
    """Opens what a network file with this root would give."""
    path = tmp_path / "network.pkl"

    def call(root):
        path.write_bytes(dumps(root))
        return load(path)

    return call


def test_the_public_name_opens_it_from_text_and_path():
    G = stylegan3d.load(str(FIXTURE))
    assert stylegan3d.load(FIXTURE).hash == G.hash == sha256_of(FIXTURE)
    assert (G.z_dim, G.w_dim, G.num_layers, G.shape) == (16, 16, 6, (20, 24, 28))
    assert G.config.wiring == "orig"
    assert G.discriminator is not None
    assert G.discriminator.config.wiring == "resnet"
    assert (G.name, G.folder, G.path, G.encoder) == ("official_tiny", None, FIXTURE, None)
    assert "not for diagnosis" in G.card["intended_use"]
    assert "Unknown" in G.card["licence"]
    assert G.card["origin"]["settings"]["resolution"] == 20


def test_python_converts_as_the_command_line_does(tmp_path):
    frame = stylegan3d.Frame("RAS", (2.0, 2.0, 2.0))
    folder = stylegan3d.convert(FIXTURE, tmp_path / "model", frame=frame)
    assert stylegan3d.load(folder).frame == frame
    with pytest.raises(ModelError, match="precision 'int8'"):
        stylegan3d.convert(FIXTURE, tmp_path / "other", dtype="int8")


def test_a_file_is_known_by_its_content_too(tmp_path):
    other = tmp_path / "network"
    other.write_bytes(FIXTURE.read_bytes())
    assert is_official(other)
    assert load(other).hash == sha256_of(FIXTURE)
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04")  # the length of its header
    assert not is_official(tmp_path / "model.safetensors")
    assert not is_official(tmp_path)
    assert not is_official(tmp_path / "none.pkl")
    (tmp_path / "text.pkl").write_text("no pickle")
    with pytest.raises(ModelError, match=r"'text\.pkl' is no pickle"):
        load(tmp_path / "text.pkl")
    with pytest.raises(ModelError, match="no generator at"):
        load(tmp_path / "none.pkl")


def test_the_moving_average_makes_the_images(opened):
    G, D, Gs = small()
    w = torch.randn(1, 4, 8)
    average = opened((G, D, Gs)).synthesize(w)
    torch.testing.assert_close(opened(Gs).synthesize(w), average)
    torch.testing.assert_close(opened((D, Gs)).synthesize(w), average)
    torch.testing.assert_close(opened([G, D, Gs]).synthesize(w), average)
    assert not torch.allclose(opened((Gs, D, G)).synthesize(w), average)
    with pytest.raises(ModelError, match="without its discriminator"):
        opened(Gs).score(average)


def test_everything_works_without_an_encoder(opened):
    """Template, directions and projection start from the average synthesis and the mean of w."""
    G = opened(small(labels=2))
    assert G.template.shape == G.shape
    assert len(G.directions.names) > 1
    assert seed_latents(G, [3], truncation=0.0).shape == (1, 4, 8)
    with pytest.raises(ModelError, match=r"takes \(1, 2\)"):
        G.map(torch.randn(1, 8), label=torch.zeros(1, 3))


@pytest.mark.parametrize(
    ("part", "name", "value", "told"),
    [
        ("synthesis", "nonlinearity", "relu", "'relu'"),
        ("mapping", "mapping_nonlinearity", "selu", "'selu'"),
        ("D", "nonlinearity", None, "nonlinearity"),
        ("synthesis", "resample_kernel", [[1, 2], [2, 1]], "resample_kernel"),
        ("synthesis", "resample_kernel", [1, -1], "resample_kernel"),
        ("synthesis", "resample_kernel", [-1, -3, -3, -1], "resample_kernel"),
        ("synthesis", "resample_kernel", [1e-200, 1e-200], "resample_kernel"),
        ("D", "resample_kernel", [1e200, 1e200], "resample_kernel"),
        ("synthesis", "architecture", "resnet", "architecture"),
        ("synthesis", "num_channels", 2, "num_channels"),
        ("synthesis", "resolution", 64, "resolution"),
        ("synthesis", "base_size", [4, 4, 4], "base_size"),
        ("mapping", "latent_size", 9, "latent_size"),
        ("mapping", "dlatent_size", 9, "dlatent_size"),
        ("mapping", "mapping_layers", 7, "mapping_layers"),
        ("mapping", "dlatent_broadcast", 3, "dlatent_broadcast"),
        ("mapping", "label_size", 2, "label_size"),
        ("mapping", "mapping_lrmul", -1, "mapping_lrmul"),
        ("mapping", "normalize_latents", "yes", "normalize_latents"),
        ("D", "mbstd_group_size", "four", "mbstd_group_size"),
        ("D", "mbstd_num_features", 2, "mbstd_num_features"),
        ("D", "architecture", "skip", "architecture"),
        ("D", "label_size", 3, "does not fit"),
    ],
)
def test_settings_that_are_not_supported_or_contradict_are_named(opened, part, name, value, told):
    networks = small()
    _, D, Gs = networks
    {"D": D, **Gs.state["components"]}[part].state["static_kwargs"][name] = value
    with pytest.raises(ModelError) as error:
        opened(networks)
    assert told in str(error.value) or "do not fit each other" in str(error.value)


def test_what_a_file_says_of_itself_can_be_written_and_shown(tmp_path):
    """Half characters (which UTF-8 does not have) and terminal codes in a setting or a name."""
    networks = small()
    networks[2].state["static_kwargs"] |= {"note": "a\ud800b\x9b31m", "\ud800": 1, "\x1b[31m": 2}
    path = tmp_path / "\udcff.pkl"
    path.write_bytes(dumps(networks))
    folder = stylegan3d.convert(path, tmp_path / "model")
    origin = load(folder).card["origin"]
    assert origin["file"] == "?.pkl"
    assert origin["settings"]["note"] == "a?b?31m"
    assert all(name.isprintable() for name in origin["settings"])


def change(network, name, new):
    variables = network.state["variables"]
    index = [key for key, _ in variables].index(name)
    variables[index] = (name, new(variables[index][1]))


def test_variables_that_are_missing_wrong_or_strange_are_named(opened):
    def told(spoil):
        networks = small()
        _, D, Gs = networks
        spoil(Gs, Gs.state["components"]["synthesis"], Gs.state["components"]["mapping"], D)
        with pytest.raises(ModelError) as error:
            opened(networks)
        assert "\n" not in str(error.value)
        return str(error.value)

    def drop(network, name):
        network.state["variables"] = [v for v in network.state["variables"] if v[0] != name]

    assert "dlatent_avg" in told(lambda Gs, S, M, D: drop(Gs, "dlatent_avg"))
    assert "4x2x4/Conv1/mod_bias" in told(lambda Gs, S, M, D: drop(S, "4x2x4/Conv1/mod_bias"))
    assert "noise_strength" in told(lambda Gs, S, M, D: drop(S, "4x2x4/Conv1/noise_strength"))
    assert "noise2" in told(lambda Gs, S, M, D: drop(S, "noise2"))
    assert "constant" in told(lambda Gs, S, M, D: drop(S, "2x1X2/Const/const"))
    assert "no mapping" in told(lambda Gs, S, M, D: drop(M, "Dense0/weight"))
    assert "Dense0/bias" in told(lambda Gs, S, M, D: drop(D, "2x1x2/Dense0/bias"))
    extra = ("4x2x4/Conv2/weight", np.zeros(1, "f4"))
    assert "4x2x4/Conv2" in told(lambda Gs, S, M, D: S.state["variables"].append(extra))
    twice = ("noise0", np.zeros(1, "f4"))
    assert "noise0" in told(lambda Gs, S, M, D: S.state["variables"].append(twice))
    weight = "4x2x4/Conv1/weight"
    for new in (lambda x: x[..., :1], lambda x: x.astype("i4"), lambda x: x[0], lambda x: None):
        assert "4x2x4/Conv" in told(lambda Gs, S, M, D, new=new: change(S, weight, new))
    flat = told(lambda Gs, S, M, D: change(D, "4x2x4/Conv1_down/weight", np.ravel))
    assert "4x2x4/Conv1_down/weight" in flat
    for wrong in (np.nan, np.inf, -np.inf):
        spoiled = told(lambda Gs, S, M, D, v=wrong: change(M, "Dense3/bias", lambda x: x * v))
        assert "infinite or undefined" in spoiled
        assert "Dense3/bias" in spoiled
    huge = told(lambda Gs, S, M, D: change(S, "noise1", lambda x: x.astype("f8") * 1e300))
    assert "noise1" in huge


def test_other_roots_are_refused_in_words(opened):
    G, D, Gs = small()
    for root in (None, 1, "text", {}, [], (G, D, Gs, D), (G, "D", Gs), (D, D, Gs), Network()):
        with pytest.raises(ModelError, match="network"):
            opened(root)
    with pytest.raises(ModelError, match="no generator"):
        opened(D)
    Gs.state["version"] = 5
    with pytest.raises(ModelError, match="unknown version"):
        opened(Gs)


def test_a_discriminator_of_another_generator_is_refused(opened):
    Gs = small()[2]
    for other in ({"base": (1, 1, 2)}, {"channels": 2}, {"labels": 2}, {"levels": 3}):
        with pytest.raises(ModelError, match="does not fit its generator"):
            opened((Gs, small(**other)[1]))


def test_a_file_cannot_ask_for_more_memory_than_it_has(opened):
    """The same array for many variables, or a grid that only a name claims."""
    networks = small(levels=1)
    Gs = networks[2]
    shared = np.zeros((64, 64), "f4")
    mapping = Gs.state["components"]["mapping"].state
    mapping["variables"] = [
        pair
        for i in range(8)
        for pair in ((f"Dense{i}/weight", shared), (f"Dense{i}/bias", shared[0]))
    ]
    with pytest.raises(ModelError, match="larger than itself"):
        opened(networks)
    networks = small(levels=1)
    networks[1].state["variables"] = [
        (key.replace("2x1x2", "9999x9999x9999"), v) for key, v in networks[1].state["variables"]
    ]
    with pytest.raises(ModelError, match="do not fit"):
        opened(networks)


def test_the_frame_is_assumed_said_and_can_be_changed():
    G = load(FIXTURE)
    assert G.frame_doubt.kind == "model-axes"
    assert G.frame_doubt.figures == {"frame": "LIA:8"}
    assert G.space.axcodes == ("L", "I", "A")
    assert G.voxel_size == (8.0, 8.0, 8.0)
    np.testing.assert_allclose(G.space.center_mm, 0, atol=DOUBLE)
    H = load(FIXTURE, frame="RAS:1x1x1.5")
    assert H.frame_doubt is None
    assert H.frame == Frame("RAS", (1.0, 1.0, 1.5))
    assert H.space.axcodes == ("R", "A", "S")
    w = seed_latents(G, [0])
    assert torch.equal(G.synthesize(w), H.synthesize(w))
    assert H.hash == G.hash
    moved = G.with_space(H.space)
    assert moved.frame == H.frame
    assert moved.frame_doubt is None
    assert G.frame_doubt  # the first one is as it was
    with pytest.raises(ModelError, match="does not fit"):
        G.with_space(Frame().space((20, 24, 29)))
    with pytest.raises(ModelError, match="contains its own orientation"):
        load(frame="LIA:2")
