"""File names in a model folder, and the location of the bundled models.

Where calibrated sites are kept, and their names; see `calibration.save_site`.
"""

import re
from contextlib import suppress
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

import platformdirs

from stylegan3d.base import StyleGAN3DError
from stylegan3d.storage.encoding import read_json

BUNDLED = "brain-t1-2mm"
FORMAT = "stylegan3d"
MODEL, ENCODER, CARD = "model.safetensors", "encoder.safetensors", "card.json"
MONTAGE = "montage.png"
PAGE = "README.md"
TEMPLATE, DIRECTIONS = "template.nii.gz", "directions.safetensors"
#: Label features learned after training, see `training.labels`. In a separate file:
#: without a label the model is the same one, and so is its hash.
LABELS = "labels.safetensors"
#: Features of the training subjects, see `evaluation.privacy_index`.
PRIVACY = "privacy.safetensors"


#: A wheel of its own with the other families, so that the product's wheel stays small.
MORE_MODELS = "stylegan3d_models"


def bundled_model_path(name: str = BUNDLED) -> Path:
    """Folder of a generator that ships with the package, or with `stylegan3d-models`."""
    places = [folder / name for folder in _folders()]
    return next((place for place in places if place.is_dir()), places[0])


def bundled_models() -> list[str]:
    """Names of the installed generators, of every family; the usual one first."""
    found = set()
    for card in (card for folder in _folders() for card in folder.glob(f"*/{CARD}")):
        with suppress(OSError, ValueError):
            if read_json(card, nan_is_none=True).get("format") == FORMAT:
                found.add(card.parent.name)
    return sorted(found, key=lambda name: (name != BUNDLED, name))


def _folders() -> list[Path]:
    """Folders that hold model folders."""
    folders = [Path(str(resources.files("stylegan3d"))) / "weights"]
    if not (folders[0] / BUNDLED).is_dir():
        # An editable install: the weights are next to src/ in the checkout.
        folders = [Path(__file__).resolve().parents[3] / "weights"]
    more = find_spec(MORE_MODELS)
    return folders + [Path(place) for place in (more and more.submodule_search_locations) or []]


SUFFIX, REPEATS_SUFFIX = ".site.safetensors", ".repeats.json"
# A name becomes a file's name.
_NAME = re.compile(r"\w[\w .-]{0,59}", re.ASCII)


def sites_folder() -> Path:
    """The folder of the calibrated sites."""
    return platformdirs.user_data_path("napari-stylegan3d") / "sites"


def site_names() -> list[str]:
    """Names of the calibrated sites."""
    return _names(SUFFIX)


def repeats_names() -> list[str]:
    """Names of the sites that know how far their own repeated scans differ."""
    return _names(REPEATS_SUFFIX)


def site_path(name: str) -> Path:
    """The file of a site; StyleGAN3DError if the name is unsuitable."""
    return _path(name, SUFFIX)


def repeats_path(name: str) -> Path:
    """The file of a site's repeated scans; StyleGAN3DError if the name is unsuitable."""
    return _path(name, REPEATS_SUFFIX)


def _names(suffix: str) -> list[str]:
    return sorted(path.name.removesuffix(suffix) for path in sites_folder().glob(f"*{suffix}"))


def _path(name: str, suffix: str) -> Path:
    if not _NAME.fullmatch(name) or name.endswith((".", " ")):
        raise StyleGAN3DError(
            f"'{name}' cannot be the name of a site: use letters, digits, spaces, dots and dashes."
        )
    return sites_folder() / f"{name}{suffix}"
