"""Result of a projection: verdict, similarity, and where it differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QLabel, QPushButton, QWidget

from napari_stylegan3d.core.worker import LatestWins, LongJob
from napari_stylegan3d.project.regions import mask_of
from napari_stylegan3d.widgets import controls, dialogs
from napari_stylegan3d.widgets.elided import ElidedLabel
from stylegan3d.base import Progress, ScanError
from stylegan3d.pages.shortening import elided
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.scans import verdicts
from stylegan3d.session.annotations import Filled

if TYPE_CHECKING:
    from napari_stylegan3d.core.jobs import DisplayVolume, Loaded
    from napari_stylegan3d.core.rendering import DisplayController, Rendering
    from stylegan3d.geometry.space import Space
    from stylegan3d.projection.forward import Operator
    from stylegan3d.scans import AlignedScan
    from stylegan3d.session.case import Case

#: Number of regions listed, worst first.
NAMED = 3
#: Sign, word and style of each level; signs differ in shape, not in colour alone.
LEVELS = {
    "green": ("✓", "within normal limits", "good"),
    "amber": ("▲", "caution", "caution"),
    "red": ("■", "warning", "error"),
}
#: Findings that can be clicked, and how wide one is at most.
LISTED, FINDING_PX = 5, 315


class ResultBox(QWidget):
    """Verdicts with explanations, similarity, regions that differ most, and warnings."""

    #: Its place, RAS mm in model space
    findingPicked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.patient = ElidedLabel(name="project.patient", role="figure")
        self.patient.setToolTip("The patient whose scan was projected.")
        self.lights = VerdictRows(self.findingPicked)
        self.regions = controls.hint(
            name="project.regions",
            tip="Root mean square of scan minus reconstruction in a region, in % of the "
            "brightest tissue, beside the usual value in held-out subjects.",
        )
        self.place = controls.hint(
            name="project.place",
            tip="How unusual this brain is for the model: percentage of held-out subjects "
            "closer to the average brain. It does not measure health.",
        )
        self.notes = controls.hint(name="project.notes")
        self.save_filled = controls.push_button("project.save_filled")
        self.figures: dict[str, QLabel] = {}
        column = controls.stack(self.patient, self.lights, on=self, spacing=7)
        self.table = self._make_figures()
        column.addWidget(self.table)
        for widget in (self.place, self.regions, self.notes, self.save_filled):
            column.addWidget(widget)
        self.show_result(None)

    def show_result(self, projected: Case | None) -> None:
        """Show the result of a projection; None for none."""
        assessment: Mapping[str, Any] = projected.assessment if projected else {}
        for key in verdicts.SIMILARITY:
            for name, of in (("project", "similarity"), ("project.mean", "mean_brain")):
                numbers = assessment.get(of, {})
                text = verdicts.similarity_text(key, numbers[key]) if key in numbers else "–"
                self.figures[f"{name}.{key}"].setText(text)
        controls.show_text(self.patient, "" if projected is None else projected.name)
        self.lights.show_assessment(assessment)
        doubts = projected.doubts if projected else ()
        self.table.setVisible(projected is not None)
        filled = None if projected is None else projected.filled
        self.save_filled.setVisible(filled is not None)
        if filled is not None:
            self.save_filled.setText(f"Save {filled.what} scan…")
        # Verdicts are already shown above.
        lines = [doubt.sentence for doubt in verdicts.beside_verdicts(doubts)]
        for label, text in (
            (self.place, _place_of(assessment)),
            (self.regions, worst_regions(assessment.get("regions", {}))),
            (self.notes, "\n".join(lines)),
        ):
            controls.show_text(label, text)

    def _make_figures(self) -> QWidget:
        table = QWidget()
        grid = controls.grid(table, 12, 4)
        for column, text in enumerate(("Similarity", "Reconstruction", "Mean brain")):
            grid.addWidget(controls.hint(text), 0, column)
        for row, (key, (text, _, tip)) in enumerate(verdicts.SIMILARITY.items(), start=1):
            for column, name in enumerate((None, f"project.{key}", f"project.mean.{key}")):
                label = QLabel("–" if name else text)
                label.setToolTip(tip)
                if name:
                    label.setObjectName(name)
                    label.setAlignment(Qt.AlignmentFlag.AlignRight)
                    self.figures[name] = label
                grid.addWidget(label, row, column)
            self.figures[f"project.{key}"].setProperty("role", "figure")
        return table


class VerdictRows(QWidget):
    """The verdicts, the decisive one on the scan first, and its findings."""

    def __init__(self, picked: Any) -> None:
        super().__init__()
        self._picked = picked
        self.setObjectName("project.verdicts")
        column = controls.stack(on=self, spacing=5)
        self.column = column
        self.rows = {name: VerdictRow(name) for name in verdicts.VERDICTS}
        for row in self.rows.values():
            column.addWidget(row)
        self.findings: list[QPushButton] = []
        for number in range(LISTED):
            button = controls.push_button(
                f"project.finding.{number}",
                "",
                "Show this place in the scan: where it differs, how large, how unusual.",
                role="segment",
            )
            column.addWidget(button)
            self.findings.append(button)
            button.clicked.connect(lambda _=False, n=number: self._picked.emit(self._places[n]))
        self._places: list[Sequence[float]] = []

    def show_assessment(self, assessment: Mapping[str, Any]) -> None:
        """Show the verdicts of a projection; an uncalibrated one has that on the reconstruction."""
        found = assessment.get("verdicts", {})
        for number, (name, verdict) in enumerate(found.items()):
            self.rows[name].show_verdict(verdict)
            self.column.insertWidget(number, self.rows[name])
        for name, row in self.rows.items():
            row.setVisible(name in found)
        # Below their verdict, which may stand before others.
        findings = verdicts.listed_findings(assessment)[:LISTED]
        self._places = [finding["center_mm"] for finding in findings]
        for button, finding in zip(self.findings, findings, strict=False):
            words, metrics = finding_in_words(finding), button.fontMetrics()
            place, figures = finding["place"], words.removeprefix(finding["place"])
            room = controls.scaled(FINDING_PX) - metrics.horizontalAdvance(figures)
            button.setText(elided(place, metrics, room) + figures)
            button.setToolTip(f"{words}: show this place in the scan.")
        below = self.column.indexOf(self.rows["focal"]) + 1
        for number, button in enumerate(self.findings):
            button.setVisible(number < len(findings))
            self.column.insertWidget(below + number, button)
        self.setVisible(bool(found))


class VerdictRow(QWidget):
    """One verdict: sign and word, and below them the reason."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.title = controls.named(
            QLabel(),
            f"project.verdict.{name}",
            "✓ within normal limits, ▲ caution, ■ warning. Acquisition: contrast, sharpness, "
            "coverage. Anatomy: size, ventricles, shape among people. Focal: what the scan shows "
            "and the model does not know. Reconstruction: how far it can be trusted. "
            "Not a diagnosis.",
        )
        self.reason = controls.hint("", f"project.verdict.{name}.reason", self.title.toolTip())
        controls.stack(self.title, self.reason, on=self, spacing=1)

    def show_verdict(self, verdict: Mapping[str, str]) -> None:
        """Show its level and sentence."""
        sign, word, role = LEVELS[verdict["level"]]
        self.title.setText(f"{sign} {verdicts.VERDICTS[self.name]}: {word}")
        controls.set_role(self.title, role)
        self.reason.setText(verdict["sentence"])


