"""A metric is its measure and one entry of the table: one more is measured and told everywhere."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blobs import Stored

from stylegan3d import pages
from stylegan3d.dataset.pack import Pack
from stylegan3d.evaluation import table
from stylegan3d.evaluation.evaluation import (
    ALIKE,
    Evaluated,
    SideBySide,
    comparison_csv,
    comparison_json,
    evaluate_material,
    page,
    read_evaluation,
)
from stylegan3d.evaluation.material import Material
from stylegan3d.evaluation.rows import Figure
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.storage.encoding import to_json


def brightness(material: Material) -> dict[str, Any]:
    """A measure: how bright brains are."""
    real = np.stack(material.volumes(material.people))
    made = material.synthetic
    return {"mean_brightness": {"synthetic": float(made.mean()), "real": float(real.mean())}}


TOY = table.Metric(
    "toy",
    "Are they as bright?",
    measure="own.measure:brightness",
    title="Toy metric",
    warnings=lambda found: ["They glow."] if found["mean_brightness"]["synthetic"] > 1 else [],
)


def told(template: str, macro: str, found: dict[str, Any]) -> str:
    """What a macro for it would say."""
    assert (template, macro) == ("answers", "toy")
    return f"They reach {found['mean_brightness']['synthetic']:.0f}."


@pytest.fixture
def report(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(table, "METRICS", (*table.METRICS, TOY))
    monkeypatch.setitem(sys.modules, "own.measure", sys.modules[__name__])
    monkeypatch.setattr(table, "filled", told)
    settings = EvaluationSettings(parts=("toy",), samples=8, privacy_samples=8)
    made = Stored(pack.volumes[:8], pack.space)
    return evaluate_material(Material(made, pack, settings, lambda *_: None))


def test_a_new_metric_is_measured_and_reported_everywhere(
    report: dict[str, Any], tmp_path: Path
) -> None:
    assert "toy" in EvaluationSettings().parts
    html = page(report, {})
    for words in (
        "Toy metric",
        "mean brightness",
        "Are they as bright?",
        "They reach",
        "They glow.",
    ):
        assert words in html
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(to_json(report))
    assert "mean_brightness" in json.loads((tmp_path / "a" / "report.json").read_text())["toy"]
    models = [replace(read_evaluation(tmp_path / name), name=name) for name in ("a", "b")]
    both = SideBySide.of(models)
    rows = list(csv.reader(io.StringIO(comparison_csv(both))))
    assert [row[:2] for row in rows[1:]] == [["toy", "mean brightness"]]
    assert comparison_json(both)["toy"][0]["name"] == "mean brightness"


def test_rows_of_one_name_stay_apart_side_by_side() -> None:
    names = ("Age", "  right way", "Ventricles", "  right way")
    parts = {"edits": [Figure(name, str(k), "", "") for k, name in enumerate(names)]}
    models = [Evaluated(name, dict.fromkeys(ALIKE, name), parts) for name in "ab"]
    rows = SideBySide.of(models).parts["edits"]
    assert [(name, [f and f.synthetic for f in both]) for name, both in rows] == [
        (name, [str(k)] * 2) for k, name in enumerate(names)
    ]


def test_every_measure_of_the_table_is_there() -> None:
    assert len(set(table.keys())) == len(table.METRICS)
    answers = Path(pages.__file__).with_name("answers.md").read_text("utf-8")
    macros = set(re.findall(r"macro (\w+)\(part\)", answers))
    assert macros == {metric.key for metric in table.METRICS if metric.question}
    for metric in table.METRICS:
        assert callable(metric.function())
