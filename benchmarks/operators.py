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
- restored: G(w) with the data put back in (`stylegan3d.projection.operators`)
- mean brain: the mean brain; "mean + data": with the data put back in, as for G(w)

Further parts, each with `--help`: `native`, `pictures`.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
from importlib import resources
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from _program import run, write_rows
from PIL import Image, ImageDraw, ImageFont
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter
from torch import Tensor

from stylegan3d.geometry.space import Space
from stylegan3d.model.generator import Generator, load
from stylegan3d.outputs.projections import restored_brain, restored_scan
from stylegan3d.projection import project
from stylegan3d.projection.forward import Mask, Operator
from stylegan3d.projection.operators import (
    Blur,
    Contrast,
    ThickSlices,
    harmonic_fill,
    parse,
    restore,
)
from stylegan3d.projection.projector import search
from stylegan3d.projection.settings import Choices
from stylegan3d.scans.reading import read_scan
from stylegan3d.scans.resampling import resample

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


NATIVE_COLUMNS = ("interpolated", "consistent", "model", "mean brain", "restored")


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
    """PSNR in dB of every way of `NATIVE_COLUMNS`."""
    truth, fine, data, space, told = degraded(path, words)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / path.name
        nib.save(nib.Nifti1Image(data, space.affine), file)
        scan = read_scan(file)
    operator = parse(told)
    found = scan.align(generator)
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
    found_psnr = dict(zip(NATIVE_COLUMNS, map(psnr, images), strict=True))
    if plain is not data and not model_grid:
        found_psnr["model"] = math.nan
    return found_psnr


def native() -> None:
    """Scans restored at their own resolution, against interpolation: error inside the brain.

        python benchmarks/operators.py native SCAN... [--operator thick:5mm:S] [--budget draft]
            [--model-grid] [--out TABLE.tsv]

    Each SCAN has cubic voxels of about 1 mm. It is degraded on its own grid (`thick:`: as many
    slices
    as give the thickness are averaged, from the bottom; `blur:`), written, read again, aligned,
    projected through the operator as `stylegan3d project --operator` does, and restored. Printed
    is the
    PSNR in dB inside the brain, where 1 is the 99.5th percentile of the brain:

    - interpolated: cubic splines through the thick slices; the blurred scan as it is
    - consistent: cubic splines whose slices are the thick ones, too; for blur the same as
      interpolated
    - model: the brain restored on the model's grid, interpolated to the scan's (with
      `--model-grid` or
      for blur; of thick slices this takes a minute or more)
    - mean brain: restored, with the mean brain in place of the generator's
    - restored: as `project` writes it
    """
    parser = argparse.ArgumentParser(description=native.__doc__.splitlines()[0])
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
        print(path.name, *(f"{name} {found[name]:.2f}" for name in NATIVE_COLUMNS), flush=True)
    columns = [name for name in NATIVE_COLUMNS if not math.isnan(rows[0][name])]
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


SAMPLE = "novosibirsk-sub-09_T1w.nii.gz"


# What is shown, and what the simple way is called.
PICTURES = {
    "resection": ("mask", "harmonic filling"),
    "thick:5mm:S": ("thick", "cubic interpolation"),
    "blur:3mm": ("blur", "smoothest fit"),
    "kspace:4x:A": ("kspace", "smoothest fit"),
    "contrast": ("contrast", "matched histogram"),
}


ZOOM, CAPTION = 3, 22


def panel(volume: np.ndarray, where: tuple[int, int], caption: str) -> Image.Image:
    """A slice, with the front or the top of the head up, and a line of text below it."""
    axis, index = where
    plane = np.take(volume, index, axis=axis)
    grey = (255 * np.clip(plane.T[::-1], 0, 1)).astype(np.uint8)
    picture = Image.fromarray(grey).resize((grey.shape[1] * ZOOM, grey.shape[0] * ZOOM))
    whole = Image.new("L", (picture.width, picture.height + CAPTION))
    whole.paste(picture)
    draw = ImageDraw.Draw(whole)
    font = ImageFont.load_default(14)
    draw.text((whole.width / 2, picture.height + 2), caption, 255, font=font, anchor="ma")
    return whole


def pictures() -> None:
    """The pictures of docs/howto/degraded-scans.md: one per operator, from a sample scan.

        python benchmarks/operators.py pictures --out FOLDER [--steps 12]

    Each shows the scan, the data made from it, a simple reconstruction, and the generator's with
    the
    data put back in, with their PSNR inside the brain, of the mask's inside the mask.
    """
    parser = argparse.ArgumentParser(description=pictures.__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--only", help="one operator's name, such as mask")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    generator = load()
    with resources.as_file(resources.files("napari_stylegan3d") / "samples" / SAMPLE) as path:
        brain = read_scan(path).align(generator).volume
    for task, (name, simple) in PICTURES.items():
        if args.only not in (None, name):
            continue
        ways, inside = reconstruct(generator, task, brain, args.steps)
        # Thick slices show from the side, masks where they are largest.
        axis = 0 if name == "thick" else 2
        counts = inside.sum(axis=tuple(a for a in range(3) if a != axis))
        where = (axis, int(counts.argmax()) if name == "mask" else brain.shape[axis] // 2)
        shown = dict(ways)
        if name == "mask":
            shown["data"] = np.where(inside, 0, brain)
        panels = [panel(brain, where, "scan")]
        for way, caption in (("data", "data"), ("interpolated", simple), ("restored", "restored")):
            decibels = psnr(ways[way][inside], brain[inside])
            told = caption if name == "mask" and way == "data" else f"{caption} {decibels:.1f} dB"
            panels.append(panel(shown[way], where, told))
        row = Image.new("L", (sum(p.width for p in panels), panels[0].height))
        for i, part in enumerate(panels):
            row.paste(part, (sum(p.width for p in panels[:i]), 0))
        row.save(args.out / f"operator-{name}.png", optimize=True)
        print(name, *(f"{way} {psnr(x[inside], brain[inside]):.2f}" for way, x in ways.items()))


if __name__ == "__main__":
    run(main, native, pictures)