def finding_in_words(finding: Mapping[str, Any]) -> str:
    """Such as "left temporal lobe, 3.9 ml, z −7.7"."""
    z = f"{finding['peak_z']:+.1f}".replace("-", "−")
    return "{place}, {ml:.1f} ml, z {z}".format(place=finding["place"], ml=finding["ml"], z=z)


def _place_of(assessment: Mapping[str, Any]) -> str:
    """How far the brain is from average among subjects, if known."""
    percentile = assessment.get("latent_percentile")
    if percentile is None:
        return ""
    from stylegan3d.projection.assessment import place_in_words

    return f"Position: {place_in_words(percentile)}."


def worst_regions(regions: Mapping[str, Mapping[str, float]]) -> str:
    """The regions that differ most, with usual values if known."""
    measure = "unusual" if any("unusual" in row for row in regions.values()) else "rms"
    worst = sorted(regions, key=lambda name: regions[name].get(measure, 0.0), reverse=True)[:NAMED]
    if not worst:
        return ""
    lines = []
    for name in worst:
        row = regions[name]
        lines.append(f"{name}: {100 * row['rms']:.0f} %")
        if "usual" in row:
            lines[-1] += " (usually {usual:.0f} %)".format(usual=100 * row["usual"])
    return "Largest differences, in % of the brightest tissue:\n" + "\n".join(lines)


