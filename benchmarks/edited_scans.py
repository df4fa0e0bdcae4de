"""Edits of scans themselves: how much of an edit arrives, how sharp it is, and how long it takes.

    python benchmarks/edited_scans.py SCAN... [--edit "Ventricle volume"] [--strengths=-2,-1,1,2,3]
        [--budget draft] [--cache FOLDER] [--lesion MASK] [--of-all]

For each scan: whether it comes back bit for bit without an edit; what an edit there and back (the
edited scan taken for a scan of its own, and edited back) differs by, as a share of its range; the
change of ventricle volume that the tissue network measures in the edited scan beside that in the
model's own brain; at the ventricles' border the gradient and the share of greys between fluid and
tissue, both beside the scan's; movement, least Jacobian; seconds of a native edit and milliseconds
of a live frame, by the clock and by the processors, for a machine that has other work to do. With
`--lesion`, the mask of the first scan's lesions moves along. Of several scans at last, whether each
edited one is still nearest to its own; of ten or more, how well the measures of tissue shape tell
the edited scans from the scans, each person's both held out together. `--of-all` prints these two
alone.

Further parts, each with `--help`: `ageing`.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from itertools import cycle
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from _program import run
from scipy.ndimage import binary_dilation, gaussian_gradient_magnitude, map_coordinates

import stylegan3d
from stylegan3d.dataset.pack import Pack, load_pack
from stylegan3d.directions.attributes import border_of, contour_of
from stylegan3d.directions.people import deviations, encoded, group_numbers
from stylegan3d.geometry.space import Space
from stylegan3d.measures.regions import region_masks
from stylegan3d.measures.tissue_shape import tissue_shapes
from stylegan3d.metrics.two_sample import classify_by_measures
from stylegan3d.model.generator import Generator
from stylegan3d.networks.deformation import exponential
from stylegan3d.outputs.labels import LabelledScan, segment_scan
from stylegan3d.recipe.latents import Delta, find_step
from stylegan3d.render.editable import CarriedDetail, Original
from stylegan3d.render.movement import composed, deformed_anatomy
from stylegan3d.scans import Scan
from stylegan3d.segmentation.classes import CLASSES, volumes_ml
from stylegan3d.segmentation.inference import Segmenter, bundled_segmenter, measures_of

COLUMNS = (
    *("strength", "asked ml", "found ml", "found/asked", "border", "between", "back %"),
    *("mm 99 %", "Jacobian", "s", "s busy", "lesion"),
)
FRAMES = 40
#: Of people, to train a judge on.
FEWEST = 10
#: Between fluid and white matter: from a third to two thirds of the way.
BETWEEN = (1 / 3, 2 / 3)


@dataclasses.dataclass(eq=False)
class Person:
    """A projected scan."""

    name: str
    scan: Scan
    w: torch.Tensor
    delta: Delta | None
    carried: CarriedDetail


def projected(path: Path, generator: Generator, budget: str, cache: Path | None) -> Person:
    """The scan in a file, aligned and projected."""
    scan: Scan = stylegan3d.read_scan(path)
    aligned = scan.align(generator, cache=cache)
    found = stylegan3d.project(generator, aligned, budget=budget)
    carried = CarriedDetail(Original.of(aligned), generator, found.w, found.delta)
    return Person(path.name, scan, found.w, found.delta, carried)


def border(data: np.ndarray, labelled: LabelledScan) -> tuple[float, float]:
    """Mean gradient on the border of the ventricles, and the share of greys in between there."""
    labels = np.asarray(labelled.image.dataobj)
    ventricle, white = (labels == CLASSES.index(name) for name in ("ventricle", "white"))
    edge = binary_dilation(ventricle) & ~ventricle
    fluid, tissue = np.median(data[ventricle]), np.median(data[white])
    share = (data - fluid) / (tissue - fluid)
    near = binary_dilation(ventricle, iterations=3)
    between = (share > BETWEEN[0]) & (share < BETWEEN[1])
    return float(gaussian_gradient_magnitude(data, 1.0)[edge].mean()), between[near].mean()


def measured(
    segmenter: Segmenter, generator: Generator, w: torch.Tensor, delta: Delta | None
) -> float:
    """Ventricle volume of the model's own brain, ml."""
    volume = stylegan3d.Renderer(generator).render(w, noise="none", delta=delta).volume
    return measures_of(segmenter.segment(volume, generator.space, confidence=True))["ventricle_ml"]


