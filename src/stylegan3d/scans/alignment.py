"""Rigid alignment of an extracted brain to a mean brain.

A small brain fitted rigidly to a large template is ambiguous: it can shift and pitch inside the
template (by up to 14 degrees). So a *similarity* transform (rotation, translation, one scale) is
fitted to the template by correlation, of which only the rotation and the position of the brain's
centre are used. The brain keeps its true size.

The fit is Gauss-Newton on the normalised images at 8 mm, then 4 mm: about ten iterations per level,
without random sampling or threads, so the result is reproducible. A third level at 2 mm follows
individual folds rather than the pose and gave no better agreement.

ITK's registration (similarity transform, correlation or mutual information, gradient descent from
8 mm to 4 mm) takes two to three times as long and recovers the pose of moved brains less precisely:
0.13 mm (correlation) and 0.4 mm (mutual information) on average, here 0.05 mm. All three found
every pose. `benchmarks/alignment.py` measures this.

Target of an alignment: a grid and its mean brain.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

from stylegan3d.base import Doubt, Note, ScanError, doubts_in
from stylegan3d.geometry.space import Space, dilated
from stylegan3d.scans import checks
from stylegan3d.scans.extraction import edge_notes, extract_brain, extracted_mask, object_mask
from stylegan3d.scans.intensity import check_sign
from stylegan3d.scans.label_maps import looks_like_labels
from stylegan3d.scans.resampling import isotropic_space, resample
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.storage.places import TEMPLATE, bundled_model_path


class Target(Protocol):
    """Argument of `Scan.align`; every `Generator` is one.

    `space` is the grid, `template` the mean brain on it, float32 (X, Y, Z) in [0, 1].
    """

    @property
    def space(self) -> Space:
        """The model's grid."""
        ...

    @property
    def template(self) -> np.ndarray:
        """The mean brain on it."""
        ...


@dataclass(frozen=True, eq=False)
class Template:
    """A target that is not a generator."""

    space: Space
    template: np.ndarray


def standard_brain(space: Space) -> Template:
    """The mean brain of the generator that comes along, with its centre in the middle of a grid.

    For generators of which neither the geometry nor the image can be relied on.
    """
    found = bundled_template()
    affine = found.space.affine.copy()
    affine[:3, 3] += space.center_mm - centroid(found.template > 0.05, found.space)
    return Template(Space(found.space.shape, affine), found.template)


def bundled_template() -> Template:
    """The mean brain of the generator that comes along."""
    return load_template(bundled_model_path() / TEMPLATE)


def load_template(path: str | Path) -> Template:
    """Read a mean brain to align to; its own grid becomes the target's.

    Intensities come out in [0, 1] whether the file holds [0, 1], uint8 or a scanner's units.
    """
    image, data = checks.read_volume(Path(path), "template")
    if data.ndim != 3 or not np.isfinite(data).all() or data.max() <= 0:
        raise ScanError(f"{path} is not a template; give a 3D image of a mean brain.")
    return Template(Space(data.shape, image.affine), data / _full_scale(image, data))


def read_template(path: Path, space: Space) -> np.ndarray:
    """The mean brain in a model's folder, (X, Y, Z) float32 as it is stored.

    Raises
    ------
    ScanError
        If it cannot be read, holds NaN or infinity, or has another grid than `space`.
    """
    _, data = checks.read_volume(path, "template")
    if data.shape != tuple(space.shape) or not np.isfinite(data).all():
        raise ScanError(f"{path} is not the mean brain of this model; copy the model folder again.")
    return data


def _full_scale(image: nib.Nifti1Image, data: np.ndarray) -> float:
    # A mean brain stored in uint8 peaks below 255; its scale is the type's, not its own maximum.
    if data.max() <= 1:
        return 1.0
    return 255.0 if image.get_data_dtype() == np.uint8 and data.max() <= 255 else float(data.max())


