"""Two visits: how large false changes are, how much of a true one is found, and by which method.

    python benchmarks/visits.py SCAN... [--pairs 3] [--repeats FIRST,SECOND ...] [--cache FOLDER]
        [--out weights/regions-t1-2mm]

Each SCAN is scanned again by simulation, in pairs: another pose and grid, noise, shading, contrast,
a little movement, gradients that are off by up to 0.4 %; the whole preparation is done anew. The
differences between such scans are the test-retest error; --out writes it. Then a smooth known
deformation changes the brain: the slope of the changes found on the true ones, their correlation,
and the error that is left. --repeats are real pairs of scans of one person: their false changes,
and the share of measures beyond the error. Everything is done for each scan labelled by itself as
well ("alone").
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from stylegan3d.geometry.space import Space
from stylegan3d.outputs.visits import measures_of, visits_of
from stylegan3d.scans import AlignedScan, read_scan
from stylegan3d.scans.alignment import bundled_template
from stylegan3d.scans.resampling import isotropic_space
from stylegan3d.segmentation.classes import ALL_MEASURES, unit_of
from stylegan3d.segmentation.norms import (
    ALLOWANCE,
    LIMIT,
    REPEATS_FILE,
    Pair,
    deviations,
    difference,
)
from stylegan3d.segmentation.numbers import label_brain
from stylegan3d.storage.encoding import to_json

#: Ranges of what a scanner does differently the next time.
TURN_DEG, MOVE_MM, VOXEL_MM = 10.0, 8.0, (0.9, 1.3)
NOISE, SHADING, GAMMA, SCALE, BLUR_MM = (0.01, 0.03), 0.1, 0.08, 0.004, 0.5
#: Of the known deformation.
MOVED_MM, SMOOTH_MM = 0.5, 10.0
#: ml from which a region is large.
LARGE = 1.5

Both = dict[str, Pair]


def scanned_again(
    aligned: AlignedScan, path: Path, rng: np.random.Generator, moved: np.ndarray | None = None
) -> None:
    """Write the scan as it might come from another session.

    `moved` (3, X, Y, Z) changes the brain: mm on the model's grid, what is at x lay at x + moved.
    """
    scan = aligned.scan
    turn = Rotation.from_euler("xyz", rng.uniform(-TURN_DEG, TURN_DEG, 3), degrees=True)
    matrix = turn.as_matrix() @ np.diag(np.exp(rng.uniform(-SCALE, SCALE, 3)))
    pose = nib.affines.from_matvec(matrix, rng.uniform(-MOVE_MM, MOVE_MM, 3))
    head = scan.data > 0.05 * np.percentile(scan.data, 99)
    there = Space(scan.space.shape, pose @ aligned.rigid @ scan.affine)
    box = isotropic_space(head.astype(np.float32), there, 1.0, 5.0)
    size = rng.uniform(*VOXEL_MM, 3)
    shape = tuple(int(n) for n in np.ceil(np.array(box.shape) / size))
    affine = box.affine @ np.diag([*size, 1.0])
    to_model = np.linalg.inv(pose) @ affine
    places = nib.affines.apply_affine(to_model, np.indices(shape).reshape(3, -1).T)
    if moved is not None:
        voxels = nib.affines.apply_affine(np.linalg.inv(aligned.space.affine), places).T
        shift = [ndimage.map_coordinates(c, voxels, order=1, mode="nearest") for c in moved]
        places = places + np.stack(shift, axis=1)
    voxels = nib.affines.apply_affine(np.linalg.inv(aligned.rigid @ scan.affine), places).T
    blurred = ndimage.gaussian_filter(scan.data, rng.uniform(0, BLUR_MM) / scan.space.voxel_size[0])
    image = ndimage.map_coordinates(blurred, voxels, order=3).reshape(shape)
    cut = np.mean(scan.data == scan.data.min()) > 0.5
    outside = ndimage.map_coordinates((scan.data > 0).astype(np.float32), voxels, order=1)
    bright = np.percentile(image[image > 0], 99)
    image = np.clip(image / bright, 0, None) ** np.exp(rng.uniform(-GAMMA, GAMMA))
    knots = rng.uniform(-SHADING, SHADING, (3, 3, 3))
    image = image * np.exp(ndimage.zoom(knots, np.array(shape) / 3, order=3))
    noise = rng.uniform(*NOISE)
    image = np.hypot(image + noise * rng.normal(size=shape), noise * rng.normal(size=shape))
    if cut:
        image[outside.reshape(shape) < 0.5] = 0
    whole = np.round(1000 * image).astype(np.int16)
    nib.save(nib.Nifti1Image(whole, affine), path)


def known_change(aligned: AlignedScan, rng: np.random.Generator) -> tuple[np.ndarray, Pair]:
    """A smooth deformation of the brain, as for `scanned_again`, and what it makes of volumes."""
    fields = rng.normal(size=(3, *aligned.space.shape)).astype(np.float32)
    sigma = SMOOTH_MM / np.array(aligned.space.voxel_size)
    moved = np.stack([ndimage.gaussian_filter(field, sigma) for field in fields])
    moved *= MOVED_MM / moved[:, aligned.brain_mask].std()
    found = label_brain(aligned.volume, aligned.space)
    steps = np.array(aligned.space.voxel_size).reshape(3, 1, 1, 1)
    places = np.indices(aligned.space.shape) + moved / steps
    rows: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for labels, names in (
        (found.tissues.labels, found.tissues.scheme.classes),
        (found.regions.labels, found.regions.scheme.classes),
    ):
        for k, name in enumerate(names[1:], start=1):
            one = (labels == k).astype(np.float32)
            rows[0][f"{name}_ml"] = float(one.sum()) * aligned.space.voxel_ml
            there = ndimage.map_coordinates(one, places, order=1)
            rows[1][f"{name}_ml"] = float(there.sum()) * aligned.space.voxel_ml
    return moved, rows


def measured(first: AlignedScan, second: AlignedScan) -> Both:
    """Measures of both visits, by each method."""
    alone = [label_brain(one.volume, one.space).measures for one in (first, second)]
    return {"alone": (alone[0], alone[1]), "visits": measures_of(visits_of(first, second))}


def rms(values: list[float]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def report(title: str, pairs: list[Both]) -> None:
    """Print how large false changes are, of large and small volumes."""
    for method in ("alone", "visits"):
        for size, words in ((True, f"from {LARGE} ml"), (False, "smaller")):
            names = [
                name
                for name in pairs[0]["visits"][0]
                if unit_of(name) == "ml" and (pairs[0]["visits"][0][name] >= LARGE) == size
            ]
            found = [difference(pair[method], name) for pair in pairs for name in names]
            typical = float(np.median(np.abs(found)))
            print(f"{title}, {method}, {words}: {rms(found):.2f} % (median {typical:.2f} %)")


def main() -> None:
    """Simulate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scans", type=Path, nargs="*")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--repeats", nargs="*", default=[])
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    target = bundled_template()

    def prepared(path: Path) -> AlignedScan:
        return read_scan(path).align(target, cache=args.cache)

    deviation: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        if args.scans:
            same, changed = simulated(args.scans, args.pairs, prepared, Path(folder))
            report("simulated repeats", same)
            sensitivity(changed)
            names = [name for name in ALL_MEASURES if name in same[0]["visits"][0]]
            alone, visits = (
                deviations([pair[method] for pair in same], names) for method in ("alone", "visits")
            )
            for name in names:
                deviation[name] = round(visits[name], 3)
                print(f"{name:32s} alone {alone[name]:6.2f}  visits {visits[name]:6.2f}")
    real = [measured(*map(prepared, map(Path, pair.split(",")))) for pair in args.repeats]
    for pair, names in zip(real, args.repeats, strict=True):
        report(Path(names.split(",")[0]).name, [pair])
        if deviation:
            beyond = [
                name
                for name, d in deviation.items()
                if abs(difference(pair["visits"], name)) > ALLOWANCE * LIMIT * d
            ]
            print(f"  beyond the error: {len(beyond)} of {len(deviation)}: {', '.join(beyond)}")
    if args.out is not None and deviation:
        about = (
            f"{args.pairs * len(args.scans)} pairs of simulated repeats of {len(args.scans)} scans"
        )
        (args.out / REPEATS_FILE).write_text(to_json({"name": about, "deviation": deviation}))


