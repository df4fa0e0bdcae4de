"""Pictures of volumes for papers, films and reports: labelled slices, to scale.

Everything is drawn with Pillow, so it needs no window. For any orientation of the array, the nose
is up or at the left and the head upright; letters mark the sides.
"""

import io
import struct
import unicodedata
import zlib
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, cast

import numpy as np
from nibabel.spatialimages import SpatialImage
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from stylegan3d.base import OutputError
from stylegan3d.geometry.space import (
    NORMAL,
    PLANES,
    Convention,
    Plane,
    Slice,
    Space,
    Upright,
    cropped,
    cut,
)
from stylegan3d.pages.page import plain
from stylegan3d.recipe.recipe import Recipe

SYNTHETIC = "Synthetic - not for diagnosis"
MM_PER_INCH = 25.4
# Opacity of a second image, reached at this share of its brightest tissue.
OVER_OPACITY, OVER_FULL = 0.6, 0.3
CAPTION, LETTER, TITLE, PAPER = "#ffb74d", "#f2d479", "#e8eaed", "#000000"


@dataclass(frozen=True)
class Look:
    """How slices are drawn.

    Attributes
    ----------
    pixels_per_mm : float
        Scale; 300 dpi at life size is 11.8.
    limits : tuple of float
        Intensities drawn black and white.
    convention : Convention
        Radiological (the patient's left is on the right) or neurological.
    diverging : bool
        Blue - black - orange about 0, for differences.
    caption : str
        Text on the picture; may be empty.
    letters, scale_bar : bool
        Whether they are drawn.
    letter_mm : float
        Height of letters and captions, in mm of the head.
    """

    pixels_per_mm: float = 2.0
    limits: tuple[float, float] = (0.0, 1.0)
    convention: Convention = "radiological"
    diverging: bool = False
    caption: str = SYNTHETIC
    letters: bool = True
    scale_bar: bool = True
    letter_mm: float = 5.5


def draw_slice(
    piece: Slice,
    look: Look,
    title: str = "",
    over: np.ndarray | None = None,
    effect: np.ndarray | None = None,
) -> Image.Image:
    """A slice with its letters, position, scale bar and caption, as an RGB picture.

    `over` has the shape of the slice's picture and is drawn over it: 0 is clear, 1 yellow. So has
    `effect`, -1 to 1, which is drawn in its place from blue to orange; NaN is clear.
    """
    width, height = (max(round(mm * look.pixels_per_mm), 1) for mm in piece.size_mm)
    drawn = Image.fromarray(colors(piece.picture, look.limits, look.diverging), "RGB")
    if effect is not None:
        there = Image.fromarray(np.isfinite(effect))
        drawn.paste(Image.fromarray(colors(effect, (-1.0, 1.0), diverging=True), "RGB"), mask=there)
    if over is not None:
        drawn = _under(drawn, over)
    drawn = drawn.resize((width, height), Image.Resampling.BICUBIC)
    _letter(drawn, piece, look, title)
    return drawn


def draw_planes(
    volume: Upright,
    look: Look,
    *,
    planes: Sequence[Plane] = PLANES,
    at_mm: tuple[float, float, float] | None = None,
    crop: bool = False,
    over: Upright | None = None,
) -> Image.Image:
    """Labelled slices of several planes side by side, at one scale.

    Parameters
    ----------
    over : Upright or None
        A second image on the volume's grid, drawn over it in colours; 0 is clear, 1 yellow.
    crop : bool
        Remove the empty space around the brain; caption and scale bar stand below all slices then.
    at_mm : tuple of float or None
        Point (RAS+) that all slices go through; None for the centre, see `cut`.
    """

    def pieces(image: Upright) -> list[Slice]:
        places = [None if at_mm is None else at_mm[NORMAL[plane]] for plane in planes]
        cuts = [
            cut(image, plane, mm, look.convention) for plane, mm in zip(planes, places, strict=True)
        ]
        cuts = [cropped(piece, volume) for piece in cuts] if crop else cuts
        highest = max(piece.size_mm[1] for piece in cuts)
        return [_padded(piece, highest) for piece in cuts]

    below = pieces(volume)
    above = [None] * len(below) if over is None else [piece.picture for piece in pieces(over)]
    each = replace(look, caption="", scale_bar=False) if crop else look
    sheet = beside(
        [
            draw_slice(piece, each, piece.place, laid)
            for piece, laid in zip(below, above, strict=True)
        ]
    )
    if not crop or each == look:
        return sheet
    size = _font_size(look)
    return _with_strip(sheet, look.caption, look, size, 2 * size)


