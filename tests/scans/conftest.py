"""A mean brain to align to, and a phantom that tells left from right, front from back."""

from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from stylegan3d.geometry.space import Space
from stylegan3d.scans import Template, load_template
from stylegan3d.scans.resampling import resample

MEAN_BRAIN = Path(__file__).parent / "mean-brain-4mm.nii.gz"


class Phantom:
    """The mean brain with three bright balls of different size, at its right, front and top."""

    #: Ball centre in RAS mm and radius in mm, largest first.
    BALLS = (((38.0, -25.0, 15.0), 12.0), ((8.0, 32.0, 10.0), 10.0), ((12.0, -40.0, 52.0), 8.0))

    def __init__(self, brain: Template) -> None:
        self.brain = brain

    def on(self, space: Space) -> np.ndarray:
        """The phantom on a grid, float32; the brain up to 600, the balls 1000."""
        data = 600 * resample(self.brain.template, self.brain.space, space)
        data[data < 60] = 0
        grid = np.indices(space.shape).reshape(3, -1).T
        world = nib.affines.apply_affine(space.affine, grid).reshape(*space.shape, 3)
        for center, radius in self.BALLS:
            data[np.linalg.norm(world - center, axis=-1) < radius] = 1000
        return data

    @property
    def space(self) -> Space:
        """A grid of 3 mm along the RAS axes that holds the phantom."""
        affine = np.diag([3.0, 3.0, 3.0, 1.0])
        affine[:3, 3] = [-80, -122, -88]
        return Space((53, 72, 62), affine)

    def image(self, space: Space | None = None) -> nib.Nifti1Image:
        space = space or self.space
        return nib.Nifti1Image(self.on(space), space.affine)

    def distances(self, image: nib.Nifti1Image) -> np.ndarray:
        """(3,) mm from where each ball should be to where it is; the balls are told by size."""
        data = image.get_fdata()
        labels, count = ndimage.label(data > 0.8 * data.max())
        assert count >= 3, "not all balls are there"
        order = np.argsort(np.bincount(labels.ravel())[1:])[::-1][:3] + 1
        found = [
            nib.affines.apply_affine(image.affine, np.argwhere(labels == label).mean(axis=0))
            for label in order
        ]
        return np.linalg.norm(np.array(found) - [center for center, _ in self.BALLS], axis=1)


@pytest.fixture(scope="session")
def target() -> Template:
    return load_template(MEAN_BRAIN)


@pytest.fixture(scope="session")
def phantom(target: Template) -> Phantom:
    return Phantom(target)


@pytest.fixture(scope="session")
def samples() -> Path:
    return Path(str(files("napari_stylegan3d"))) / "samples"
