"""The page of a report as PDF with real text, by reportlab (BSD licence, plain Python).

reportlab rather than Qt's QPdfWriter, so that reports can be made without a window, and rather than
Pillow, whose PDFs are pictures of text. The text stands in a font that goes into the file: DejaVu
Sans where the system has it, for its many scripts, else reportlab's own Bitstream Vera.

The page is laid out without its pictures first: whatever the texts leave of its height the pictures
get, so that nothing is cut off.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup
from reportlab.graphics.shapes import Circle, Drawing, Polygon, PolyLine, String
from reportlab.lib.colors import HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.pdfdoc import XMP
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfbase.ttfonts import TTFError, TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Image, KeepInFrame, Paragraph, Spacer, Table

from stylegan3d.base import OutputError
from stylegan3d.outputs import report as content
from stylegan3d.outputs.report import SUFFIX, WARNING, ReportCase, ReportPicture
from stylegan3d.outputs.results import json_path, picture_sidecar
from stylegan3d.pages.page import page
from stylegan3d.render.figures import COMPOSITE, legible, source_type, xmp
from stylegan3d.scans.verdicts import listed_findings
from stylegan3d.segmentation.curves import AgeCurve
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import utf8

if TYPE_CHECKING:
    from reportlab.platypus import Flowable

    from stylegan3d.model.generator import Generator

HTML = ".html"
MM = 72 / 25.4
WIDTH, HEIGHT, MARGIN = 210 * MM, 297 * MM, 12 * MM
INNER, ROOM = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
#: The most and the least that the pictures take of the page's height, with their titles.
MOST_PICTURES, LEAST_PICTURES = 168 * MM, 50 * MM
GAP = 2 * MM
#: Words of scripts that are written from the right, which reportlab does not turn.
FROM_RIGHT = r"[\u0590-\u08ff]+( [\u0590-\u08ff]+)*"
INK, GREY, RULE = "#000000", "#595959", "#b3b3b3"
BAND, LINE, DOT = "#d4e8f7", "#005a99", "#d65f00"
#: Curves in a row, and their height with title and axis.
CURVES, CURVE_HEIGHT = 4, 21 * MM
TABLE_SIZE, TABLE_STEP = 6.3, 3.05 * MM
#: Shares of the page that the table of the whole brain takes, and the space beside it.
WHOLE_SHARE, BETWEEN = 0.5, 5 * MM
#: Columns that take less room than the others, and their share of it.
NARROW, NARROW_SHARE = ("z", "Pctl."), 0.6
LIGHTS = {"green": "#2e7d32", "amber": "#f9a825", "red": "#b71c1c"}
WARNING_PAPER = "#fff0d1"
FACES = (("DejaVuSans", "DejaVuSans-Bold"), ("Vera", "VeraBd"))
LINK_LINES, LINK_SIZE, LEADING = 6, 5.0, 1.35
#: The smallest that a text is set in to fit its line, as a share of its size.
SMALLEST = 0.65


def planned_files(path: Path, *, html: bool = True) -> list[Path]:
    """The files of a report."""
    return [path, *([path.with_suffix(HTML)] if html else []), json_path(path)]


def report_files(
    path: Path, case: ReportCase, generator: Generator, *, html: bool = True
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
        **({} if case.origin == "acquired" else {"ScanOrigin": case.origin}),
        "Date": case.date.isoformat(),
        "Measures": case.measures,
        "MeasuredBy": case.measured,
        **({} if case.numbers is None else {"Numbers": case.numbers.to_dict()}),
        "Similarity": case.assessment.get("similarity", {}),
        "Verdicts": case.assessment.get("verdicts", {}),
        "Doubts": case.doubts,
        "Findings": listed_findings(case.assessment),
        "MarkedBeyondZ": case.unusual_z,
    }
    return {
        path: draw_page(case, path.parent),
        **({path.with_suffix(HTML): utf8(html_report(case, path.parent))} if html else {}),
        json_path(path): to_json(record).encode(),
    }


def html_report(case: ReportCase, folder: Path) -> str:
    """The same as HTML; files of the recipe are named as seen from `folder`."""
    return html_reports(case.name, [Markup(html_part(case, folder))], _source_type(case))


def html_reports(title: str, parts: Sequence[Markup], kind: str = COMPOSITE) -> str:
    """A page of the reports of several scans, each by `html_part`."""
    return page("report", title=title, parts=parts, source_type=kind)


def html_part(case: ReportCase, folder: Path) -> str:
    """What a page says of one case."""
    return page(
        "case",
        case=case,
        about=_about(case),
        warning=WARNING,
        verdicts=content.verdicts(case),
        findings=content.findings(case),
        likeness=content.likeness(case),
        curves=content.curves(case),
        about_curves=content.ABOUT_CURVES,
        whole=content.whole_table(case),
        notes=content.notes(case),
        sides=content.sides_table(case),
        restore=content.RESTORE,
        link=case.link(folder),
    )


def _source_type(case: ReportCase) -> str:
    """Of a report's pictures; a scan stands among those of a reconstruction."""
    return COMPOSITE if case.scan else source_type(case.recipe)


