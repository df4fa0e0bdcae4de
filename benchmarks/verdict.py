"""Do the three verdicts hold on scanners that the model never saw, and are lesions found?

    python benchmarks/verdict.py --healthy SCAN [SCAN ...] [--lesion SCAN=MASK ...]
        [--ill SCAN ...] [--site SCAN [SCAN ...]] [--reconstruct SCAN [SCAN ...]] [--repeats N]
        [--stripped SCAN [SCAN ...]] [--model FOLDER] [--cache FOLDER]

--healthy are scans of healthy people of other sites: how many are green or differ by scanner only,
and how many have a finding. --lesion are scans with lesion masks: the area under the curve of -z
and of the lesion network's probability between lesion voxels and the other white matter of the
scan, as the tissue network labels it, and whether a finding lies in a lesion. --ill are scans with
a lesion but no mask: their findings.
In each healthy scan lesions are simulated (`SIZES_ML` of each of `KINDS`, N times), ragged, of any
place and not those the lesion network has learned from: how many of each size meet a finding, how
many of those lie in the lobe named, and the measured size as a multiple of the true one. --site
are the healthy scans of one scanner: each is judged
again by a calibration with the others. --reconstruct are scans of one site: median and quartiles of
PSNR and SSIM, of the encoder alone and of a standard projection, also at matched contrast and
sharpness. --stripped are whole heads: of how many it is told that cortex may be missing, and of how
many anything else is asked, whole and with so many mm cut off all around the brain, on the scan's
own grid. Volumes on the model's grid, as in a prepared dataset, are taken as they are. Intervals
are Wilson's, 95 %.

Further parts, each with `--help`: `known`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from _program import run
from scipy import ndimage
from sklearn.metrics import roc_auc_score
from torch import Tensor

import stylegan3d
from stylegan3d.base import ScanError
from stylegan3d.dataset.pack import load_pack
from stylegan3d.geometry.space import unit
from stylegan3d.measures.lesions import suspect_lesions
from stylegan3d.measures.regions import Finding, region_masks
from stylegan3d.measures.similarity import similarity
from stylegan3d.metrics.two_sample import areas
from stylegan3d.model.generator import Generator
from stylegan3d.projection import project
from stylegan3d.projection.assessment import (
    Judged,
    Seen,
    Yardstick,
    compare_signs,
    judge_scan,
    looked_over,
    residual_z,
    see,
)
from stylegan3d.projection.calibration import (
    FOREGROUND,
    MeasuredSubject,
    Ruler,
    calibrate,
    learn_site,
    left_out_scores,
    measure_scans,
)
from stylegan3d.projection.problem import LatentPrior
from stylegan3d.projection.scanner import cortical_detail, match_sharpness
from stylegan3d.projection.signs import first_guess
from stylegan3d.scans import read_scan
from stylegan3d.scans.aligned import AlignedScan, on_grid
from stylegan3d.scans.intensity import to_unit
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import bundled_segmenter

SIZES_ML = (2.0, 5.0, 10.0, 30.0)
#: What is cut off a brain all around.
CUT_MM = (0.0, 3.0, 4.5, 6.0)
#: Intensities of simulated lesions, as (fluid's share, white matter's share), and of their rim.
KINDS = {
    "cavity": (1.0, 0.0, 0.0),
    "infarct": (0.55, 0.45, 0.0),
    "tumour": (0.4, 0.6, 1.25),
    "blood": (0.0, 1.3, 0.0),
}


@dataclass(frozen=True, eq=False)
class Placed:
    """A scan on the model's grid."""

    volume: np.ndarray
    brain_mask: np.ndarray