LEVELS_MM = (8.0, 4.0)
ITERATIONS = 40
# Least gain of correlation of an iteration.
ENOUGH = 1e-6
# Correlation at 4 mm: brains with a correct header reach 0.94, upside-down ones 0.85, heads with
# their skull 0.88.
TRUSTED = 0.90
# Of what is no brain it is lower.
RESEMBLES = 0.6
SCALE_RANGE = (0.6, 1.6)
# Heads in scanners are tilted by up to 20 degrees; face down they are turned by 180.
WRONG_DEGREES = 32.0
# A pose turned by more has to correlate better by this than the header's: of 36 brains the true one
# is better than any other by 0.09 and more, of those stretched along an axis worse by up to 0.05.
CLEARLY = 0.06
# Length of a brain, as a share of the mean brain's, outside which its voxel size is doubted; and
# that along its longest axis as a share of that along its shortest, in 142 people up to 1.17.
SIZES, STRETCHED = (0.87, 1.16), 1.2
ACROSS = "from left to right", "from back to front", "from bottom to top"
# Kinds of `header_doubts` of what cannot be taken as it lies.
REFUTED = {"turned", "brain", "labels"}
# Voxels of a coarse look, which is taken of scans that are only described.
COARSE_MM = 3.0
# Correlation from which pose and size are the head's own: whole heads of any contrast have 0.82 and
# more, a field map 0.74.
JUDGED = 0.8


@dataclass(frozen=True, eq=False)
class Similarity:
    """q = scale * rotation @ (p - center) + place: template RAS mm `p` to scan RAS mm `q`."""

    rotation: np.ndarray
    scale: float
    center: np.ndarray
    place: np.ndarray

    @property
    def degrees(self) -> float:
        """How far it turns."""
        return float(np.degrees(Rotation.from_matrix(self.rotation).magnitude()))

    def points(self, points: np.ndarray) -> np.ndarray:
        """(3, n) template points to scan points."""
        shift = self.place - self.scale * self.rotation @ self.center
        return (self.scale * self.rotation) @ points + shift[:, None]

    def stepped(self, step: np.ndarray) -> Similarity:
        """Moved by (7,): rotation vector (radians), log scale, translation (mm)."""
        return Similarity(
            Rotation.from_rotvec(step[:3]).as_matrix() @ self.rotation,
            self.scale * float(np.exp(step[3])),
            self.center,
            self.place + step[4:],
        )

    def rigid(self, brain_center: np.ndarray) -> np.ndarray:
        """(4, 4) scan RAS mm to template RAS mm without the scale.

        The similarity transform decides where `brain_center`, a scan point, is mapped to.
        """
        back = self.rotation.T
        landing = back @ (brain_center - self.place) / self.scale + self.center
        return nib.affines.from_matvec(back, landing - back @ brain_center)


