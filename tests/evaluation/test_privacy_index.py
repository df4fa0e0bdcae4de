"""An index of features says how near a brain comes, and is refused where it does not fit."""

from pathlib import Path

import numpy as np
import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.dataset.pack import load_pack, write_pack
from stylegan3d.evaluation.privacy_index import (
    PrivacyIndex,
    build_index,
    index_of,
    load_index,
    write_index,
)
from stylegan3d.geometry.space import Space
from stylegan3d.metrics import features
from stylegan3d.storage.places import PRIVACY

PEOPLE, SET_ASIDE = 7, 3


@pytest.fixture
def index(blobs: np.ndarray, space: Space, coarse_features: None, tmp_path: Path) -> PrivacyIndex:
    rows = [
        {"name": f"sub-{i}", "person": f"sub-{i}", "split": "train" if i < PEOPLE else "validation"}
        for i in range(PEOPLE + SET_ASIDE)
    ]
    write_pack(tmp_path / "people", rows, lambda row: blobs[int(row["name"][4:])], space, {})
    return build_index(load_pack(tmp_path / "people"), "abc")


def test_copies_are_nearer_than_strangers(
    index: PrivacyIndex, blobs: np.ndarray, space: Space
) -> None:
    assert index.strangers.shape == (PEOPLE + SET_ASIDE,)
    assert (np.diff(index.strangers) >= 0).all()
    copy, mirrored = index.check(blobs[2], space), index.check(blobs[4][::-1], space)
    stranger = index.check(blobs[11], space)
    assert copy.farther_than == mirrored.farther_than == 0
    assert (copy.mirrored, mirrored.mirrored) == (False, True)
    assert max(copy.distance, mirrored.distance) < 0.05 * stranger.distance
    assert stranger.farther_than > 0
    assert (copy.people, copy.strangers) == (PEOPLE, PEOPLE + SET_ASIDE)


def test_a_stranger_of_the_index_is_where_it_says(
    index: PrivacyIndex, blobs: np.ndarray, space: Space
) -> None:
    found = [index.check(blobs[i], space).distance for i in range(PEOPLE, PEOPLE + SET_ASIDE)]
    for distance in found:  # half precision rounds
        assert np.abs(index.strangers - distance).min() < 2e-3 * distance


def test_scans_of_one_person_are_not_unrelated(space: Space) -> None:
    rows = np.random.default_rng(0).normal(size=(6, features.DESCRIPTOR_SIZE))
    twice = np.concatenate([rows, rows[:1]])
    nobody = np.empty((0, features.DESCRIPTOR_SIZE))
    alone = index_of(twice, twice + 9, nobody, space)
    told = index_of(twice, twice + 9, nobody, space, person=[*range(6), 0])
    assert alone.strangers[0] < 0.1 * np.median(alone.strangers)
    assert told.strangers[0] > 0.5 * np.median(told.strangers)
    assert len(told.strangers) == len(twice)


def test_it_is_written_and_read(index: PrivacyIndex, tmp_path: Path) -> None:
    path = write_index(tmp_path, index)
    assert path.name == PRIVACY
    again = load_index(path)
    assert again.to_bytes() == index.to_bytes() == path.read_bytes()
    assert again.straight.dtype == np.float16
    assert again.space.same_as(index.space)
    assert again.model_hash == "abc"
    with pytest.raises(StyleGAN3DError, match="exists already"):
        write_index(tmp_path, index)


def test_what_does_not_fit_is_refused(
    index: PrivacyIndex, blobs: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = Space(blobs[0].shape, np.eye(4))
    with pytest.raises(StyleGAN3DError, match="not on the grid"):
        index.check(blobs[0], elsewhere)
    path = write_index(tmp_path, index)
    monkeypatch.setattr(features, "FEATURE_MM", 4.0)
    with pytest.raises(StyleGAN3DError, match="other features"):
        load_index(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(StyleGAN3DError, match="damaged"):
        load_index(path)
