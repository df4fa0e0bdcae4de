"""File names in a model folder, and the location of the bundled models."""

from __future__ import annotations

from contextlib import suppress
from importlib import resources
from pathlib import Path

from stylegan3d.storage.jsontext import read_json

BUNDLED = "brain-t1-2mm"
FORMAT = "stylegan3d"
MODEL, ENCODER, CARD = "model.safetensors", "encoder.safetensors", "card.json"
MONTAGE = "montage.png"
TEMPLATE, DIRECTIONS = "template.nii.gz", "directions.safetensors"
#: Label features learned after training, see `training.labels`. In a separate file:
#: without a label the model is the same one, and so is its hash.
LABELS = "labels.safetensors"


def bundled_model_path(name: str = BUNDLED) -> Path:
    """Folder of a generator that ships with the package."""
    installed = Path(str(resources.files("stylegan3d"))) / "weights" / name
    if installed.is_dir():
        return installed
    # An editable install: the weights are next to src/ in the checkout.
    return Path(__file__).resolve().parents[3] / "weights" / name


def bundled_models() -> list[str]:
    """Names of the generators that ship with the package, of every family; the usual one first."""
    weights = bundled_model_path().parent
    found = []
    for card in sorted(weights.glob(f"*/{CARD}")):
        with suppress(OSError, ValueError):
            if read_json(card, nan_is_none=True).get("format") == FORMAT:
                found.append(card.parent.name)
    return sorted(found, key=lambda name: name != BUNDLED)
