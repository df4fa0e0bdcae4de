"""`stylegan3d prepare`: what it prints, and what it would do."""

import json
from pathlib import Path

import pytest
from studies import MEAN_BRAIN, make_study, write_splits
from typer.testing import CliRunner

from stylegan3d.cli import app
from stylegan3d.cohort import preparation as preparing
from stylegan3d.cohort.preparation import prepare
from stylegan3d.scans import load_template


@pytest.fixture
def folder(tmp_path):
    return make_study(tmp_path / "study", load_template(MEAN_BRAIN))


def run_command(*arguments):
    return CliRunner().invoke(app, ["prepare", *arguments])


def test_dry_run_lists_and_does_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "prepare_volume", lambda *a: pytest.fail("work was done"))
    write_splits(folder, s01="train", s02="test", s03="validation")
    (folder / "sub-09_T1w.nii.gz").write_bytes((folder / "sub-01_T1w.nii.gz").read_bytes())
    ran = run_command(str(folder), "--dry-run")
    assert ran.exit_code == 0, ran.output
    assert "3 scans of 3 subjects (2 for training, 1 for validation); 3 to prepare" in ran.stdout
    assert "leave out sub-02_T1w.nii.gz: participants.tsv holds it out" in ran.stdout
    assert "leave out sub-09_T1w.nii.gz: sub-09_T1w.nii.gz is the same file" in ran.stdout
    assert "leave out sub-01_dseg.nii.gz: Its name is that of a label map" in ran.stdout
    out = tmp_path / "pack"
    told = json.loads(run_command(str(folder), "--out", str(out), "--dry-run", "--json").stdout)
    assert told["prepare"] == 3
    assert {row["file"]: row["action"] for row in told["scans"]}["sub-03_T1w.nii.gz"] == "prepare"
    assert not out.exists()
    monkeypatch.undo()
    prepare(folder, out)
    told = json.loads(run_command(str(folder), "--out", str(out), "--dry-run", "--json").stdout)
    assert (told["prepare"], told["done"]) == (0, 2)  # the bad file is known to be one by now
    assert "Give --out FOLDER" in run_command(str(folder)).output
    (tmp_path / "alone").mkdir()
    (folder / "sub-01_T1w.nii.gz").rename(tmp_path / "alone" / "sub-01_T1w.nii.gz")
    alone = run_command(str(tmp_path / "alone"), "--dry-run", "--out", str(tmp_path / "other"))
    assert "1 scan of 1 subject (" in alone.stdout


def test_command(folder, tmp_path):
    out = str(tmp_path / "pack")
    ran = run_command(str(folder), "--out", out, "--json")
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)
    assert (told["brains"], told["train"], told["validation"]) == (3, 2, 1)
    assert told["refused"][0]["file"] == "sub-04_T1w.nii.gz"
    assert Path(told["contact_sheet"]).is_file()
    ran = run_command(str(folder), "--out", out, "--template", str(MEAN_BRAIN))
    assert "3 brains (2 for training, 1 for validation)" in ran.stdout
    assert "refused sub-04_T1w.nii.gz" in ran.stdout
