"""Features of slices by a network that the user brings, and what is refused as one."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.evaluation.slices_fid import SliceNetwork, middle_slices, slice_features
from stylegan3d.metrics.inception import FEATURES, InceptionV3


class Means(nn.Module):
    """Mean and maximum of each channel of [N, 3, 299, 299] in [-1, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class OfBytes(nn.Module):
    """Takes bytes and, as the file FID is often computed with, a flag for features."""

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        y = x.float().mean((2, 3)) / 255
        return y if return_features else y.sum()


def saved(module: nn.Module, path: Path) -> Path:
    torch.jit.script(module).save(str(path))
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_gives_features_of_upright_middle_slices(tmp_path, blobs, space) -> None:
    network = SliceNetwork(saved(Means(), tmp_path / "net.pt"))
    found = slice_features(blobs[:3], space, network)
    assert set(found) == {"axial", "coronal", "sagittal"}
    middle = blobs[1][:, :, blobs.shape[3] // 2]
    assert middle_slices(blobs[1], space)["axial"].tolist() == middle.T[::-1].tolist()
    # A resize interpolates; steps of 1/127.5.
    assert found["axial"][1, 3] == pytest.approx(middle.max() / 127.5 - 1, abs=0.01)
    of_bytes = SliceNetwork(saved(OfBytes(), tmp_path / "bytes.pt"))
    expected = blobs[0][blobs.shape[1] // 2].mean() / 255
    assert slice_features(blobs[:1], space, of_bytes)["sagittal"][0] == pytest.approx(
        [expected] * 3
    )


def test_state_dicts_of_both_inceptions_load(tmp_path) -> None:
    """As many weights as the published network has without its classifiers; the two kinds of pools
    make a difference.
    """
    torch.manual_seed(0)
    state = InceptionV3(of_2015=False).state_dict()
    assert sum(v.numel() for k, v in state.items() if "running" not in k and "num" not in k) == (
        23_834_568 - FEATURES * 1000 - 1000
    )
    found = []
    for classes in (1000, 1008):
        file = tmp_path / f"{classes}.pth"
        torch.save(state | {"fc.weight": torch.zeros(classes, FEATURES)}, file)
        network = SliceNetwork(file)
        assert f"{classes} classes" in network.name
        found.append(network.features([np.arange(6400, dtype=np.uint8).reshape(80, 80)]))
    assert found[0].shape == (1, FEATURES)
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no file"),
        (b"text", "neither TorchScript nor a state dict"),
        ({"weight": torch.zeros(3)}, "neither TorchScript nor a state dict"),
        ({"fc.weight": torch.zeros(1000, 2048)}, "it has no Conv2d_1a"),
    ],
)
def test_other_files_are_refused(tmp_path, content, sentence) -> None:
    path = tmp_path / "file.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ModelError, match=sentence):
        SliceNetwork(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_network_without_features_is_refused(tmp_path) -> None:
    with pytest.raises(ModelError, match="no network that gives"):
        SliceNetwork(saved(nn.Identity(), tmp_path / "net.pt"))


class Reads(nn.Module):
    """What is in a file, as a picture's features."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3)) + torch.from_file("/etc/hostname", False, 1, dtype=torch.uint8)


class Writes(nn.Module):
    """Already when it is opened."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self) -> str:
        return self.path

    @torch.jit.export
    def __setstate__(self, state: str) -> None:
        torch.save(torch.zeros(1), state)
        self.path = state
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_programs_that_do_more_than_calculate_are_not_opened(tmp_path) -> None:
    with pytest.raises(ModelError, match=r"more than calculate \(from_file\)"):
        SliceNetwork(saved(Reads(), tmp_path / "reads.pt"))
    target = tmp_path / "written"
    writer = saved(Writes(str(target)), tmp_path / "writes.pt")
    with pytest.raises(ModelError, match=r"more than calculate \(save\)"):
        SliceNetwork(writer)
    assert not target.exists()
    torch.jit.load(str(writer))
    assert target.exists(), "torch itself would have run it"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("torch .\\\n  save(x, 'f')", "save"),
        ("x.save('f')", "save"),
        ("t = torch", "torch by itself"),
        ("getattr(torch, 'save')(x, 'f')", "torch by itself"),
        ("ops.aten.save(x, 'f')", "save"),
        ("ops.prim.rpc_sync('other', 'f')", "rpc_sync"),
        ("ops.mine.run(x)", "ops.mine"),
        ("torch.classes.mine.Thing()", "torch.classes"),
        ("'not closed", "cannot be read"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_spellings_are_seen_too(line, told, tmp_path) -> None:
    path, changed = saved(Means(), tmp_path / "net.pt"), tmp_path / "changed.pt"
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(changed, "w") as other:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(".py"):
                content += f"  def more(self, x: Tensor):\n    {line}\n".encode()
            other.writestr(name, content)
    with pytest.raises(ModelError, match=told):
        SliceNetwork(changed)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_bomb_is_not_unpacked(tmp_path) -> None:
    path = saved(Means(), tmp_path / "net.pt")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/code/more.py", bytes(2**25))
    with pytest.raises(ModelError, match="too large"):
        SliceNetwork(path)