def operator_of(filled: Filled, space: Space) -> Operator:
    """The degradation, not bound to a grid, for a model whose grid is `space`.

    Raises
    ------
    StyleGAN3DError
        If a session's file says what is none.
    """
    from stylegan3d.projection.projector import loss_of

    mask = None if filled.region is None else mask_of(filled.region, space)
    operator = loss_of(filled.loss, mask)
    if operator is None:
        raise ScanError("This projection does not say what was filled in: project the scan again.")
    return operator


def fill(aligned: AlignedScan, operator: Operator, made: np.ndarray) -> np.ndarray:
    """The aligned scan, filled in from a brain, (X, Y, Z) in [0, 1]."""
    from stylegan3d.outputs.projections import restored_brain

    return restored_brain(aligned, operator.on(aligned.space, aligned), made)


def save_filled(
    report: Progress, loaded: Loaded, projected: Case, recipe: Recipe, folder: Path
) -> list[Path]:
    """Write the scan, filled in from a recipe's brain, on its own grid and on the model's.

    Returns the paths of the volumes, which have sidecars; all files are written or none.

    Raises
    ------
    OutputError
        If one of the files exists already, or cannot be written.
    """
    from stylegan3d.outputs.projections import restored_files, restored_names
    from stylegan3d.render.recipes import render_recipe
    from stylegan3d.render.renderer import Renderer
    from stylegan3d.storage.files import check_output, write_together
    from stylegan3d.storage.volumes import sidecar_path

    aligned = projected.aligned
    assert aligned is not None
    operator = operator_of(projected.filled, aligned.space)
    names = restored_names(aligned.scan.path, folder, operator).values()
    check_output([*names, *map(sidecar_path, names)])
    report(0, 1, "Saving the filled scan")
    made = render_recipe(Renderer(loaded.generator), recipe).volume
    write_together(restored_files(folder, loaded.generator, aligned, operator, made, recipe))
    return list(names)


class FillController(QObject):
    """Updates the filled-in scan when the brain changes while it is shown; saves it."""

    def __init__(
        self, rendering: Rendering, comparison: DisplayController, box: ResultBox, parent: QObject
    ) -> None:
        super().__init__(parent)
        self.rendering, self.comparison, self.box = rendering, comparison, box
        messages = comparison.session.messages
        self.working = LatestWins(
            _fill,
            self,
            # What comes of an edit that is undone by now is not shown any more.
            lambda request, volume: comparison.show_filled(
                request[0], volume if self._known is None else self._known
            ),
            messages.slot("filling in the region"),
        )
        self.job = LongJob(self, messages.saved, messages.slot("saving the filled scan"))
        comparison.pictured.connect(self._again)
        box.save_filled.clicked.connect(self._ask)
        self.job.runningChanged.connect(lambda on: box.save_filled.setEnabled(not on))

    @property
    def _projected(self) -> Case | None:
        """The projection of the current brain, if there is anything to fill in."""
        projected = self.rendering.session.result
        there = projected is not None and projected.aligned is not None
        return projected if projected is not None and there and projected.filled else None

    @property
    def _known(self) -> np.ndarray | None:
        """The scan filled in from the reconstruction, while that is shown as it is."""
        projected, recipe = self._projected, self.comparison.recipe
        plain = recipe is not None and recipe.replace(detail=None) == Recipe(recipe.source)
        return projected.filled.volume if projected is not None and plain else None

    def _again(self) -> None:
        projected, picture = self._projected, self.comparison.picture
        if projected is not None and (known := self._known) is not None:
            self.comparison.show_filled(projected, known)
        elif projected is not None and picture is not None:
            self.working.submit((projected, picture))

    def _ask(self) -> None:
        loaded, projected = self.rendering.loaded, self._projected
        if loaded is None or projected is None:
            return
        recipe = self.rendering.session.brain.replace(detail=None)
        title = f"Save the {projected.filled.what} scan to"
        folder = dialogs.choose_folder(self.box, title, Path.home())
        if folder is not None:
            self.job.start(save_filled, loaded, projected, recipe, folder)


def _fill(request: tuple[Case, DisplayVolume]) -> np.ndarray:
    """In a thread."""
    projected, picture = request
    aligned = projected.aligned
    assert aligned is not None
    operator = operator_of(projected.filled, aligned.space)
    return fill(aligned, operator, picture.on_grid(aligned.volume.shape))
