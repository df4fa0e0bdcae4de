"""The network learns tissues, goes on where it stopped, and becomes a folder that can be used."""

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from labelled_phantoms import SPACE, brain, tissues

from stylegan3d.base import ModelError, OutputError
from stylegan3d.segmentation.classes import (
    CLASSES,
    LESIONS,
    REGIONS,
    dice_scores,
    mean_scores,
    volumes_ml,
)
from stylegan3d.segmentation.inference import FOLDER, load_regions, load_segmenter
from stylegan3d.segmentation.network import TissueNetwork, to_blocks, to_voxels
from stylegan3d.training import segmentation
from stylegan3d.training.export import ModelTarget
from stylegan3d.training.options import SegmentationSettings
from stylegan3d.training.run import CHECKPOINT, Run, load_run
from stylegan3d.training.segmentation import (
    SegmentationTask,
    export_segmentation,
    load_labelled,
    segmentation_loss,
    train_segmentation,
)

SMALL = {"widths": (16, 16), "warm_up": 5, "average_steps": 10.0, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def trained(brains, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return train_segmentation(brains, folder, SegmentationSettings(steps=110, **SMALL))


@pytest.fixture(scope="module")
def exported(trained, brains, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "tissue-tiny"
    notes = {"limits": ["phantoms only"]}
    export_segmentation(trained, brains, ModelTarget(folder), notes=notes)
    return folder


def test_blocks_hold_each_voxel_in_its_place():
    voxels = torch.arange(4 * 6 * 2).reshape(1, 4, 6, 2)
    blocks = to_blocks(voxels)
    assert blocks.shape == (1, 2, 2, 2, 2, 3, 1)
    assert blocks[0, 1, 0, 1, 0, 2, 0] == voxels[0, 1, 4, 1]
    assert torch.equal(to_voxels(blocks), voxels)


def test_loss_is_least_for_the_truth_and_dice_counts_overlap():
    labels = torch.from_numpy(tissues()).flatten()
    right = 20 * torch.nn.functional.one_hot(labels.long(), len(CLASSES)).float()
    assert segmentation_loss(right, labels) < 0.01
    assert segmentation_loss(right.roll(1, dims=1), labels) > 1.5
    truth = tissues()
    half = truth.copy()
    half[:10][half[:10] == 3] = 0
    share = (half == 3).sum() / (truth == 3).sum()
    assert dice_scores(half, truth)["white"] == pytest.approx(2 * share / (1 + share))
    assert dice_scores(half, truth)["csf"] == 1


def test_it_learns_the_phantoms(trained):
    assert min(trained.measured.values()) > 0.5
    assert trained.measured["white"] > 0.8


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(brains, tmp_path):
    whole = train_segmentation(brains, tmp_path / "whole", SegmentationSettings(steps=6, **SMALL))

    class Stop(Exception):
        pass

    def stop(done, total, figures):
        if done == 3:
            raise Stop

    config = SegmentationSettings(steps=6, save_seconds=0.0, **SMALL)
    with pytest.raises(Stop):
        train_segmentation(brains, tmp_path / "part", config, progress=stop)
    assert load_run(SegmentationTask, tmp_path / "part", torch.device("cpu")).steps == 3
    resumed = train_segmentation(brains, tmp_path / "part", resume=True)
    assert resumed.steps == 6
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name


def test_runs_that_cannot_be_taken_up_are_refused(brains, trained, tmp_path):
    with pytest.raises(ModelError, match="no training run to resume"):
        train_segmentation(brains, tmp_path, resume=True)
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        train_segmentation(brains, tmp_path, resume=True)
    with pytest.raises(ModelError, match="holds a run"):
        train_segmentation(brains, tmp_path)


def test_an_exported_network_labels_what_it_learned(exported, trained):
    segmenter = load_segmenter(exported, device="cpu")
    truth = tissues(0.97)
    found = segmenter.segment(brain(truth, 9), SPACE, confidence=True)
    assert min(dice_scores(found.labels, truth).values()) > 0.5
    assert 0.5 < found.confidence <= 1
    assert found.volumes == volumes_ml(found.labels, SPACE)
    # As the average of the run does, but for the rounding of its weights.
    with torch.inference_mode():
        volume = torch.from_numpy(brain(truth, 9) / np.float32(255))
        same = to_voxels(trained.average(volume[None, None]).argmax(dim=4))[0].numpy()
    assert (same != found.labels).mean() < 0.01


def test_the_card_tells_what_was_measured(exported, brains):
    network, card = FOLDER.read(exported)
    assert network.widths == (16, 16)
    assert card["validation"]["people"] == 2
    assert set(card["validation"]["tissues"]) == set(CLASSES[1:])
    assert card["training_data"] == [{"source": "phantom", "people": 3, "licence": "CC0"}]
    white = card["validation"]["tissues"]["white"]["dice"]
    assert 0.5 < white < 1
    assert f"{white:.3f}" in (exported / "README.md").read_text()
    assert "phantoms only" in (exported / "README.md").read_text()


def test_a_network_is_not_replaced_unasked_and_damage_is_noticed(exported, trained, brains):
    with pytest.raises(OutputError, match="exists already"):
        export_segmentation(trained, brains, ModelTarget(exported))
    weights = exported / "model.safetensors"
    before = weights.read_bytes()
    try:
        weights.write_bytes(before[:-1] + b"x")
        with pytest.raises(ModelError, match="not the file its card describes"):
            load_segmenter(exported)
    finally:
        weights.write_bytes(before)
    card = exported / "card.json"
    text = card.read_text()
    try:
        card.write_text(json.dumps({**json.loads(text), "format": "other"}))
        with pytest.raises(ModelError, match="does not describe a tissue network"):
            load_segmenter(exported)
    finally:
        card.write_text(text)
    with pytest.raises(ModelError, match="There is no tissue network"):
        load_segmenter(exported / "nowhere")


def test_an_export_that_was_killed_before_its_card_is_begun_anew(
    exported, trained, brains, tmp_path
):
    cut = Path(shutil.copytree(exported, tmp_path / "cut"))
    (cut / "card.json").unlink()
    export_segmentation(trained, brains, ModelTarget(cut))
    assert load_segmenter(cut).hash == load_segmenter(exported).hash


def test_every_width_gives_logits_of_every_voxel():
    network = TissueNetwork((8, 16, 8))
    logits = network(torch.zeros(2, 1, 8, 16, 24))
    assert logits.shape == (2, 2, 2, 2, len(CLASSES), 4, 8, 12)


def test_what_ran_away_is_not_saved(brains, tmp_path):
    task = SegmentationTask(SegmentationSettings(steps=2, **SMALL))
    run = Run(task, torch.device("cpu"))
    run.save(tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    with torch.no_grad():
        next(run.network.parameters()).fill_(math.nan)
    with pytest.raises(ModelError, match="The training diverged"):
        run.save(tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_regions_are_learned_each_side_by_itself_and_no_side_is_favoured(labelled, tmp_path):
    pack, _ = labelled
    maps, one_sided = tmp_path / "maps", "sub-0"
    maps.mkdir()
    numbers = {1: (46, 46), 2: (176, 177), 3: (44, 45), 4: (51, 52), 5: (35, 35)}
    for row in pack.table:
        labels = tissues(0.9 + 0.02 * row["index"])
        found = np.zeros(labels.shape, np.int16)
        left = np.indices(labels.shape)[0] < labels.shape[0] / 2
        for tissue, (of_right, of_left) in numbers.items():
            of_left = of_right if row["name"] == one_sided else of_left
            found[labels == tissue] = np.where(left, of_left, of_right)[labels == tissue]
        nib.save(nib.Nifti1Image(found, SPACE.affine), maps / f"{row['name']}_dseg.nii.gz")
    brains = load_labelled(pack, maps, REGIONS)
    assert brains.training == sum(row["split"] == "train" for row in pack.table) - 1
    settings = SegmentationSettings(steps=15, scheme="regions", **SMALL)
    start = TissueNetwork((16, 16))
    run = train_segmentation(brains, tmp_path / "run", settings, start)
    with pytest.raises(ModelError, match="--scheme"):
        train_segmentation(load_labelled(*labelled), tmp_path / "run", resume=True)
    export_segmentation(run, brains, ModelTarget(tmp_path / "regions"))
    page = (tmp_path / "regions" / "README.md").read_text()
    assert "Parietal cortex, left" in page
    segmenter = load_regions(tmp_path / "regions", device="cpu")
    volume = brain(tissues(0.97), 9)
    found = segmenter.segment(volume, SPACE).labels
    assert {"left_cerebral_white", "right_cerebral_white"} <= {
        REGIONS.classes[label] for label in np.unique(found)
    }
    turned = segmenter.segment(volume[::-1].copy(), SPACE).labels
    mirrored = np.array(REGIONS.mirrored)[turned[::-1]]
    assert (mirrored != found).mean() < 1e-3
    with pytest.raises(ModelError, match="does not describe a tissue network"):
        load_segmenter(tmp_path / "regions")


def test_healthy_people_do_not_count_for_a_network_that_finds_no_lesion(monkeypatch):
    ill = torch.ones(16, 16, 16, dtype=torch.uint8)
    ill[4:8, 4:8, 4:8] = LESIONS.classes.index("lesion")
    truths = [torch.ones_like(ill), ill, torch.ones_like(ill)]
    brains = SimpleNamespace(
        scheme=LESIONS,
        validation=range(3),
        pair=lambda index: (truths[index].float(), truths[index]),
    )
    monkeypatch.setattr(segmentation, "likeliest", lambda _logits: torch.ones(1, 16, 16, 16))
    scores = mean_scores(segmentation.validate(TissueNetwork((16, 16), 3), brains))
    assert scores["lesion"] == 0
    assert scores["brain"] > 0.9
