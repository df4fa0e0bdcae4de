"""Membership inference and utility of volumes that somebody else made, on blobs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from blobs import Stored
from scipy.ndimage import gaussian_filter

from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation import edits, privacy
from stylegan3d.evaluation import edits as module
from stylegan3d.evaluation.edits import (
    SETTINGS,
    age_utility,
    agreement,
    halved,
    regression,
    tissue_utility,
    utility,
)
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.privacy import (
    MEMBERS_EACH,
    by_discriminator,
    compared_people,
    membership,
)
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.geometry.space import Space
from stylegan3d.networks.config import DiscriminatorConfig
from stylegan3d.networks.discriminator import Discriminator
from stylegan3d.segmentation.classes import CLASSES
from stylegan3d.segmentation.inference import Segmentation
from stylegan3d.training import segmentation


def material_of(pack: Pack, made: np.ndarray) -> Material:
    settings = EvaluationSettings(samples=len(made), privacy_samples=len(made))
    return Material(Stored(made, pack.space), pack, settings, lambda *_: None)


def test_members_are_of_the_sources_of_those_set_aside(pack: Pack) -> None:
    material = material_of(pack, pack.volumes[:4])
    rows, member = compared_people(material)
    source = np.array(pack.column("source"))[rows]
    assert (~member).sum() == 5
    assert (source[member] == "a").sum() == MEMBERS_EACH * 3
    assert (source[member] == "b").sum() == 4  # there are no more
    assert set(rows[member]) <= set(material.training)


def test_medians_are_of_those_whose_area_is_told(pack: Pack) -> None:
    """In a source with one person set aside nobody is compared."""
    material = material_of(pack, pack.volumes[:4])
    rows, member = compared_people(material)
    source = np.array(pack.column("source"))[rows]
    alone = np.flatnonzero((source == "b") & ~member)[1:]
    rows, member, source = (np.delete(one, alone) for one in (rows, member, source))
    scores = np.where(source == "b", 1000.0, np.arange(len(rows)))
    told = privacy._compared(material, rows, member, scores)
    assert told["median_member"] == np.median(scores[member & (source == "a")])
    assert told["median_other"] == np.median(scores[~member & (source == "a")])


def test_brains_that_were_given_away_are_found_out(pack: Pack) -> None:
    copies = pack.volumes[pack.indices("train")]
    found = membership(material_of(pack, copies))
    areas = {attack["attack"]: attack for attack in found["attacks"]}
    for measure in ("features", "fine structure"):
        attack = areas[f"nearest random brain, {measure}"]
        assert attack["auc"] == 1
        assert attack["tells_apart"]
        assert attack["median_member"] > attack["median_other"]
    assert set(found["missing"]) == {"encoder", "discriminator"}


def test_brains_of_others_give_nobody_away(pack: Pack, blobs: np.ndarray) -> None:
    noise = np.random.default_rng(9).normal(0, 25, blobs.shape)
    others = np.where(blobs > 0, np.clip(blobs + noise, 20, 255), 0).astype(np.uint8)
    found = membership(material_of(pack, others))
    areas = [attack["auc"] for attack in found["attacks"]]
    assert len(areas) == 4
    assert max(areas) < 0.95


class Thresholds:
    """Labels blobs by their brightness: what the bundled network is to brains."""

    name, device = "thresholds", "cpu"

    def fits(self, space: Space) -> bool:
        return True

    def segment(self, volume: np.ndarray, space: Space) -> Segmentation:
        smooth = gaussian_filter(volume.astype(float), 0.7)
        labels = np.digitize(smooth, [20, 115, 190]).astype(np.uint8)
        return Segmentation(labels, space)


def test_what_is_learned_from_brains_and_from_nothing(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "bundled_segmenter", Thresholds)
    monkeypatch.setattr(
        segmentation, "augment_labelled", lambda volume, labels, *_: (volume, labels)
    )
    quick = replace(
        SETTINGS, widths=(8, 16), steps=40, warm_up=1, average_steps=1.0, learning_rate=0.02
    )
    empty = np.full((8, *pack.space.shape), 10, np.uint8)
    found = tissue_utility(material_of(pack, empty), quick)
    assert isinstance(found, dict)
    learned = found["real"]["tissues"]
    assert max(learned["grey"], learned["white"]) > 0.3
    assert found["synthetic"]["tissues"]["grey"] == found["synthetic"]["tissues"]["white"] == 0
    assert found["difference"]["interval"][1] < 0
    assert found["both"]["n"] == 2 * found["real"]["n"] == 16
    assert found["real"]["n_test"] == 5


def test_tasks_that_cannot_be_done_are_told(pack: Pack) -> None:
    found = utility(material_of(pack, pack.volumes[:6]))
    assert set(found) == {"missing"}
    assert "their ages are unknown" in found["missing"]["age"]
    assert "does not know volumes on this grid" in found["missing"]["tissues"]
    assert isinstance(age_utility(material_of(pack, pack.volumes[:6])), str)


def test_halving_keeps_the_commonest_label() -> None:
    labels = torch.zeros(4, 4, 4, dtype=torch.uint8)
    labels[:2, :2, :2] = 2
    labels[0, 0, 0] = 4
    labels[2, 2, 2] = 3
    small, most = halved(torch.ones(4, 4, 4), labels)
    assert most[0, 0, 0] == 2
    assert most.sum() == 2
    assert small.shape == most.shape == (2, 2, 2)


def test_regression_and_agreement() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 30))
    y = x[:, 0] * 4 + 50
    guess = regression().fit(x[:150], y[:150]).predict(x[150:])
    told = agreement(guess, y[150:])
    assert told["r"] > 0.99
    assert told["mae"] < 0.3
    assert told["mae_interval"][0] <= told["mae"] <= told["mae_interval"][1]
    assert agreement(np.full(5, 3.0), np.arange(5.0))["r"] == 0


def test_tissues_of_judges_are_classes() -> None:
    assert {name for names in edits.READ.values() for name in names} <= {
        f"{name}_ml" for name in CLASSES
    }


def test_volumes_weigh_more_than_features_and_say_shares() -> None:
    names = module.TISSUE_ML
    row = dict.fromkeys(names, 100.0) | {"ventricle_ml": 50.0}
    columns = module.tissue_columns([row, {k: 2 * v for k, v in row.items()}])
    assert columns.shape == (2, module.COLUMNS)
    assert columns[0, :5].sum() == 450
    np.testing.assert_allclose(columns[0, -4:-1], 100 / 450)
    np.testing.assert_allclose(columns[0, -4:], columns[1, -4:])
    assert columns[1, 5] - columns[0, 5] == pytest.approx(np.log(2))
    assert np.isfinite(module.tissue_columns([dict.fromkeys(names, 0.0)])).all()
    # One column in forty tells it all: with the weight of a volume it is heard among the noise.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 40))
    y = x[:, 0] + rng.normal(0, 0.5, 120)
    errors = [
        np.abs(regression(tissues).fit(x[:40], y[:40]).predict(x[40:]) - y[40:]).mean()
        for tissues in (0, 1)
    ]
    assert errors[1] < 0.8 * errors[0]


def test_a_discriminator_that_judges_several_together_scores_nobody() -> None:
    judge = Discriminator(DiscriminatorConfig(packed=4))
    generator = SimpleNamespace(name="gan", discriminator=judge)
    material: Any = SimpleNamespace(has_generator=True, generator=generator)
    assert by_discriminator(material, np.arange(3)) == "gan judges several at once."
