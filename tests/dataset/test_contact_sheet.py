"""The contact sheet shows every brain the right way round, says why, and needs nothing else."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from stylegan3d.cohort.preparation import prepare
from stylegan3d.dataset import contact_sheet
from stylegan3d.dataset.contact_sheet import outliers, picture_of, picture_of_scan
from stylegan3d.geometry.space import NORMAL, PLANES, Space, Upright, cut
from stylegan3d.pages.page import histogram
from stylegan3d.scans import load_template

MEAN_BRAIN = Path(__file__).parents[1] / "scans" / "mean-brain-4mm.nii.gz"
HOSTILE = "sub-03<img src=x onerror=alert(1)>&\"'_T1w.nii.gz"


@pytest.fixture(scope="module")
def target():
    return load_template(MEAN_BRAIN)


@pytest.fixture(scope="module")
def study(target, tmp_path_factory):
    """Two brains, one of them like T2, a bad file, a label map and someone held out."""
    folder = tmp_path_factory.mktemp("study")
    brain = np.where(target.template > 0.2, target.template * 255, 0).astype(np.uint8)
    inverted = np.where(brain > 0, 290 - brain.astype(int), 0).astype(np.uint8)
    volumes = {"sub-01_T1w": brain, "sub-02_T1w": inverted, "sub-01_dseg": brain}
    volumes["sub-04_T1w"] = brain // 2
    for name, data in volumes.items():
        nib.save(nib.Nifti1Image(data, target.space.affine), folder / f"{name}.nii.gz")
    (folder / HOSTILE).write_text("no scan")
    (folder / "template.nii.gz").write_bytes(MEAN_BRAIN.read_bytes())
    (folder / "participants.tsv").write_text(
        "participant_id\tsplit\tage\tsex\tlicence\nsub-01\ttrain\t35.5\tF\tCC <0>\nsub-04\ttest\n"
    )
    return folder


@pytest.fixture(scope="module")
def pack(study, tmp_path_factory):
    return prepare(study, tmp_path_factory.mktemp("out") / "pack")


@pytest.fixture
def html(pack):
    return (pack.path / contact_sheet.CONTACT_SHEET).read_text()


class Checker(HTMLParser):
    """Every element closed, and what it needs from outside."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.images = [], [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.links += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.images.append(attributes)
        if tag not in ("meta", "img", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "path":
            assert self.open.pop() == tag


def test_the_page_needs_nothing_but_itself(html):
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    assert "script" not in checker.tags
    assert all(link.startswith(("data:image/jpeg;base64,", "#")) for link in checker.links)
    assert "url(" not in html
    assert len(checker.images) == 2  # a kept brain and a refused one; the bad file has none
    assert all(image["alt"] for image in checker.images)


def test_the_page_says_what_was_kept_and_what_not_and_why(html):
    text = re.sub(r"<[^>]+>", " ", html)
    assert (
        "1 brain kept, 0 of them to be checked; 2 refused, 1 held out for testing, 2 other" in text
    )
    assert "train · 35.5 years, F · quality 0.9" in text
    assert "contrast of the mean brain" in text
    assert "is not a NIfTI image" in text
    assert "sub-04_T1w.nii.gz" in text
    assert "Its name is that of a label map, a mask or a template. 2: sub-01_dseg.nii.gz" in text
    assert "R)" in text
    assert "radiological" in text


def test_names_are_escaped(html):
    assert "onerror=alert(1)&gt;&amp;&#34;" in html
    assert "<img src=x" not in html
    assert "CC &lt;0&gt; (1)" in html


def test_the_same_pack_gives_the_same_page(pack, study, html, tmp_path):
    again = prepare(study, tmp_path / "again")
    assert (again.path / contact_sheet.CONTACT_SHEET).read_text() == html
    prepare(study, tmp_path / "again")
    assert (again.path / contact_sheet.CONTACT_SHEET).read_text() == html


def test_large_data_sets_keep_the_page_small(pack, study, monkeypatch):
    monkeypatch.setattr(contact_sheet, "MOST_PICTURES", 0)
    text = contact_sheet.contact_sheet(pack, study, [])
    assert "Kept, not pictured (1)" in text
    assert "sub-01 (quality 0.9" in text
    assert "Refused, not pictured (2)" in text
    assert "sub-02_T1w.nii.gz: sub-02_T1w.nii.gz does not have the contrast" in text
    assert "<img" not in text


@pytest.mark.parametrize("axes", ["RAS", "LIA", "PSR"])
def test_slices_are_radiological_whatever_the_grid(axes):
    """Anterior and superior at the top, the person's right at the left of the picture."""
    volume = np.ones((8, 10, 12), np.uint8)
    volume[6:] = 2  # right
    volume[:, 8:] += 4  # front
    volume[:, :, 10:] += 8  # top
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(axes)
    )
    affine = np.diag([2.0, 1, 3, 1]) @ nib.orientations.inv_ornt_aff(turn, volume.shape)
    turned = nib.apply_orientation(volume, turn)
    upright = Upright.of(turned, Space(turned.shape, affine))
    pieces = [cut(upright, plane, upright.space.center_mm[NORMAL[plane]]) for plane in PLANES]
    axial, coronal, sagittal = (piece.picture for piece in pieces)
    assert axial.shape == (10, 8)
    assert (axial[0, 0], axial[0, -1], axial[-1, 0], axial[-1, -1]) == (6, 5, 2, 1)
    assert (coronal[0, 0], coronal[0, -1], coronal[-1, 0], coronal[-1, -1]) == (10, 9, 2, 1)
    assert (sagittal[0, 0], sagittal[0, -1], sagittal[-1, 0]) == (13, 9, 5)
    assert [piece.pixel_mm for piece in pieces] == [(1, 2), (3, 2), (3, 1)]


