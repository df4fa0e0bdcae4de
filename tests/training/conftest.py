"""A packed dataset of phantoms to train on, and what two states have in common."""

import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from filelock import FileLock
from small_anatomy import small_anatomy

from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.directions.attributes import measured_brains
from stylegan3d.geometry.space import Space
from stylegan3d.networks.autoencoder import AutoencoderConfig
from stylegan3d.recipe.model import encode_labels, seed_latents
from stylegan3d.training import autoencoder, export, flow_export
from stylegan3d.training.anatomy import find_anatomy, fit_anatomy
from stylegan3d.training.autoencoder import AutoencoderTask, export_autoencoder, train_autoencoder
from stylegan3d.training.export import ModelTarget, export_anatomy
from stylegan3d.training.labels import learn_labels
from stylegan3d.training.options import AutoencoderSettings
from stylegan3d.training.run import load_run
from stylegan3d.training.segmentation import load_labelled

SHAPE = (20, 28, 24)


@pytest.fixture(scope="session")
def pack(tmp_path_factory):
    return phantom_pack(tmp_path_factory.mktemp("pack"))


@pytest.fixture(scope="session")
def anatomy_folder(pack, tmp_path_factory):
    """The anatomy of these people, as a run finds it; copy it."""
    folder = tmp_path_factory.mktemp("anatomy")
    find_anatomy(pack, folder, jobs=1)  # a process takes longer to start than these brains
    return folder


@pytest.fixture(scope="session")
def anatomy_models(pack, anatomy_folder, tmp_path_factory):
    """Linear starts with details, `plain` and `calibrated`, as `train --export` writes them.

    One folder for all workers; do not change it.
    """
    folder = of_all_workers(tmp_path_factory) / "anatomy-models"
    with FileLock(f"{folder}.lock"), measuring_few_brains():
        for name in ("plain", "calibrated"):
            if not (folder / name).is_dir():
                shutil.copytree(anatomy_folder, folder / f"fit-{name}" / "anatomy")
                settings = small_anatomy(calibrate=name == "calibrated")
                fit = fit_anatomy(pack, folder / f"fit-{name}", settings)
                export_anatomy(fit, ModelTarget(folder / name, "phantoms"))
    return folder


def of_all_workers(tmp_path_factory):
    """A folder that all processes of a run of the tests share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def even_pack(tmp_path_factory):
    """Of axes that can be halved three times."""
    return phantom_pack(tmp_path_factory.mktemp("even"), (24, 32, 24))


@pytest.fixture(scope="session")
def autoencoder_run(even_pack, tmp_path_factory):
    """A run of a small autoencoder, one for all workers; do not change it."""
    folder = of_all_workers(tmp_path_factory) / "autoencoder"
    shape = AutoencoderConfig((24, 32, 24), 4, (8, 16, 16), (1, 1, 1))
    settings = AutoencoderSettings(
        steps=300, people=2, crops=1, side=24, warm_up=5, learning_rate=4e-3, decay=0.95
    )
    with FileLock(f"{folder}.lock"):
        if folder.is_dir():
            return load_run(AutoencoderTask, folder, torch.device("cpu"))
        return train_autoencoder(even_pack, folder, shape, settings)


@pytest.fixture(scope="session")
def stage(autoencoder_run, even_pack, tmp_path_factory):
    """An autoencoder without a flow, the first stage of a diffusion."""
    folder = tmp_path_factory.mktemp("vae") / "model"
    with measuring_few_brains():
        return export_autoencoder(autoencoder_run, even_pack, ModelTarget(folder, "first stage"))


@pytest.fixture(scope="module")
def few_brains():
    """See `measuring_few_brains`."""
    with measuring_few_brains():
        yield


@contextmanager
def measuring_few_brains():
    """Exports measure 6 to 64 random brains where they would measure up to hundreds.

    How well directions, labels and curves are learned is tested where they are, on as many as it
    takes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(learn_labels.__kwdefaults__, "brains", 20)
        patch.setattr(measured_brains, "__defaults__", (12, *measured_brains.__defaults__[1:]))
        patch.setattr(flow_export, "BRAINS", 12)
        for module in (autoencoder, flow_export):
            patch.setattr(module, "SAMPLES", 64)
        patch.setattr(export.measure.__wrapped__, "__defaults__", (6,))
        yield


@pytest.fixture(scope="session")
def brains(labelled):
    """Phantoms with label maps, to learn tissues from."""
    return load_labelled(*labelled)


@pytest.fixture
def brightness_of_ends():
    """Of so many random brains with a label "length", in front and at the back."""

    def measured(generator, length, count):
        label = encode_labels(generator.card["labels"], {"length": length})
        drawn = generator.synthesize(seed_latents(generator, range(count), label=label))
        x, _, z = (n // 2 for n in generator.shape)
        return float(drawn[:, 0, x - 3 : x + 3, [4, -5], z - 3 : z + 3].mean())

    return measured


#: Columns of phantoms' semi-axes, as shares of the grid's.
SIZE = ("breadth", "length", "depth")


def phantom_pack(folder, shape=SHAPE):
    """Ellipsoids of different size with a dark core of different size: ten people."""
    rng = np.random.default_rng(0)
    axes = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))

    def volume(row):
        size = [row[name] for name in SIZE]
        r = np.sqrt(((axes / np.array(size)[:, None, None, None]) ** 2).sum(axis=0))
        data = 200.0 * (r < 1) - 120.0 * (r < row["core"])
        return np.clip(data, 0, 255).astype(np.uint8)

    rows = [
        {
            "name": f"sub-{i:02d}",
            "person": f"sub-{i:02d}",
            "split": "validation" if i >= 8 else "train",
            "source": "phantom",
            "licence": "CC0",
            **dict(zip(SIZE, rng.uniform(0.6, 0.95, 3).tolist(), strict=True)),
            "core": float(rng.uniform(0.2, 0.5)),
            "age": 20 + 6 * i,
        }
        for i in range(10)
    ]
    affine = np.diag([8.0, 8, 8, 1])
    affine[0, 3] = -8 * (shape[0] - 1) / 2  # symmetric about the mid-sagittal plane
    write_pack(folder, rows, volume, Space(shape, affine), {"refused": []})
    return load_pack(folder)
