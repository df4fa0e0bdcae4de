"""Where cubes of synthetic brains differ from people's, and a picture of the surest ones."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from stylegan3d.evaluation.cube_classifier import CubeClassification, classify_cubes
from stylegan3d.evaluation.material import Material
from stylegan3d.metrics.comparison import side_by_side
from stylegan3d.metrics.two_sample import LEAST
from stylegan3d.plain import Json, JsonView

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
    rng = np.random.default_rng(material.settings.seed)
    order = material.subjects[rng.permutation(len(material.subjects))]
    n = min(len(material.synthetic), len(order) // 2)
    if n < LEAST:
        return {"left_out": f"Cubes need {LEAST} synthetic and {2 * LEAST} real volumes."}
    numbers = rng.permutation(len(material.synthetic))[:n]
    half, other = (np.stack(material.volumes(rows)) for rows in (order[:n], order[n : 2 * n]))
    names = [str(material.pack.table[row]["person"]) for row in order]
    seeds = material.seeds(material.settings.samples)

    def told(first: np.ndarray, whose: list[str], what: str) -> CubeClassification:
        return classify_cubes(
            first,
            half,
            [*whose, *names[:n]],
            material.mask,
            material.pack.space,
            seed=material.settings.seed,
            progress=material.progress(what),
        )

    made = told(
        material.synthetic[numbers], [f"synthetic {k}" for k in numbers], "Cubes of random brains"
    )
    real = told(other, names[n : 2 * n], "Cubes of real brains")
    synthetic, people = made.surest(SHOWN)
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
                {"seed": int(seeds[numbers[row]])} | _place(made, cube) for row, cube in synthetic
            ],
            "real": [{"row": int(order[row - n])} | _place(made, cube) for row, cube in people],
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