def align_rigid(
    brain: np.ndarray, space: Space, target: Target, least: float = RESEMBLES, moved: bool = True
) -> tuple[np.ndarray, list[Note]]:
    """Align an extracted brain to the target's space.

    Parameters
    ----------
    brain : ndarray, shape (I, J, K)
        Intensities, 0 outside the brain.
    space : Space
        The brain's grid.
    target : Target
        Mean brain to align to.
    least : float
        Correlation with it below which no pose counts as found.
    moved : bool
        Whether the brain is taken to the pose found, and a wrong turn so corrected.

    Returns
    -------
    rigid : ndarray (4, 4)
        Scan RAS mm to target RAS mm.
    steps : list of str or Doubt
        What was done, and doubts about the header: no head lies so, or is so large.

    Raises
    ------
    ScanError
        If the brain does not resemble the template in any pose.
    """
    steps: list[Note] = []
    mean, brain_center = target.template > 0.05, centroid(brain > 0, space)
    start = Similarity(np.eye(3), 1.0, centroid(mean, target.space), brain_center)
    levels = _levels(brain, space, target)
    fit, quality = _fitted(levels, start)
    if quality < TRUSTED:  # as if one voxel size were wrong, and no turn
        axes = space.affine[:3, :3] / space.voxel_size
        own = nib.affines.from_matvec(np.linalg.inv(axes))
        lengths = _spread(brain > 0, own @ space.affine) / _spread(mean, own @ target.space.affine)
        back = axes @ np.diag(np.cbrt(lengths.prod()) / lengths) @ own[:3, :3]
        shrunk = nib.affines.from_matvec(back, brain_center - back @ brain_center)
        found = _fitted(_levels(brain, Space(space.shape, shrunk @ space.affine), target), start)
        if found[1] < TRUSTED:
            found = _search(*levels, start, (fit, quality))
            steps.append("All orientations were tried, because the header's did not fit.")
        fit, quality = found
    if quality < least:
        raise ScanError(
            "The brain does not match the model's mean brain in any orientation "
            f"(correlation {quality:.2f}); give a T1-weighted scan of a whole adult head, or, if a "
            "large lesion is the reason, align it by hand and mark the lesion to be left out."
        )
    rigid = fit.rigid(brain_center)
    steps.append(
        f"Rotated by {fit.degrees:.1f} degrees and moved to the model's space; the true size was "
        f"kept (the mean brain scaled by {fit.scale:.3f} would match)."
    )
    lengths = _spread(brain > 0, rigid @ space.affine) / _spread(mean, target.space.affine)
    return rigid, [*steps, *_pose_doubts(fit, lengths, quality, moved)]


def _levels(brain: np.ndarray, space: Space, target: Target) -> tuple[_Level, _Level]:
    coarse, fine = (_Level(brain, space, target, spacing) for spacing in LEVELS_MM)
    return coarse, fine


def _fitted(levels: tuple[_Level, _Level], start: Similarity) -> tuple[Similarity, float]:
    """The best pose near one, from coarse to fine, and its correlation."""
    return levels[1].fit(levels[0].fit(start)[0])


