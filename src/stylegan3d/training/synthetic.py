"""Images of any contrast, made from label maps, for a network that no contrast surprises.

SynthSeg (Billot et al. 2023, doi:10.1016/j.media.2023.102789, arXiv 2107.09559): the labels of a
brain are aged, bent and turned, each structure is given a random intensity, and the image is
spoilt as scanners spoil it. What is learned is shape.

A head is held as its labels and as distances on a coarser grid: wider ventricles, wider sulci,
thinner cortex, skull and skin are thresholds of these distances that vary over the head.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stylegan3d.base import Json, Progress, StyleGAN3DError
from stylegan3d.geometry.space import Space, filled_box
from stylegan3d.segmentation.classes import FREESURFER, NUMBERS, STRUCTURES, Scheme
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.storage.files import atomic_file
from stylegan3d.training import segmentation
from stylegan3d.training.data import rotation
from stylegan3d.training.run import Run

NUMBER = {name: index for index, name in enumerate(STRUCTURES.classes)}


def _of(*names: str) -> list[int]:
    """Classes of structures, those of both sides where there are two."""
    return [i for n, i in NUMBER.items() if n in names or n.partition("_")[2] in names]


CSF, LESION = NUMBER["csf"], NUMBER["lesion"]
WHITE, CORTEX = _of("cerebral_white"), _of("cerebral_cortex")
LATERAL = _of("lateral_ventricle", "temporal_horn")
FLUID = [CSF, *LATERAL, *_of("third_ventricle", "fourth_ventricle")]

CPU = torch.device("cpu")
#: Distances are kept on every second voxel, in tenths of a millimetre, up to this one.
FARTHEST_MM = 25.0
#: A gap between structures narrower than twice this is fluid of a sulcus.
SULCUS_MM = 5.0
MARGIN_MM = 25.0

#: Where a structure's intensity lies between grey (0) and white matter (1).
BETWEEN: dict[str, tuple[float, float]] = NUMBERS["between"]
#: Intensities of fluid, grey and white matter, and how often each kind of image is drawn. The rest
#: has three random intensities, or one for every structure.
CONTRASTS = {
    "T1": (0.42, (0.03, 0.25), (0.38, 0.62), (0.68, 0.95)),
    "T2": (0.12, (0.75, 1.0), (0.45, 0.7), (0.25, 0.45)),
    "FLAIR": (0.1, (0.0, 0.2), (0.5, 0.75), (0.38, 0.62)),
    "PD": (0.05, (0.55, 0.95), (0.65, 0.9), (0.45, 0.7)),
    "CT": (0.03, (0.2, 0.3), (0.42, 0.5), (0.34, 0.42)),
    "three": (0.12, (0.03, 1.0), (0.03, 1.0), (0.03, 1.0)),
}


@dataclass(frozen=True, eq=False)
class Head:
    """A label map with what is needed to make images of it.

    Attributes
    ----------
    labels : Tensor, shape (X, Y, Z), uint8
        Classes of `STRUCTURES`, axes R, A, S; gaps between gyri are fluid.
    distances : Tensor, shape (4, ceil(X / 2), ceil(Y / 2), ceil(Z / 2)), uint8
        Tenths of a millimetre to the lateral ventricles, to fluid outside the brain, to the cortex
        and to the fluid's hull (from outside).
    voxel_mm : float
    """

    labels: Tensor
    distances: Tensor
    voxel_mm: float


def read_head(path: Path) -> Head:
    """A label map with FreeSurfer's codes and cubic voxels.

    Raises
    ------
    StyleGAN3DError
        If it cannot be read, labels nothing, has other codes or voxels that are no cubes.
    """
    import SimpleITK as sitk

    image, data = segmentation.open_map(path, canonical=True)
    sizes = nib.affines.voxel_sizes(image.affine)
    if np.ptp(sizes) > 0.02 * sizes.mean():
        raise StyleGAN3DError(f"{path} has anisotropic voxels; resample it (nearest).")
    classes, unknown = segmentation.classes_of(data, FREESURFER)
    if unknown:
        raise StyleGAN3DError(
            f"{path} holds the label {unknown[0]:g}; the labels have to be FreeSurfer's codes of "
            "structures, such as 2 and 41 for white matter."
        )
    if not classes.any():
        raise StyleGAN3DError(f"{path} labels nothing: all its values are 0. Leave it out.")
    mm = float(sizes.mean())
    labels = np.pad(classes[filled_box(classes > 0)], round(MARGIN_MM / mm))

    def distance(mask: np.ndarray) -> np.ndarray:
        """Millimetres from each voxel outside a mask to it."""
        found = sitk.SignedMaurerDistanceMap(
            sitk.GetImageFromArray(mask.astype(np.uint8)), squaredDistance=False
        )
        return np.maximum(sitk.GetArrayViewFromImage(found), 0) * mm

    brain = labels > 0
    hull = ~(distance(~(distance(brain) <= SULCUS_MM)) <= SULCUS_MM) | brain
    labels[hull & ~brain] = CSF
    kept = [
        np.clip(distance(mask)[::2, ::2, ::2], 0, FARTHEST_MM) * 10
        for mask in (
            np.isin(labels, LATERAL),
            (labels == 0) | (labels == CSF),
            np.isin(labels, CORTEX),
            hull,
        )
    ]
    distances = torch.from_numpy(np.stack(kept).astype(np.uint8))
    return Head(torch.from_numpy(labels), distances, mm)


@dataclass(frozen=True, eq=False)
class SyntheticBrains:
    """Label maps that images are made of, half of them of whole heads and half of parts.

    Attributes
    ----------
    paths : tuple of Path
        The maps, those to learn from first.
    store : Path
        Folder that keeps what was prepared of them.
    training : int
        How many of them are learned from.
    licence : str
        Of the maps.
    device : torch.device
        Where images are made; another one than the CPU keeps the heads, of some 30 MB each.
    """

    paths: tuple[Path, ...]
    store: Path
    training: int
    licence: str = ""
    device: torch.device = CPU
    scheme: ClassVar[Scheme] = STRUCTURES
    _kept: dict[int, Head] = field(default_factory=dict, repr=False)

    @property
    def validation(self) -> range:
        """See `HeldOut`."""
        return range(self.training, len(self.paths))

    def head(self, index: int) -> Head:
        """One of the heads, prepared when it is first asked for."""
        if index in self._kept:
            return self._kept[index]
        path = self.paths[index]
        kept = self.store / f"{path.name.partition('.')[0]}.npz"
        if not kept.exists():
            head = read_head(path)
            self.store.mkdir(parents=True, exist_ok=True)
            with atomic_file(kept) as file:
                np.savez_compressed(file, **vars(head))
        with np.load(kept) as z:
            maps = [torch.from_numpy(z[name]).to(self.device) for name in ("labels", "distances")]
            head = Head(maps[0], maps[1], float(z["voxel_mm"]))
        if self.device.type != "cpu":
            self._kept[index] = head
        return head

    def example(self, index: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """See `TrainingBrains`: a whole head at 2 mm or a part of one at 1 mm."""
        seed = int(torch.randint(2**62, (), generator=generator))
        images = IMAGES if self.device.type == "cpu" else ON_GPU
        return ImageMaker(seed, self.device).make(self.head(index), *images[seed % 2])

    def pair(self, index: int) -> tuple[Tensor, Tensor]:
        """See `HeldOut`: always the same image of one of them."""
        made = ImageMaker(index, self.device).make(self.head(index), *IMAGES[index % 2])
        return made[0].cpu(), made[1].cpu()

    def space(self, index: int) -> Space:
        """See `DescribedBrains`."""
        shape, mm = IMAGES[index % 2]
        return Space(shape, np.diag([mm, mm, mm, 1.0]))

    def card(self, run: Run[Any], licence: str | None) -> Json:
        """See `DescribedBrains`."""
        return {
            "modality": "any contrast",
            "intensity": {"outside": 0, "one": "99.5th percentile inside the brain"},
            "space": {"voxel_mm": [1.0] * 3, "also_mm": [[2.0] * 3], "axes": "RAS"},
            "training": {
                "label_maps": self.training,
                "steps": run.steps,
                "seed": run.settings.seed,
            },
            "licence": licence or self.licence,
            "intended_use": segmentation.INTENDED_USE,
        }

    def measured(self, segmenter: Segmenter, progress: Progress) -> Json:
        """See `DescribedBrains`: on made images, which are harder than most scans."""
        return {"validation": segmentation.validation_figures(segmenter, self)}


#: What a network learns from by turns: a whole head, and a part of one, with a voxel's size in mm.
IMAGES = (((80, 112, 96), 2.0), ((96, 128, 96), 1.0))
#: Not a part but most of a head, as scans are labelled, where that takes no minute.
ON_GPU = (IMAGES[0], ((160, 192, 160), 1.0))
#: One in so many maps is held out.
HELD_OUT = 6


def synthetic_brains(folder: Path, store: Path, device: torch.device = CPU) -> SyntheticBrains:
    """The label maps `*_dseg.nii.gz` of a folder, one file per person; the last sixth is held out.

    Raises
    ------
    StyleGAN3DError
        If there are fewer than two.
    """
    paths = tuple(sorted(folder.glob("*_dseg.nii*")))
    if len(paths) < 2:
        raise StyleGAN3DError(
            f"{folder} has {len(paths)} label maps named such as sub-01_dseg.nii.gz; give a folder "
            "with at least two."
        )
    texts = sorted(folder.glob("LICENSE*"))
    licence = texts[0].read_text(encoding="utf-8") if texts else ""
    training = len(paths) - -(-len(paths) // HELD_OUT)
    return SyntheticBrains(paths, store, training, licence, device)


class ImageMaker:
    """Draws images and their labels.

    Parameters
    ----------
    seed : int
        Of all randomness.
    device : torch.device
        Where heads and images are.
    """

    def __init__(self, seed: int, device: torch.device = CPU) -> None:
        self.device = device
        self._scalars = np.random.default_rng(seed)
        self._fields = torch.Generator(self.device).manual_seed(seed)

    def make(
        self, head: Head, shape: tuple[int, int, int], spacing: float
    ) -> tuple[Tensor, Tensor]:
        """One image and its labels.

        Parameters
        ----------
        head : Head
        shape : tuple of int
            Voxels of the image; smaller than a head, it is a random part of it.
        spacing : float
            Millimetres of a voxel.

        Returns
        -------
        Tensor, shape (X, Y, Z), float32
            Intensities in [0, 1].
        Tensor, shape (X, Y, Z), uint8
            Classes of `STRUCTURES`.
        """
        if self._chance(0.5):
            mirror = torch.tensor(STRUCTURES.mirrored, dtype=torch.uint8, device=self.device)
            labels = mirror[head.labels.flip(0).long()]
            head = Head(labels, head.distances.flip(1), head.voxel_mm)
        places, vary = self._places(head, shape, spacing), self._smooth(shape, 40 / spacing)
        near = _sampled(head.distances[None].float(), places)[0] / 10
        before = _nearest(head.labels, places)
        labels = self._aged(before, near, vary)
        means, spreads = self._intensities()
        clean = self._clean(head, places, means, spacing)
        image = torch.where(labels != before, means[labels.long()], clean)
        image, labels = self._lesions(image, labels, means, spacing)
        image = self._textured(image, spreads[labels.long()], spacing)
        image, labels, whole = self._surrounded(image, labels, near[3], vary, spacing)
        return self._acquired(image, labels, spacing, whole)

    # Randomness.

    def _draw(self, low: float, high: float) -> float:
        return float(self._scalars.uniform(low, high))

    def _chance(self, share: float) -> bool:
        return bool(self._scalars.random() < share)

    def _pick(self, count: int) -> int:
        return int(self._scalars.integers(count))

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._fields, device=self.device)

    def _smooth(self, shape: Sequence[int], knots: float, channels: int = 1) -> Tensor:
        """Smooth noise of about unit deviation, [channels, X, Y, Z]; [X, Y, Z] of one."""
        noise = self._normal(1, channels, *[max(2, round(n / knots) + 1) for n in shape])
        found = 1.6 * F.interpolate(noise, tuple(shape), mode="trilinear", align_corners=True)[0]
        return found[0] if channels == 1 else found

    # The head.

    def _places(self, head: Head, shape: Sequence[int], spacing: float) -> Tensor:
        """Where each voxel lies in the head, [X, Y, Z, 3], from -1 to 1, the last axis first."""
        extent = np.array(head.labels.shape) * head.voxel_mm / 2
        room = np.maximum(extent - MARGIN_MM / 2 - np.array(shape) * spacing / 2, 0)
        angles = np.deg2rad(self._scalars.uniform(-18, 18, 3)) * (1 if self._chance(0.7) else 0.3)
        turn = rotation(torch.from_numpy(angles)).numpy()
        scale = self._draw(0.87, 1.13) * self._scalars.uniform(0.94, 1.06, 3)
        shear = self._scalars.uniform(-0.08, 0.08, (3, 3)) * (1 - np.eye(3))
        matrix = torch.tensor(turn * scale + shear, dtype=torch.float32, device=self.device)
        shift = self._scalars.uniform(-1, 1, 3) * (room + 8)
        axes = [(torch.arange(n, device=self.device) - (n - 1) / 2) * spacing for n in shape]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1) @ matrix.T
        places = places + torch.tensor(shift, dtype=torch.float32, device=self.device)
        bend = self._draw(0, 3) * self._smooth(shape, 36 / spacing, 3)
        bend = bend + self._draw(0, 1) * self._smooth(shape, 16 / spacing, 3)
        if self._chance(0.4):
            bend = bend + self._draw(0, 0.5) * self._smooth(shape, 8 / spacing, 3)
        half = torch.tensor(extent, dtype=torch.float32, device=self.device)
        places = ((places + bend.movedim(0, -1)) / half).flip(-1)
        if self._chance(0.5):
            # What lies around the ventricles is taken from nearer to them: they grow as a whole.
            far = F.avg_pool3d(head.distances[None, :1].float(), 4)[0, 0] / 10
            slope = torch.stack(torch.gradient(far, spacing=8 * head.voxel_mm))[None]
            pull = self._draw(-1.5, 5) * torch.exp(-far / 12) * (far > 0)
            moved = _sampled(slope * pull, places)[0].movedim(0, -1)
            places = places - (moved / half).flip(-1)
        return places

    def _aged(self, labels: Tensor, near: Tensor, vary: Tensor) -> Tensor:
        """With ventricles and sulci wider than the head's, and as much cortex as before."""
        ventricle, outside, cortex, _ = near
        if self._chance(0.5):
            reach = self._draw(0, 5) * (0.6 + 0.5 * vary).clamp(0, 1.5)
            for side in ("left", "right"):
                within = labels == NUMBER[f"{side}_cerebral_white"]
                lateral = NUMBER[f"{side}_lateral_ventricle"]
                labels = torch.where(within & (ventricle < reach), lateral, labels)
        if self._chance(0.4):
            depth = self._draw(0, 1.6) * (0.6 + 0.5 * vary).clamp(0, 1.3)
            thin = self._draw(0.6, 1.1)
            for side in ("left", "right"):
                white, grey = (NUMBER[f"{side}_{n}"] for n in ("cerebral_white", "cerebral_cortex"))
                lost = (labels == grey) & (outside < depth)
                gained = (labels == white) & (cortex < thin * depth)
                labels = torch.where(gained, grey, torch.where(lost, CSF, labels))
        return labels.to(torch.uint8)

    # Intensities.

    def _intensities(self) -> tuple[Tensor, Tensor]:
        """Mean and spread of each class."""
        count = len(STRUCTURES.classes)
        shares = [row[0] for row in CONTRASTS.values()]
        kind = self._scalars.choice([*CONTRASTS, "all"], p=[*shares, 1 - sum(shares)])
        spreads = self._scalars.uniform(0, 0.06, count) * self._draw(0.3, 1.5)
        if kind == "all":
            means = self._scalars.uniform(0.05, 1, count)
            spreads *= 1.5
        else:
            fluid, grey, white = (self._draw(*limits) for limits in CONTRASTS[kind][1:])
            means = 0.01 * self._scalars.standard_normal(count)
            means[FLUID] += fluid + 0.03 * self._scalars.standard_normal(len(FLUID))
            for name, limits in BETWEEN.items():
                means[_of(name)] += grey + (white - grey) * self._draw(*limits)
        for name, index in NUMBER.items():
            if name.startswith("right_"):
                other = means[NUMBER[name.replace("right_", "left_")]]
                means[index] = other + 0.006 * self._scalars.standard_normal()
        means[LATERAL] = means[LATERAL[0]]
        for name in ("third_ventricle", "fourth_ventricle"):
            means[NUMBER[name]] = means[LATERAL[0]] + 0.02 * self._scalars.standard_normal()
        means[LESION] = means[CSF] if self._chance(0.4) else self._draw(0, 1.2)
        means[0], spreads[0] = means[CSF], spreads[CSF]
        both = torch.tensor(np.stack([means.clip(0, 1.3), spreads]), dtype=torch.float32)
        found = both.to(self.device)
        return found[0], found[1]

    def _clean(self, head: Head, places: Tensor, means: Tensor, spacing: float) -> Tensor:
        """Each voxel's mean over what lies in it."""
        half = torch.tensor(head.labels.shape, device=self.device) * head.voxel_mm / 2
        corners = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
        total = torch.zeros(places.shape[:3], device=self.device)
        for corner in corners:
            offset = torch.tensor(corner, device=self.device) * spacing / 4 / half
            total += means[_nearest(head.labels, places + offset.flip(-1)).long()]
        return total / len(corners)

    def _lesions(
        self, image: Tensor, labels: Tensor, means: Tensor, spacing: float
    ) -> tuple[Tensor, Tensor]:
        """With spots in white matter, a hole or tumour anywhere, choroid plexus."""
        shape = image.shape
        if self._chance(0.3):
            spots = self._smooth(shape, self._draw(4, 10) / spacing) > self._draw(2.2, 3.5)
            spots &= _any_of(labels, WHITE)
            image = torch.where(spots, means[LESION], image)
            labels = torch.where(spots, LESION, labels).to(torch.uint8)
        if self._chance(0.12):
            radius = self._draw(4, 24) / spacing
            off = [torch.arange(n, device=self.device) - self._draw(0.2, 0.8) * n for n in shape]
            axes = [(x / radius).square() for x in off]
            away = axes[0][:, None, None] + axes[1][:, None] * self._draw(0.5, 2) + axes[2]
            away = away.sqrt() + 0.25 * self._smooth(shape, 8 / spacing)
            hole = (away < 1) & (labels > 0) & (labels != CSF)
            rim = self._draw(0, 1.2) if self._chance(0.3) else means[LESION]
            image = torch.where(hole, torch.where(away < 0.7, means[LESION], rim), image)
            labels = torch.where(hole, LESION, labels).to(torch.uint8)
        if self._chance(0.4):
            plexus = (self._smooth(shape, 4 / spacing) > 1.6) & _any_of(labels, LATERAL)
            image = torch.where(plexus, self._draw(0, 1), image)
        return image, labels

    def _textured(self, image: Tensor, spread: Tensor, spacing: float) -> Tensor:
        grain = self._normal(*image.shape)
        if self._chance(0.5):
            grain = 2 * _blurred(grain, self._draw(0.3, 1.0))
        image = image + spread * grain
        if self._chance(0.5):
            amount, knots = self._draw(0, 0.08), self._draw(6, 20)
            image = image * (1 + amount * self._smooth(image.shape, knots / spacing))
        return image

    # What is around, and what a scanner does.

    def _surrounded(
        self, image: Tensor, labels: Tensor, away: Tensor, vary: Tensor, spacing: float
    ) -> tuple[Tensor, Tensor, bool]:
        """In a head, or cut out of one; with fluid up to a random distance from the brain."""
        fluid = self._draw(-1, 3) + self._draw(0, 1) * vary
        labels = torch.where((labels == 0) & (away < fluid), CSF, labels).to(torch.uint8)
        whole = self._chance(0.5)
        if not whole:
            inside = labels > 0
            if self._chance(0.5):
                inside &= (labels != CSF) | (away <= 0)
            labels = torch.where(inside, labels, 0).to(torch.uint8)
            return image * inside, labels, whole
        shape = image.shape
        depth = (away - fluid) * (1 + 0.25 * self._smooth(shape, 30 / spacing)).clamp(0.4, 2)
        bone, skin = self._draw(2, 9), self._draw(3, 16)
        soft, rough = self._smooth(shape, 18 / spacing), self._smooth(shape, 5 / spacing)
        of_bone = self._draw(0, 0.4) if self._chance(0.7) else self._draw(0, 1)
        outer = torch.where(soft > 0.6, self._draw(0, 1), self._draw(0.2, 1.3))
        outer = torch.where(depth < bone, of_bone, outer) * (1 + 0.12 * rough)
        if self._chance(0.5):
            marrow = (depth > 0.35 * bone) & (depth < 0.75 * bone)
            outer = torch.where(marrow, self._draw(0, 1), outer)
        if self._chance(0.6):
            vessel = (rough > 0.9) & (depth > bone)
            outer = torch.where(vessel, self._draw(0, 1.2), outer)
        neck = torch.arange(shape[2], device=self.device) < self._draw(0, 0.3) * shape[2]
        air = (depth > bone + skin) & ~(neck & (soft > -0.5))
        outer = torch.where(air, 0.0, outer)
        return torch.where(labels > 0, image, outer), labels, whole

    def _acquired(
        self, image: Tensor, labels: Tensor, spacing: float, whole: bool
    ) -> tuple[Tensor, Tensor]:
        """With a coil's profile, blur, thick slices, noise, ghosts, gamma; perhaps cut off."""
        shape, inside = image.shape, image > 0
        profile = self._draw(0, 0.35) * self._smooth(shape, self._draw(45, 120) / spacing)
        image = image * profile.clamp(-1.2, 1.2).exp()
        if self._chance(0.7):
            image = _blurred(image, self._draw(0.2, 0.7) / spacing)
        sizes = list(shape)
        if self._chance(0.35):
            axis = self._pick(3)
            sizes[axis] = min(sizes[axis], round(sizes[axis] * spacing / self._draw(2, 6.5)))
        elif self._chance(0.3):
            sizes = [round(n / self._draw(1.1, 2.2)) for n in sizes]
        image = F.interpolate(image[None, None], sizes, mode="area")
        noise = self._draw(0, 0.05) if self._chance(0.8) else self._draw(0.03, 0.12)
        image = (image + noise * self._normal(*image.shape)).abs()
        if self._chance(0.06):
            ghost = torch.roll(image, 5 + self._pick(35), 2 + self._pick(3))
            image = image + self._draw(0.05, 0.25) * ghost
        image = F.interpolate(image, tuple(shape), mode="trilinear")[0, 0]
        if not whole and self._chance(0.85):
            image = image * inside
        top = torch.quantile(image.flatten()[::41], self._draw(0.985, 0.999)).clamp(min=1e-3)
        image = (image / top).clamp(0, 1.5) ** math.exp(self._draw(-0.35, 0.35))
        image = image * self._draw(0.75, 1.15)
        if self._chance(0.06):
            axis = self._pick(3)
            cut = torch.arange(shape[axis], device=self.device) < self._draw(0, 0.25) * shape[axis]
            cut = cut.flip(0) if self._chance(0.5) else cut
            kept = ~cut.reshape([-1 if a == axis else 1 for a in range(3)])
            image, labels = image * kept, labels * kept
        return image.clamp(0, 1), labels


