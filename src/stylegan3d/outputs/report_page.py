"""The page of a report, as PDF with real text, by reportlab (BSD licence, plain Python).

reportlab rather than Qt's QPdfWriter, so that reports can be made without a window, and rather than
Pillow, whose PDFs are pictures of text. The text stands in a font that goes into the file: DejaVu
Sans where the system has it, for its many scripts, else reportlab's own Bitstream Vera.
"""

from __future__ import annotations

import io
import math
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan3d.errors import OutputError
from stylegan3d.measures.tissue_volumes import TOLD, VOLUMES
from stylegan3d.outputs.pictures import json_path, picture_sidecar
from stylegan3d.outputs.report import LIKENESS, SUFFIX, WARNING, Case, Picture
from stylegan3d.projection.verdicts import TITLES
from stylegan3d.segmentation.words import value_text
from stylegan3d.storage.jsontext import to_json

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

    from stylegan3d.model.generator import Generator

MM = 72 / 25.4
WIDTH, HEIGHT = 210.0, 297.0
MARGIN = 14.0
INNER = WIDTH - 2 * MARGIN
#: The most that the pictures take of the page's height, with their titles.
PICTURES_MM = 168.0
TITLE_MM, GAP_MM = 5.0, 2.0
LEADING = 1.35
INK, GREY, RULE = (0.0, 0.0, 0.0), (0.35, 0.35, 0.35), (0.7, 0.7, 0.7)
WARNING_PAPER = (1.0, 0.94, 0.82)
FACES = (("DejaVuSans", "DejaVuSans-Bold"), ("Vera", "VeraBd"))
LINK_LINES = 6
#: The smallest that a title is set in to fit its line, as a share of its size.
SMALLEST = 0.65
JPEG_QUALITY = 92


def report_files(path: Path, case: Case, generator: Generator) -> dict[Path, bytes]:
    """The PDF and the JSON beside it, not yet written: name to content.

    Raises
    ------
    OutputError
        If the name does not end in `.pdf`.
    """
    if path.suffix.lower() != SUFFIX:
        raise OutputError(f"{path.name} must end in {SUFFIX}: add it to the name.")
    told = {
        **picture_sidecar(case.recipe, generator, path.parent, "Report"),
        "Case": case.name,
        "Date": case.date.isoformat(),
        "Measures": case.measures,
        "MeasuredBy": case.measured,
        **({} if case.numbers is None else {"Numbers": case.numbers.to_dict()}),
        "Similarity": case.similarity,
        "Verdict": case.verdict,
        "Verdicts": case.verdicts,
        "Findings": case.findings,
    }
    page = draw_page(case, path.parent)
    return {path: page, json_path(path): to_json(told).encode()}


def draw_page(case: Case, folder: Path) -> bytes:
    """The PDF, one A4 page; files of the recipe are named as seen from `folder`."""
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    # Invariant: the same case gives the same bytes.
    canvas = Canvas(buffer, pagesize=A4, invariant=1)
    canvas.setTitle(case.name)
    canvas.setSubject(WARNING)
    canvas.setCreator("napari-stylegan3d")
    canvas.setKeywords(["synthetic", "not for diagnosis"])
    page = _Page(canvas)
    size = _shrunk(writable(case.name, page.bold), page.bold, 15, INNER * MM)
    page.text(case.name, size, bold=True, lines=2)
    page.text(f"Report of {case.date.isoformat()}", 8, color=GREY)
    page.banner(WARNING)
    _pictures(page, case.pictures)
    _figures(page, case)
    page.text("How it was made", 9.5, bold=True, space=1.5)
    for step in case.steps:
        page.text(step, 8, lines=3)
    link = case.link(folder)
    page.text("To restore this brain, paste this link into the explorer (Ctrl+V):", 8, color=GREY)
    page.text(link, 5.5, lines=LINK_LINES, color=GREY)
    page.text(" ".join(case.model), 6.5, lines=3, color=GREY, space=1)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


