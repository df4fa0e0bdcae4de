"""Scans restored at their own resolution, against interpolation: error inside the brain.

    python benchmarks/native_restoration.py SCAN... [--operator thick:5mm:S] [--budget draft]
        [--model-grid] [--out TABLE.tsv]

Each SCAN has cubic voxels of about 1 mm. It is degraded on its own grid (`thick:`: as many slices
as give the thickness are averaged, from the bottom; `blur:`), written, read again, aligned,
projected through the operator as `stylegan3d project --operator` does, and restored. Printed is the
PSNR in dB inside the brain, where 1 is the 99.5th percentile of the brain:

- interpolated: cubic splines through the thick slices; the blurred scan as it is
- consistent: cubic splines whose slices are the thick ones, too; for blur the same as interpolated
- model: the brain restored on the model's grid, interpolated to the scan's (with `--model-grid` or
  for blur; of thick slices this takes a minute or more)
- mean brain: restored, with the mean brain in place of the generator's
- restored: as `project` writes it
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
from _tables import write_rows
from scipy.ndimage import gaussian_filter

from stylegan3d.geometry.space import Space
from stylegan3d.model.generator import Generator
from stylegan3d.model.loading import load
from stylegan3d.outputs.restored import restored_brain, restored_scan
from stylegan3d.projection.operators import Blur, ThickSlices, parse
from stylegan3d.projection.pipeline import align, search
from stylegan3d.projection.settings import Choices
from stylegan3d.scans.reading import read_scan
from stylegan3d.scans.resampling import resample

COLUMNS = ("interpolated", "consistent", "model", "mean brain", "restored")


def degraded(path: Path, words: str) -> tuple[np.ndarray, Space, np.ndarray, Space, str]:
    """Truth and its grid, data and theirs, and the operator as it was applied."""
    image = nib.load(path)
    space = Space(image.shape[:3], image.affine)
    truth = np.asarray(image.dataobj, np.float32).reshape(space.shape)
    operator = parse(words)
    if isinstance(operator, Blur):
        sigma = operator.sigma_mm / np.array(space.voxel_size)
        return truth, space, gaussian_filter(truth, sigma), space, words
    assert isinstance(operator, ThickSlices)
    axis = "RLAPSI".index(operator.direction) // 2
    axis = next(i for i, code in enumerate(space.axcodes) if "RLAPSI".index(code) // 2 == axis)
    count = round(operator.thickness_mm / space.voxel_size[axis])
    slices = space.shape[axis] // count
    truth = np.moveaxis(np.moveaxis(truth, axis, -1)[..., : slices * count], -1, axis)
    fine = Space(truth.shape, space.affine)
    shape = tuple(slices if i == axis else n for i, n in enumerate(fine.shape))
    parts = np.moveaxis(truth, axis, -1).reshape(*np.delete(truth.shape, axis), slices, count)
    data = np.moveaxis(parts.mean(axis=-1), -1, axis)
    told = words.replace(words.split(":")[1], f"{count * space.voxel_size[axis]:g}mm")
    return truth, fine, data, fine.resized(shape), told


def measured(
    generator: Generator, path: Path, words: str, budget: str, *, model_grid: bool
) -> dict[str, float]:
    """PSNR in dB of every way of `COLUMNS`."""
    truth, fine, data, space, told = degraded(path, words)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        nib.save(nib.Nifti1Image(data, space.affine), file)
        scan = read_scan(file)
    operator = parse(told)
    found = align(scan, generator)
    projected = search(generator, found, found, Choices(budget=budget), operator=operator)
    bound, made = operator.on(generator.space, found), projected.result.volume
    inside = resample(found.brain_mask.astype(np.float32), found.space, fine, found.rigid) > 0.5

    def psnr(image: np.ndarray) -> float:
        error = np.sqrt(np.mean((image - truth)[inside] ** 2))
        return float(-20 * np.log10(error / found.intensity_scale))

    def whole(brain: np.ndarray, restored: np.ndarray) -> np.ndarray:
        result = restored_scan(found, bound, brain, restored)
        assert np.allclose(result.affine, fine.affine, atol=1e-3), "cubic voxels are needed"
        return np.asarray(result.dataobj)

    plain = consistent = data
    if isinstance(bound, ThickSlices):
        thin = bound.thin(scan.space)
        plain, consistent = (thin.along(m, data) for m in (thin.plain, thin.between))
    mean, brain = generator.template, made
    if plain is data:  # of thick slices it is not needed
        mean, brain = (restored_brain(found, bound, image) for image in (mean, brain))
    elif model_grid:
        brain = restored_brain(found, bound, made)
    on_model = brain * np.float32(found.intensity_scale)
    images = (
        plain,
        consistent,
        resample(on_model, found.space, fine, found.rigid),
        whole(generator.template, mean),
        whole(made, brain),
    )
    found_psnr = dict(zip(COLUMNS, map(psnr, images), strict=True))
    if plain is not data and not model_grid:
        found_psnr["model"] = math.nan
    return found_psnr


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--operator", default="thick:5mm:S")
    parser.add_argument("--budget", default="draft")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--model-grid", action="store_true")
    parser.add_argument("--out", type=Path, help="write every measurement here")
    args = parser.parse_args()
    generator, rows = load(args.model), []
    for path in args.scans:
        found = measured(generator, path, args.operator, args.budget, model_grid=args.model_grid)
        rows.append({"scan": path.name, **found})
        print(path.name, *(f"{name} {found[name]:.2f}" for name in COLUMNS), flush=True)
    columns = [name for name in COLUMNS if not math.isnan(rows[0][name])]
    print("\n| |", " | ".join(columns), "|\n|---|" + "---|" * len(columns))
    values = np.array([[row[name] for name in columns] for row in rows])
    print("| median |", " | ".join(f"{value:.2f}" for value in np.median(values, axis=0)), "|")
    gains = values[:, -1:] - values
    spread = (f"{g.min():+.2f} to {g.max():+.2f}" for g in gains.T)
    print("| gain of restored |", " | ".join(spread), "|")
    better = (f"{int((g > 0).sum())} of {len(rows)}" for g in gains.T)
    print("| restored is better |", " | ".join(better), "|")
    if args.out is not None:
        write_rows(rows, args.out)


if __name__ == "__main__":
    main()
