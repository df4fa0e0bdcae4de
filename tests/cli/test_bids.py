"""`stylegan3d-bids`: derivatives of each participant, whatever the others are, and a group."""

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from bundled import bundled, random_brain

import stylegan3d.cohort.work  # noqa: F401  before its choices are made smaller
from stylegan3d.cli import bids, main
from stylegan3d.cli.bids import fits
from stylegan3d.projection import settings
from stylegan3d.segmentation.inference import Segmenter
from stylegan3d.storage.volumes import write_volume


@pytest.fixture
def app(capsys):
    """Runs the app: exit status, what it prints, and what it says."""

    def run(*words):
        with pytest.raises(SystemExit) as left:
            main(list(map(str, words)), run=bids.run)
        return left.value.code, *capsys.readouterr()

    return run


def data_set(folder: Path, *names: str) -> Path:
    """A BIDS dataset of scans that cannot be read."""
    for name in names:
        subject, session = name.split("_")[:2]
        place = folder / subject / session / "anat" / f"{name}.nii.gz"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"nothing")
    about = {"Name": "Made", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (folder / "dataset_description.json").write_text(json.dumps(about))
    return folder


def test_participants_then_the_group(app, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "Choices", partial(settings.Choices, steps=2))
    names = "sub-01_ses-1_T1w", "sub-01_ses-2_T1w", "sub-02_ses-1_T1w", "sub-03_ses-1_T1w"
    names += ("sub-03_ses-2_T1w",)
    raw = data_set(tmp_path / "raw", *names)
    (raw / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t45\tF\n")
    brain = random_brain(3) / np.float32(255)
    good = raw / "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"
    affine = bundled().affine
    write_volume(good, brain, affine, description="x", sidecar={}, synthetic=False, overwrite=True)
    out = raw / "derivatives/stylegan3d"

    label, labelled = Segmenter._label, []
    monkeypatch.setattr(Segmenter, "_label", lambda *a: labelled.append(a[1:]) or label(*a))
    status, pages, told = app(raw, out, "participant", "--participant-label", "01", "sub-02")
    assert status == 2
    assert len(labelled) == 2, "scan and reconstruction were to be labelled once each"
    assert pages.split() == [str(out / "sub-01.html"), str(out / "sub-02.html")]
    assert "sub-02_ses-1_T1w.nii.gz" in told
    page = (out / "sub-01.html").read_text()
    assert page.count("<h2>How it was made</h2>") == 1
    assert page.count('<p class="alarm">') >= 1  # the first session
    assert "45 years old" in page
    anat = out / "sub-01/ses-2/anat"
    labels = json.loads((anat / "sub-01_ses-2_dseg.json").read_text())
    assert labels["Sources"] == ["bids:raw:sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"]
    assert (anat / "sub-01_ses-2_desc-projected_T1w.nii.gz").is_file()
    about = json.loads((out / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert [by["Description"].split()[0] for by in about["GeneratedBy"]] == ["generator", "network"]

    written = (anat / "sub-01_ses-2_dseg.nii.gz").stat().st_mtime_ns
    status, _, told = app(
        raw, out, "participant", "--participant-label", "01", "--session-label", "2"
    )
    assert status == 0
    assert (anat / "sub-01_ses-2_dseg.nii.gz").stat().st_mtime_ns == written, "it was done again"
    assert page.count("alarm") == (out / "sub-01.html").read_text().count("alarm")

    app(raw, out, "participant", "--participant-label", "03", "--session-label", "2")
    assert "has no results yet" not in (out / "sub-03.html").read_text()  # nobody asked for it

    status, files, told = app(raw, out, "group")
    assert status == 0
    assert files.split() == [str(out / "group_T1w.tsv"), str(out / "group_T1w.html")]
    assert "sub-01_ses-1_T1w.nii.gz: " in told
    assert told.count("is not a NIfTI image") == 3, "why they failed is not told"
    assert told.count("It has no results yet: run the participant level for sub-03.") == 1
    with (out / "group_T1w.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["participant_id"] for row in rows] == [
        "sub-01",
        "sub-01",
        "sub-02",
        "sub-03",
        "sub-03",
    ]
    assert [row["session_id"] for row in rows] == ["ses-1", "ses-2", "ses-1", "ses-1", "ses-2"]
    assert [row["status"] for row in rows] == ["failed", "done", "failed", "missing", "failed"]
    assert rows[1]["age"] == "45"
    assert float(rows[1]["head_ml"]) == pytest.approx(
        labels["Measures"]["head_ml"],
        rel=1e-3,  # four digits in the table
    )
    shown = (out / "group_T1w.html").read_text()
    assert "1 of 5 scans of 3 participants were processed." in shown
    assert '<a href="sub-01.html">sub-01</a>' in shown


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nobody", "out", "participant"), "nobody is not a BIDS dataset"),
        (("raw", "raw", "participant"), "Give another output folder than raw"),
        (("raw", "out", "participants"), "invalid choice: 'participants'"),
        (("raw",), "the following arguments are required: output_dir, analysis_level"),
        (("raw", "out", "group", "--participant-label", "9"), "participant 9, only of: 01, 02."),
        (("raw", "out", "group", "--session-label", "9"), "scan of session 9, only of: 1."),
        (("raw", "out", "group"), "out has no results of these:"),
        (("raw", "out", "participant", "--mem", "2"), "--mem 3, or more"),
        (("raw", "out", "participant", "--nprocs", "0"), "--nprocs 1"),
        (
            ("raw", "out", "group", "--bids-filter-file", "filter.json"),
            "No scan in raw matches filter",
        ),
        (("raw", "out", "participant", "--mem", "nan"), "Give --nprocs 1"),
        (("raw", "out", "group", "--bids-filter-file", "none.json"), "(No such file or directory)"),
        (("raw", "out", "group", "--bids-filter-file", "empty.json"), "(it is empty)"),
        (("raw", "out", "group", "--bids-filter-file", "latin.json"), "(it is not text in UTF-8)"),
        (("raw", "out", "group", "--bids-filter-file", "raw/dataset_description.json"), '"t1w"'),
    ],
)
def test_wrong_input_is_told_in_a_sentence(app, tmp_path, monkeypatch, words, sentence):
    monkeypatch.chdir(tmp_path)
    data_set(Path("raw"), "sub-01_ses-1_T1w", "sub-02_ses-1_T1w")
    Path("filter.json").write_text('{"t1w": {"acquisition": "mprage"}}')
    Path("empty.json").touch()
    Path("latin.json").write_bytes(b"\xe4")
    status, printed, told = app(*words)
    assert (status, printed) == (2, "")
    assert sentence in told
    assert told.count("\n") == 1
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("wished", "fit"),
    [
        ({}, True),
        ({"subject": "01", "session": ["1", "2"], "suffix": "T1w", "datatype": "anat"}, True),
        ({"acquisition": None, "run": 2}, True),
        ({"run": ["01", "02"], "extension": ".nii.gz"}, True),
        ({"run": 1}, False),
        ({"acquisition": "mprage"}, False),
        ({"session": None}, False),
        ({"subject": "1"}, False),
    ],
)
def test_filters_name_entities_as_pybids_does(wished, fit):
    assert fits(Path("sub-01/ses-2/anat/sub-01_ses-2_run-02_T1w.nii.gz"), wished) is fit
