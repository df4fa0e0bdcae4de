"""What the generator adds to reconstruction from poor data, against simple baselines.

    python benchmarks/operators.py SCANS [--people 6] [--steps 12] [--out TABLE.tsv]

SCANS is a folder of brains on the generator's grid (`sub-*_T1w.nii.gz`) whose `participants.tsv`
says who is for validation: only they are used. From each brain the data are made by an operator,
then the brain is reconstructed from the data alone. Printed is the median PSNR in dB, inside the
brain; for masks inside the mask and the brain.

- data: what the data look like without doing anything (the hole is filled with the mean brain)
- interpolated: cubic splines between thick slices; for masks the harmonic surface through the
  border; for blur and k-space the smoothest image that agrees with the data; for a change of
  contrast the data with the mean brain's histogram
- projected: G(w)
- restored: G(w) with the data put back in (`stylegan3d.projection.restoration`)
- mean brain: the mean brain; "mean + data": with the data put back in, as for G(w)
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from _tables import write_rows
from scipy.interpolate import CubicSpline
from torch import Tensor

from stylegan3d.geometry.space import Space
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.projection import project
from stylegan3d.projection.forward import Operator
from stylegan3d.projection.operators import Contrast, Mask, ThickSlices, parse
from stylegan3d.projection.restoration import harmonic_fill, restore

TASKS = ("thick:5mm:S", "thick:5mm:A", "lesion", "resection", "blur:3mm", "kspace:4x:A", "contrast")
# Radii in mm of the masked ball: a large lesion, a resection.
RADII_MM = {"lesion": 14.0, "resection": 24.0}
# Log gain, offset, log gamma of the changed contrast.
CONTRAST = torch.tensor([-0.4, 0.15, 0.45])
COLUMNS = ("data", "interpolated", "mean brain", "mean + data", "projected", "restored")


def validation_people(folder: Path, count: int) -> list[str]:
    """Evenly spread over the table, so that all sources have a part."""
    with (folder / "participants.tsv").open() as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    people = [row["participant_id"] for row in rows if row["split"] == "validation"]
    return [people[i] for i in np.linspace(0, len(people) - 1, count).round().astype(int)]


def ball(volume: np.ndarray, space: Space, radius_mm: float, seed: int) -> np.ndarray:
    """A ball inside the brain, its middle drawn from the voxels that lie deep enough."""
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(volume > 0.05, sampling=space.voxel_size)
    deep = np.argwhere(depth > min(0.6 * radius_mm, 0.8 * depth.max()))
    middle = deep[np.random.RandomState(seed).randint(len(deep))]
    index = np.indices(space.shape).reshape(3, -1).T
    away = np.linalg.norm((index - middle) * np.asarray(space.voxel_size), axis=1)
    return (away <= radius_mm).reshape(space.shape)


def cubic(data: Tensor, operator: ThickSlices, space: Space) -> np.ndarray:
    """Cubic splines through the slices along each column, in [0, 1]."""
    axis, slices = operator._axis, operator.slices
    assert slices is not None
    matrix = np.linalg.inv(slices.affine) @ space.affine
    place = matrix[axis, axis] * np.arange(space.shape[axis]) + matrix[axis, 3]
    spline = CubicSpline(np.arange(data.shape[2 + axis]), data[0, 0].numpy(), axis=axis)
    return np.clip((spline(place) + 1) / 2, 0, None)


def reconstruct(
    generator: Generator, task: str, volume: np.ndarray, steps: int, seed: int = 0
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """One brain (X, Y, Z) in [0, 1] in every way of `COLUMNS`, and where to compare, bool."""
    space, inside = generator.space, volume > 0.05
    if task in RADII_MM:
        hole = ball(volume, space, RADII_MM[task], seed)
        operator: Operator = Mask(hole).on(space)
        inside = inside & hole
    else:
        operator = parse(task).on(space)
    if isinstance(operator, Contrast):
        operator.values = CONTRAST.clone()
    image = torch.from_numpy(volume)[None, None] * 2 - 1
    mean = torch.from_numpy(generator.template)[None, None] * 2 - 1
    with torch.no_grad():
        data = operator(image)
    seen = operator.simulate(image)
    seen = shown(operator.fill(seen, mean) if isinstance(operator, Mask) else seen)
    result = project(generator, seen, steps=steps, operator=operator, data=data)
    made = torch.from_numpy(result.volume)[None, None] * 2 - 1
    if isinstance(operator, ThickSlices):
        interpolated = cubic(data, operator, space)
    elif isinstance(operator, Contrast):
        interpolated = matched(seen, generator.template, volume > 0.05)
    elif isinstance(operator, Mask):
        interpolated = harmonic_fill(volume, operator.mask)
    else:
        interpolated = shown(restore(operator, -torch.ones_like(image), data))
    return {
        "data": seen,
        "interpolated": interpolated,
        "mean brain": shown(mean),
        "mean + data": shown(restore(operator, mean, data)),
        "projected": result.volume,
        "restored": shown(restore(operator, made, data)),
    }, inside


def matched(volume: np.ndarray, template: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """A brain with the mean brain's histogram."""
    from skimage.exposure import match_histograms

    result = volume.copy()
    result[inside] = match_histograms(volume[inside], template[template > 0.05])
    return result


def shown(image: Tensor) -> np.ndarray:
    """[1, 1, X, Y, Z] in [-1, 1] -> (X, Y, Z) in [0, 1]."""
    return np.clip((image[0, 0].detach().numpy() + 1) / 2, 0, None)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio, dB, of intensities in [0, 1]."""
    return float(-10 * np.log10(np.mean((a - b) ** 2)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path)
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--out", type=Path, help="write every measurement here")
    args = parser.parse_args()
    generator = load(args.model)
    people = validation_people(args.scans, args.people)
    rows = []
    for task in args.tasks:
        for seed, person in enumerate(people):
            data = np.asarray(nib.load(args.scans / f"{person}_T1w.nii.gz").dataobj)
            volume = data.astype(np.float32) / 255
            ways, inside = reconstruct(generator, task, volume, args.steps, seed)
            found = {way: psnr(x[inside], volume[inside]) for way, x in ways.items()}
            rows.append({"task": task, "person": person, **found})
            print(task, person, *(f"{found[way]:.2f}" for way in COLUMNS), flush=True)
    print("\n| task |", " | ".join(COLUMNS), "|\n|---|" + "---|" * len(COLUMNS))
    for task in args.tasks:
        part = [row for row in rows if row["task"] == task]
        medians = (np.median([row[way] for row in part]) for way in COLUMNS)
        print(f"| {task} |", " | ".join(f"{value:.1f}" for value in medians), "|")
    if args.out is not None:
        write_rows(rows, args.out)


if __name__ == "__main__":
    main()
