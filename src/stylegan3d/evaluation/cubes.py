"""Where synthetic brains differ from real ones, by classifying one cube at a time.

A whole brain may pass while its cortex does not. Boosted trees (Friedman 2001, Annals of Statistics
29) learn from the texture of cubes of 32 mm everywhere in the brain, and are tested on cubes of
brains they have not seen. The regions whose cubes are classified most surely show what to look at.
With a hundred brains on either side, the small network of `two_sample` learns nothing from single
cubes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from scipy.special import logit
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold

from stylegan3d.base import SILENT, Json, JsonView, Progress, StyleGAN3DError
from stylegan3d.devices import computed
from stylegan3d.evaluation.material import Material
from stylegan3d.geometry.space import Space
from stylegan3d.measures.regions import NAMES, region_masks
from stylegan3d.metrics.comparison import Interval, bootstrap, side_by_side
from stylegan3d.metrics.two_sample import LEAST, areas, check_counts
from stylegan3d.networks.resampling import haar

SIDE_MM = 32.0
# Cubes that are tested lie this far apart.
APART_MM = 24.0
FOLDS, TREES = 3, 100
# Haar levels of a cube whose bands are measured; a side is a multiple of 2 to this power.
LEVELS = 3
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
DRAWS = 200


@dataclass(frozen=True, eq=False)
class CubeClassification:
    """What `classify_cubes` found.

    Attributes
    ----------
    scores : ndarray
        [brains, cubes] logits of cubes not learned from, above 0 for the first set.
    corners : ndarray, int
        [cubes, 3] first voxel of each; the same in every brain.
    side : int
        Voxels along an edge.
    regions : list of str
        Where the middle of each lies.
    counts : tuple of int
        Brains of the first and the second set.
    """

    scores: np.ndarray
    corners: np.ndarray
    side: int
    regions: list[str]
    counts: tuple[int, int]

    def accuracy(self, region: str | None = None) -> tuple[float, Interval]:
        """Share of cubes classified correctly, mean of both sets; interval by a bootstrap.

        Parameters
        ----------
        region : str or None
            Of cubes there only.
        """
        chosen = [region in (None, name) for name in self.regions]
        right = self.scores[:, chosen] > 0
        n = self.counts[0]
        first, second = right[:n].mean(axis=1), 1 - right[n:].mean(axis=1)

        def share(a: np.ndarray, b: np.ndarray) -> float:
            return float(a.mean() + b.mean()) / 2

        return share(first, second), bootstrap(share, first, second)

    def auc(self) -> tuple[float, Interval]:
        """Area under the curve of all cubes together; interval by a bootstrap over brains."""

        def area(a: np.ndarray, b: np.ndarray) -> float:
            return float(areas(a.ravel(), b.ravel()))

        first, second = self.scores[: self.counts[0]], self.scores[self.counts[0] :]
        return area(first, second), bootstrap(area, first, second, draws=DRAWS)

    def surest(self, count: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Brain and cube of those classified most surely of each set, at most one of each brain."""
        n = self.counts[0]
        found = []
        for rows, sign in ((range(n), 1), (range(n, sum(self.counts)), -1)):
            best = [(row, int(np.argmax(sign * self.scores[row]))) for row in rows]
            best.sort(key=lambda place: -sign * self.scores[place])
            found.append(best[:count])
        return found[0], found[1]


def classify_cubes(
    first: np.ndarray,
    second: np.ndarray,
    people: Sequence[object],
    mask: np.ndarray,
    space: Space,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
) -> CubeClassification:
    """How well cubes of two sets are distinguished, three-fold cross-validated by person.

    Parameters
    ----------
    first, second : ndarray, shape (n, X, Y, Z), (m, X, Y, Z), uint8
        Volumes of a pack.
    people : sequence of object
        Whose brain each row of both is; a person's brains are never on both sides of a fold.
    mask : ndarray, shape (X, Y, Z), bool
        Where brains are.
    space : Space
        The grid.
    seed : int
        Of folds, weights and cubes.
    progress : callable or None
        Called with how many trainings are done, of how many.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than ten of either, or the grid holds no such cube.
    """
    counts = len(first), len(second)
    check_counts(*counts)
    unit = 2**LEVELS
    side = unit * max(round(SIDE_MM / float(np.mean(space.voxel_size)) / unit), 1)
    corners, regions = _tested(mask, space, side)
    if not len(corners):
        raise StyleGAN3DError("This grid is too small for cubes of 32 mm.")
    y = np.repeat([1, 0], counts)
    volumes = [*first, *second]
    x = np.stack(computed(lambda volume: texture(volume, corners, side), volumes))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(y, y, list(people))
    scores = np.zeros((len(x), len(corners)))
    for done, (known, held) in enumerate(folds, 1):
        judge = HistGradientBoostingClassifier(
            max_iter=TREES, random_state=seed, early_stopping=False
        )
        judge.fit(x[known].reshape(-1, x.shape[2]), np.repeat(y[known], len(corners)))
        found = judge.decision_function(x[held].reshape(-1, x.shape[2]))
        # As if both kinds were equally frequent. Weights would do the same: with them, scikit-learn
        # takes ten times as long to find the bins of a measure.
        scores[held] = found.reshape(len(held), -1) - logit(y[known].mean())
        progress(done, FOLDS)
    return CubeClassification(scores, corners, side, regions, counts)