class _Page:
    """A page that is written on from top to bottom; lengths in mm, sizes of type in points."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self.plain, self.bold = _faces()
        self.y = MARGIN

    def text(
        self,
        words: str,
        size: float,
        *,
        bold: bool = False,
        color: tuple[float, float, float] = INK,
        lines: int = 2,
        space: float = 0.0,
        left: float = MARGIN,
        width: float = INNER,
    ) -> None:
        """A paragraph with a maximum number of lines, `space` mm below the previous item."""
        face = self.bold if bold else self.plain
        self.y += space
        self.canvas.setFillColorRGB(*color)
        self.canvas.setFont(face, size)
        for line in _lines(writable(words, face), face, size, width * MM, lines):
            self.y += size * LEADING / MM
            self.canvas.drawString(left * MM, (HEIGHT - self.y) * MM, line)

    def banner(self, words: str) -> None:
        """The warning, in a box that is seen in black and white too."""
        size, inset = 8.0, 2.0
        top = self.y + 1.5
        count = len(_lines(words, self.bold, size, (INNER - 2 * inset) * MM, 4))
        height = count * size * LEADING / MM + 2.6
        self.canvas.setFillColorRGB(*WARNING_PAPER)
        self.canvas.setStrokeColorRGB(*INK)
        self.canvas.setLineWidth(0.8)
        self.canvas.rect(MARGIN * MM, (HEIGHT - top - height) * MM, INNER * MM, height * MM, fill=1)
        self.y = top + 0.4
        self.text(words, size, bold=True, lines=4, left=MARGIN + inset, width=INNER - 2 * inset)
        self.y = top + height + 1.5

    def picture(self, picture: Picture, left: float, top: float, width: float) -> None:
        """A picture under its title."""
        from reportlab.lib.utils import ImageReader

        self.y = top
        size = _shrunk(writable(picture.title, self.bold), self.bold, 7.5, width * MM)
        self.text(picture.title, size, bold=True, lines=1, left=left, width=width)
        height = _height(picture, width)
        place = (left * MM, (HEIGHT - top - TITLE_MM - height) * MM, width * MM, height * MM)
        self.canvas.drawImage(ImageReader(_jpeg(picture)), *place)

    def table(self, rows: Sequence[Sequence[str]], left: float, width: float) -> None:
        """A table with a header row and column; numbers are right-aligned."""
        size, first = 7.5, (0.34 if len(rows[0]) > 2 else 0.65) * width
        step = (width - first) / max(len(rows[0]) - 1, 1)
        for number, row in enumerate(rows):
            face = self.bold if number == 0 else self.plain
            self.y += size * LEADING / MM + 0.4
            self.canvas.setFont(face, size)
            self.canvas.setFillColorRGB(*INK)
            base = (HEIGHT - self.y) * MM
            self.canvas.drawString(left * MM, base, _fit(row[0], face, size, first * MM))
            for column, cell in enumerate(row[1:], start=1):
                room = (step - 1) * MM
                small = _shrunk(cell, face, size, room)
                self.canvas.setFont(face, small)
                text = _fit(cell, face, small, room)
                self.canvas.drawRightString((left + first + column * step) * MM, base, text)
            self.canvas.setStrokeColorRGB(*RULE)
            self.canvas.setLineWidth(0.3)
            line = base - 0.9 * MM
            self.canvas.line(left * MM, line, (left + width) * MM, line)
        self.y += 1.5


def _pictures(page: _Page, rows: Sequence[Sequence[Picture]]) -> None:
    """Rows as wide as the page, all made smaller alike if they are too high for it."""
    widths = [(INNER - (len(row) - 1) * GAP_MM) / len(row) for row in rows]
    needed = sum(_row_height(row, width) for row, width in zip(rows, widths, strict=True))
    share = min((PICTURES_MM - len(rows) * (TITLE_MM + GAP_MM)) / needed, 1.0)
    top = page.y
    for row, full in zip(rows, widths, strict=True):
        width = full * share
        for column, picture in enumerate(row):
            page.picture(picture, MARGIN + column * (width + GAP_MM), top, width)
        top += TITLE_MM + GAP_MM + _row_height(row, width)
    page.y = top


def _row_height(row: Sequence[Picture], width: float) -> float:
    return max(_height(picture, width) for picture in row)


def _figures(page: _Page, case: Case) -> None:
    """Measurements at the left, their reliability at the right."""
    top = page.y + 1.0
    left, right = (0.58 * INNER, 0.36 * INNER) if case.similarity else (INNER, 0.0)
    titles = list(case.measures)
    rows = [["Volume (ml)", *titles]]
    for key in TOLD:
        values = [case.measures[title].get(key, math.nan) for title in titles]
        told = ["not measured" if math.isnan(v) else value_text(key, v) for v in values]
        rows.append([VOLUMES[key], *told])
    page.y = top
    page.table(rows, MARGIN, left)
    if case.measured:
        page.text(f"Volumes {case.measured}.", 6.5, color=GREY, left=MARGIN, width=left)
    if case.numbers is not None:
        from stylegan3d.segmentation.numbers import summary_of

        for words in summary_of(case.numbers):
            page.text(words, 6.5, lines=3, left=MARGIN, width=left)
    bottom = page.y
    if case.similarity:
        page.y = top
        known = {key: case.similarity[key] for key in LIKENESS if key in case.similarity}
        likeness = [[LIKENESS[key], f"{value:.3g}"] for key, value in known.items()]
        page.table([["Similarity to the scan", ""], *likeness], MARGIN + INNER - right, right)
        bottom = max(bottom, page.y)
    page.y = bottom
    for name, verdict in case.verdicts.items():
        page.text(f"{TITLES[name]}, {verdict['level']}: {verdict['sentence']}", 8, lines=2)
    if case.verdict:
        page.text(f"Trust in the reconstruction: {case.verdict}.", 8, bold=True)
        page.text(case.sentence, 8, lines=3)


def _height(picture: Picture, width: float) -> float:
    return width * picture.image.height / picture.image.width


def _jpeg(picture: Picture) -> io.BytesIO:
    """As JPEG a page takes 0.5 MB, as a bitmap 5; at this quality no difference is seen."""
    buffer = io.BytesIO()
    picture.image.save(buffer, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    buffer.seek(0)
    return buffer


def writable(text: str, face: str) -> str:
    """The text with what the font lacks replaced: by the letter it derives from, else by "?"."""
    from reportlab.pdfbase import pdfmetrics

    known: Any = pdfmetrics.getFont(face).face.charToGlyph
    written = []
    for character in " ".join(text.split()):
        if ord(character) in known:
            written.append(character)
            continue
        plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        written.append(plain or "?")
    return "".join(written)


def _shrunk(text: str, face: str, size: float, width: float) -> float:
    """The size at which a text fits into so many points, not much smaller than the given one."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    wanted = stringWidth(text, face, size)
    return size if wanted <= width else size * max(width / wanted, SMALLEST)


def _lines(text: str, face: str, size: float, width: float, most: int) -> list[str]:
    """The text in at most so many lines; what has no blanks is broken anywhere."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if stringWidth(longer, face, size) <= width:
            lines[-1] = longer
            continue
        if lines[-1]:
            lines.append("")
        for character in word:
            if stringWidth(lines[-1] + character, face, size) > width:
                lines.append("")
            lines[-1] += character
    if len(lines) > most:
        lines = [*lines[: most - 1], _fit(lines[most - 1] + "…", face, size, width, more=True)]
    return lines


def _fit(text: str, face: str, size: float, width: float, more: bool = False) -> str:
    """The text, truncated with an ellipsis if too wide or too long."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    text = writable(text, face) if not more else text
    if stringWidth(text, face, size) <= width:
        return text
    while text and stringWidth(text + "…", face, size) > width:
        text = text[:-1]
    return text + "…"


@cache
def _faces() -> tuple[str, str]:
    """Names of the registered plain and bold fonts."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFError, TTFont

    for names in FACES:
        try:
            for name in names:
                pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))
        except TTFError:
            continue
        return names
    raise RuntimeError("reportlab came without its fonts")