def picture(
    volume: np.ndarray | SpatialImage,
    space: Space | None = None,
    *,
    at_mm: tuple[float, float, float] | None = None,
    limits: tuple[float, float] | None = None,
    caption: str = SYNTHETIC,
) -> Image.Image:
    """A volume in axial, coronal and sagittal slices, to scale, radiological, as a Pillow image.

    A notebook shows the image when it is the last line of a cell.

    Parameters
    ----------
    volume : ndarray, shape (X, Y, Z), or nibabel image
        In any units and any orientation.
    space : Space or None
        The grid of an array; an image has its own.
    at_mm : tuple of float or None
        Point (RAS+) that all slices go through; None for the centre.
    limits : tuple of float or None
        Intensities drawn black and white; None for 0 and the 99.5th percentile above 0.
    caption : str
        Text on the picture. Change the default only if the volume is a real scan.

    Raises
    ------
    OutputError
        If the point lies outside the grid, or an array comes without one.
    """
    if isinstance(volume, SpatialImage):
        space = Space(cast("tuple[int, int, int]", volume.shape), np.asarray(volume.affine))
        volume = np.asarray(volume.dataobj)
    if space is None:
        raise OutputError("An array has no orientation: give its space, such as G.space.")
    if limits is None:
        inside = volume[volume > 0]
        limits = (0.0, float(np.percentile(inside, 99.5)) if inside.size else 1.0)
    look = Look(limits=limits, caption=caption)
    return draw_planes(Upright.of(volume, space), look, at_mm=at_mm, crop=True)