def draw_page(case: ReportCase, folder: Path) -> bytes:
    """The PDF, one A4 page; files of the recipe are named as seen from `folder`."""

    buffer = io.BytesIO()
    # Invariant: the same case gives the same bytes.
    canvas = Canvas(buffer, pagesize=(WIDTH, HEIGHT), invariant=1)
    canvas.setTitle(case.name)
    canvas.setSubject(WARNING)
    canvas.setCreator("napari-stylegan3d")
    canvas.setKeywords(["synthetic", "not for diagnosis"])
    canvas.setCatalogEntry("Metadata", XMP(creator=lambda _: xmp(_source_type(case))))
    whole = _fitting(laid_out(case, folder), INNER, ROOM)
    _, height = whole.wrapOn(canvas, INNER, ROOM)
    whole.drawOn(canvas, MARGIN, HEIGHT - MARGIN - height)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def laid_out(case: ReportCase, folder: Path) -> list[Flowable]:
    """The page from top to bottom.

    The link is left out if it is too long, or would leave the pictures too small; a part of a link
    restores nothing.
    """
    found: list[Flowable] = []
    link = case.link(folder)
    long = height_of([_text(link, LINK_SIZE)]) > (LINK_LINES + 0.5) * LINK_SIZE * LEADING
    for linked in [None] if long else [link, None]:
        room = min(ROOM - height_of(_story(case, linked, 0.0)), MOST_PICTURES)
        found = _story(case, linked, max(room, 0.0))
        if room >= LEAST_PICTURES:
            break
    return found


def height_of(story: Sequence[Flowable]) -> float:
    """How high a part of a page is, in points."""

    endless = 100 * HEIGHT
    return float(_fitting(story, INNER, endless).wrapOn(Canvas(io.BytesIO()), INNER, endless)[1])


def _fitting(story: Sequence[Flowable], width: float, height: float) -> Flowable:
    """A part of a page, made smaller where its texts alone do not fit."""

    return KeepInFrame(width, height, list(story), mode="shrink")


def _story(case: ReportCase, link: str | None, pictures: float) -> list[Flowable]:
    """Everything from top to bottom, with so much room (points) for the pictures."""

    bold = _faces()[1]
    size = _shrunk(writable(case.name, bold), bold, 15, INNER)
    restored = [content.RESTORE_BY_FILE] if link is None else [content.RESTORE]
    return [
        _text(case.name, size, bold=True),
        _text(_about(case), 7.5, color=GREY),
        *_banner(),
        *(_light(*verdict) for verdict in content.verdicts(case)),
        _text(content.findings(case), 7),
        *(_text(doubt.sentence, 7.5) for doubt in case.doubts),
        _text(content.likeness(case), 7.5),
        Spacer(0, 1 * MM),
        *_pictures(case.pictures, pictures),
        *_curves(content.curves(case)),
        *_figures(case),
        Spacer(0, 1 * MM),
        _text("How it was made", 9, bold=True),
        _text(" ".join(case.steps), 7.5),
        *(_text(words, 7, color=GREY) for words in restored),
        _text(link or "", LINK_SIZE, color=GREY),
        Spacer(0, 0.5 * MM),
        _text(" ".join(case.model), 6.3, color=GREY),
    ]