def _tested(mask: np.ndarray, space: Space, side: int) -> tuple[np.ndarray, list[str]]:
    """First voxels of the cubes whose middle lies in the brain, and the regions there."""
    apart = max(round(APART_MM / float(np.mean(space.voxel_size))), 1)
    axes = [np.arange((n - side) % apart // 2, n - side + 1, apart) for n in mask.shape]
    corners = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    middles = corners + side // 2
    corners = corners[mask[tuple(middles.T)]]
    names = np.zeros(mask.size, int)
    for name, where in region_masks(mask, space).items():
        names[where] = 1 + NAMES.index(name.removeprefix("left ").removeprefix("right "))
    flat = np.ravel_multi_index(tuple((corners + side // 2).T), mask.shape)
    return corners, [NAMES[number - 1] for number in names[flat]]


@torch.no_grad()
def texture(volume: np.ndarray, corners: np.ndarray, side: int) -> np.ndarray:
    """What is measured of each cube of a volume uint8 (X, Y, Z), float32 [cubes, measures].

    Of the Haar bands of three levels the energy (logarithm) and how evenly it is spread; of the
    intensities mean, deviation, skewness, kurtosis and quantiles; mean steps along the axes.
    """
    whole = torch.from_numpy(np.ascontiguousarray(volume)).float() / 255
    cubes = torch.stack(
        [whole[x : x + side, y : y + side, z : z + side] for x, y, z in corners.tolist()]
    )[:, None]
    found, low = [], cubes
    for _ in range(LEVELS):
        bands = haar(low)
        fine, low = bands[:, 1:].flatten(2), bands[:, :1]
        energy = fine.square().mean(dim=2)
        found += [(energy + 1e-6).log(), fine.abs().mean(dim=2) / (energy.sqrt() + 1e-4)]
    flat = cubes.flatten(1)
    mean, deviation = flat.mean(dim=1, keepdim=True), flat.std(dim=1, keepdim=True) + 1e-4
    scaled = (flat - mean) / deviation
    found += [mean, deviation, *(scaled.pow(k).mean(dim=1, keepdim=True) for k in (3, 4))]
    found.append(torch.quantile(flat, torch.tensor(QUANTILES), dim=1).T)
    found += [cubes.diff(dim=k).abs().flatten(1).mean(dim=1, keepdim=True) for k in (2, 3, 4)]
    return torch.cat(found, dim=1).numpy()


# Cubes of each kind in the picture, and how much they are enlarged.
SHOWN, ENLARGED, GAP = 8, 6, 4


def cubes(material: Material) -> Json:
    """How well cubes of 32 mm of random brains are distinguished from people's.

    Returns
    -------
    dict
        "n" brains on either side, half of the people; "accuracy" and "auc" of cubes, "synthetic"
        and, of the other half of the people, "real", each with "_interval"; "regions", the accuracy
        by region in the same form; "surest", "synthetic" and "real" cubes classified most surely:
        "seed" or "row" of the data set, "corner", "side" and "region". "left_out" alone, a
        sentence, where it cannot be measured.
    """
    drawn, half, other = material.groups()
    n, names = len(drawn), material.names
    if n < LEAST:
        return {"left_out": f"Cubes need {LEAST} synthetic and {2 * LEAST} real volumes."}
    people = np.stack(material.volumes(material.subjects[half]))
    seeds = material.seeds(material.settings.samples)

    def told(first: np.ndarray, whose: Iterable[str], what: str) -> CubeClassification:
        return classify_cubes(
            first,
            people,
            [*whose, *names[half]],
            material.mask,
            material.pack.space,
            seed=material.settings.seed,
            progress=material.progress(f"Cubes of {what} brains"),
        )

    made = told(material.synthetic[drawn], [f"synthetic {k}" for k in drawn], "random")
    real = told(np.stack(material.volumes(material.subjects[other])), names[other], "real")
    synthetic, surest = made.surest(SHOWN)
    return {
        "n": n,
        "accuracy": side_by_side(made.accuracy(), real.accuracy()),
        "auc": side_by_side(made.auc(), real.auc()),
        "regions": {
            name: side_by_side(made.accuracy(name), real.accuracy(name))
            for name in dict.fromkeys(made.regions)
        },
        "surest": {
            "synthetic": [
                {"seed": int(seeds[drawn[row]])} | _place(made, cube) for row, cube in synthetic
            ],
            "real": [
                {"row": int(material.subjects[half[row - n]])} | _place(made, cube)
                for row, cube in surest
            ],
        },
    }


def _place(told: CubeClassification, cube: int) -> Json:
    corner = [int(c) for c in told.corners[cube]]
    return {"corner": corner, "side": told.side, "region": told.regions[cube]}


def surest_png(material: Material, part: JsonView) -> bytes:
    """Cubes classified most surely, enlarged: synthetic ones above, real ones below; PNG.

    Each is cut through its middle: axial, coronal and sagittal, one below the other.
    """
    seeds = [cube["seed"] for cube in part["surest"]["synthetic"]]
    rows = np.array([cube["row"] for cube in part["surest"]["real"]], int)
    strips = [
        _strip(list(material.random_brains(seeds)), part["surest"]["synthetic"]),
        _strip(list(material.volumes(rows)), part["surest"]["real"]),
    ]
    gap = np.full((4 * GAP, strips[0].shape[1]), 128, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate([strips[0], gap, strips[1]])).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _strip(volumes: list[np.ndarray], places: list[JsonView]) -> np.ndarray:
    columns = []
    for volume, place in zip(volumes, places, strict=True):
        side, (x, y, z) = place["side"], place["corner"]
        cube = volume[x : x + side, y : y + side, z : z + side]
        middle = side // 2
        tiles = []
        for flat in (cube[:, :, middle], cube[:, middle], cube[middle]):
            picture = Image.fromarray(np.rot90(flat))
            size = (side * ENLARGED, side * ENLARGED)
            tiles.append(np.pad(np.asarray(picture.resize(size, Image.Resampling.BICUBIC)), GAP))
        columns.append(np.concatenate(tiles))
    return np.concatenate(columns, axis=1)
