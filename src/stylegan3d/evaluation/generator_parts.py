"""The parts of an evaluation that need the generator itself, not only its volumes."""

from __future__ import annotations

from typing import Any

import numpy as np

from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.parts import evenly
from stylegan3d.evaluation.reconstruction import reconstruct
from stylegan3d.evaluation.speed import measure_speed
from stylegan3d.metrics.intervals import bootstrap


def reconstruction(material: Material) -> dict[str, Any]:
    """Validation people through the encoder and by projection, beside yardsticks."""
    rows, limit = material.validation, material.settings.limit_validation
    if limit is not None and limit < len(rows):  # evenly over the table, hence its sources
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
                    lambda values: float(np.median(values)),
                    np.array([person[name][key] for person in result["people"]]),
                )
                for key in ("ssim", "psnr")
            }
    return result


def speed(material: Material) -> dict[str, Any]:
    """Milliseconds per volume."""
    material.report("Speed", 0, 1)
    return measure_speed(material.generator)
