"""A pack of phantoms with label maps, read by their known intensities, and a painter of them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from labelled_phantoms import INTENSITIES, write_labelled

from stylegan3d.translation.data import load_painted
from stylegan3d.translation.export import export_translation
from stylegan3d.translation.network import TranslationConfig
from stylegan3d.translation.settings import TranslationTraining
from stylegan3d.translation.training import train_translation

SMALL = TranslationConfig((20, 24, 16), channels=(8, 12), regions=5)
SETTINGS = {"side": 16, "warm_up": 5, "decay": 0.9, "learning_rate": 4e-3, "validate_every": 1000}


class Reader:
    """Labels each voxel by the tissue whose intensity it is nearest to."""

    name, hash = "by intensity", "0123"

    def segment(self, volume, _space):
        data = np.asarray(volume, np.float32) / (255 if volume.dtype == np.uint8 else 1)
        labels = abs(data[..., None] - INTENSITIES).argmin(axis=-1).astype(np.uint8)
        return SimpleNamespace(labels=labels)


@pytest.fixture(scope="session")
def labelled(tmp_path_factory):
    """(pack, folder with the label maps)"""
    folder = tmp_path_factory.mktemp("labels")
    return write_labelled(folder), folder


@pytest.fixture(scope="session")
def people(labelled):
    return load_painted(*labelled, Reader())


@pytest.fixture(scope="session")
def trained(people, tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # volumes this small take longer on two
    config = TranslationTraining(steps=150, **SETTINGS)
    run = train_translation(people, tmp_path_factory.mktemp("run"), SMALL, config)
    torch.set_num_threads(before)
    return run


@pytest.fixture(scope="session")
def exported(trained, people, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "paint-tiny"
    export_translation(trained, people, Reader(), folder, notes={"limits": ["phantoms only"]})
    return folder
