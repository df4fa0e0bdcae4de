"""Parts of an evaluation: functions from a `Material` to figures as plain data.

Compactness, generalisation and specificity against the number of components.

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

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from stylegan3d.base import SILENT, Json, Progress, followed
from stylegan3d.dataset.pack import evenly
from stylegan3d.devices import computed
from stylegan3d.evaluation.material import Material, Volumes
from stylegan3d.geometry.space import unit
from stylegan3d.measures.similarity import similarity
from stylegan3d.metrics.comparison import (
    Measure,
    beside_real,
    compare_with_halves,
    compare_with_validation,
    difference,
    estimated,
    group_size,
    interval,
    mean,
    median,
    members_interval,
    pairs_interval,
    side_by_side,
    wilson,
)
from stylegan3d.metrics.distances import (
    BATCH,
    FEWEST_LEFT_OUT,
    NEIGHBOURS,
    Moments,
    bmmd2_intervals,
    coverage,
    density,
    diagonal_distance,
    discrepancy_interval,
    expected_bmmd2,
    frechet_distance,
    kernel_distance,
    precision,
    real_bmmd2,
    recall,
)
from stylegan3d.metrics.diversity import (
    collapse,
    dimensions,
    member_correlations,
    pair_ms_ssim,
    random_pairs,
    scales_of,
    spread,
)
from stylegan3d.metrics.features import FEATURE_MM
from stylegan3d.metrics.plausibility import (
    CHECKS,
    FOREGROUND,
    PlausibilityLimits,
    measure_brains,
    pass_rate,
)
from stylegan3d.metrics.two_sample import LEAST, two_sample
from stylegan3d.model.generator import Generator, encoded_volumes, packed_synthesis
from stylegan3d.projection.projector import project
from stylegan3d.projection.settings import Choices

BLUR_VOXELS = 1.0


def reconstruction(material: Material) -> Json:
    """Reconstruct validation subjects by encoder and projection, with baselines."""
    most = material.settings.limit_validation or len(material.validation)
    rows = material.validation[evenly(len(material.validation), most)]  # over all sources
    result = reconstruct(
        material.generator,
        material.volumes(rows),
        material.pack.template,
        budget=material.settings.budget,
        progress=material.progress("Reconstruction"),
    )
    for row, person in zip(rows, result["people"], strict=True):
        person["name"] = material.pack.table[row]["name"]
    for name in result["people"][0]:
        if isinstance(result.get(name), dict):
            result[name] |= {
                f"{key}_interval": interval(
                    median, np.array([person[name][key] for person in result["people"]])
                )
                for key in ("ssim", "psnr")
            }
    return result


def reconstruct(
    generator: Generator,
    people: Sequence[np.ndarray],
    mean_brain: np.ndarray,
    *,
    budget: str | None = Choices.budget,
    progress: Progress = SILENT,
) -> Json:
    """Reconstruct real brains, and compare inside the brain (above 0.05) in [0, 1].

    Parameters
    ----------
    people : sequence of ndarray
        Each (X, Y, Z) on the generator's grid, uint8 of a pack or float in [0, 1], of held-out
        subjects.
    mean_brain : ndarray, shape (X, Y, Z)
        Mean of the training subjects, values in [0, 1].
    budget : str or None
        Budget of the projection in w+ (`stylegan3d.project`), or None to leave it out.
    progress : Progress
        Called with subjects done and total.

    Returns
    -------
    dict
        For "encoder" (one pass, no optimisation; missing if the model has none), "projected" (in
        w+, without noise), and the baselines "mean_brain" and "blurred" (the scan blurred by one
        voxel): medians of "psnr" (dB), "ssim", "ncc" and "mae". "people" are the individual rows,
        "n" their number.
    """
    one = partial(_one, generator, mean_brain, budget)
    rows = computed(one, people, generator.device, progress)
    result: Json = {"n": len(rows), "budget": budget}
    for name in rows[0] if rows else ():
        result[name] = {k: float(np.median([row[name][k] for row in rows])) for k in rows[0][name]}
    return result | {"people": rows}


def encode(generator: Generator, volume: np.ndarray) -> np.ndarray:
    """A brain (X, Y, Z) through encoder and synthesis without noise."""
    return unit(packed_synthesis(generator, encoded_volumes(generator, [volume]), "none"))


def encoded(
    generator: Generator, volumes: Iterable[np.ndarray], progress: Progress = SILENT
) -> np.ndarray:
    """Latents of brains from the generator's encoder, mean over layers: [n, w_dim].

    Synthetic and real brains are encoded alike, so that losses of the encoder affect both.
    """
    rows = [encoded_volumes(generator, [volume]) for volume in followed(list(volumes), progress)]
    return torch.cat(rows).mean(dim=1).double().cpu().numpy()


def _one(
    generator: Generator, mean_brain: np.ndarray, budget: str | None, volume: np.ndarray
) -> dict[str, dict[str, float]]:
    made, volume = {}, unit(volume)
    if generator.encoder is not None:
        made["encoder"] = encode(generator, volume)
    if budget is not None:
        projection = project(generator, volume, space="w+", budget=budget, noise="none")
        made["projected"] = unit(projection.volume)
    made["mean_brain"] = unit(mean_brain)
    made["blurred"] = gaussian_filter(volume, BLUR_VOXELS)
    mask = volume > FOREGROUND
    return {name: similarity(image, volume, mask) for name, image in made.items()}


# Number of subjects whose latents are compared with random brains.
ENCODED = 100


def fidelity(material: Material) -> Json:
    """FID, KID, precision, density and bMMD2."""
    settings, known = material.settings, material.known
    synthetic, real = material.synthetic_features, material.subject_features
    drawn = {"repeats": settings.repeats, "seed": settings.seed}
    result: Json = {"network": f"encoder of deepbet's LinkNet3d at {FEATURE_MM:g} mm"}
    measures = {"fid": frechet_distance, "fid_diagonal": diagonal_distance, "kid": kernel_distance}
    for name, measure in measures.items():
        result[name] = compare_with_halves(measure, synthetic, real, **drawn)
        held_out = compare_with_validation(measure, synthetic, real[:known], real[known:], **drawn)
        result[f"{name}_validation"] = held_out
    # Unbiased at any size: all random brains are used at once.
    value, bounds = discrepancy_interval(synthetic, real[known:])
    figure = result["kid_validation"]
    figure |= {**beside_real(value, bounds, figure["real"]), "n": len(synthetic)}
    return (
        result | _shares(material, {"precision": precision, "density": density}) | _bmmd2(material)
    )


def _bmmd2(material: Material) -> Json:
    """bMMD2 to all people beside that of people, and to held-out people beside training people."""
    made = Moments.of(material.synthetic)
    volumes, known = material.volumes(material.subjects), material.known
    training, held_out = volumes[:known], volumes[known:]
    people = Moments.of(volumes)
    found = {"bmmd2": _bmmd2_beside(material, made, volumes, people, real_bmmd2(people))}
    if len(held_out) >= FEWEST_LEFT_OUT:
        target, near = Moments.of(held_out), Moments.of(training)
        baseline = expected_bmmd2(near, target)
        beside = bmmd2_intervals(training, held_out, near, target)["synthetic_interval"]
        found["bmmd2_validation"] = _bmmd2_beside(material, made, held_out, target, baseline)
        found["bmmd2_validation"]["real_interval"] = beside
    return found


def _bmmd2_beside(
    material: Material, made: Moments, volumes: Volumes, people: Moments, baseline: float
) -> Json:
    intervals = bmmd2_intervals(material.synthetic, volumes, made, people)
    distance = expected_bmmd2(made, people)
    return {
        "synthetic": distance,
        "real": baseline,
        "ratio": distance / baseline,
        "batch": BATCH,
        "variance_ratio": made.variance / people.variance,
        "ratio_interval": [b / baseline for b in intervals["synthetic_interval"]],
        **intervals,
    }


def two_sample_part(material: Material) -> Json:
    """Classifier two-sample test of synthetic, and of real brains, against half of the subjects."""
    drawn, half, other = material.groups()
    n, names = len(drawn), material.names
    if n < LEAST:
        needed = f"{LEAST} synthetic and {2 * LEAST} real volumes"
        return {"left_out": f"The two-sample test needs {needed}."}
    people = np.stack(material.volumes(material.subjects[half]))

    def told(first: np.ndarray, whose: Iterable[str], what: str) -> Json:
        progress = material.progress(f"Comparing {what} with real")
        seed = material.settings.seed
        return two_sample(first, people, [*whose, *names[half]], seed=seed, progress=progress)

    nobody = [f"synthetic {i}" for i in range(n)]
    real = np.stack(material.volumes(material.subjects[other]))
    found = [told(material.synthetic[drawn], nobody, "synthetic"), told(real, names[other], "real")]
    return {"n": n} | {
        name: {"n": n} | side_by_side(*((told[name], told[f"{name}_interval"]) for told in found))
        for name in ("accuracy", "auc")
    }


def diversity(material: Material) -> Json:
    """MS-SSIM and correlation of pairs, recall, coverage, spread, and mode collapse."""
    correlation = _correlations(material)
    alike = (1 - correlation["synthetic"]) / max(1 - correlation["real"], 1e-12)
    upper = (1 - correlation["synthetic_interval"][0]) / max(1 - correlation["real"], 1e-12)
    made, real = material.synthetic_features, material.subject_features
    found = collapse(made, real, alike, upper)
    return {
        **_ms_ssim(material),
        "pair_correlation": correlation,
        **_shares(material, {"recall": recall, "coverage": coverage}),
        **_spreads("feature", material, made, real),
        **_latent_spread(material),
        "collapse": found,
    }


def _ms_ssim(material: Material) -> Json:
    """MS-SSIM of pairs."""
    settings, shown = material.settings, {}
    part: Json = {"pairs": {}}
    for name, volumes in _both(material).items():
        pairs = random_pairs(len(volumes), settings.pairs, settings.seed)
        scores = pair_ms_ssim(volumes, pairs, material.progress(f"MS-SSIM, {name}"))
        part["pairs"][name] = len(scores)
        part[name] = float(scores.mean())
        part[f"{name}_sd"] = float(scores.std())
        part[f"{name}_interval"] = pairs_interval(scores, pairs)
        shown[name] = scores.round(5)
    part |= _difference(part) | {"scales": scales_of(material.pack.space.shape)}
    return {"ms_ssim": part, "values": {"ms_ssim": shown}}


def _correlations(material: Material) -> Json:
    part: Json = {}
    for name, volumes in _both(material).items():
        members = member_correlations(volumes, material.mask)
        part |= {name: float(members.mean()), f"{name}_interval": members_interval(members)}
    return part | _difference(part)


def _difference(part: Json) -> Json:
    made, real = part["synthetic"], part["real"]
    interval = difference(part["synthetic_interval"], made, part["real_interval"], real)
    return {"difference": made - real, "difference_interval": interval}


def _both(material: Material) -> dict[str, Volumes]:
    return {"synthetic": material.synthetic, "real": material.volumes(material.subjects)}


def _spreads(kind: str, material: Material, made: np.ndarray, real: np.ndarray) -> Json:
    drawn = {"repeats": material.settings.repeats, "seed": material.settings.seed}
    measures: dict[str, Measure] = {"spread": spread, "dimensions": dimensions}
    return {
        f"{kind}_{name}": compare_with_halves(measure, made, real, **drawn)
        for name, measure in measures.items()
    }


def _latent_spread(material: Material) -> Json:
    """Spread of encoder latents; empty without an encoder."""
    if not material.has_generator or material.generator.encoder is None:
        return {}
    rows = material.subjects[evenly(len(material.subjects), ENCODED)]
    brains = material.synthetic[evenly(len(material.synthetic), ENCODED)]
    generator = material.generator
    made = encoded(generator, brains, material.progress("Latents of random brains"))
    real = encoded(generator, material.volumes(rows), material.progress("Latents of subjects"))
    return _spreads("latent", material, made, real)


def _shares(material: Material, measures: dict[str, Measure]) -> Json:
    """Nearest-neighbour figures, or under "missing" why there are none."""
    synthetic, real = material.synthetic_features, material.subject_features
    if group_size(len(synthetic), len(real)) <= NEIGHBOURS:
        why = f"It takes {2 * NEIGHBOURS + 2} random brains and subjects, or more."
        return {"missing": dict.fromkeys(measures, why)}
    drawn = {"repeats": material.settings.repeats, "seed": material.settings.seed}
    found = {}
    for name, measure in measures.items():
        found[name] = compare_with_halves(measure, synthetic, real, **drawn)
        low, high = found[name]["synthetic_interval"]
        if name != "density":  # has no upper bound
            found[name]["synthetic_interval"] = (max(low, 0.0), min(high, 1.0))
    return found


def plausibility(material: Material) -> Json:
    """Pass rates of random brains and validation subjects, with limits from training subjects."""
    space = material.pack.space

    def measured(volumes: Volumes, who: str) -> Any:
        return measure_brains(volumes, space, material.progress(f"Plausibility, {who}"))

    training = measured(material.volumes(material.training), "training subjects")
    limits = PlausibilityLimits.of(training)
    held_out = measured(material.volumes(material.validation), "validation subjects")
    random = measured(material.synthetic, "random brains")
    made = pass_rate(random, limits)
    seeds = material.seeds(material.settings.samples)
    for row in made["failed"]:
        row["seed"] = seeds[row.pop("index")]
        row["label"] = material.label(row["seed"])
    real = pass_rate(held_out, limits)
    for part in (made, real):
        part["rate_interval"] = wilson(part["passed"], part["n"])
    values = {
        name: {
            key: [round(getattr(brain, name), 5) for brain in brains]
            for key, brains in (("synthetic", random), ("real", [*training, *held_out]))
        }
        for name in CHECKS
    }
    return {"limits": limits.bounds, "validation": real, "synthetic": made, "values": values}


# Training subjects at most, for memory; steps of a fit; random members for each number.
MOST, STEPS, SAMPLES = 400, 3, 40
# Components below this share of the first one's variance, or of all squares, are rounding errors.
LEAST_VARIANCE, ROUNDING = 1e-6, 1e-10


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
        least = max(LEAST_VARIANCE * squares[0], ROUNDING * float(np.square(rows).sum()))
        kept = min(len(rows) - 1, int((squares > least).sum()))
        squares = squares[:kept]
        mixtures = (mixtures[:, :kept] / np.sqrt(squares)).T.astype(np.float32)
        return cls(mean, mixtures @ centred, squares / (len(rows) - 1), mixtures)


class VoxelModel:
    """Principal components of training subjects in voxels, the model to compare with."""

    def __init__(self, training: np.ndarray) -> None:
        self.components = Components.of(training)

    def drawn(self, coordinates: np.ndarray) -> np.ndarray:
        """The image [D] of coordinates [k], in [0, 1]."""
        vectors = self.components.vectors[: len(coordinates)]
        return (self.components.mean + coordinates @ vectors).clip(0, 1)

    def errors(self, image: np.ndarray, counts: Sequence[int]) -> list[float]:
        """Of an image [D] by least squares from the first k components, for ascending k."""
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
        """See `VoxelModel`."""
        along = torch.from_numpy(coordinates.astype(np.float32)).to(self._mean)
        return self._draw(self._mean + torch.tensordot(along, self._modes[: len(along)], 1))

    def errors(self, image: np.ndarray, counts: Sequence[int]) -> list[float]:
        """See `VoxelModel`.

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


ShapeModel = VoxelModel | LatentModel


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
    w = encoded_volumes(generator, material.volumes(rows))
    model, voxels = LatentModel(w, _drawing(generator, inside)), VoxelModel(training)
    both: dict[str, ShapeModel] = {"model": model, "voxels": voxels}
    variances = {name: each.components.variances for name, each in both.items()}
    counts = _counts(min(map(len, variances.values())))
    if not counts:
        return {"left_out": f"{generator.name} reconstructs all training subjects alike."}

    def errors_of(image: np.ndarray) -> list[list[float]]:
        return [each.errors(image, counts) for each in both.values()]

    progress = material.progress("Generalisation")
    errors = np.stack(computed(errors_of, unseen, material.device, progress), axis=1)
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
    drawn = np.random.default_rng(material.settings.seed).standard_normal((SAMPLES, counts[-1]))
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
    powers = [2**power for power in range(most.bit_length()) if 2**power < most]
    return [*powers, most] if most else []


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
        found[f"{name}_interval"] = [interval(mean, column) for column in each.T]
    return found
