import pytest
from families import toy

from stylegan3d.model import family as families
from stylegan3d.model.generator import load


@pytest.fixture(scope="session", autouse=True)
def family():
    """The toy, made known to the program."""
    families.register(toy.Linear())
    yield
    families.forget(toy.Linear.name)


@pytest.fixture(scope="session")
def folder(family, tmp_path_factory):
    return toy.save(tmp_path_factory.mktemp("toys") / "toy")


@pytest.fixture(scope="session")
def generator(folder):
    return load(folder, device="cpu")
