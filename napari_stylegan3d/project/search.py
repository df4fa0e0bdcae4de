"""Search settings: budget, latent space, degradation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_stylegan3d.core.panel import offer, why_not
from napari_stylegan3d.core.worker import duration_in_words
from napari_stylegan3d.project.degradations import losses
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.forms import Form
from stylegan3d.projection.settings import TITLES, Choices
from stylegan3d.storage.places import site_names

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.scans import Scan

NO_NOISE = "Not available: this model has no noise that a scan determines."


class SearchBox(QWidget):
    """Four combo boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.form = Form(Choices, "project.", only=("budget", "space"))
        self.budget: QComboBox = self.form.native("budget")
        self.space: QComboBox = self.form.native("space")
        self.loss = self._make_loss()
        self.site = controls.combo(
            "project.site",
            "Scanner site that the scan comes from, calibrated with healthy people's scans "
            "by\n"
            "stylegan3d model site. Without it, the verdicts' ranges are wider.",
        )
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for box in (self.budget, self.space, self.loss, self.site):  # as narrow as the panel
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
        rows = self.form.layout()
        controls.add_row(rows, "Scan degradation", self.loss)
        controls.add_row(rows, "Site", self.site)
        column.addLayout(rows)
        self.show_sites()

    @property
    def wishes(self) -> tuple[str, str, str, str]:
        """Space, budget, degradation and site, as in `ProjectionRequest`."""
        boxes = (self.space, self.budget, self.loss, self.site)
        space, budget, loss, site = (str(box.currentData()) for box in boxes)
        return space, budget, loss, site

    def show_sites(self) -> None:
        """Offer the calibrated sites there are now."""
        before = self.site.currentData()
        self.site.clear()
        self.site.addItem("Not calibrated", "")
        for name in site_names():
            self.site.addItem(name, name)
        self.site.setCurrentIndex(max(self.site.findData(before), 0))

    def showEvent(self, event: QShowEvent) -> None:
        """Sites may have been calibrated meanwhile."""
        super().showEvent(event)
        self.show_sites()

    def show_model(self, generator: Generator) -> None:
        """Enable the options a model supports."""
        no_noise = why_not(generator, "noise_maps")
        if not no_noise and not (generator.has_layer_noise or generator.has_own_noise):
            no_noise = NO_NOISE
        offer(self.space, "w+noise", no_noise, "w+")
        offer(self.space, "w", why_not(generator, "layers"), "w+")
        offer(self.budget, "thorough", why_not(generator, "tuning"), "standard")

    def show_scan(self, scan: Scan | None) -> None:
        """Offer the possible degradations of a scan."""
        before = self.loss.currentData()
        self.loss.clear()
        for text, data in losses(scan):
            self.loss.addItem(text, data)
        self.loss.setCurrentIndex(max(self.loss.findData(before), 0))

    def show_estimates(self, seconds: Mapping[str, float]) -> None:
        """Show the estimated time of each budget, if known."""
        for index, (key, text) in enumerate(TITLES.items()):
            known = f", ~{duration_in_words(seconds[key])}" if key in seconds else ""
            self.budget.setItemText(index, text + known)

    def _make_loss(self) -> QComboBox:
        box = controls.combo(
            "project.loss",
            "How the scan is degraded. The search degrades the brain in the same way "
            "before\n"
            "comparing it, and restores the detail from the model. Further kinds, such "
            "as\n"
            "undersampled k-space: stylegan3d project --operator.",
            losses(None),
        )
        return box