def _about(case: ReportCase) -> str:
    """Whose brain it is, and when the report was made."""
    return " ".join([*content.identity(case), f"Report of {case.date.isoformat()}."])


def _text(words: str, size: float, *, bold: bool = False, color: str = INK) -> Flowable:
    """A paragraph; nothing where there are no words."""

    if not words:
        return Spacer(0, 0)
    face = _faces()[bold]
    style = ParagraphStyle(
        "", fontName=face, fontSize=size, leading=size * LEADING, textColor=color
    )
    return Paragraph(escape(writable(words, face)), style)


def _beside(cells: Sequence[Any], widths: Sequence[float], *style: tuple) -> Flowable:
    """Parts of a page side by side, from the same top, with nothing between them."""

    plain = [*_padding(0, 0, 0, 0), ("VALIGN", (0, 0), (-1, -1), "TOP")]
    return Table([list(cells)], list(widths), style=[*plain, *style], hAlign="CENTER")


def _padding(*points: float) -> list[tuple]:
    """Of all cells at the left, right, top and bottom."""
    sides = zip(("LEFT", "RIGHT", "TOP", "BOTTOM"), points, strict=True)
    return [(f"{side}PADDING", (0, 0), (-1, -1), room) for side, room in sides]


def _banner() -> list[Flowable]:
    """The warning, in a box that is seen in black and white too."""

    box = [
        ("BOX", (0, 0), (-1, -1), 0.8, INK),
        ("BACKGROUND", (0, 0), (-1, -1), WARNING_PAPER),
        *_padding(2 * MM, 2 * MM, 0.5 * MM, 1.2 * MM),
    ]
    space = Spacer(0, 1.5 * MM)
    return [space, _beside([_text(WARNING, 7.5, bold=True)], [INNER], *box), space]


def _light(level: str, title: str, sentence: str) -> Flowable:
    """A verdict, with a dot in its colour."""

    dot = Drawing(4 * MM, 3.5 * MM)
    dot.add(Circle(1.5 * MM, 1.0 * MM, 1.1 * MM, fillColor=HexColor(LIGHTS.get(level, GREY)),
                   strokeColor=None))  # fmt: skip
    return _beside([dot, _text(f"{title}, {level}: {sentence}", 8)], [4 * MM, INNER - 4 * MM])


def _pictures(rows: Sequence[Sequence[ReportPicture]], room: float) -> list[Flowable]:
    """Rows as wide as the page, all made smaller alike if they are too high for it."""

    bold = _faces()[1]
    title = 7.5 * LEADING + GAP
    widths = [(INNER - (len(row) - 1) * GAP) / len(row) for row in rows]
    heights = [
        max(width * p.image.height / p.image.width for p in row)
        for row, width in zip(rows, widths, strict=True)
    ]
    share = min(max(room - len(rows) * title, 0) / sum(heights), 1.0)
    if not share:
        return []
    found: list[Flowable] = []
    for row, whole in zip(rows, widths, strict=True):
        width = share * whole
        cells = []
        for picture in row:
            size = _shrunk(writable(picture.title, bold), bold, 7.5, width)
            height = width * picture.image.height / picture.image.width
            image = Image(io.BytesIO(picture.jpeg()), width, height, hAlign="LEFT")
            caption = _text(picture.title, size, bold=True)
            cells.append([_fitting([caption], width, 7.5 * LEADING), image])
        step = width + GAP
        found += [_beside(cells, [*[step] * (len(row) - 1), width]), Spacer(0, GAP)]
    return found


def _curves(curves: Sequence[AgeCurve]) -> list[Flowable]:
    """Small plots side by side, and what they show."""
    if not curves:
        return []
    width = INNER / CURVES
    rows = [curves[k : k + CURVES] for k in range(0, len(curves), CURVES)]
    return [
        _text(content.ABOUT_CURVES, 6.5, color=GREY),
        *(_beside([_plot(c, width - GAP) for c in row], [width] * len(row)) for row in rows),
    ]


