"""Privacy index: closeness of a brain to the training subjects, from stored features.

An index in a model's folder contains the descriptors (`features.describe`) of all training subjects
and their mirror images, and reference distances of unrelated subjects: each validation subject to
the nearest training subject, each training subject to the nearest other one. Images cannot be
recovered from it, but someone with a scan can find out whether it was in the training data.

It depends on the dataset and the feature network, not on the generator, so it can be used for all
models of the same data.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.metrics import pairwise_distances

from stylegan3d.base import SILENT, Progress, StyleGAN3DError
from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation.material import Store
from stylegan3d.evaluation.privacy import feature_distances, nearest_of, same_person
from stylegan3d.geometry.space import Space, as_packed, checked_space, unit
from stylegan3d.metrics import features
from stylegan3d.metrics.features import DESCRIPTOR_SIZE, describe
from stylegan3d.storage.encoding import from_json, read_bytes, unpack
from stylegan3d.storage.encoding import pack as pack_tensors
from stylegan3d.storage.files import atomic_write_bytes
from stylegan3d.storage.places import PRIVACY

KIND = "privacy index"
NETWORK = "encoder of deepbet's LinkNet3d"
#: Brains per stored piece of an interrupted index.
BLOCK = 32


@dataclass(frozen=True, eq=False)
class Nearness:
    """Closeness of a brain to the training subjects.

    Attributes
    ----------
    distance : float
        Distance of its descriptor to that of the nearest subject.
    farther_than : float
        Share of unrelated subjects, 0 to 1, that are closer to their nearest subject.
    mirrored : bool
        Whether a mirror image is nearest.
    people, strangers : int
        Numbers compared.
    """

    distance: float
    farther_than: float
    mirrored: bool
    people: int
    strangers: int


@dataclass(frozen=True, eq=False)
class PrivacyIndex:
    """Descriptors of training subjects, and distances of unrelated subjects.

    Attributes
    ----------
    straight, mirrored : ndarray, shape (subjects, 448), float16
        Training brains and their mirror images.
    strangers : ndarray, shape (m,), float32
        Distances of unrelated subjects to the nearest training subject, ascending.
    space : Space
        Grid of the described volumes.
    feature_mm : float
        Voxel size of the feature network.
    model_hash : str
        Hash of the model in whose folder it is stored.
    """

    straight: np.ndarray
    mirrored: np.ndarray
    strangers: np.ndarray
    space: Space
    feature_mm: float
    model_hash: str = ""

    def check(self, volume: np.ndarray, space: Space) -> Nearness:
        """Compare a brain with the training subjects; takes about half a second.

        Parameters
        ----------
        volume : ndarray, shape (X, Y, Z)
            On the grid of the dataset, uint8 of a pack or float in [0, 1].
        space : Space
            Its grid.

        Raises
        ------
        StyleGAN3DError
            If the grid differs.
        """
        if not self.space.same_as(space):
            raise StyleGAN3DError(
                "This brain is not on the grid of the training brains and cannot be "
                "compared with them: use the model's own grid."
            )
        # As the training brains were stored: 8 bits, clipped.
        rows = describe([as_packed(unit(volume))], space.voxel_size)
        found = feature_distances(
            rows, self.straight.astype(np.float64), self.mirrored.astype(np.float64)
        )
        distance = float(found.distance[0])
        return Nearness(
            distance,
            float((self.strangers < distance).mean()),
            bool(found.mirrored[0]),
            len(self.straight),
            len(self.strangers),
        )

    def to_bytes(self) -> bytes:
        """Content of a safetensors file; deterministic."""
        metadata = {
            "kind": KIND,
            "version": "1",
            "network": NETWORK,
            "feature_mm": f"{self.feature_mm:g}",
            "shape": json.dumps(list(self.space.shape)),
            "affine": json.dumps(self.space.affine.tolist()),
            "model_hash": self.model_hash,
        }
        tensors: dict[str, np.ndarray] = {
            "features": np.stack([self.straight, self.mirrored]).astype(np.float16),
            "strangers": self.strangers.astype(np.float32),
        }
        return pack_tensors(tensors, metadata)


def build_index(
    pack: Pack, model_hash: str = "", progress: Progress = SILENT, work: Path | None = None
) -> PrivacyIndex:
    """Describe the subjects of a dataset.

    Parameters
    ----------
    work : Path or None
        Folder for intermediate results, from which a stopped run resumes; deleted by the caller.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than two training subjects.
    """

    training, validation = pack.indices("train"), pack.indices("validation")
    whose = [pack.table[row]["person"] for row in training]
    if len(set(whose)) < 2:
        raise StyleGAN3DError(
            f"{pack.path} has {len(set(whose))} training subjects; an index needs at least two."
        )
    people = [(row, False) for row in (*training, *validation)] + [(row, True) for row in training]
    store = Store(work)
    key = (pack.volumes_id, NETWORK, features.FEATURE_MM, training.tolist())

    def described(first: int) -> np.ndarray:
        block = people[first : first + BLOCK]
        volumes = [
            np.flip(pack.volumes[row], pack.space.sideways) if mirrored else pack.volumes[row]
            for row, mirrored in block
        ]
        share = progress.part(first, len(block), len(people))
        return describe(volumes, pack.space.voxel_size, progress=share)

    blocks = [
        store.array("people", (*key, first, len(people)), partial(described, first))
        for first in range(0, len(people), BLOCK)
    ]
    rows = np.concatenate(blocks)
    known = len(training)
    return index_of(
        rows[:known],
        rows[known + len(validation) :],
        rows[known : known + len(validation)],
        pack.space,
        model_hash,
        whose,
    )


def index_of(
    straight: np.ndarray,
    mirrored: np.ndarray,
    validation: np.ndarray,
    space: Space,
    model_hash: str = "",
    person: Sequence[object] | None = None,
) -> PrivacyIndex:
    """An index from descriptors [scans, 448], [scans, 448] and [others, 448].

    `person` tells whose the first are, since scans of one person are not unrelated; by default
    everybody's own.
    """
    same = same_person(person, len(straight))
    among = np.stack([pairwise_distances(straight, kind) for kind in (straight, mirrored)], axis=1)
    among = np.where(same[:, None], np.inf, among)
    nearest = nearest_of(among.reshape(len(straight), -1)).distance
    strangers = [nearest[np.isfinite(nearest)]]
    if len(validation):
        strangers.append(feature_distances(validation, straight, mirrored).distance)
    return PrivacyIndex(
        straight.astype(np.float16),
        mirrored.astype(np.float16),
        np.sort(np.concatenate(strangers)).astype(np.float32),
        space,
        features.FEATURE_MM,
        model_hash,
    )


def write_index(folder: Path, index: PrivacyIndex, overwrite: bool = False) -> Path:
    """Write an index to a model's folder; OutputError if that fails."""
    path = folder / PRIVACY
    atomic_write_bytes(path, index.to_bytes(), overwrite=overwrite, suffixes=(".safetensors",))
    return path


