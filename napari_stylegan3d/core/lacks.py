"""What a model cannot do, said where its control would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox

from napari_stylegan3d.widgets.text import of_engine

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator


def why_not(generator: Generator, feature: str) -> str:
    """Why a model lacks a feature, in the person's language; nothing where it has it."""
    return of_engine(generator.cannot.get(feature, ""))


def offer(box: QComboBox, entry: object, reason: str, instead: object) -> None:
    """Enable an entry of a list, or disable it with the reason as its tooltip.

    Where the disabled one was chosen, `instead` is.
    """
    index = box.findData(entry)
    item = box.model().item(index)
    item.setEnabled(not reason)
    item.setToolTip(reason)
    if reason and box.currentIndex() == index:
        box.setCurrentIndex(box.findData(instead))
