"""The page of a report as PDF with real text, by reportlab (BSD licence, plain Python).

reportlab rather than Qt's QPdfWriter, so that reports can be made without a window, and rather than
Pillow, whose PDFs are pictures of text. The text stands in a font that goes into the file: DejaVu
Sans where the system has it, for its many scripts, else reportlab's own Bitstream Vera.

The page is laid out without drawing first: whatever the texts leave of its height the pictures get,
so that nothing is cut off.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylegan3d.errors import OutputError
from stylegan3d.outputs import report_content as content
from stylegan3d.outputs.pictures import json_path, picture_sidecar
from stylegan3d.outputs.report import SUFFIX, WARNING, Case, Picture
from stylegan3d.outputs.report_html import html_path, html_report
from stylegan3d.segmentation.curves import Curve, tick_text
from stylegan3d.storage.jsontext import to_json

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

    from stylegan3d.model.generator import Generator

MM = 72 / 25.4
WIDTH, HEIGHT = 210.0, 297.0
MARGIN = 12.0
INNER = WIDTH - 2 * MARGIN
#: The most and the least that the pictures take of the page's height, with their titles.
PICTURES_MM, LEAST_PICTURES_MM = 168.0, 50.0
TITLE_MM, GAP_MM = 5.0, 2.0
LEADING = 1.35
INK, GREY, RULE = (0.0, 0.0, 0.0), (0.35, 0.35, 0.35), (0.7, 0.7, 0.7)
BAND, LINE, DOT = (0.83, 0.91, 0.97), (0.0, 0.35, 0.6), (0.84, 0.37, 0.0)
#: Curves in a row, and their height with title and axis.
CURVES, CURVE_MM = 4, 21.0
TABLE_SIZE, TABLE_STEP = 6.3, 3.05
#: Shares of the page that the table of the whole brain takes, and the space beside it.
WHOLE_SHARE, BETWEEN_MM = 0.5, 5.0
#: Columns that take less room than the others, and their share of it.
NARROW, NARROW_SHARE = ("z", "Pctl."), 0.6
LIGHTS = {"green": (0.18, 0.49, 0.2), "amber": (0.98, 0.66, 0.15), "red": (0.72, 0.11, 0.11)}
WARNING_PAPER = (1.0, 0.94, 0.82)
FACES = (("DejaVuSans", "DejaVuSans-Bold"), ("Vera", "VeraBd"))
LINK_LINES, LINK_SIZE = 6, 5.0
#: The smallest that a title is set in to fit its line, as a share of its size.
SMALLEST = 0.65


def planned_files(path: Path, *, html: bool = True) -> list[Path]:
    """The files of a report."""
    return [path, *([html_path(path)] if html else []), json_path(path)]


def report_files(
    path: Path, case: Case, generator: Generator, *, html: bool = True
) -> dict[Path, bytes]:
    """The PDF, the same as HTML if wanted, and the JSON, not yet written: name to content.

    Raises
    ------
    OutputError
        If the name does not end in `.pdf`.
    """
    if path.suffix.lower() != SUFFIX:
        raise OutputError(f"{path.name} must end in {SUFFIX}: add it to the name.")
    record = {
        **picture_sidecar(case.recipe, generator, path.parent, "Report"),
        "Case": case.name,
        "Scan": case.scan,
        "Date": case.date.isoformat(),
        "Measures": case.measures,
        "MeasuredBy": case.measured,
        **({} if case.numbers is None else {"Numbers": case.numbers.to_dict()}),
        "Similarity": case.similarity,
        "Verdict": case.verdict,
        "Verdicts": case.verdicts,
        "Findings": case.findings,
        "MarkedBeyondZ": case.unusual_z,
    }
    return {
        path: draw_page(case, path.parent),
        **({html_path(path): html_report(case, path.parent).encode()} if html else {}),
        json_path(path): to_json(record).encode(),
    }


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
    _lay_out(_Page(canvas), case, _pictures_mm(case, folder), folder)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def _pictures_mm(case: Case, folder: Path) -> tuple[float, bool]:
    """How high the pictures can be, and whether there is room for the link, too."""
    most = min(sum(_heights(case.pictures)), PICTURES_MM)
    trial = _Page(None)
    # A part of a link restores nothing.
    lines = _lines(case.link(folder), trial.plain, LINK_SIZE, INNER * MM, LINK_LINES + 1)
    for link in (True, False)[len(lines) > LINK_LINES :]:
        trial = _Page(None)
        _lay_out(trial, case, (most, link), folder)
        room = most - max(trial.y - (HEIGHT - MARGIN), 0.0)
        if room >= LEAST_PICTURES_MM:
            return room, link
    return max(room, 0.0), False


def _lay_out(page: _Page, case: Case, room: tuple[float, bool], folder: Path) -> None:
    """Everything from top to bottom."""
    pictures_mm, link = room
    size = _shrunk(writable(case.name, page.bold), page.bold, 15, INNER * MM)
    page.text(case.name, size, bold=True, lines=2)
    about = [*content.identity(case), f"Report of {case.date.isoformat()}."]
    page.text(" ".join(about), 7.5, color=GREY)
    page.banner(WARNING)
    for level, title, sentence in content.verdicts(case):
        page.light(level)
        page.text(f"{title}, {level}: {sentence}", 8, lines=3, left=MARGIN + 4, width=INNER - 4)
    page.text(content.findings(case), 7, lines=3)
    trust, why = content.reconstruction(case)
    page.text(trust, 8, bold=True)
    page.text(why, 7.5, lines=3)
    page.y += 1.0
    _pictures(page, case.pictures, pictures_mm)
    _curves(page, content.curves(case))
    _figures(page, case)
    page.text("How it was made", 9, bold=True, space=1)
    page.text(" ".join(case.steps), 7.5, lines=4)
    if link:
        page.text(content.RESTORE, 7, color=GREY)
        page.text(case.link(folder), LINK_SIZE, lines=LINK_LINES, color=GREY)
    else:
        page.text(content.RESTORE_BY_FILE, 7, color=GREY)
    page.text(" ".join(case.model), 6.3, lines=3, color=GREY, space=0.5)


class _Page:
    """A page that is written on from top to bottom; lengths in mm, sizes of type in points.

    Without a canvas it only finds out where things would end.
    """

    def __init__(self, canvas: Canvas | None) -> None:
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
        if not words:
            return
        self.y += space
        for line in _lines(writable(words, face), face, size, width * MM, lines):
            self.y += size * LEADING / MM
            self.write(line, left, self.y, size, bold=bold, color=color)

    def write(
        self,
        words: str,
        x: float,
        y: float,
        size: float,
        *,
        bold: bool = False,
        color: tuple[float, float, float] = INK,
        right: bool = False,
    ) -> None:
        """A few words at a place; `right` if they end there."""
        if self.canvas is None:
            return
        self.canvas.setFillColorRGB(*color)
        self.canvas.setFont(self.bold if bold else self.plain, size)
        draw = self.canvas.drawRightString if right else self.canvas.drawString
        draw(x * MM, (HEIGHT - y) * MM, words)

    def banner(self, words: str) -> None:
        """The warning, in a box that is seen in black and white too."""
        size, inset = 7.5, 2.0
        top = self.y + 1.5
        count = len(_lines(words, self.bold, size, (INNER - 2 * inset) * MM, 4))
        height = count * size * LEADING / MM + 2.2
        if self.canvas is not None:
            self.canvas.setFillColorRGB(*WARNING_PAPER)
            self.canvas.setStrokeColorRGB(*INK)
            self.canvas.setLineWidth(0.8)
            box = (MARGIN * MM, (HEIGHT - top - height) * MM, INNER * MM, height * MM)
            self.canvas.rect(*box, fill=1)
        self.y = top + 0.2
        self.text(words, size, bold=True, lines=4, left=MARGIN + inset, width=INNER - 2 * inset)
        self.y = top + height + 0.5

    def picture(self, picture: Picture, left: float, top: float, width: float) -> None:
        """A picture under its title."""
        self.y = top
        size = _shrunk(writable(picture.title, self.bold), self.bold, 7.5, width * MM)
        self.text(picture.title, size, bold=True, lines=1, left=left, width=width)
        if self.canvas is None:
            return
        from reportlab.lib.utils import ImageReader

        height = _height(picture, width)
        place = (left * MM, (HEIGHT - top - TITLE_MM - height) * MM, width * MM, height * MM)
        self.canvas.drawImage(ImageReader(io.BytesIO(picture.jpeg())), *place)

    def table(self, rows: content.Table, left: float, width: float, first: float) -> None:
        """A table with a header row and column `first` mm wide; numbers are right-aligned."""
        shares = [NARROW_SHARE if cell.text in NARROW else 1.0 for cell in rows[0][1:]]
        widths = [first, *((width - first) * share / sum(shares) for share in shares)]
        for number, row in enumerate(rows):
            self.y += TABLE_STEP
            x = left
            for cell, column in zip(row, widths, strict=True):
                bold, right = number == 0 or cell.marked, x > left
                face = self.bold if bold else self.plain
                room = (column - 0.8) * MM
                size = _shrunk(writable(cell.text, face), face, TABLE_SIZE, room)
                words = _fit(cell.text, face, size, room)
                place = x + column if right else x
                color = DOT if cell.marked else INK
                self.write(words, place, self.y, size, bold=bold, color=color, right=right)
                x += column
            self.rule(left, self.y + 0.75, width)
        self.y += 1.0

    def light(self, level: str) -> None:
        """A dot in the colour of a verdict, beside the next line."""
        if self.canvas is not None:
            self.canvas.setFillColorRGB(*LIGHTS.get(level, GREY))
            place = ((MARGIN + 1.5) * MM, (HEIGHT - self.y - 2.7) * MM)
            self.canvas.circle(*place, 1.1 * MM, stroke=0, fill=1)

    def rule(self, left: float, y: float, width: float) -> None:
        """A thin line."""
        if self.canvas is not None:
            self.canvas.setStrokeColorRGB(*RULE)
            self.canvas.setLineWidth(0.25)
            base = (HEIGHT - y) * MM
            self.canvas.line(left * MM, base, (left + width) * MM, base)

    def curve(self, curve: Curve, left: float, top: float, width: float) -> None:
        """A curve under its title, with ages below and values at the left."""
        title = f"{curve.title}, {curve.unit}"
        size = _shrunk(writable(title, self.bold), self.bold, 6.5, width * MM)
        self.write(_fit(title, self.bold, size, width * MM), left, top + 2.6, size, bold=True)
        if self.canvas is None:
            return
        x, y, wide, high = left + 7.0, top + 3.6, width - 8.0, CURVE_MM - 8.0
        low, up = curve.span
        first, last = float(curve.ages[0]), float(curve.ages[-1])

        def at(age: float, value: float) -> tuple[float, float]:
            across, above = (age - first) / (last - first), (value - low) / (up - low)
            return (x + wide * across) * MM, (HEIGHT - y - high * (1 - above)) * MM

        def path(*sides: Iterator[tuple[float, float]] | Sequence[tuple[float, float]]) -> Any:
            drawn = self.canvas.beginPath()  # type: ignore[union-attr]
            points = [at(*point) for side in sides for point in side]
            drawn.moveTo(*points[0])
            for point in points[1:]:
                drawn.lineTo(*point)
            return drawn

        ages = curve.ages.tolist()
        above = list(zip(ages, curve.high.tolist(), strict=True))
        below = list(zip(ages, curve.low.tolist(), strict=True))[::-1]
        self.canvas.setFillColorRGB(*BAND)
        self.canvas.drawPath(path(above, below), stroke=0, fill=1)
        self.canvas.setStrokeColorRGB(*LINE)
        self.canvas.setLineWidth(0.9)
        middle = list(zip(ages, curve.expected.tolist(), strict=True))
        self.canvas.drawPath(path(middle), stroke=1, fill=0)
        for age in curve.ticks:
            place = at(age, low)[0] / MM + 1.6
            self.write(str(age), place, y + high + 2.6, 5.5, color=GREY, right=True)
        for value in (float(curve.high.max()), float(curve.low.min())):
            level = HEIGHT - at(first, value)[1] / MM
            self.write(tick_text(value), x - 0.8, level + 0.7, 5.5, color=GREY, right=True)
        self.canvas.setFillColorRGB(*DOT)
        self.canvas.circle(*at(curve.age, curve.value), 0.9 * MM, stroke=0, fill=1)


def _pictures(page: _Page, rows: Sequence[Sequence[Picture]], most_mm: float) -> None:
    """Rows as wide as the page, all made smaller alike if they are too high for it."""
    titles, heights = len(rows) * (TITLE_MM + GAP_MM), _heights(rows)
    share = min(max(most_mm - titles, 1.0) / (sum(heights) - titles), 1.0)
    top = page.y
    for row, height in zip(rows, heights, strict=True):
        width = _width(row) * share
        step = width + GAP_MM
        left = MARGIN + (INNER - len(row) * step + GAP_MM) / 2
        for column, picture in enumerate(row):
            page.picture(picture, left + column * step, top, width)
        top += TITLE_MM + GAP_MM + share * (height - TITLE_MM - GAP_MM)
    page.y = top


def _width(row: Sequence[Picture]) -> float:
    """Of each picture of a row that is as wide as the page."""
    return (INNER - (len(row) - 1) * GAP_MM) / len(row)


def _heights(rows: Sequence[Sequence[Picture]]) -> list[float]:
    """Of rows that are as wide as the page, with their titles."""
    return [
        TITLE_MM + GAP_MM + max(_height(picture, _width(row)) for picture in row) for row in rows
    ]


def _curves(page: _Page, curves: Sequence[Curve]) -> None:
    """Small plots side by side, and what they show."""
    if not curves:
        return
    page.text(content.ABOUT_CURVES, 6.5, color=GREY, lines=1)
    width, top = INNER / CURVES, page.y
    for number, curve in enumerate(curves):
        row, column = divmod(number, CURVES)
        page.curve(curve, MARGIN + column * width, top + row * CURVE_MM, width - GAP_MM)
    page.y = top + -(-len(curves) // CURVES) * CURVE_MM


def _figures(page: _Page, case: Case) -> None:
    """The whole brain and what is said of the numbers at the left, the regions at the right."""
    sides = content.sides_table(case)
    top = page.y
    left = WHOLE_SHARE * INNER if sides else INNER
    page.table(content.whole_table(case), MARGIN, left, 0.36 * left)
    for words in content.notes(case):
        page.text(words, 6.3, lines=8, left=MARGIN, width=left)
    bottom = page.y
    if sides:
        page.y = top
        right = INNER - left - BETWEEN_MM
        page.table(sides, MARGIN + left + BETWEEN_MM, right, 0.34 * right)
    page.y = max(bottom, page.y)


def _height(picture: Picture, width: float) -> float:
    return width * picture.image.height / picture.image.width


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