def load_index(path: Path) -> PrivacyIndex:
    """Read an index.

    Raises
    ------
    StyleGAN3DError
        If it is missing, damaged, or was made with another feature network.
    """
    data = read_bytes(path, StyleGAN3DError)
    tensors, metadata = unpack(data, kind=KIND, path=path, error=StyleGAN3DError)
    try:
        described, strangers = tensors["features"], tensors["strangers"]
        space = checked_space(from_json(metadata["shape"]), from_json(metadata["affine"]))
        feature_mm = float(metadata["feature_mm"])
        network = metadata["network"]
    except (KeyError, ValueError, TypeError, OverflowError):
        raise _damaged(path) from None
    shapes = described.ndim == 3 and strangers.ndim == 1 and described.size and strangers.size
    finite = np.isfinite(described).all() and np.isfinite(strangers).all()
    right = described.dtype.kind == "f" and described.shape[::2] == (2, DESCRIPTOR_SIZE)
    if not (shapes and finite and right):
        raise _damaged(path)
    if (network, feature_mm) != (NETWORK, features.FEATURE_MM):
        raise StyleGAN3DError(
            f"{path} was made with other features ({network} at {feature_mm:g} mm): make it again "
            "with `stylegan3d model privacy-index`."
        )
    straight, mirrored = described
    model_hash = metadata.get("model_hash", "")
    return PrivacyIndex(straight, mirrored, strangers, space, feature_mm, model_hash)


def _damaged(path: Path) -> StyleGAN3DError:
    return StyleGAN3DError(
        f"{path} is damaged: make it again with `stylegan3d model privacy-index`."
    )