def lightbox(
    volume: Upright,
    plane: Plane,
    look: Look,
    *,
    slices: int = 20,
    columns: int = 5,
    effect: Upright | None = None,
) -> Image.Image:
    """Evenly spaced slices of one plane through the whole brain, with their positions in mm.

    Row by row from inferior to superior, posterior to anterior, or the patient's left to right.

    Parameters
    ----------
    slices : int
        Number of slices, 1 to 200; fewer if the brain has fewer.
    columns : int
        Slices per row, from 1.
    effect : Upright or None
        On the volume's grid, see `draw_slice`.
    """
    if not 1 <= slices <= 200 or columns < 1:
        raise OutputError("A lightbox has 1 to 200 slices, in one column or more.")
    axis = NORMAL[plane]
    first, last = (volume.index_at(axis, mm) for mm in volume.extent_mm(axis))
    count = min(slices, last - first + 1)
    # Slices at the very ends would show only a few voxels: take the centres of equal parts.
    edges = np.linspace(first - 0.5, last + 0.5, count + 1)
    places = [volume.mm_at(axis, round(i)) for i in (edges[:-1] + edges[1:]) / 2]
    plain = replace(look, caption="", letters=False, scale_bar=False)

    def pieces_of(image: Upright) -> list[Slice]:
        return [cropped(cut(image, plane, mm, look.convention), volume) for mm in places]

    pieces = pieces_of(volume)
    effects = [None] * count if effect is None else [one.picture for one in pieces_of(effect)]
    cells = [
        draw_slice(piece, plain, piece.place, effect=drawn)
        for piece, drawn in zip(pieces, effects, strict=True)
    ]
    width, height = cells[0].size
    columns = min(columns, len(cells))
    sheet = Image.new("RGB", (columns * width, -(-len(cells) // columns) * height), PAPER)
    for number, cell in enumerate(cells):
        sheet.paste(cell, (number % columns * width, number // columns * height))
    left, right, _, _ = pieces[0].letters
    words = f"{left} left, {right} right of each picture" if look.letters else ""
    text = "   ".join(part for part in (look.caption, words) if part)
    size = 3 * _font_size(look) // 2
    return _with_strip(sheet, text, look, size, 3 * size)


def beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures side by side on black, aligned at the top."""
    height = max(picture.height for picture in pictures)
    row = Image.new("RGB", (sum(picture.width for picture in pictures), height), PAPER)
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width
    return row


SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
#: What shows synthetic brains beside real ones, or an edited scan.
COMPOSITE = f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"


def source_type(*recipes: Recipe | None) -> str:
    """IPTC's DigitalSourceType of what shows these: synthetic brains, or edited scans.

    By it other programs know what it is: https://cv.iptc.org/newscodes/digitalsourcetype
    """
    edited = any(one is not None and one.worn_detail is not None for one in recipes)
    return COMPOSITE if edited else f"{SOURCE_TYPES}trainedAlgorithmicMedia"


def xmp(kind: str) -> bytes:
    """The packet that names a `source_type` in a file of any format."""
    return plain("xmp.xml", source_type=kind).encode()


def with_source_type(data: bytes, suffix: str, kind: str) -> bytes:
    """A .png, .gif, .webp or .mp4 with its `source_type` in its XMP.

    Where each format has it: XMP Specification, part 3 (Adobe 2020).
    """
    packet = xmp(kind)
    if suffix == ".gif":  # as sub-blocks, whatever its letters, it ends in the trailer
        block = b"!\xff\x0bXMP DataXMP" + packet + b"\1" + bytes(range(255, -1, -1)) + b"\0"
        return data[:-1] + block + data[-1:]
    if suffix == ".mp4":
        box = b"uuid" + bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet
        return data + struct.pack(">I", len(box) + 4) + box
    if suffix == ".webp":
        packet += b" " * (len(packet) % 2)
        flags = data[20] | 4  # of the extended header, which a moving picture has
        body = data[8:20] + bytes([flags]) + data[21:] + b"XMP " + struct.pack("<I", len(packet))
        return b"RIFF" + struct.pack("<I", len(body) + len(packet)) + body + packet
    chunk = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + packet
    told = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    first = 33  # the signature and the header
    return data[:first] + told + data[first:]


def png_bytes(picture: Image.Image, *, dpi: float = 0.0, description: str = "") -> bytes:
    """A PNG with its resolution and a description in the metadata; same input, same bytes."""
    told, buffer = PngInfo(), io.BytesIO()
    if description:
        told.add_itxt("Description", description)
    resolution = {"dpi": (dpi, dpi)} if dpi else {}
    picture.save(buffer, format="PNG", pnginfo=told, **resolution)
    return buffer.getvalue()


def colors(values: np.ndarray, limits: tuple[float, float], diverging: bool) -> np.ndarray:
    """uint8 (..., 3) RGB: grey from black to white, or blue, black at 0, orange.

    Colour-blind viewers can distinguish blue from orange; black means no difference.
    """
    low, high = limits
    if not diverging:
        share = np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-9), 0, 1)
        return np.repeat(np.rint(255 * share).astype(np.uint8)[..., None], 3, axis=-1)
    share = np.clip(np.nan_to_num(values) / max(abs(low), abs(high), 1e-9), -1, 1)[..., None]
    blue, orange = np.array([90, 170, 255.0]), np.array([255, 160, 60.0])
    return np.rint(np.where(share < 0, -share * blue, share * orange)).astype(np.uint8)


@cache
def face() -> Any:
    """Bitstream Vera of reportlab: unlike Pillow's own font it has the letters of most names."""
    from reportlab.pdfbase.ttfonts import TTFontFace

    return TTFontFace("Vera.ttf")


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font of all that is written on pictures."""
    return ImageFont.truetype(face().filename, size)


def legible(text: str, known: Container[int]) -> str:
    """Letters that a font lacks become their codes, so that no two names look alike."""
    return "".join(
        letter if ord(letter) in known or letter.isspace() else f"[U+{ord(letter):04X}]"
        for letter in unicodedata.normalize("NFC", text)
    )


def _under(drawn: Image.Image, over: np.ndarray) -> Image.Image:
    """A picture with values from 0 to 1 over it, from clear by red to yellow."""
    value = np.clip(np.nan_to_num(over), 0, 1)[..., None]
    color = np.concatenate([np.clip(0.4 + value, 0, 1), value, 0.4 * value**3], axis=-1)
    alpha = OVER_OPACITY * np.clip(value / OVER_FULL, 0, 1)
    mixed = (1 - alpha) * np.asarray(drawn, np.float32) + alpha * 255 * color
    return Image.fromarray(np.rint(mixed).astype(np.uint8), "RGB")


def _letter(drawn: Image.Image, piece: Slice, look: Look, title: str) -> None:
    """Write on a slice: title, sides, scale bar, caption."""
    pen, (width, height) = ImageDraw.Draw(drawn), drawn.size
    size = _font_size(look)
    edge = size // 2
    outline: Any = {"stroke_width": max(size // 12, 1), "stroke_fill": "black"}
    if title:
        pen.text((edge, edge), legible(title, face().charToGlyph), fill=TITLE, font=font(size))
    lines = wrapped(look.caption, font(size), _caption_width(drawn, look)).splitlines()
    if look.letters:
        left, right, top, bottom = piece.letters
        above_caption = height - edge - len(lines) * (size + 4)
        places = (
            (left, (edge, height / 2), "lm"),
            (right, (width - edge, height / 2), "rm"),
            (top, (width / 2, edge), "mt"),
            (bottom, (width / 2, above_caption), "mb"),
        )
        for letter, place, anchor in places:
            pen.text(place, letter, fill=LETTER, font=font(size), anchor=anchor, **outline)
    if lines:
        at, text = (edge, height - edge), "\n".join(lines)
        pen.multiline_text(at, text, CAPTION, font(size), "ld", 2, **outline)
    if look.scale_bar:
        _scale_bar(pen, (width - edge, height - edge), look, width, size)


def _scale_bar(
    pen: ImageDraw.ImageDraw, corner: tuple[int, int], look: Look, width: int, size: int
) -> None:
    """A bar that ends at `corner`, its length above it."""
    mm = _bar_mm(width, look)
    right, bottom = corner
    left = round(right - mm * look.pixels_per_mm)
    thick = max(size // 6, 1)
    pen.rectangle((left, bottom - thick, right, bottom), fill=TITLE)
    words = f"{mm} mm"
    # A short bar at the edge has less room than its length in words.
    middle = min((left + right) / 2, right - font(size).getlength(words) / 2)
    pen.text((middle, bottom - thick - 3), words, fill=TITLE, font=font(size), anchor="mb")


def _with_strip(sheet: Image.Image, text: str, look: Look, size: int, height: int) -> Image.Image:
    """Slices over a strip with a text and the scale bar, in letters of `size` pixels."""
    whole = Image.new("RGB", (sheet.width, sheet.height + height), PAPER)
    whole.paste(sheet, (0, 0))
    pen, edge = ImageDraw.Draw(whole), size // 2
    text = legible(text, face().charToGlyph)
    pen.text((edge, sheet.height + height / 2), text, fill=CAPTION, font=font(size), anchor="lm")
    if look.scale_bar:
        corner = (sheet.width - edge, sheet.height + height - edge)
        _scale_bar(pen, corner, look, sheet.width, size)
    return whole


def _padded(piece: Slice, height_mm: float) -> Slice:
    """The slice padded above and below to a height."""
    missing = round(height_mm / piece.pixel_mm[0]) - len(piece.picture)
    above = missing // 2
    return replace(piece, picture=np.pad(piece.picture, ((above, missing - above), (0, 0))))


def _font_size(look: Look) -> int:
    """Font size in pixels: a fixed height in mm of the head, at any scale."""
    return max(round(look.letter_mm * look.pixels_per_mm), 9)


def _caption_width(drawn: Image.Image, look: Look) -> float:
    """Width left beside the scale bar."""
    edges = 3 * (_font_size(look) // 2)
    bar = _bar_mm(drawn.width, look) * look.pixels_per_mm if look.scale_bar else 0
    return drawn.width - bar - edges


def _bar_mm(width: int, look: Look) -> int:
    """Length of the scale bar: 50 mm, or 20 if that is too wide."""
    return 50 if 50 * look.pixels_per_mm < 0.4 * width else 20


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """The text wrapped at words to lines of at most `width` pixels."""
    lines: list[str] = []
    for word in legible(text, face().charToGlyph).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)
