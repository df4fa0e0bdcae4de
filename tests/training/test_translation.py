"""The network learns to paint phantoms, goes on where it stopped, and becomes a folder."""

import json

import nibabel as nib
import numpy as np
import pytest
import torch
from labelled_phantoms import INTENSITIES, SPACE, VALUES, brain, tissues
from painted_phantoms import SETTINGS, SMALL, Reader
from tolerances import FLOAT32, LAYERS, SUMS

from stylegan3d.base import ModelError, OutputError, StyleGAN3DError
from stylegan3d.measures.similarity import similarity
from stylegan3d.segmentation.classes import dice_scores
from stylegan3d.storage.places import MODEL, bundled_models
from stylegan3d.training.export import ModelTarget
from stylegan3d.training.options import TranslationSettings
from stylegan3d.training.run import CHECKPOINT, load_run
from stylegan3d.training.translation import (
    TranslationTask,
    draw,
    export_translation,
    load_painted,
    plain,
    train_translation,
)
from stylegan3d.translation.card import FOLDER, RegionTable, read_regions
from stylegan3d.translation.network import CONTRAST, contrast_of
from stylegan3d.translation.painter import load_painter


def test_a_contrast_is_what_the_tissues_look_like():
    labels = tissues()
    volume = INTENSITIES.astype(np.float32)[labels]
    told = dict(zip(CONTRAST, contrast_of(volume, labels), strict=True))
    for name, value in zip(
        ("csf", "grey", "white", "ventricle", "other"), INTENSITIES[1:], strict=True
    ):
        assert told[f"{name} mean"] == pytest.approx(value, abs=SUMS)
        assert told[f"{name} spread"] == pytest.approx(0, abs=LAYERS)
    assert told["white left to right"] == pytest.approx(0, abs=FLOAT32)
    ramp = np.linspace(-0.1, 0.1, labels.shape[0], dtype=np.float32)[:, None, None]
    told = dict(zip(CONTRAST, contrast_of(volume + ramp, labels), strict=True))
    assert told["white left to right"] == pytest.approx(0.1, abs=SUMS)
    assert told["white back to front"] == pytest.approx(0, abs=FLOAT32)
    labels[labels == 4] = 3
    told = dict(zip(CONTRAST, contrast_of(volume, labels), strict=True))
    assert np.isnan(told["ventricle mean"])


def test_regions_have_names_without_sides_and_tissues():
    rows = [[7, "left_thing", "grey"], [9, "right_thing", "grey"], [12, "wm_of_x_left", "white"]]
    table = RegionTable.from_list(rows)
    assert table.groups == ("thing", "wm_of_x")
    codes = np.array([0, 7, 9, 12])
    assert table.tissue_of(codes).tolist() == [0, 2, 2, 3]
    assert table.group_of(codes).tolist() == [0, 1, 1, 2]
    assert RegionTable.from_list(table.to_list()) == table
    for bad in ([[7, "x", "bone"]], [[0, "x", "grey"]], [["7", "x", "grey"]], "none"):
        with pytest.raises(ValueError, match="region"):
            RegionTable.from_list(bad)


def test_people_without_a_label_map_have_the_tissues_read_in_them(people, labelled):
    assert people.labelled("train") == [0, 1, 3]
    assert people.labelled("validation") == [4, 5]
    for row, labels in people.tissues.items():
        assert np.array_equal(labels, tissues(0.9 + 0.02 * row))
    assert dice_scores(people.read[2], tissues(0.94))["white"] > 0.95
    assert set(read_regions(labelled[1]).names) == set(VALUES) - {0}


def test_labels_that_cannot_be_learned_from_are_refused(labelled, tmp_path):
    pack, _ = labelled
    with pytest.raises(StyleGAN3DError, match=r"has no labels.tsv"):
        load_painted(pack, tmp_path, Reader())
    (tmp_path / "labels.tsv").write_text("index\tname\ttissue\n7\tx\tcsf\n")
    with pytest.raises(StyleGAN3DError, match="of 0 training and 0 validation"):
        load_painted(pack, tmp_path, Reader())
    nib.Nifti1Image(np.full(SPACE.shape, 3, np.int16), SPACE.affine).to_filename(
        tmp_path / "sub-0_dseg.nii.gz"
    )
    with pytest.raises(StyleGAN3DError, match="holds the value 3"):
        load_painted(pack, tmp_path, Reader())


def test_a_draw_shows_a_person_with_labels_in_place(people):
    config = TranslationSettings(gamma=0.0, **SETTINGS)
    for step in range(6):
        crops = draw(people, config, step, SMALL.multiple, range(config.people))
        assert crops.volumes.shape == (4, 1, 16, 16, 16)
        # Tissues of the phantoms have intensities of their own, mirrored or not.
        means = torch.from_numpy(INTENSITIES).float()[crops.tissues.long()]
        assert (crops.volumes[:, 0] - means).abs().mean() < 0.03
        assert all(not part.start % SMALL.multiple for place in crops.places for part in place)


