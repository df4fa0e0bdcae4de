"""Reasons why a control is not available for a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QComboBox

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator


def why_not(generator: Generator, feature: str) -> str:
    """Why a model lacks a feature, translated; empty if it has it."""
    return generator.cannot.get(feature, "")


def offer(box: QComboBox, entry: object, reason: str, instead: object) -> None:
    """Enable an entry of a list, or disable it with the reason as its tooltip.

    If the disabled entry was selected, `instead` is selected.
    """
    index = box.findData(entry)
    item = box.model().item(index)
    item.setEnabled(not reason)
    item.setToolTip(reason)
    if reason and box.currentIndex() == index:
        box.setCurrentIndex(box.findData(instead))
