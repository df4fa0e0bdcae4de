"""Whether ageing is atrophy: the outer contour stays, sulci and ventricles open.

    python benchmarks/ageing.py BRAINS [--scans SCAN...] [--edit Age] [--strength 2] [--people 27]

BRAINS is a prepared data set. First its people: the change of each volume with as many years as the
edit means, scanner and volume inside the contour held fixed. Then edits of the model's brains of
its validation people (by the encoder), and of scans (draft projection): the mean and the 95th
percentile of the movement of the outer contour along its normal, and the change of each volume, ml.
The contour is the border of the brain with its fluid; subarachnoid CSF is what the tissue network
labels so, in the lobes of the atlas as they lie in the brain before the edit.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from scipy.ndimage import map_coordinates

import stylegan3d
from stylegan3d.dataset.pack import Pack, load_pack
from stylegan3d.directions.contour import border_of, contour_of
from stylegan3d.directions.people import deviations, encoded, group_numbers
from stylegan3d.geometry.space import Space
from stylegan3d.measures.regions import region_masks
from stylegan3d.model.generator import Generator
from stylegan3d.networks.deformation import exponential
from stylegan3d.recipe.direction_file import find_step
from stylegan3d.render.carried import CarriedDetail
from stylegan3d.render.editable import Original
from stylegan3d.render.movement import composed, deformed_anatomy
from stylegan3d.segmentation.classes import CLASSES, volumes_ml
from stylegan3d.segmentation.inference import Segmenter, bundled_segmenter
from stylegan3d.segmentation.scans import segment_scan

LOBES = ("frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe")
COLUMNS = ("csf", "ventricle", "grey", "white", "brain", *LOBES)
Regions = dict[str, np.ndarray]


def lobes_of(mask: np.ndarray, space: Space) -> Regions:
    """Flat indices of each lobe, both sides together."""
    sides = region_masks(mask, space)
    parts = {name: [i for side, i in sides.items() if side.endswith(name)] for name in LOBES}
    return {name: np.concatenate(found) for name, found in parts.items()}


def volumes(labels: np.ndarray, space: Space, lobes: Regions) -> np.ndarray:
    """Millilitres by `COLUMNS`."""
    found = volumes_ml(labels, space)
    csf, per_voxel = labels.ravel() == CLASSES.index("csf"), volumes_ml(np.ones(1, int), space)
    found |= {name: float(csf[index].sum()) * per_voxel["csf"] for name, index in lobes.items()}
    return np.array([found[name] for name in COLUMNS])


def people_rows(pack: Pack, segmenter: Segmenter, years: float) -> np.ndarray:
    """Change of each volume in people with so many years, scanner and contour held fixed."""
    rows, inside = [], []
    for volume in pack.volumes:
        mask = contour_of(np.asarray(volume) / 255)
        labels = segmenter.segment(np.asarray(volume), pack.space).labels
        rows.append(volumes(labels, pack.space, lobes_of(mask, pack.space)))
        inside.append(float(mask.sum()))
    age = np.array([np.nan if v is None else float(v) for v in pack.column("age")])
    known = np.isfinite(age)
    place = group_numbers(pack.column("source"), known)
    x, y, m = (deviations(v, place, known)[known] for v in (age, np.array(rows), np.array(inside)))
    return np.asarray(years * np.linalg.lstsq(np.stack([x, m], axis=1), y, rcond=None)[0][0])


def contour_mm(displacement: np.ndarray, own: Space, mask: np.ndarray, space: Space) -> np.ndarray:
    """Movement of each voxel of a mask's border along its normal, in mm.

    `displacement` (3, X, Y, Z) is in mm on the grid `own` of the same field of view as `space`.
    """
    voxels, normals = border_of(mask)
    at = ((voxels + 0.5) * np.array(own.shape) / np.array(space.shape) - 0.5).T
    there = [map_coordinates(part, at, order=1, mode="nearest") for part in displacement]
    return np.abs((np.stack(there, axis=1) * normals).sum(axis=1))


def tell(name: str, contour: np.ndarray | None, change: np.ndarray) -> None:
    """One row of the table."""
    figures = ("", "") if contour is None else (contour.mean(), np.percentile(contour, 95))
    text = "".join(f"{v:>9.2f}" if v != "" else f"{'':>9}" for v in figures)
    print(f"{name:28}{text}" + "".join(f"{ml:>16.1f}" for ml in change), flush=True)


def latent_of(generator: Generator, volume: np.ndarray) -> torch.Tensor:
    """What the encoder sees in a brain, for all layers [num_layers, w_dim]."""
    w = torch.from_numpy(encoded(generator, np.asarray(volume, np.float32) / 255)).float()
    return w.expand(generator.num_layers, -1)


def model_brain(
    generator: Generator, segmenter: Segmenter, w: torch.Tensor, step: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Movement of the contour and change of volumes of the model's own brain."""
    renderer, space = stylegan3d.Renderer(generator), generator.space
    before, after = (renderer.render(one, noise="none").volume for one in (w, w + step))
    mask = contour_of(before)
    lobes = lobes_of(mask, space)
    first, second = (
        volumes(segmenter.segment(one, space).labels, space, lobes) for one in (before, after)
    )
    network = deformed_anatomy(generator)
    assert network is not None
    with torch.no_grad():
        maps = network.points(
            exponential(network.velocity(torch.stack([w, w + step]))), space.shape
        )
        offsets = composed(*maps.split(1))[0].flip(0).numpy()
    half = np.array(space.shape) * np.array(space.voxel_size) / 2
    displacement = offsets * half[:, None, None, None]
    return contour_mm(displacement, space, mask, space), second - first


