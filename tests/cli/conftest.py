"""A model folder with a tiny generator, and the program run in this process."""

import json
import math
from pathlib import Path

import pytest

from stylegan3d.checkpoints.folder import write_folder
from stylegan3d.model.generator import Generator, load
from stylegan3d.model.random_latents import pca_directions
from stylegan3d.recipe.latents import save_directions
from stylegan3d.storage.places import DIRECTIONS


def write_generator(folder: Path, generator: Generator) -> None:
    """Save a generator that is in memory as a model folder."""
    tensors = {"w_avg": generator.w_avg}
    for part in ("mapping", "synthesis"):
        state = getattr(generator, part).state_dict()
        tensors |= {f"{part}.{key}": value for key, value in state.items()}
    space = {"shape": list(generator.shape), "affine": generator.affine.tolist()}
    write_folder(folder, {**generator.card, "space": space}, tensors)


@pytest.fixture(scope="session")
def write():
    """Save a generator that is in memory as a model folder: `write(folder, generator)`."""
    return write_generator


@pytest.fixture(scope="session")
def model(tiny_generator, tmp_path_factory):
    """Folder of a tiny generator, as `--model` takes it."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_generator(folder, tiny_generator)
    generator = load(folder)
    save_directions(folder / DIRECTIONS, pca_directions(generator, samples=500))
    return folder


class Result:
    """What the program left: exit status, stdout, stderr."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def run(capsys):
    """Run `stylegan3d` with these words, in this process."""
    from stylegan3d.cli import main

    def call(*words) -> Result:
        capsys.readouterr()
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            status = end.code or 0
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return call


@pytest.fixture
def listing():
    """Names of the files in a folder, hidden ones too; none if it is missing."""

    def names(folder: Path):
        return (
            sorted(str(p.relative_to(folder)) for p in folder.rglob("*")) if folder.exists() else []
        )

    return names


@pytest.fixture
def complete_card():
    """Give the card of a test's model what a page about it needs."""

    def complete(folder: Path) -> None:
        card = json.loads((folder / "card.json").read_text())
        card["space"] |= {"axes": "RAS", "description": "A phantom."}
        about = {"people": 8, "images_seen": 1, "warm_start_images": 1}
        texts = {"modality": "none", "intended_use": "tests", "licence": "CC0", "training_data": []}
        (folder / "card.json").write_text(json.dumps(card | texts | {"training": about}))

    return complete


@pytest.fixture(autouse=True)
def _no_progress_on_a_slow_machine(monkeypatch):
    """A command that takes long would tell so, between the sentences that a test counts."""
    monkeypatch.setattr("stylegan3d.cli.common.NEW_S", math.inf)
    monkeypatch.setattr("stylegan3d.cli.common.SAME_S", math.inf)
