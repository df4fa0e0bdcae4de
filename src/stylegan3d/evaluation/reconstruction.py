"""Reconstruction quality of unseen brains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from stylegan3d.devices import computed
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.parts import evenly
from stylegan3d.geometry.intensity import unit
from stylegan3d.measures.similarity import similarity
from stylegan3d.metrics.intervals import bootstrap, median
from stylegan3d.metrics.plausibility import FOREGROUND
from stylegan3d.model.generator import Generator
from stylegan3d.model.sampling import packed_synthesis
from stylegan3d.plain import Json
from stylegan3d.progress import SILENT, Progress
from stylegan3d.projection.projector import project
from stylegan3d.projection.settings import Choices

BLUR_VOXELS = 1.0


def reconstruction(material: Material) -> Json:
    """Reconstruct validation subjects by encoder and projection, with baselines."""
    rows, limit = material.validation, material.settings.limit_validation
    if limit is not None and limit < len(rows):  # evenly over sources
        rows = rows[evenly(len(rows), limit)]
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
                f"{key}_interval": bootstrap(
                    median,
                    np.array([person[name][key] for person in result["people"]]),
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

    def one(volume: np.ndarray) -> dict[str, dict[str, float]]:
        return _one(generator, unit(volume), mean_brain, budget)

    rows = computed(one, people, generator.device, progress)
    result: Json = {"n": len(rows), "budget": budget}
    for name in rows[0] if rows else ():
        measures = rows[0][name]
        result[name] = {k: float(np.median([row[name][k] for row in rows])) for k in measures}
    return result | {"people": rows}


def encode(generator: Generator, volume: np.ndarray) -> np.ndarray | None:
    """A brain (X, Y, Z) through encoder and synthesis without noise; None without an encoder."""
    if generator.encoder is None:
        return None
    return unit(packed_synthesis(generator, latents(generator, [volume]), "none"))


@torch.no_grad()
def latents(generator: Generator, volumes: Sequence[np.ndarray]) -> torch.Tensor:
    """Brains (X, Y, Z), uint8 or in [0, 1], through the encoder: [n, num_layers, w_dim]."""
    assert generator.encoder is not None
    images = (torch.from_numpy(unit(v))[None, None].to(generator.device) * 2 - 1 for v in volumes)
    return torch.cat([generator.encoder(image) for image in images])


def _one(
    generator: Generator, volume: np.ndarray, mean_brain: np.ndarray, budget: str | None
) -> dict[str, dict[str, float]]:
    made = {}
    encoded = encode(generator, volume)
    if encoded is not None:
        made["encoder"] = encoded
    if budget is not None:
        projection = project(generator, volume, space="w+", budget=budget, noise="none")
        made["projected"] = unit(projection.volume)
    made["mean_brain"] = unit(mean_brain)
    made["blurred"] = gaussian_filter(volume, BLUR_VOXELS)
    mask = volume > FOREGROUND
    return {name: similarity(image, volume, mask) for name, image in made.items()}
