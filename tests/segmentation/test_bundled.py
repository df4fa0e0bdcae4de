"""The network that ships: plausible volumes of random brains, and labels in a scan's own space."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from bundled import bundled, random_brain

from stylegan3d.base import StyleGAN3DError
from stylegan3d.geometry.space import Space, to_display
from stylegan3d.recipe.latents import find_step
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.headers import geometry_of
from stylegan3d.scans.person import Person
from stylegan3d.scans.resampling import resample
from stylegan3d.scans.scan import Scan
from stylegan3d.segmentation import inference
from stylegan3d.segmentation.classes import CLASSES, MEASURES, dice_scores, volumes_ml
from stylegan3d.segmentation.inference import (
    REGION_FOLDER,
    bundled_segmenter,
    enclosed,
    load_segmenter,
    measures_of,
)
from stylegan3d.segmentation.numbers import label_brain
from stylegan3d.segmentation.scans import native_labels
from stylegan3d.storage.places import bundled_model_path


@pytest.fixture(scope="module")
def generator():
    return bundled()


@pytest.fixture(scope="module")
def brain():
    """A random brain as a pack holds it."""
    return random_brain(3)


@pytest.fixture(scope="module")
def found(generator, brain):
    return bundled_segmenter().segment(brain, generator.space, confidence=True)


def test_its_card_tells_what_it_is_good_for():
    folder = bundled_model_path(REGION_FOLDER.bundled)
    card = json.loads((folder / "card.json").read_text())
    dice = {name: row["dice"] for name, row in card["validation"]["regions"].items()}
    assert min(dice[f"left_{n}"] for n in ("frontal_cortex", "cerebral_white", "hippocampus")) > 0.8
    assert "CC BY-SA" in card["licence"]
    assert card["limits"]
    assert sum(file.stat().st_size for file in Path(folder).iterdir()) < 2e6


def test_fluid_as_dark_as_the_outside_is_counted(generator, monkeypatch):
    """The middle of wide ventricles, which a model draws without any signal."""
    step = torch.as_tensor(find_step("Ventricle volume", generator))
    w = generator.w_avg.expand(generator.num_layers, -1)
    wide = to_display(generator.synthesize((w + 5 * step)[None].float(), "none"))[0]
    whole = bundled_segmenter().segment(wide, generator.space)
    assert not enclosed(whole.labels).any()
    monkeypatch.setattr(inference, "enclosed", lambda labels: np.zeros(labels.shape, bool))
    holed = load_segmenter(device="cpu").segment(wide, generator.space)
    assert enclosed(holed.labels).sum() > 100
    assert whole.volumes["ventricle"] > 1.02 * holed.volumes["ventricle"]


def test_a_random_brain_has_the_volumes_of_people(brain, generator, found):
    scores = label_brain(brain, generator.space).numbers(Person(45, "F")).scores
    z = {name: scores[name].z for name in MEASURES if name in scores}
    assert len(z) > 5
    assert {name for name, value in z.items() if abs(value) > 4} == set()
    assert measures_of(found)["confidence"] > 0.7


def test_ventricles_lie_inside_and_fluid_around(found):
    """Distance from the middle of the brain, by tissue."""
    index = np.argwhere(found.labels > 0)
    middle = index.mean(axis=0)
    labels = found.labels[tuple(index.T)]
    away = np.linalg.norm(index - middle, axis=1)
    median = {name: np.median(away[labels == i]) for i, name in enumerate(CLASSES) if i}
    assert median["ventricle"] < median["white"] < median["grey"] < median["csf"]
    stem = index[labels == CLASSES.index("other")].mean(axis=0)
    assert stem[2] < middle[2] - 10  # 20 mm below


def test_a_mirrored_brain_has_the_mirrored_labels(generator, brain, found):
    mirrored = bundled_segmenter().segment(brain[::-1], generator.space).labels[::-1]
    scores = dice_scores(mirrored, found.labels)
    assert min(scores["grey"], scores["white"], scores["ventricle"]) > 0.93


def test_the_faster_precision_finds_nearly_the_same(generator, brain):
    """On the middle of a brain: older processors take half a minute for all of it."""
    middle = tuple(slice(n // 4, n // 4 + n // 2) for n in brain.shape)
    part = np.ascontiguousarray(brain[middle])
    affine = generator.affine.copy()
    affine[:3, 3] = nib.affines.apply_affine(affine, [s.start for s in middle])
    space = Space(part.shape, affine)
    exact, fast = (
        bundled_segmenter().segment(part, space, dtype=kind).volumes
        for kind in (torch.float32, torch.bfloat16)
    )
    assert min(exact[name] for name in ("grey", "white", "ventricle")) > 3
    for name, value in exact.items():
        # Bfloat16, eight bits: voxels between two tissues.
        assert fast[name] == pytest.approx(value, rel=0.02, abs=0.5), name


def test_a_grid_of_any_size_is_labelled_and_one_of_other_voxels_is_refused(generator, brain, found):
    part = np.ascontiguousarray(brain[:, :, 5:])
    affine = generator.affine.copy()
    affine[2, 3] += 10
    cut = bundled_segmenter().segment(part, Space(part.shape, affine))
    agree = (cut.labels == found.labels[:, :, 5:]).mean()
    assert agree > 0.97
    with pytest.raises(StyleGAN3DError, match="segments volumes of 2 x 2 x 2 mm"):
        bundled_segmenter().segment(brain, Space(brain.shape, np.diag([1.0, 1.0, 1.0, 1.0])))
    turned = Space(brain.shape, np.diag([-2.0, -2.0, 2.0, 1.0]))
    with pytest.raises(StyleGAN3DError, match="axes LPS"):
        bundled_segmenter().segment(brain, turned)


def test_labels_go_back_to_an_oblique_scan_with_their_volumes(generator, brain, found):
    turn = nib.eulerangles.euler2mat(0.2, -0.1, 0.15)
    rigid = nib.affines.from_matvec(turn, [4.0, -7.0, 3.0])
    own = nib.affines.from_matvec(np.diag([-1.5, 1.5, 1.5]), [90.0, -135.0, -110.0])
    space = Space((124, 180, 150), own)
    data = resample(brain / np.float32(255), generator.space, space, rigid)
    image = nib.Nifti1Image(data, own)
    scan = Scan(data, own, geometry_of(image.header), Path("sub-1_T1w.nii.gz"), "0" * 64)
    aligned = AlignedScan(
        brain / np.float32(255), generator.space, rigid, 0.95, brain > 0, 300.0, [], scan
    )
    image = native_labels(found.labels, aligned)
    labels = np.asarray(image.dataobj)
    assert image.get_data_dtype() == np.uint8
    assert np.allclose(image.affine, own)
    for name, value in volumes_ml(labels, space).items():
        # Voxels of 1.5 mm, taken from the nearest of 2 mm; fluid is one voxel thin, and outermost.
        rel = 0.15 if name == "csf" else 0.08
        assert value == pytest.approx(found.volumes[name], rel=rel), name
    # Each of its voxels has the label of the voxel of the model's grid that it lies in.
    index = np.argwhere(labels > 0)[::50]
    there = nib.affines.apply_affine(np.linalg.inv(generator.affine) @ rigid @ own, index)
    nearest = found.labels[tuple(np.rint(there).astype(int).T)]
    assert (nearest == labels[tuple(index.T)]).mean() > 0.85
