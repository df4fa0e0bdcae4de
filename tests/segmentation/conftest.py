"""A pack of phantoms with label maps."""

import pytest
from labelled_phantoms import write_labelled

from stylegan3d.segmentation.data import load_labelled


@pytest.fixture(scope="session")
def labelled(tmp_path_factory):
    """(pack, folder with the label maps)"""
    folder = tmp_path_factory.mktemp("labels")
    return write_labelled(folder), folder


@pytest.fixture(scope="session")
def brains(labelled):
    return load_labelled(*labelled)