class Bench:
    """One model, with what scans are judged by."""

    def __init__(self, generator: Generator, cache: Path | None) -> None:
        self.generator, self.cache = generator, cache
        self.prior, self.yardstick = LatentPrior.of(generator), Yardstick.of(generator)

    def align(self, path: Path) -> AlignedScan:
        """A scan on the model's grid."""
        return read_scan(path).align(self.generator, cache=self.cache)

    def placed(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Volume and mask; a volume on the model's grid is taken as it is."""
        scan = read_scan(path)
        if scan.space.same_as(self.generator.space):
            volume = to_unit(scan)
            return volume, volume > 0
        aligned = self.align(path)
        return aligned.volume, aligned.brain_mask

    def judge(
        self, volume: np.ndarray, mask: np.ndarray, yardstick: Yardstick | None = None
    ) -> tuple[Judged, np.ndarray, Seen]:
        """Verdicts, z, and what they come from."""
        seen = see(self.generator, volume, mask)
        told, z = judge_scan(
            seen, self.prior, volume, mask, self.generator, yardstick or self.yardstick
        )
        assert z is not None
        return told, z, seen

    def white_matter(self, volume: np.ndarray) -> np.ndarray:
        """White matter (X, Y, Z) by the tissue network."""
        labels = bundled_segmenter().segment(volume, self.generator.space).labels
        return np.asarray(labels == CLASSES.index("white"))


def wilson(hits: int, total: int) -> str:
    """A share with its 95 % interval, in words."""
    if not total:
        return "none"
    z, p = 1.96, hits / total
    middle = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * np.sqrt(p * (1 - p) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return f"{hits} of {total} ({100 * low:.0f} to {100 * high:.0f} %)"


def in_words(told: Judged) -> str:
    """Levels and findings in a line."""
    levels = " ".join(f"{name} {told['verdicts'][name]['level']}," for name in told["verdicts"])
    found = [f"{f['place']} {f['ml']} ml z {f['peak_z']}" for f in told["findings"] or ()]
    return f"{levels} findings: {'; '.join(found[:3]) or 'none'}"


def is_quiet(told: Judged) -> bool:
    """Whether a scan is green, or differs by its scanner only."""
    levels = {name: verdict["level"] for name, verdict in told["verdicts"].items()}
    return levels["anatomy"] == levels["focal"] == "green" and levels["acquisition"] != "red"


def lesion_mask(path: Path, aligned: AlignedScan) -> np.ndarray:
    """A mask in the scan's space on the model's grid, bool."""
    image = nib.load(path)
    data = (np.asarray(image.dataobj) > 0).astype(np.float32)
    size = np.sqrt((image.affine[:3, :3] ** 2).sum(axis=0))
    data = ndimage.gaussian_filter(data, 0.4 * np.array(aligned.space.voxel_size) / size)
    way = np.linalg.inv(image.affine) @ np.linalg.inv(aligned.rigid) @ aligned.space.affine
    shape = aligned.volume.shape
    inside = ndimage.affine_transform(data, way[:3, :3], way[:3, 3], shape, order=1)
    return np.asarray(inside > 0.5)


def simulate(
    volume: np.ndarray,
    labels: np.ndarray,
    kind: str,
    ml: float,
    voxel_mm: Sequence[float],
    draw: np.random.RandomState,
) -> tuple[np.ndarray, np.ndarray]:
    """A scan with one of the `KINDS` in one hemisphere, and where it is (X, Y, Z), bool.

    `labels` are its tissues. Every level of the brain is as likely as any other.
    """
    voxel, brain = np.array(voxel_mm), volume > 0
    levels = np.flatnonzero(((labels > 0) & brain).any(axis=(0, 1)))
    level = levels[draw.randint(len(levels) // 12, len(levels))]
    tissue = np.isin(labels[..., level], [CLASSES.index("grey"), CLASSES.index("white")])
    places = np.argwhere(tissue if tissue.any() else brain[..., level])
    center = np.array([*places[draw.randint(len(places))], level])
    axes = np.exp(0.35 * draw.randn(3))
    indices = (np.indices(volume.shape).T - center) * voxel
    turn, _ = np.linalg.qr(draw.randn(3, 3))
    away = np.linalg.norm(indices @ turn / axes, axis=-1).T
    radius = (3000 * ml / (4 * np.pi)) ** (1 / 3)
    ragged = ndimage.gaussian_filter(draw.randn(*volume.shape), 5.0 / voxel)
    away += 0.3 * radius * ragged / ragged.std()
    middle = (volume.shape[0] - 1) / 2
    same_side = (np.arange(volume.shape[0]) > middle) == (center[0] > middle)
    away[~brain | ~same_side[:, None, None]] = np.inf
    count = round(ml * 1000 / voxel.prod())
    limit = float(np.partition(away.ravel(), count)[count])
    share = np.clip((limit - away) / 1.5 + 0.5, 0, 1)
    of_fluid, of_white, rim = KINDS[kind]
    fluid = float(np.median(volume[labels == CLASSES.index("ventricle")]))
    white = float(np.median(volume[labels == CLASSES.index("white")]))
    inside = of_fluid * fluid + of_white * white + 0.015 * draw.randn(*volume.shape)
    if rim:
        inside = inside + np.where(np.abs(away - limit + 3) < 2, rim * white - inside, 0)
    image = volume + share * (inside - volume)
    # As of any scan, 1 is the 99.5th percentile: what is bright makes the rest darker.
    image = np.where(brain, np.clip(image / np.percentile(image[brain], 99.5), 0.01, 1.0), 0)
    return image.astype(np.float32), away < limit


def healthy(bench: Bench, paths: Sequence[Path], repeats: int) -> None:
    """Healthy scans, and lesions simulated in them."""
    levels: dict[str, list[bool]] = {}
    draw, space = np.random.RandomState(0), bench.generator.space
    rows: list[tuple[str, float, bool, bool, float]] = []
    for path in paths:
        volume, mask = bench.placed(path)
        told, *_ = bench.judge(volume, mask)
        for name, verdict in told["verdicts"].items():
            levels.setdefault(name, []).append(verdict["level"] == "green")
        print(f"  {path.name:36} {in_words(told)}", flush=True)
        labels = bundled_segmenter().segment(volume, space).labels
        regions = region_masks(mask, space)
        for kind, ml in [*product(KINDS, SIZES_ML)] * repeats:
            image, lesion = simulate(volume, labels, kind, ml, bench.generator.voxel_size, draw)
            findings = bench.judge(image, mask)[0]["findings"] or []
            near, to_voxel = ndimage.binary_dilation(lesion), np.linalg.inv(space.affine)
            hits = [f for f in findings if near[_voxel(f, to_voxel)]]
            inside = np.flatnonzero(lesion)
            lobes = {n for n, r in regions.items() if np.isin(inside, r).mean() > 0.25}
            named = any(lobes & {*f["place"].split(" and ")} for f in hits)
            size = sum(f["ml"] for f in hits)
            rows.append((kind, ml, bool(hits), named, size / (len(inside) * space.voxel_ml)))
    for name, green in levels.items():
        print(f"{name} green: {wilson(sum(green), len(green))}")
    for kind, ml in product((*KINDS, ""), SIZES_ML):
        some = [row for row in rows if row[1] == ml and kind in ("", row[0])]
        found = [row for row in some if row[2]]
        if not some:
            continue
        ratio = np.percentile([row[4] for row in found] or [0.0], [50, 10, 90])
        right = sum(1 / 1.5 <= row[4] <= 1.5 for row in found)
        print(
            f"  {kind or 'all':8} {ml:4g} ml: found {wilson(len(found), len(some))}, lobe right "
            f"{sum(row[3] for row in found)}, size within 1.5 times {right}, "
            f"median {ratio[0]:.2f} ({ratio[1]:.2f} to {ratio[2]:.2f})"
        )


def _voxel(finding: Finding, to_voxel: np.ndarray) -> tuple[int, ...]:
    place = to_voxel[:3, :3] @ np.array(finding["center_mm"]) + to_voxel[:3, 3]
    return tuple(np.rint(place).astype(int).tolist())


def lesions(bench: Bench, pairs: Sequence[str]) -> None:
    """Scans with lesion masks."""
    for pair in pairs:
        path, mask_path = map(Path, pair.split("="))
        aligned = bench.align(path)
        told, z, _ = bench.judge(aligned.volume, aligned.brain_mask)
        mask = lesion_mask(mask_path, aligned)
        others = bench.white_matter(aligned.volume) & ~mask
        both = mask | others
        auc = roc_auc_score(mask[both], -z[both])
        suspected = suspect_lesions(aligned.volume, aligned.brain_mask, aligned.space)
        assert suspected is not None
        by_network = roc_auc_score(mask[both], suspected.probability[both])
        way = np.linalg.inv(aligned.space.affine)
        near = ndimage.binary_dilation(mask, iterations=2)
        hits = sum(
            bool(near[tuple(np.rint(way[:3, :3] @ f["center_mm"] + way[:3, 3]).astype(int))])
            for f in told["findings"] or ()
        )
        size = mask.sum() * aligned.space.voxel_ml
        print(f"  {path.name}: {size:.1f} ml of lesions, {hits} findings in them")
        print(f"    AUC of z {auc:.3f}, of the lesion network {by_network:.3f}")
        print(f"    {in_words(told)}", flush=True)


def site(bench: Bench, paths: Sequence[Path]) -> None:
    """Each scan of one site, judged by a calibration with the others."""
    scans = [bench.align(path) for path in paths]
    people: list[MeasuredSubject] = measure_scans(
        bench.generator, [(scan.volume, scan.brain_mask) for scan in scans]
    )
    quiet = same = 0
    sizes: list[tuple[float, float]] = []
    for number, scan in enumerate(scans):
        entry, maps = learn_site(bench.generator, [*people[:number], *people[number + 1 :]])
        yardstick = Yardstick(entry, maps, "left out")
        told, z, seen = bench.judge(scan.volume, scan.brain_mask, yardstick)
        assert bench.yardstick.usual is not None
        before = residual_z(seen, bench.yardstick.usual)
        sizes.append(tuple(float(np.std(x[seen.judged])) for x in (before, z)))  # type: ignore
        quiet += is_quiet(told)
        same += told["verdicts"]["acquisition"]["level"] == "green"
        print(f"  {paths[number].name:36} {in_words(told)}", flush=True)
    print(f"green, or the scanner differs only: {wilson(quiet, len(scans))}")
    print(f"acquisition green: {wilson(same, len(scans))}")
    before, after = np.median(np.array(sizes), axis=0)
    print(f"spread of z inside the brain: {before:.2f} without the site, {after:.2f} with it")


def reconstruct(bench: Bench, paths: Sequence[Path]) -> None:
    """Median and quartiles of the reconstruction of one site's scans."""
    rows: dict[str, list[list[float]]] = {"encoder": [], "standard": []}
    for path in paths:
        volume, mask = bench.placed(path)
        scan = Placed(volume, mask)
        found = project(bench.generator, scan, budget="standard")
        guess = first_guess(bench.generator, volume, bench.generator.template).volume
        matched = see(bench.generator, volume, mask).matched.volume
        for name, made in (("encoder", guess), ("standard", found.volume)):
            plain = similarity(made, volume, mask)
            alike = match_sharpness(made, matched, mask, bench.generator.voxel_size)
            detail = cortical_detail(made, matched, mask, bench.generator.voxel_size)
            figures = [plain["psnr"], plain["ssim"], alike["psnr"], alike["ssim"], detail]
            rows[name].append(figures)
    titles = ("PSNR", "SSIM", "matched PSNR", "matched SSIM", "cortical detail")
    for name, figures in rows.items():
        quartiles = np.percentile(np.array(figures), [50, 25, 75], axis=0).T
        told = [
            f"{title} {q[0]:.3g} ({q[1]:.3g} to {q[2]:.3g})"
            for title, q in zip(titles, quartiles, strict=True)
        ]
        print(f"  {name}, {len(figures)} scans: {', '.join(told)}", flush=True)


def stripped(generator: Generator, paths: Sequence[Path]) -> None:
    """How many are told where so much is cut off all around the brain."""
    told, asked = Counter(), Counter()
    for path in paths:
        whole = read_scan(path).align(generator)
        own = whole.prepared
        assert own is not None
        depth = ndimage.distance_transform_edt(own.mask, own.space.voxel_size)
        for mm in CUT_MM:
            brain = replace(own, mask=depth > mm, brain=np.where(depth > mm, own.brain, 0))
            placed = looked_over(on_grid(whole.scan, brain, whole.rigid, ()), generator)
            told[mm] += (cut := any("fluid" in doubt.figures for doubt in placed.doubts))
            asked[mm] += not cut and any(doubt.severity != "tell" for doubt in placed.doubts)
    for mm in CUT_MM:
        print(f"  {mm} mm cut off: told of {told[mm]}, asked of {asked[mm]} of {len(paths)}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--healthy", type=Path, nargs="*", default=[])
    parser.add_argument("--lesion", nargs="*", default=[])
    parser.add_argument("--ill", type=Path, nargs="*", default=[])
    parser.add_argument("--site", type=Path, nargs="*", default=[])
    parser.add_argument("--reconstruct", type=Path, nargs="*", default=[])
    parser.add_argument("--stripped", type=Path, nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--cache", type=Path, help="keep prepared scans here")
    args = parser.parse_args()
    bench = Bench(stylegan3d.load(args.model, device="cpu"), args.cache)
    if args.lesion:
        print("with lesions:")
        lesions(bench, args.lesion)
    for path in args.ill:
        aligned = bench.align(path)
        told, *_ = bench.judge(aligned.volume, aligned.brain_mask)
        print(f"  {path.name:36} {in_words(told)}", flush=True)
    if args.healthy:
        print("healthy:")
        healthy(bench, args.healthy, args.repeats)
    if args.reconstruct:
        print("reconstruction:")
        reconstruct(bench, args.reconstruct)
    if args.stripped:
        print("stripped too tightly:")
        stripped(bench.generator, args.stripped)
    if args.site:
        print("one site, each judged by a calibration with the others:")
        site(bench, args.site)


Brain = tuple[np.ndarray, np.ndarray]


def brain_of(path: Path, generator: Generator, cache: Path | None) -> Brain | None:
    """Volume and mask on the model's grid; None if no brain is found."""
    try:
        aligned = read_scan(path).align(generator, cache=cache)
    except ScanError as error:
        print(f"  {path.name}: {error}")
        return None
    return aligned.volume, aligned.brain_mask


def identified(pairs: list[tuple[Tensor, Tensor]], others: list[Tensor]) -> tuple[int, float]:
    """How many of the scans have their own person's other scan nearest, and the least margin.

    The margin is the nearest stranger's distance divided by that of the other scan: above 1 the
    person is identified.
    """
    right, margins = 0, []
    everybody = [w for pair in pairs for w in pair] + others
    for first, second in pairs:
        for own, again in ((first, second), (second, first)):
            strangers = [w for w in everybody if w is not first and w is not second]
            near = min(float((own - w).norm()) for w in strangers)
            margins.append(near / max(float((own - again).norm()), 1e-9))
            right += margins[-1] > 1
    return right, min(margins)


def known() -> None:
    """Does the verdict tell what a model knows from what it does not, and one person from another?

        python benchmarks/trust.py PACK KNOWN [KNOWN ...] --outside SCAN [SCAN ...]
            [--repeats A1,A2 B1,B2 ...] [--model FOLDER] [--cache FOLDER] [--steps N]

    PACK is the model's prepared dataset; its validation people are the ones the model knows, each
    judged by what is usual of the others. KNOWN are further scans of the kind it knows, of other
    sites
    and scanners (reported, not counted); --outside are scans it does not know: other contrasts,
    tumours, phantoms, CT. Prints each scan's strangeness and verdict, and the area under the curve
    between people and --outside. A scan in which no brain is found counts as outside.

    --repeats are pairs of scans of one person. Identified is who has the nearest neighbour, among
    all
    repeats and all validation people, in the other scan; the distance is that of w, each principal
    direction in its own deviation. With --steps the latents are searched in w+, else the encoder's.
    """
    parser = argparse.ArgumentParser(description=known.__doc__.splitlines()[0])
    parser.add_argument("pack", type=Path)
    parser.add_argument("known", type=Path, nargs="*")
    parser.add_argument("--outside", type=Path, nargs="*", default=[])
    parser.add_argument("--repeats", nargs="*", default=[])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--cache", type=Path, help="keep prepared scans here")
    parser.add_argument("--steps", type=int, default=0)
    args = parser.parse_args()
    pack = load_pack(args.pack)
    generator = stylegan3d.load(args.model, device="cpu")
    ruler = Ruler(generator)
    entry, _ = calibrate(generator, pack)
    volumes = [unit(np.array(pack.volumes[i])) for i in pack.indices("validation")]
    people = left_out_scores([[ruler.measure(v, v > FOREGROUND).signs] for v in volumes])
    print(
        f"{len(people)} people: strangeness {np.median(people):.2f} (median), {max(people):.2f} "
        f"(most); close up to {entry['close']:.2f}, outside from {entry['outside']:.2f}"
    )
    others = []
    for title, paths in (("known kind, other sites", args.known), ("outside", args.outside)):
        print(f"{title}:")
        for path in paths:
            brain = brain_of(path, generator, args.cache)
            score = np.inf
            if brain is not None:
                score = compare_signs(ruler.measure(*brain).signs, entry)[1] or 0.0
            verdict = "red" if score > entry["outside"] else "amber"
            verdict = "green" if score <= entry["close"] else verdict
            print(f"  {path.name:36} {score:6.2f}  {verdict}", flush=True)
            others += [score] if title == "outside" else []
    if others:
        called = np.mean(np.array(others) > entry["outside"])
        area = areas(np.array(others), np.array(people))
        print(f"area under the curve, people and outside: {area:.3f}")
        print(
            f"called outside: {called:.0%} of those outside, "
            f"{np.mean(np.array(people) > entry['outside']):.0%} of the people"
        )
    if args.repeats:
        repeats(args.repeats, volumes, generator, ruler, args.cache, args.steps)


def repeats(
    pairs: list[str],
    volumes: list[np.ndarray],
    generator: Generator,
    ruler: Ruler,
    cache: Path | None,
    steps: int,
) -> None:
    """Print how many people are identified."""

    def latent(volume: np.ndarray) -> Tensor:
        w = first_guess(generator, volume, generator.template).w
        if steps or w is None:
            w = project(generator, volume, steps=steps or 12).w
        with torch.no_grad():
            return ruler.prior.whiten(w.to(ruler.prior.mean)).flatten()

    found = []
    for pair in pairs:
        both = [brain_of(Path(path), generator, cache) for path in pair.split(",")]
        if None not in both:
            first, second = (latent(brain[0]) for brain in both if brain is not None)
            found.append((first, second))
    right, margin = identified(found, [latent(volume) for volume in volumes])
    print(
        f"repeat scans: {right} of {2 * len(found)} identified among {len(volumes)} others; the "
        f"nearest stranger is at least {margin:.2f} times as far"
    )


if __name__ == "__main__":
    run(main, known)