def _plot(curve: AgeCurve, width: float) -> Flowable:
    """A curve under its title, with ages below and values at the left."""

    plain, bold = _faces()
    title = writable(f"{curve.title}, {curve.unit}", bold)
    size = _shrunk(title, bold, 6.5, width)
    top, bottom = 3.6 * MM, 4.4 * MM
    high = CURVE_HEIGHT
    drawn = curve.drawn(width, high, left=7 * MM, right=1 * MM, bottom=bottom, top=top)

    def flat(places: Sequence[tuple[float, float]]) -> list[float]:
        return [value for x, y in places for value in (x, high - y)]

    plot = Drawing(width, high)
    plot.add(String(0, high - 2.6 * MM, title, fontName=bold, fontSize=size))
    plot.add(Polygon(flat(drawn.band), fillColor=HexColor(BAND), strokeColor=None))
    plot.add(PolyLine(flat(drawn.middle), strokeColor=HexColor(LINE), strokeWidth=0.9))
    for x, y, anchor, text in drawn.labels:
        label = String(x, high - y, text, fontName=plain, fontSize=5.5, textAnchor=anchor)
        label.fillColor = HexColor(GREY)
        plot.add(label)
    x, y = drawn.dot
    plot.add(Circle(x, high - y, 0.9 * MM, fillColor=HexColor(DOT), strokeColor=None))
    return plot


def _figures(case: ReportCase) -> list[Flowable]:
    """The whole brain and what is said of the numbers at the left, the regions at the right."""
    sides = content.sides_table(case)
    left = WHOLE_SHARE * INNER if sides else INNER
    notes = [_text(words, 6.3) for words in content.notes(case)]
    table = content.whole_table(case)
    whole = [_table(table, left, 0.36 * left), *notes] if table else notes
    if not sides:
        return whole
    right = INNER - left - BETWEEN
    return [_beside([whole, [], _table(sides, right, 0.34 * right)], [left, BETWEEN, right])]


def _table(rows: content.Table, width: float, first: float) -> Flowable:
    """A table with a header row and column `first` points wide; numbers are right-aligned."""

    plain, bold = _faces()
    shares = [NARROW_SHARE if cell.text in NARROW else 1.0 for cell in rows[0][1:]]
    widths = [first, *((width - first) * share / sum(shares) for share in shares)]
    style: list[tuple] = [
        *_padding(0, 0, 0, 0.8 * MM),
        ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
        ("ALIGN", (1, 0), (-1, -1), "RIGHT"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.25, RULE),
    ]
    for y, row in enumerate(rows):
        for x, (cell, column) in enumerate(zip(row, widths, strict=True)):
            face = bold if y == 0 or cell.marked else plain
            size = _shrunk(writable(cell.text, face), face, TABLE_SIZE, column - 0.8 * MM)
            style.append(("FONT", (x, y), (x, y), face, size, size))
            if cell.marked:
                style.append(("TEXTCOLOR", (x, y), (x, y), DOT))
    texts = [[writable(cell.text, plain) for cell in row] for row in rows]
    return Table(texts, widths, [TABLE_STEP] * len(rows), style=style, hAlign="LEFT")


def writable(text: str, face: str) -> str:
    """The text on one line, Hebrew and Arabic from the right, what the font lacks as codes."""

    known: Any = pdfmetrics.getFont(face).face.charToGlyph
    return legible(re.sub(FROM_RIGHT, lambda run: run[0][::-1], " ".join(text.split())), known)


def _shrunk(text: str, face: str, size: float, width: float) -> float:
    """The size at which a text fits into so many points, not much smaller than the given one."""

    wanted = stringWidth(text, face, size)
    return size if wanted <= width else size * max(width / wanted, SMALLEST)


@cache
def _faces() -> tuple[str, str]:
    """Names of the registered plain and bold fonts."""

    for names in FACES:
        with suppress(TTFError):
            for name in names:
                pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))
            return names
    raise RuntimeError("reportlab came without its fonts")
