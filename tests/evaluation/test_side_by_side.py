"""Evaluations of several models in one table."""

import copy
import csv
import json

import pytest

from stylegan3d.cli import main
from stylegan3d.evaluation.material import VERSION

REPORT = {
    "model": {"name": "first", "hash": "a" * 64, "kind": "generator"},
    "data": {"name": "pack", "volumes": "volumes-1.npy"},
    "settings": {"samples": 200, "truncation": 1.0, "budget": "standard"},
    "program": {"measures": "m1"},
    "two_sample": {
        "n": 40,
        "accuracy": {
            "n": 40,
            "synthetic": 0.61,
            "synthetic_interval": [0.5, 0.7],
            "real": 0.5,
            "real_interval": [0.4, 0.6],
        },
        "auc": {
            "n": 40,
            "synthetic": 0.66,
            "synthetic_interval": [0.5, 0.8],
            "real": 0.52,
            "real_interval": [0.4, 0.6],
        },
    },
    "membership": {
        "attacks": [
            {"attack": "encoder", "auc": 0.567, "interval": [0.5, 0.6], "members": 9, "others": 8}
        ]
    },
}


@pytest.fixture
def reports(tmp_path):
    """Two folders as `evaluate --out` leaves them; the second was not attacked."""
    other = copy.deepcopy(REPORT)
    other["model"]["name"] = "<second>"
    other["two_sample"]["accuracy"]["synthetic"] = 0.93
    del other["membership"]
    folders = []
    for name, report in {"a": REPORT, "b": other}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json.dumps(report))
        folders.append(tmp_path / name)
    return folders


@pytest.fixture
def run(capsys):
    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", "--compare", *map(str, words)])
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, " ".join(told.err.replace("│", " ").split())

    return run


def test_figures_stand_beside_each_other(run, reports, tmp_path):
    out = tmp_path / "table.csv"
    status, told, _ = run(*reports, "--out", out)
    assert status == 0
    assert "different" not in told
    rows = list(csv.reader(out.read_text().splitlines()))
    assert rows[0] == ["part", "figure", "first", "<second>", "real"]
    accuracy = next(row for row in rows if "0.61" in row[2])
    assert accuracy[0] == "two_sample"
    assert accuracy[3].startswith("0.93")
    assert accuracy[4].startswith("0.50")
    attack = next(row for row in rows if "0.567" in row[2])
    assert attack[3] == ""


def test_the_page_is_one_file_that_runs_nothing(run, reports, tmp_path):
    out = tmp_path / "table.html"
    assert run(*reports, "--out", out)[0] == 0
    page = out.read_text()
    assert "&lt;second&gt;" in page
    assert "<second>" not in page
    assert "://" not in page
    assert "Synthetic" in page


def test_names_can_be_given_and_numbers_read(run, reports, tmp_path):
    out = tmp_path / "table.json"
    status, told, _ = run(*reports, "--out", out, "--names", "GAN, VAE", "--json")
    assert status == 0
    assert json.loads(told)["models"] == ["GAN", "VAE"]
    found = json.loads(out.read_text())
    values = [m["value"] for m in found["two_sample"][0]["models"]]
    assert values == [0.61, 0.93]
    assert found["membership"][0]["models"][1] is None


def test_what_cannot_be_compared_is_said(run, reports, tmp_path):
    other = json.loads((reports[1] / "report.json").read_text())
    other["settings"]["samples"] = 20
    (reports[1] / "report.json").write_text(json.dumps(other))
    told = run(*reports, "--out", tmp_path / "table.html")[1]
    assert "different numbers of random brains: 20; 200" in told


def test_reports_of_other_versions_of_the_measures_are_told(run, reports, tmp_path):
    for folder in reports:
        report = json.loads((folder / "report.json").read_text())
        report["program"]["measures"] = VERSION
        (folder / "report.json").write_text(json.dumps(report))
    assert "versions of the measures" not in run(*reports, "--out", tmp_path / "table.html")[1]
    report["program"]["measures"] = "0123456789abcdef"
    (reports[1] / "report.json").write_text(json.dumps(report))
    assert "versions of the measures" in run(*reports, "--out", tmp_path / "again.html")[1]


def test_mistakes_are_told_in_a_sentence(run, reports, tmp_path):
    out = tmp_path / "table.html"
    for words, sentence in {
        (reports[0], "--out", out): "at least two reports",
        (*reports, "--out", tmp_path / "t.txt"): "must end in .html, .csv or .json",
        (*reports, "--out", out, "--names", "one"): "gives 1 names for 2 reports",
        (reports[0], tmp_path, "--out", out): "cannot be read",
    }.items():
        status, _, told = run(*words)
        assert status == 2
        assert sentence in told
    assert not out.exists()
    for content in (b"{}", b"[]", b"nothing", json.dumps(REPORT | {"two_sample": 3}).encode()):
        (reports[1] / "report.json").write_bytes(content)
        status, _, told = run(*reports, "--out", out)
        assert status == 2
        assert "is not a report of `stylegan3d evaluate`" in told
    out.write_text("mine")
    status, _, told = run(*reports, "--out", out)
    assert status == 2
    assert out.read_text() == "mine"