def _any_of(labels: Tensor, classes: Sequence[int]) -> Tensor:
    return torch.isin(labels, torch.tensor(classes, dtype=labels.dtype, device=labels.device))


def _sampled(fields: Tensor, places: Tensor) -> Tensor:
    """Fields [1, C, ...] at places [X, Y, Z, 3], linearly: [1, C, X, Y, Z]."""
    return F.grid_sample(fields, places[None], padding_mode="border", align_corners=False)


def _nearest(labels: Tensor, places: Tensor) -> Tensor:
    """Labels at places [X, Y, Z, 3], 0 outside: [X, Y, Z], uint8."""
    sizes = torch.tensor(labels.shape, device=labels.device).flip(0)
    at = ((places + 1) * sizes / 2).floor().long()
    inside = ((at >= 0) & (at < sizes)).all(-1)
    z, y, x = at.clamp(min=torch.zeros_like(sizes), max=sizes - 1).unbind(-1)
    return labels[x, y, z] * inside


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """[X, Y, Z] convolved with a Gaussian of so many voxels."""
    reach = max(1, math.ceil(2.5 * sigma))
    taps = torch.arange(-reach, reach + 1, device=image.device)
    return segmentation.convolved(image, torch.softmax(-(taps**2) / (2 * sigma**2), dim=0))