def _spread(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Standard deviations (3,) of the places in a mask."""
    return nib.affines.apply_affine(affine, np.argwhere(mask)).std(axis=0)


def _pose_doubts(fit: Similarity, lengths: np.ndarray, quality: float, moved: bool) -> list[Doubt]:
    """What a brain's pose and size make of its header; what is too unlike a T1 brain has neither.

    `lengths` (3,) along right, anterior, superior are shares of the mean brain's, and `quality` is
    the correlation with it; `moved` tells whether the turn was corrected.
    """
    doubts, turn, size, where = list[Doubt](), fit.degrees, fit.scale, ""
    stretch = float(lengths.max() / lengths.min())
    if stretch > STRETCHED and turn <= WRONG_DEGREES:  # of turned heads little may be found
        one, other = ACROSS[lengths.argmax()], ACROSS[lengths.argmin()]
        size, where = stretch, f" {one}, for its length {other},"
    odd = not SIZES[0] < size < SIZES[1]
    if quality < JUDGED:
        if turn <= WRONG_DEGREES and not odd:
            return doubts
        text = (
            "The image is too little like a T1-weighted brain to tell whether its header has the "
            f"right rotation and size (correlation {quality:.2f}); check that it is a scan of a "
            "head, not a map, and its voxel sizes."
        )
        return [Doubt("likeness", "ask", text, {"correlation": float(quality)})]
    if turn > WRONG_DEGREES:
        corrected = ", which was corrected" if moved else ""
        text = (
            f"By its header the head is rotated by {turn:.0f} degrees{corrected}; such a "
            "header may have left and right swapped, too: check against a known side."
        )
        doubts.append(Doubt("turned", "ask", text, {"degrees": float(turn)}))
    if odd:
        text = (
            f"By its header the brain is {size:.2f} times as long{where} as the mean brain, which "
            "is unusual for an adult; its voxel size may be wrong, or a part of it missing, and "
            "volumes with it."
        )
        doubts.append(Doubt("head-size", "ask", text, {"scale": size}))
    return doubts


def centred_rigid(brain: np.ndarray, space: Space, target: Target) -> np.ndarray:
    """(4, 4), see `align_rigid`: centre the brain on the target, without rotation."""
    brain_center = centroid(brain > 0, space)
    center = centroid(target.template > 0.05, target.space)
    return Similarity(np.eye(3), 1.0, center, brain_center).rigid(brain_center)


def refined_rigid(
    brain: np.ndarray,
    space: Space,
    target: Target,
    rigid: np.ndarray,
    levels_mm: tuple[float, ...] = LEVELS_MM,
) -> np.ndarray:
    """(4, 4), see `align_rigid`: the best pose near a given one, from coarse to fine."""
    center = centroid(target.template > 0.05, target.space)
    place = nib.affines.apply_affine(np.linalg.inv(rigid), center)
    pose = Similarity(rigid[:3, :3].T, 1.0, center, place)
    for spacing in levels_mm:
        pose, _ = _Level(brain, space, target, spacing).fit(pose)
    return pose.rigid(centroid(brain > 0, space))


def _search(
    coarse: _Level, fine: _Level, start: Similarity, best: tuple[Similarity, float]
) -> tuple[Similarity, float]:
    """Global search: the 24 rotations of a cube, each also tilted by 30 degrees."""
    tilts = [np.zeros(3), *(sign * np.radians(30) * axis for axis in np.eye(3) for sign in (1, -1))]
    poses = [
        Similarity((Rotation.from_rotvec(tilt) * turn).as_matrix(), 1.0, start.center, start.place)
        for turn in Rotation.create_group("O")
        for tilt in tilts
    ]
    fits = sorted(map(coarse.fit, sorted(poses, key=coarse.score)[-12:]), key=lambda fit: fit[1])
    # Most of them are one pose.
    likely = {tuple(np.round(pose.rotation, 1).flat): pose for pose, _ in fits[-4:]}
    found = [best, *map(fine.fit, likely.values())]
    return max(found, key=lambda fit: fit[1] - CLEARLY * (fit[0].degrees > WRONG_DEGREES))


def header_doubts(scan: ScanData, target: Target) -> list[Doubt]:
    """What a coarse look at the image makes of its header, and of the field of view.

    Parameters
    ----------
    target : Target
        Whose mean brain has the true size and turn.
    """
    if looks_like_labels(scan.data):
        count = np.count_nonzero(np.unique(scan.data))
        kind = f"a map of {count} labels" if count > 1 else "a mask"
        text = f"The values are whole numbers in regions: this seems to be {kind}, not a scan."
        return [Doubt("labels", "tell", text, {"labels": count})]
    target = Template(*_thinned(target.space, target.template))
    space, thin = _thinned(scan.space, scan.data)
    coarse = replace(scan, data=thin, affine=space.affine)
    # What is no head but a brain shows its size, however wrong; a head needs deepbet, once.
    mask = extracted_mask(thin, space)
    if mask is None:
        with suppress(ScanError):
            return doubts_in(_coarse_pose(coarse, object_mask(thin), target, TRUSTED))
    try:
        mask = extract_brain(thin, space) if mask is None else mask
        found = [*edge_notes(mask, space), *_coarse_pose(coarse, mask, target, RESEMBLES)]
        return [one for one in doubts_in(found) if one.kind != "cut"]  # too coarse to see that
    except ScanError as error:
        return [Doubt("brain", "ask", str(error))]


def _thinned(space: Space, data: np.ndarray) -> tuple[Space, np.ndarray]:
    """Every so many voxels, about `COARSE_MM` apart, and their grid."""
    steps = [max(round(COARSE_MM / size), 1) for size in space.voxel_size]
    thin = data[tuple(slice(None, None, step) for step in steps)]
    return Space(thin.shape, space.affine @ np.diag([*steps, 1])), thin


def _coarse_pose(scan: ScanData, mask: np.ndarray, target: Target, least: float) -> list[Note]:
    check_sign(scan, mask)
    brain = np.where(mask, scan.data, np.float32(0))
    return align_rigid(brain, scan.space, target, least, moved=False)[1]


class _Level:
    """Template points and the moving image at one resolution."""

    def __init__(self, brain: np.ndarray, space: Space, target: Target, spacing: float) -> None:
        grid = isotropic_space(brain, space, spacing, 3 * spacing)
        moving = resample(brain, space, grid)
        self.origin, self.spacing = grid.affine[:3, 3, None], spacing
        slopes = [slope / spacing for slope in np.gradient(moving)]
        #: [1, 4, ...], the brain and its slopes per mm.
        self.images = np.stack([moving, *slopes], dtype=np.float32)[None]
        fixed_grid = isotropic_space(target.template > 0.02, target.space, spacing, spacing)
        fixed = resample(target.template, target.space, fixed_grid)
        near = dilated(fixed > 0.02, 2 if spacing < 8 else 1)
        self.points = nib.affines.apply_affine(fixed_grid.affine, np.argwhere(near)).T.copy()
        self.fixed = _normalised(fixed[near].astype(np.float64))[0]

    def _sample(self, images: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Images [1, C, ...] at points (3, n): (C, n), 0 outside."""
        from torch import from_numpy
        from torch.nn.functional import grid_sample

        ends = (np.array(images.shape[2:]) - 1)[:, None] / 2
        voxels = ((where - self.origin) / self.spacing / ends - 1).astype(np.float32)
        grid = from_numpy(voxels[::-1].T.copy())[None, None, None]
        found = grid_sample(from_numpy(images), grid, align_corners=True)
        return found[0, :, 0, 0].numpy().astype(np.float64)

    def score(self, pose: Similarity) -> float:
        """Correlation of the template with the brain in this pose, -1 to 1."""
        (values,) = self._sample(self.images[:, :1], pose.points(self.points))
        return float((self.fixed * _normalised(values)[0]).sum())

    def fit(self, pose: Similarity) -> tuple[Similarity, float]:
        """Maximise the correlation from a pose; returns pose and correlation."""
        quality, damping = self.score(pose), 1e-3
        for _ in range(ITERATIONS):
            normal, slope = self._equations(pose)
            while damping < 1e3:
                step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), slope)
                candidate = pose.stepped(step)
                better = self.score(candidate)
                if better > quality and SCALE_RANGE[0] < candidate.scale < SCALE_RANGE[1]:
                    break
                damping *= 10
            else:
                break
            gain, pose, quality, damping = better - quality, candidate, better, damping / 10
            if gain < ENOUGH:
                break
        return pose, quality

    def _equations(self, pose: Similarity) -> tuple[np.ndarray, np.ndarray]:
        """J^T J (7, 7) and J^T r (7,) of the residual between the normalised images."""
        where = pose.points(self.points)
        values, *slopes = self._sample(self.images, where)
        image, length = _normalised(values)
        arm = where - pose.place[:, None]
        jacobian = np.stack(
            [
                # d(value)/d(rotation) = slope . (axis x arm) = axis . (arm x slope)
                arm[1] * slopes[2] - arm[2] * slopes[1],
                arm[2] * slopes[0] - arm[0] * slopes[2],
                arm[0] * slopes[1] - arm[1] * slopes[0],
                arm[0] * slopes[0] + arm[1] * slopes[1] + arm[2] * slopes[2],
                *slopes,
            ]
        )  # [7, n]
        # Normalising removes the mean and any scaling of intensity.
        jacobian -= jacobian.mean(axis=1, keepdims=True)
        jacobian -= np.outer(jacobian @ image, image)
        jacobian /= length
        return jacobian @ jacobian.T, jacobian @ (self.fixed - image)


def _normalised(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Values with mean 0 and length 1, and the length they had."""
    centered = values - values.mean()
    length = float(np.sqrt((centered * centered).sum())) or 1.0
    return centered / length, length


def centroid(mask: np.ndarray, space: Space) -> np.ndarray:
    """Centroid of a mask in RAS mm."""
    return nib.affines.apply_affine(space.affine, np.argwhere(mask).mean(axis=0))
