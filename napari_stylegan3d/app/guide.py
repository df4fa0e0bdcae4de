"""The pages on the window, in a window, at the section of a panel."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import (
    QColor,
    QDesktopServices,
    QImage,
    QTextBlock,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextOption,
)
from qtpy.QtWidgets import QDialog, QTextBrowser, QVBoxLayout, QWidget

from napari_stylegan3d.widgets import controls
from napari_stylegan3d.widgets.theme import DARK, LIGHT

#: An installed program has the pages in a folder of its own, without pictures; a checkout in docs.
FOLDERS = (Path(__file__).parents[1] / "guide", Path(__file__).parents[2] / "docs")
#: In either, where the pages on the window are.
PART = "window"
SIZE = (860, 760)
#: Room beside a picture.
MARGIN_PX = 40


def guide_pages() -> list[Path]:
    """The pages on the window."""
    return next(pages for folder in FOLDERS if (pages := sorted((folder / PART).glob("*.md"))))


def page_of(section: str) -> Path:
    """The page that has a heading with this slug, of the highest level there is."""

    def level(page: Path) -> int:
        headings = re.findall(r"^(#+) (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        return min((len(signs) for signs, text in headings if slug(text) == section), default=9)

    return min(guide_pages(), key=level)


def slug(heading: str) -> str:
    """What links to a heading are called, such as "what-an-edit-changed"."""
    kept = "".join(sign for sign in heading.lower() if sign.isalnum() or sign in " -_")
    return kept.replace(" ", "-")


class Pages(QTextBrowser):
    """Markdown pages with links among them; pictures are as wide as the page at most."""

    def __init__(self) -> None:
        super().__init__()
        self.setOpenLinks(False)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.anchorClicked.connect(self.follow)

    def open_at(self, file: Path, section: str) -> None:
        """Show a page from the heading with this slug on, or from its begin."""
        url = QUrl.fromLocalFile(str(file))
        if self.source() != url:
            self.setSource(url, QTextDocument.ResourceType.MarkdownResource)
            self._color_links()
        self.document().setTextWidth(self.viewport().width())
        block = self._heading(section)
        bar = self.verticalScrollBar()
        layout = self.document().documentLayout()
        bar.setValue(0 if block is None else round(layout.blockBoundingRect(block).top()))

    def section(self) -> str:
        """Slug of the heading at the top of the window."""
        top, found = self.verticalScrollBar().value() + self.document().documentMargin() + 1, ""
        layout, block = self.document().documentLayout(), self.document().begin()
        while block.isValid() and layout.blockBoundingRect(block).top() <= top:
            if block.blockFormat().headingLevel():
                found = slug(block.text())
            block = block.next()
        return found

    def follow(self, link: QUrl) -> None:
        """Go to a section or another page; the rest opens in the browser."""
        target = self.source().resolved(link)
        file = Path(target.toLocalFile())
        if target.isLocalFile() and file.suffix == ".md" and file.is_file():
            self.open_at(file, target.fragment())
        elif not target.isLocalFile():
            QDesktopServices.openUrl(target)

    def loadResource(self, kind: int, name: QUrl) -> Any:
        """Load a picture no wider than the page; one that is not there is left out."""
        if kind != QTextDocument.ResourceType.ImageResource.value:
            return super().loadResource(kind, name)
        image = QImage(self.source().resolved(name).toLocalFile())
        if image.isNull():
            return QImage(1, 1, QImage.Format.Format_ARGB32)
        wide = min(image.width(), self.viewport().width() - MARGIN_PX)
        return image.scaledToWidth(wide, Qt.TransformationMode.SmoothTransformation)

    def _color_links(self) -> None:
        """Qt's own blue cannot be read on a dark page."""
        self.ensurePolished()
        dark = self.palette().text().color().lightness() > 127
        link = QTextCharFormat()
        link.setForeground(QColor(DARK.accent_hover if dark else LIGHT.accent))
        places: list[tuple[int, int]] = []
        block = self.document().begin()
        while block.isValid():
            part = block.begin()
            while not part.atEnd():
                fragment = part.fragment()
                if fragment.charFormat().isAnchor():
                    places.append((fragment.position(), fragment.length()))
                part += 1
            block = block.next()
        cursor = QTextCursor(self.document())
        for start, length in places:
            cursor.setPosition(start)
            cursor.setPosition(start + length, QTextCursor.MoveMode.KeepAnchor)
            cursor.mergeCharFormat(link)

    def _heading(self, section: str) -> QTextBlock | None:
        block = self.document().begin()
        while block.isValid():
            if block.blockFormat().headingLevel() and slug(block.text()) == section:
                return block
            block = block.next()
        return None


class GuideWindow(QDialog):
    """The guide beside the window, non-modal."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("explorer.guide_window")
        self.setWindowTitle("User guide")
        self.pages = controls.named(
            Pages(), "explorer.guide_pages", "The user guide; links lead to its other pages."
        )
        close = controls.push_button("Close", "explorer.guide_close", "Close (Esc).")
        close.clicked.connect(self.close)
        column = QVBoxLayout(self)
        column.addWidget(self.pages)
        column.addLayout(controls.row(QWidget(), close, stretch=0))
        self.resize(*(controls.scaled(length) for length in SIZE))

    def open_at(self, section: str) -> None:
        """Show a section, such as "browse"."""
        self.show()
        self.raise_()
        self.pages.open_at(page_of(section), section)
