"""Compactness, generalisation and specificity against the number of components.

The three measures of a statistical shape model (Davies 2002, "Learning Shape: Optimal Models for
Analysing Natural Variability", PhD thesis, University of Manchester; Styner et al. 2003,
"Evaluation of 3D correspondence methods for model building", IPMI, LNCS 2732, section 2.3), here
of whole images, with those of principal components of voxels of the same subjects beside them.
With the variances lambda_m of M components, unseen subjects x_i, their reconstructions x_i'(M) from
M components, random members y_a(M) of the model, and training subjects t_j:

- compactness C(M), the sum of the first M lambda_m, as a share of their total;
- generalisation G(M), the mean over i of |x_i - x_i'(M)|;
- specificity S(M), the mean over a of min_j |y_a(M) - t_j|.

The norm is the root mean square over voxels. The papers leave one subject out at a time; here
held-out subjects are unseen, so that a network need not be trained again.

A generator is not linear in its latents. Its components are the principal components of the
training subjects' reconstructions in voxels, each as a mixture of their latents: of all directions
in latent space they change the images most. A subject's coordinates are those of least squares,
found by Gauss-Newton steps with a constant Jacobian, as in active appearance models (Cootes,
Edwards, Taylor 2001, PAMI 23(6)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from stylegan3d.devices import computed
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.parts import evenly, latents
from stylegan3d.geometry.intensity import unit
from stylegan3d.metrics.comparison import bootstrap, estimated, mean
from stylegan3d.model.generator import Generator, packed_synthesis
from stylegan3d.plain import Json
from stylegan3d.progress import followed

# Training subjects at most, for memory; steps of a fit; random members for each number.
MOST, STEPS, SAMPLES = 400, 3, 40
# Components below this share of the first one's variance, or of all squares, are rounding errors.
LEAST, ROUNDING = 1e-6, 1e-10


@dataclass(frozen=True, eq=False)
class Components:
    """Principal components of n rows.

    Attributes
    ----------
    mean : ndarray, shape (D,)
    vectors : ndarray, shape (K, D), float32
        Orthonormal, in order of their variance.
    variances : ndarray, shape (K,)
    mixtures : ndarray, shape (K, n)
        Each vector as a mixture of the rows minus their mean.
    """

    mean: np.ndarray
    vectors: np.ndarray
    variances: np.ndarray
    mixtures: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Components:
        """From `rows` [n, D], by the Gram matrix; K is at most n - 1."""
        mean = rows.mean(axis=0)
        centred = rows - mean
        squares, mixtures = np.linalg.eigh((centred @ centred.T).astype(np.float64))
        squares, mixtures = squares[::-1], mixtures[:, ::-1]
        least = max(LEAST * squares[0], ROUNDING * float(np.square(rows).sum()))
        kept = min(len(rows) - 1, int((squares > least).sum()))
        squares = squares[:kept]
        mixtures = (mixtures[:, :kept] / np.sqrt(squares)).T.astype(np.float32)
        return cls(mean, mixtures @ centred, squares / (len(rows) - 1), mixtures)


class ShapeModel(Protocol):
    """Principal components of training subjects, in some representation."""

    components: Components

    def drawn(self, coordinates: np.ndarray) -> np.ndarray:
        """The image [D] of coordinates [k], in [0, 1]."""
        ...

    def errors(self, image: np.ndarray, counts: Sequence[int]) -> list[float]:
        """Errors of an image [D] reconstructed from the first k components, for ascending k."""
        ...


class VoxelModel:
    """Principal components of training subjects in voxels, the model to compare with."""

    def __init__(self, training: np.ndarray) -> None:
        self.components = Components.of(training)

    def drawn(self, coordinates: np.ndarray) -> np.ndarray:
        """See `ShapeModel`."""
        vectors = self.components.vectors[: len(coordinates)]
        return (self.components.mean + coordinates @ vectors).clip(0, 1)

    def errors(self, image: np.ndarray, counts: Sequence[int]) -> list[float]:
        """See `ShapeModel`; least squares."""
        coordinates = self.components.vectors @ (image - self.components.mean)
        return [distance(self.drawn(coordinates[:k]), image) for k in counts]


class LatentModel:
    """The same of a generator's latents.

    Parameters
    ----------
    w : torch.Tensor, shape (n, num_layers, w_dim)
        Latents of the training subjects.
    draw : callable
        A latent [1, num_layers, w_dim] to the voxels [D] of its brain, in [0, 1].
    """

    def __init__(self, w: torch.Tensor, draw: Callable[[torch.Tensor], np.ndarray]) -> None:
        self._draw = draw
        self.reconstructed = np.stack([draw(row[None]) for row in w])
        self.components = Components.of(self.reconstructed)
        self._mean = w.mean(dim=0, keepdim=True)
        mixtures = torch.from_numpy(self.components.mixtures).to(w)
        self._modes = (mixtures @ (w - self._mean).flatten(1)).reshape(-1, *w.shape[1:])

    def drawn(self, coordinates: np.ndarray) -> np.ndarray:
        """See `ShapeModel`."""
        along = torch.from_numpy(coordinates.astype(np.float32)).to(self._mean)
        return self._draw(self._mean + torch.tensordot(along, self._modes[: len(along)], 1))

    def errors(self, image: np.ndarray, counts: Sequence[int]) -> list[float]:
        """See `ShapeModel`; least squares.

        Each fit starts at the coordinates with fewer components; the best of `STEPS` steps is kept.
        """
        best, seen = np.zeros(0, np.float32), self.drawn(np.zeros(0, np.float32))
        least, found = distance(seen, image), []
        for k in counts:
            best, step = np.pad(best, (0, k - len(best))), 1.0
            for _ in range(STEPS):
                tried = best + step * (self.components.vectors[:k] @ (image - seen))
                drawn = self.drawn(tried)
                error = distance(drawn, image)
                if error < least:
                    best, seen, least = tried, drawn, error
                else:
                    step /= 2
            found.append(least)
        return found


def shape_statistics(material: Material) -> Json:
    """Compactness, generalisation and specificity of a generator and of components of voxels.

    Returns
    -------
    dict
        "training", "held_out": numbers of subjects, "samples": of random members. "components":
        numbers of components, powers of two and all. Then lists with an entry for each:
        "compactness" with "model" and "voxels", shares of their own variance;
        "generalisation" and "specificity" with "model", "voxels" and "difference" (model minus
        voxels, of the same subjects or draws), each with an "_interval"; intensities in [0, 1]
        inside the mean brain. "specificity" also has "held_out", the same distance of real unseen
        subjects, with "held_out_interval". "variance": total of the model relative to voxels. Only
        "left_out", a sentence, without an encoder.
    """
    generator = material.generator
    if generator.encoder is None:
        return {"left_out": f"{generator.name} has no encoder for the latents of subjects."}
    inside = material.mask
    rows = material.training[evenly(len(material.training), MOST)]
    training, unseen = (
        np.stack([unit(volume[inside]) for volume in material.volumes(chosen)])
        for chosen in (rows, material.validation)
    )
    w = torch.cat([latents(generator, [volume]) for volume in material.volumes(rows)])
    model, voxels = LatentModel(w, _drawing(generator, inside)), VoxelModel(training)
    both: dict[str, ShapeModel] = {"model": model, "voxels": voxels}
    variances = {name: each.components.variances for name, each in both.items()}
    counts = _counts(min(map(len, variances.values())))
    if not counts:
        return {"left_out": f"{generator.name} reconstructs all training subjects alike."}
    errors = _errors(material, both, unseen, counts)
    distances, real = _distances(material, both, training, unseen, counts)
    return {
        "training": len(rows),
        "held_out": len(unseen),
        "samples": SAMPLES,
        "components": counts,
        "compactness": {
            name: (np.cumsum(values) / values.sum())[np.array(counts) - 1]
            for name, values in variances.items()
        },
        "variance": float(variances["model"].sum() / variances["voxels"].sum()),
        "generalisation": _beside(*errors),
        "specificity": _beside(*distances) | estimated("held_out", mean, real),
    }


def _errors(
    material: Material, both: Mapping[str, ShapeModel], unseen: np.ndarray, counts: Sequence[int]
) -> np.ndarray:
    """Errors of unseen subjects, [models, subjects, counts]."""

    def one(image: np.ndarray) -> list[list[float]]:
        return [each.errors(image, counts) for each in both.values()]

    progress = material.progress("Generalisation")
    return np.stack(computed(one, unseen, material.device, progress), axis=1)


def _distances(
    material: Material,
    both: Mapping[str, ShapeModel],
    training: np.ndarray,
    unseen: np.ndarray,
    counts: Sequence[int],
) -> tuple[np.ndarray, np.ndarray]:
    """Of random members [models, members, counts], and of unseen subjects, to the nearest."""
    nearest = _to_nearest(training)
    found = np.empty((len(both), SAMPLES, len(counts)))
    rng = np.random.default_rng(material.settings.seed)
    drawn = rng.standard_normal((SAMPLES, counts[-1]))
    for done, normal in enumerate(followed(drawn, material.report, "Specificity")):
        for each, row in zip(both.values(), found, strict=True):
            coordinates = normal * np.sqrt(each.components.variances[: counts[-1]])
            row[done] = [nearest(each.drawn(coordinates[:k])) for k in counts]
    return found, np.array([nearest(image) for image in unseen])


def _drawing(generator: Generator, inside: np.ndarray) -> Callable[[torch.Tensor], np.ndarray]:
    """Latent to voxels inside the brain; without noise, which belongs to no scan."""
    return lambda w: unit(packed_synthesis(generator, w, "none")[inside])


def _counts(most: int) -> list[int]:
    """Powers of two below `most`, and `most`; empty for 0."""
    return (
        []
        if not most
        else [*(2**power for power in range(most.bit_length()) if 2**power < most), most]
    )


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square difference."""
    return float(np.sqrt(np.mean(np.square(a - b))))


def _to_nearest(training: np.ndarray) -> Callable[[np.ndarray], float]:
    """`distance` from an image to the nearest of training subjects [n, D]."""
    squares = np.square(training).mean(axis=1, dtype=np.float64)

    def nearest(image: np.ndarray) -> float:
        products = 2 / len(image) * (training @ image)
        own = np.square(image).mean(dtype=np.float64)
        return float(np.sqrt(max((squares - products + own).min(), 0.0)))

    return nearest


def _beside(model: np.ndarray, voxels: np.ndarray) -> Json:
    """Means over the first axis [n, counts] with intervals, and those of the differences."""
    found: Json = {}
    values = {"model": model, "voxels": voxels, "difference": model - voxels}
    for name, each in values.items():
        found[name] = each.mean(axis=0)
        found[f"{name}_interval"] = [bootstrap(np.mean, column) for column in each.T]
    return found
