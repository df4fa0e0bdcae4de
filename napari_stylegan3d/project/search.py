"""Search settings: budget, latent space, degradation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox, QVBoxLayout, QWidget

from napari_stylegan3d.core.lacks import offer, why_not
from napari_stylegan3d.core.worker import duration_in_words
from napari_stylegan3d.project.degradations import losses
from napari_stylegan3d.project.jobs import BUDGETS
from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.text import _

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.scans import Scan

#: Latent spaces: name, title, explanation.
SPACES = (
    (
        "w+",
        _("Closest to the scan (W+)"),
        _("all layers are free, so the result follows the scan more closely."),
    ),
    (
        "w+noise",
        _("Closest, with texture (W+ and noise)"),
        _(
            "also fits the noise of the layers: fine texture of this scan, which edits and "
            "mixes\n"
            "do not move. It is saved in the latent file."
        ),
    ),
    (
        "w",
        _("Most typical brain (W)"),
        _("one style for all layers, so the result remains a typical brain of the model."),
    ),
)
NO_NOISE = _("Not available: this model has no layer noise.")


class SearchBox(QWidget):
    """Three combo boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = self._make_budget()
        self.space = self._make_space()
        self.loss = self._make_loss()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(
            controls.form(
                (_("Search"), self.budget),
                (_("Latent space"), self.space),
                (_("Scan degradation"), self.loss),
            )
        )

    @property
    def wishes(self) -> tuple[str, str, str]:
        """Space, budget and degradation, as in `ProjectionRequest`."""
        return self.space.currentData(), self.budget.currentData(), self.loss.currentData()

    def show_model(self, generator: Generator) -> None:
        """Enable the options a model supports."""
        no_noise = why_not(generator, "noise_maps")
        if not no_noise and not generator.has_layer_noise:
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
        for index, (key, text) in enumerate(BUDGETS.items()):
            known = (
                _(", about {time}").format(time=duration_in_words(seconds[key]))
                if key in seconds
                else ""
            )
            self.budget.setItemText(index, text + known)

    def _make_budget(self) -> QComboBox:
        box = QComboBox()
        box.setObjectName("project.budget")
        box.setToolTip(
            _(
                "Search effort; times are for this machine, once measured.\n"
                "Draft: quick. Standard: until improvement stalls.\n"
                "Thorough: longer, then the model is tuned slightly to this scan."
            )
        )
        _narrow(box)
        for key, text in BUDGETS.items():
            box.addItem(text, key)
        box.setCurrentIndex(list(BUDGETS).index("standard"))
        return box

    def _make_space(self) -> QComboBox:
        box = QComboBox()
        box.setObjectName("project.space")
        _narrow(box)
        tips = [f"{text}: {meaning}" for _key, text, meaning in SPACES]
        box.setToolTip("\n".join(tips))
        for key, text, _meaning in SPACES:
            box.addItem(text, key)
        return box

    def _make_loss(self) -> QComboBox:
        box = QComboBox()
        box.setObjectName("project.loss")
        _narrow(box)
        box.setToolTip(
            _(
                "How the scan is degraded. The search degrades the brain in the same way "
                "before\n"
                "comparing it, and restores the detail from the model. Further kinds, such "
                "as\n"
                "undersampled k-space: stylegan3d project --operator."
            )
        )
        for text, data in losses(None):
            box.addItem(text, data)
        return box


def _narrow(box: QComboBox) -> None:
    """Let a combo box shrink to the panel's width, whatever its longest entry."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