def simulated(
    scans: list[Path], pairs: int, prepared: Callable[[Path], AlignedScan], folder: Path
) -> tuple[list[Both], list[tuple[Both, Pair]]]:
    """Measures of pairs of repeats, and of a scan and a changed one beside the truth."""
    same, changed = [], []
    for k, path in enumerate(scans):
        rng = np.random.default_rng(list(path.name.encode()))
        original = prepared(path)
        last = None
        for _ in range(pairs):
            both = []
            for n in range(2):
                scanned_again(original, folder / f"{k}-{n}.nii.gz", rng)
                both.append(prepared(folder / f"{k}-{n}.nii.gz"))
            same.append(measured(*both))
            last = both[0]
        assert last is not None
        moved, truth = known_change(original, rng)
        scanned_again(original, folder / f"{k}-changed.nii.gz", rng, moved)
        changed.append((measured(last, prepared(folder / f"{k}-changed.nii.gz")), truth))
        report(path.name, same[-pairs:])
    return same, changed


def sensitivity(changed: list[tuple[Both, Pair]]) -> None:
    """Print how much of a known change is found."""
    for method in ("alone", "visits"):
        for size, words in ((True, f"from {LARGE} ml"), (False, "smaller")):
            rows = [
                (difference(truth, name), difference(found[method], name))
                for found, truth in changed
                for name in truth[0]
                if name in found[method][0] and (truth[0][name] >= LARGE) == size
            ]
            true, got = np.array(rows).T
            slope, r = (true * got).sum() / (true**2).sum(), np.corrcoef(true, got)[0, 1]
            print(
                f"known change of {rms(list(true)):.1f} %, {method}, {words}: slope {slope:.2f}, "
                f"r {r:.2f}, error {rms(list(got - true)):.2f} %"
            )


if __name__ == "__main__":
    main()