def test_it_learns_to_paint_the_phantoms(painter_run, people):
    assert painter_run.measured["ssim"] > 0.9
    row = people.labelled("validation")[0]
    network, labels = painter_run.average, torch.from_numpy(people.read[row])[None]
    with torch.inference_mode():
        contrast = torch.from_numpy(people.contrasts[row])[None]
        made = network(labels, torch.zeros_like(labels), contrast)[0, 0].numpy()
    true = people.volume(row)
    blurred = plain(people.read[row], people.contrasts[row])
    assert similarity(made, true, true > 0)["psnr"] > similarity(blurred, true, true > 0)["psnr"]


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(people, tmp_path):
    config = TranslationSettings(steps=6, save_seconds=0.0, **SETTINGS)
    whole = train_translation(people, tmp_path / "whole", SMALL, config)

    class Stop(Exception):
        pass

    def stop(done, total, figures):
        if done == 3:
            raise Stop

    with pytest.raises(Stop):
        train_translation(people, tmp_path / "part", SMALL, config, progress=stop)
    assert load_run(TranslationTask, tmp_path / "part", torch.device("cpu")).steps == 3
    resumed = train_translation(people, tmp_path / "part", resume=True)
    assert resumed.steps == 6
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name


def test_runs_that_cannot_be_taken_up_are_refused(people, tmp_path):
    with pytest.raises(ModelError, match="no training run to resume"):
        train_translation(people, tmp_path, resume=True)
    (tmp_path / CHECKPOINT).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        train_translation(people, tmp_path, resume=True)
    with pytest.raises(ModelError, match="holds a run"):
        train_translation(people, tmp_path, SMALL)
    with pytest.raises(ModelError, match="multiples of 4 voxels, not 20 x 24 x 15"):
        train_translation(people, tmp_path / "new", SMALL.__class__((20, 24, 15), (8, 12)))


def test_the_card_tells_what_was_measured(painter_folder, people):
    card = FOLDER.read(painter_folder)[1]
    ways = card["validation"]["ways"]
    assert card["validation"]["people"] == 2
    assert ways["read"]["dice_mean"] > 0.8
    assert ways["read"]["ssim"] > ways["mean"]["ssim"]
    assert "ssim" not in ways["scan"]
    assert card["training_data"] == [{"source": "phantom", "people": 4, "licence": "CC0"}]
    assert card["training"]["with_label_maps"] == 3
    page = (painter_folder / "README.md").read_text()
    assert "phantoms only" in page
    assert f"{ways['map']['ssim']:.3f}" in page
    assert (painter_folder / "montage.png").read_bytes()[:4] == b"\x89PNG"
    # It is no generator, whatever folder it lies in.
    assert "labels-to-t1-2mm" not in bundled_models()


def test_an_exported_painter_paints_as_the_run_does(painter_folder, painter_run, people):
    painter = load_painter(painter_folder, device="cpu")
    labels = tissues(0.97)
    made = painter.paint(labels, None, painter.usual)
    with torch.inference_mode():
        told = torch.from_numpy(labels)[None]
        contrast = torch.from_numpy(painter.usual)[None]
        same = painter_run.average(told, torch.zeros_like(told), contrast)[0, 0]
    same = same.clamp(0, 1.5).numpy()
    near = labels > 0
    assert abs(made - same)[near].max() < 5e-3
    assert min(dice_scores(Reader().segment(made, SPACE).labels, labels).values()) > 0.6
    assert similarity(made, brain(labels) / np.float32(255), near)["ssim"] > 0.85
    seeds = [painter.random_contrast(seed) for seed in (0, 0, 1)]
    assert np.array_equal(seeds[0], seeds[1])
    assert not np.allclose(seeds[0], seeds[2])


def test_damaged_folders_are_told_from_sound_ones(painter_folder, painter_run, people, tmp_path):
    with pytest.raises(OutputError):
        export_translation(painter_run, people, Reader(), ModelTarget(painter_folder))
    to = ModelTarget(tmp_path / "x")
    with pytest.raises(StyleGAN3DError, match="an entry of the card"):
        export_translation(painter_run, people, Reader(), to, notes={"space": {}})
    with pytest.raises(ModelError, match="no translation network at"):
        load_painter(tmp_path / "nowhere")
    card, weights = (
        (painter_folder / "card.json").read_text(),
        (painter_folder / MODEL).read_bytes(),
    )
    spoiled = json.loads(card)
    for entry, value in (("contrast", {}), ("regions", []), ("name", 3), ("space", {"shape": [1]})):
        (tmp_path / MODEL).write_bytes(weights)
        (tmp_path / "card.json").write_text(json.dumps(spoiled | {entry: value}))
        with pytest.raises(ModelError, match="lacks a part of"):
            load_painter(tmp_path)
    larger = spoiled["architecture"] | {"channels": [8, 4000]}
    (tmp_path / "card.json").write_text(json.dumps(spoiled | {"architecture": larger}))
    with pytest.raises(ModelError, match="do not fit their card"):
        load_painter(tmp_path)
    (tmp_path / "card.json").write_text(card)
    (tmp_path / MODEL).write_bytes(weights[:-8] + bytes(8))
    with pytest.raises(ModelError, match="not the file its card describes"):
        load_painter(tmp_path)