def there_and_back(
    person: Person, generator: Generator, w: torch.Tensor, data: np.ndarray
) -> float:
    """RMS in the brain, in % of the range, of what is left of an edit after its way back."""
    original = dataclasses.replace(person.carried.original, data=data, aligned=None)
    back = CarriedDetail(original, generator, w, person.delta)
    again = back.edited(back.movement(person.w, person.delta))
    inside = person.carried.made(np.ones(generator.shape, np.float32)) > 0
    low, high = np.percentile(person.scan.data[inside], (0.5, 99.5))
    error = np.square(again - person.scan.data)[inside].mean() ** 0.5
    return float(100 * error / (high - low))


def lesion_share(person: Person, w: torch.Tensor, mask: np.ndarray) -> float:
    """Volume of a lesion after an edit, as a share of what it was."""
    moved = person.carried.movement(w, person.delta)
    only = dataclasses.replace(moved, change=np.zeros_like(moved.change))
    original = dataclasses.replace(person.carried.original, data=mask)
    carried = CarriedDetail(original, person.carried.generator, person.w, person.delta)
    return float(carried.edited(only).sum() / mask.sum())


def live_ms(person: Person, step: torch.Tensor) -> tuple[float, float, float]:
    """Median and 95th percentile of a live frame while a slider moves; median of processor time."""
    times, worked = [], []
    x, y, z = person.carried.space.center_mm.tolist()
    for frame in range(FRAMES + 3):
        begun, busy = time.perf_counter(), time.process_time()
        w = person.w + 2 * (frame + 1) / FRAMES * step
        moved = person.carried.movement(w, person.delta, quick=True)
        person.carried.frame(moved, "preview", (x, y, z))
        times.append(1000 * (time.perf_counter() - begun))
        worked.append(1000 * (time.process_time() - busy))
    slow = float(np.percentile(times[3:], 95))
    return float(np.median(times[3:])), slow, float(np.median(worked[3:]))


def table_of(
    person: Person,
    generator: Generator,
    segmenter: Segmenter,
    step: torch.Tensor,
    strengths: list[float],
    lesion: np.ndarray | None,
) -> None:
    """Print the table of one scan."""
    scan, carried = person.scan, person.carried
    own = segment_scan(segmenter, scan)
    sharp, grey = border(scan.data, own)
    start = measured(segmenter, generator, person.w, person.delta)
    if not np.array_equal(carried.edited(carried.movement(person.w, person.delta)), scan.data):
        raise SystemExit(f"{person.name} does not come back bit for bit without an edit.")
    size = " x ".join(map(str, scan.data.shape))
    live, slow, worked = live_ms(person, step)
    print(
        f"\n{person.name}, {size}: without an edit the same bits; "
        f"ventricles {own.numbers.measures['ventricle_ml']:.1f} ml, of the model's brain "
        f"{start:.1f} ml; "
        f"live frame {live:.0f} ms, 95 % {slow:.0f} ms, {worked:.0f} ms of processor time"
    )
    print("".join(f"{name:>12}" for name in COLUMNS))
    for strength in strengths:
        w = person.w + strength * step
        seconds = []
        for clock in (time.perf_counter, time.process_time):
            begun = clock()
            moved = carried.movement(w, person.delta)
            data = carried.edited(moved)
            seconds.append(clock() - begun)
        found = segment_scan(segmenter, dataclasses.replace(scan, data=data))
        asked = measured(segmenter, generator, w, person.delta) - start
        got = found.numbers.measures["ventricle_ml"] - own.numbers.measures["ventricle_ml"]
        gradient, between = border(data, found)
        row = (
            strength,
            asked,
            got,
            got / asked,
            gradient / sharp,
            between / grey,
            there_and_back(person, generator, w, data),
            float(np.percentile(moved.moved_mm[moved.moved_mm > 0], 99)),
            float(moved.jacobian.min()),
            *seconds,
            np.nan if lesion is None else lesion_share(person, w, lesion),
        )
        print("".join(f"{value:12.2f}" for value in row), flush=True)


def nearest(people: list[Person], generator: Generator, strengths: list[float]) -> None:
    """Print how many edited scans are nearer to their own scan than to anybody else's."""
    names = [name for name in ("Ventricle volume", "Age") if name in generator.directions.names]
    scans = np.stack([person.carried.aligned.ravel() for person in people])
    right = every = 0
    for number, person in enumerate(people):
        for name in names:
            step = torch.as_tensor(find_step(name, generator), dtype=person.w.dtype)
            for strength in strengths:
                moved = person.carried.movement(person.w + strength * step, person.delta)
                frame = person.carried.frame(moved).ravel()
                far = np.square(scans - frame).mean(axis=1)
                right, every = right + (int(far.argmin()) == number), every + 1
    print(f"\nnearest to their own scan: {right} of {every} edits, of {len(people)} people")