def test_a_picture_is_marked_on_the_right_sides(target):
    brain = np.rint(target.template * 120).astype(np.uint8)
    brain[-20:] *= 2  # the person's right
    image = np.asarray(Image.open(io.BytesIO(picture_of(brain, target.space))))
    high, whole = image.shape
    x, y, _ = np.multiply(target.space.shape, target.space.voxel_size)
    wide = round(whole * x / (2 * x + y))  # of the axial slice, the first
    right, left = image[:, : wide // 2], image[:, wide // 2 : wide]
    assert right.mean() > 1.5 * left.mean()
    letters = [side[high // 2 - 9 : high // 2 + 9] for side in (right, left)]
    assert letters[0][:, :9].max() > 150 < letters[1][:, -9:].max()


def test_a_scan_that_cannot_be_read_has_no_picture(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"no")
    assert picture_of_scan(tmp_path / "a.nii.gz") is None
    assert picture_of_scan(tmp_path / "missing.nii.gz") is None


def test_of_a_series_the_first_volume_is_shown(target, tmp_path):
    data = np.stack([target.template, target.template * 0], -1)
    nib.save(nib.Nifti1Image(data, target.space.affine), tmp_path / "a.nii.gz")
    assert picture_of_scan(tmp_path / "a.nii.gz") is not None


def test_outliers_are_marked():
    values = np.append(np.random.RandomState(0).normal(1500, 100, 50), 2600.0)
    far = outliers(values)
    assert np.flatnonzero(far).tolist() == [50]
    drawn = histogram(values, far, "Volume <ml>", 0)
    assert drawn.count('class="far"') == 1
    assert "Volume &lt;ml&gt;: 51 values" in drawn
    assert "1 far from the rest" in drawn
    assert not outliers(np.array([1.0, 1, 1, 9])).any()  # too few to tell
    alone = histogram(np.array([0.5]), np.array([False]), "One", 1)
    assert "median 0.5" in alone
    assert "far" not in alone.partition("<path")[2]