def edited_scan(
    path: Path, generator: Generator, segmenter: Segmenter, step: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """The same of a scan that carries its detail along the edit."""
    scan = stylegan3d.read_scan(path)
    aligned = scan.align(generator)
    w = stylegan3d.project(generator, aligned, budget="draft").w
    carried = CarriedDetail(Original.of(aligned), generator, w)
    moved = carried.movement(w + step)
    found = [
        segment_scan(segmenter, dataclasses.replace(scan, data=data))
        for data in (scan.data, carried.edited(moved))
    ]
    images = [nib.as_closest_canonical(one.image) for one in found]
    labels = [np.asarray(image.dataobj).astype(np.uint8) for image in images]
    space = Space(images[0].shape, images[0].affine)
    lobes = lobes_of(labels[0] > 0, space)
    first, second = (volumes(one, space, lobes) for one in labels)
    contour = contour_mm(moved.displacement, moved.space, aligned.brain_mask, aligned.space)
    return contour, second - first


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("brains", type=Path)
    parser.add_argument("--scans", nargs="*", type=Path, default=[])
    parser.add_argument("--edit", default="Age")
    parser.add_argument("--strength", type=float, default=2.0)
    parser.add_argument("--people", type=int, default=27)
    args = parser.parse_args()
    generator, segmenter, pack = stylegan3d.load(), bundled_segmenter(), load_pack(args.brains)
    step = args.strength * torch.as_tensor(find_step(args.edit, generator))
    print(f"{'':28}{'mean mm':>9}{'95 % mm':>9}" + "".join(f"{name:>16}" for name in COLUMNS))
    check = next(c for c in generator.directions.checks if c["name"] == args.edit)
    if check["attribute"] == "age":
        years = args.strength * check["per_unit"]
        tell(f"people, {years:.1f} years", None, people_rows(pack, segmenter, years))
    found = [
        model_brain(generator, segmenter, latent_of(generator, pack.volumes[i]), step)
        for i in pack.indices("validation")[: args.people]
    ]
    contours, changes = np.concatenate([c for c, _ in found]), np.array([v for _, v in found])
    tell(f"model brains, {len(found)}", contours, np.median(changes, axis=0))
    for path in args.scans:
        tell(path.name[:26], *edited_scan(path, generator, segmenter, step))


if __name__ == "__main__":
    main()