def told_apart(people: list[Person], generator: Generator, strengths: list[float]) -> None:
    """Print how well tissue shapes tell edited scans from the scans of the same people.

    Each person is edited once; the edits and their strengths take turns.
    """
    names = [name for name in ("Ventricle volume", "Age") if name in generator.directions.names]
    edits = [(name, strength) for strength in strengths for name in names]
    edited = []
    for person, (name, strength) in zip(people, cycle(edits), strict=False):
        step = torch.as_tensor(find_step(name, generator), dtype=person.w.dtype)
        moved = person.carried.movement(person.w + strength * step, person.delta)
        edited.append(person.carried.frame(moved))
    own, changed = (
        tissue_shapes(volumes, generator.space)
        for volumes in ([person.carried.aligned for person in people], edited)
    )
    told = classify_by_measures(own, changed, [person.name for person in people] * 2)
    print(f"\ntissue shape tells {len(edited)} edited scans from the scans: {told.to_dict()}")


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--edit", default="Ventricle volume")
    parser.add_argument("--strengths", default="-2,-1,1,2,3")
    parser.add_argument("--budget", default="draft")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--lesion", type=Path)
    parser.add_argument("--of-all", action="store_true")
    args = parser.parse_args()
    generator, segmenter = stylegan3d.load(), bundled_segmenter()
    strengths = [float(word) for word in args.strengths.split(",")]
    people = []
    for number, path in enumerate(args.scans):
        person = projected(path, generator, args.budget, args.cache)
        people.append(person)
        if args.of_all:
            continue
        mask = args.lesion and np.asarray(nib.load(args.lesion).dataobj, np.float32)
        step = torch.as_tensor(find_step(args.edit, generator), dtype=person.w.dtype)
        table_of(person, generator, segmenter, step, strengths, None if number else mask)
    if len(people) > 1:
        nearest(people, generator, strengths)
    if len(people) >= FEWEST:
        told_apart(people, generator, strengths)


LOBES = ("frontal lobe", "parietal lobe", "temporal lobe", "occipital lobe")


AGEING_COLUMNS = ("csf", "ventricle", "grey", "white", "brain", *LOBES)


Regions = dict[str, np.ndarray]


def lobes_of(mask: np.ndarray, space: Space) -> Regions:
    """Flat indices of each lobe, both sides together."""
    sides = region_masks(mask, space)
    parts = {name: [i for side, i in sides.items() if side.endswith(name)] for name in LOBES}
    return {name: np.concatenate(found) for name, found in parts.items()}


def volumes(labels: np.ndarray, space: Space, lobes: Regions) -> np.ndarray:
    """Millilitres by `AGEING_COLUMNS`."""
    found = volumes_ml(labels, space)
    csf, per_voxel = labels.ravel() == CLASSES.index("csf"), volumes_ml(np.ones(1, int), space)
    found |= {name: float(csf[index].sum()) * per_voxel["csf"] for name, index in lobes.items()}
    return np.array([found[name] for name in AGEING_COLUMNS])


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


def ageing() -> None:
    """Whether ageing is atrophy: the outer contour stays, sulci and ventricles open.

        python benchmarks/edited_scans.py ageing BRAINS [--scans SCAN...] [--edit Age] [--strength
        2] [--people 27]

    BRAINS is a prepared dataset. First its people: the change of each volume with as many years
    as the
    edit means, scanner and volume inside the contour held fixed. Then edits of the model's brains
    of
    its validation people (by the encoder), and of scans (draft projection): the mean and the 95th
    percentile of the movement of the outer contour along its normal, and the change of each
    volume, ml.
    The contour is the border of the brain with its fluid; subarachnoid CSF is what the tissue
    network
    labels so, in the lobes of the atlas as they lie in the brain before the edit.
    """
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("brains", type=Path)
    parser.add_argument("--scans", nargs="*", type=Path, default=[])
    parser.add_argument("--edit", default="Age")
    parser.add_argument("--strength", type=float, default=2.0)
    parser.add_argument("--people", type=int, default=27)
    args = parser.parse_args()
    generator, segmenter, pack = stylegan3d.load(), bundled_segmenter(), load_pack(args.brains)
    step = args.strength * torch.as_tensor(find_step(args.edit, generator))
    print(
        f"{'':28}{'mean mm':>9}{'95 % mm':>9}" + "".join(f"{name:>16}" for name in AGEING_COLUMNS)
    )
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
    run(main, ageing)
