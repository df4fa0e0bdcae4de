"""What a person laid over a subject's brain, or drew in it, as small values.

Files and sessions hold them as plain data. What is made from them, such as an image's voxels, is
not saved: it is missing after a session was restored, until it is made again.
"""

import base64
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import (
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    WrapValidator,
)

from stylegan3d.base import Json, StyleGAN3DError
from stylegan3d.geometry.space import Space, voxel_ml_of
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.session.case import Choice
from stylegan3d.storage.encoding import to_plain

T = TypeVar("T")
#: Maximum number of voxels of a map that is read from a session.
MOST_VOXELS = 100_000_000


def _unpacked(plain: Any, key: str, per_byte: int) -> np.ndarray:
    """The bytes of a map, and its shape; ValueError if they do not fit."""
    if isinstance(plain, np.ndarray):
        return plain
    try:
        x, y, z = (int(n) for n in plain["shape"])
        count = x * y * z
        length = -(-count // per_byte)
        if min(x, y, z) < 1 or count > MOST_VOXELS:
            raise ValueError("no grid")
        # A damaged file may contain more than its stated size.
        raw = zlib.decompressobj().decompress(base64.b64decode(plain[key]), length + 1)
    except (KeyError, TypeError, zlib.error) as error:
        raise ValueError("no map") from error
    if len(raw) != length:
        raise ValueError("no map")
    data = np.frombuffer(raw, np.uint8)
    if per_byte > 1:
        data = np.unpackbits(data, count=count)
    return data.reshape(x, y, z).copy()


def _packed(data: np.ndarray, key: str) -> Json:
    text = base64.b64encode(zlib.compress(np.ascontiguousarray(data).tobytes(), 1)).decode()
    return {"shape": [int(n) for n in data.shape], key: text}


def _labels(plain: Any) -> np.ndarray:
    return _unpacked(plain, "voxels", 1)


def _affine(plain: Any) -> np.ndarray:
    affine = np.array(plain, np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise ValueError("no affine")
    return affine


def or_else(default: Any) -> Any:
    """Read a part, or take `default` where a file, which can be edited, has no valid one."""

    def read_or(value: Any, read: Any) -> Any:
        try:
            return read(value)
        except (ValidationError, ValueError, TypeError, KeyError, StyleGAN3DError):
            return default

    return read_or


_or_none = or_else(None)


#: A part that is dropped where a file, which can be edited, has no valid one.
Lenient = WrapValidator(_or_none)
Labels = Annotated[
    np.ndarray, PlainValidator(_labels), PlainSerializer(lambda a: _packed(a, "voxels"))
]
Affine = Annotated[np.ndarray, PlainValidator(_affine), PlainSerializer(np.ndarray.tolist)]
Kept = Annotated[T, Field(exclude=True)]
ARRAYS = ConfigDict(arbitrary_types_allowed=True)


SavedRecipe = Annotated[
    Recipe | None,
    PlainValidator(lambda it: it if isinstance(it, Recipe | None) else Recipe.from_dict(it)),
    PlainSerializer(lambda recipe: recipe and recipe.to_dict()),
]


@dataclass(frozen=True)
class OverlayLook:
    """How an overlay is shown.

    Attributes
    ----------
    way : str
        The patient's picture alone, the overlay over it, the overlay alone, or beside it.
    opacity : float
        Of the overlay, in %.
    colors : str
        Of the overlay; alone it is grey.
    black, white : float
        What is shown black and white, in % of the brightest tissue.
    """

    way: Literal["patient", "overlay", "second", "side"] = "overlay"
    opacity: Annotated[float, Field(ge=0, le=100)] = 50.0
    colors: Literal["hot", "green", "blue", "gray"] = "hot"
    black: Annotated[float, Field(ge=0)] = 30.0
    white: Annotated[float, Field(le=100)] = 100.0


def _look(plain: Any, read: Any) -> OverlayLook:
    """The usual look if that of a file is invalid."""
    look = _or_none(plain, read)
    return look if look is not None and look.black < look.white else OverlayLook()


@dataclass(frozen=True)
class Overlay:
    """A second image over a patient's scan.

    Attributes
    ----------
    choice : Choice
        The file and the part of it that was chosen.
    how : str
        As for `second_image`.
    same : bool
        Whether the user says that it is the same patient's.
    look : OverlayLook
    sha256 : str
        Hash of the image; empty for any.
    image : SecondImage or None
        None while it is read, or if it could not be.
    problem : str
        Why it could not be read, as a sentence.
    side : str or None
        The orientation that was said of the patient's scan when it was read.
    """

    choice: Choice
    how: Annotated[Literal["auto", "align", "header"], WrapValidator(or_else("auto"))] = "auto"
    same: Annotated[bool, PlainValidator(lambda told: told is True)] = False
    look: Annotated[OverlayLook, WrapValidator(_look)] = field(default_factory=OverlayLook)
    sha256: str = ""
    image: Kept[Any] = field(default=None, compare=False)
    problem: Kept[str] = field(default="", compare=False)
    side: Kept[str | None] = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """For the panel and captions."""
        return self.choice.path.name if self.image is None else self.image.name


@dataclass(frozen=True, eq=False)
class Region:
    """A region that is excluded from the comparison of a projection.

    Attributes
    ----------
    data : ndarray, shape (I, J, K), bool
    affine : ndarray, shape (4, 4)
        Voxel indices to millimetres.
    of_scan : bool
        Whether these are millimetres of the scan's native space, not of model space.
    """

    data: np.ndarray
    affine: np.ndarray
    of_scan: bool = False

    @property
    def millilitres(self) -> float:
        """Its volume."""
        return float(np.count_nonzero(self.data) * voxel_ml_of(self.affine))

    @property
    def space(self) -> Space:
        """Its grid."""
        x, y, z = self.data.shape
        return Space((x, y, z), self.affine)


def _region(plain: Any) -> Region | None:
    if plain is None or isinstance(plain, Region):
        return plain
    data = _unpacked(plain, "bits", 8).astype(bool)
    return Region(data, _affine(plain["affine"]), bool(plain["of_scan"]))


def _region_to_plain(region: Region | None) -> Json | None:
    if region is None:
        return None
    bits = _packed(np.packbits(region.data), "bits")
    shape, affine = list(region.data.shape), to_plain(region.affine)
    return {**bits, "shape": shape, "affine": affine, "of_scan": region.of_scan}


#: None where a file has no valid one.
SavedRegion = Annotated[
    Region | None,
    PlainValidator(lambda plain: _or_none(plain, _region)),
    PlainSerializer(_region_to_plain),
]


#: What is done to a scan by the kind of its degradation.
RESTORED = {"thick": "super-resolved", "blur": "deblurred"}


@dataclass(frozen=True, eq=False)
class Filled:
    """The degradation that a projection modelled, which it filled in.

    Attributes
    ----------
    region, loss : Region or None, str
        Masked region, and other degradation as text for `projector.loss_of`.
    volume : ndarray, shape (X, Y, Z), or None
        The aligned scan, filled in from the reconstruction, values in [0, 1]; None until shown in a
        restored session.
    """

    region: SavedRegion = None
    loss: str = ""
    volume: Kept[Any] = None

    @property
    def what(self) -> str:
        """What was done to the scan, a participle."""
        how = RESTORED.get(self.loss.partition(":")[0], "restored")
        return how if self.loss else "inpainted"

    @property
    def desc(self) -> str:
        """BIDS' `desc` of its files, as of those that `stylegan3d project` writes."""
        return "restored" if self.loss else "filled"


@dataclass(frozen=True, eq=False)
class EditedLabels:
    """How a brain with edited labels can be made again.

    Attributes
    ----------
    recipe : Recipe or None
        Of the brain before; None for a scan.
    model : str
        The sha256 of its model; empty for a scan.
    edits : tuple of tuple of ndarray
        Labels (before, after), uint8 (X, Y, Z), of its edits so far, each made on the brain
        generated by the previous one.
    scan : str
        The sha256 of the scan; empty for a synthetic brain.
    rigid : ndarray or None
        Pose (4, 4) of the scan, as `AlignedScan.rigid`; None where `scan` is empty.
    affine : ndarray or None
        Voxel indices of the labels to millimetres; None for any.
    """

    __pydantic_config__ = ARRAYS
    recipe: SavedRecipe
    model: str = ""
    edits: tuple[tuple[Labels, Labels], ...] = ()
    scan: str = ""
    rigid: Affine | None = None
    affine: Affine | None = None

    def lies_on(self, space: Space) -> bool:
        """Whether these are labels on that grid."""
        same = self.affine is None or np.allclose(self.affine, space.affine)
        return same and all(labels.shape == space.shape for labels, _ in self.edits)


@dataclass(frozen=True, eq=False)
class Annotations:
    """All of this of one subject, whatever step of its history is shown.

    Attributes
    ----------
    overlay : Overlay or None
        The second image over the scan.
    refused : str
        Why a file was not taken as one, as a sentence.
    mask : Region or None
        The region that is painted.
    maps : tuple of Path
        Files of the label maps over the scan.
    labels : EditedLabels or None
        Edited tissue labels; the last of `edits` is the current one.
    loss : str
        The degradation chosen for the next projection, as text for `projector.loss_of`.
    region : str
        What the next projection leaves out, as the entry that is chosen; empty for nothing.
    """

    overlay: Overlay | None = None
    refused: str = ""
    mask: Region | None = None
    maps: tuple[Path, ...] = ()
    labels: EditedLabels | None = None
    loss: str = ""
    region: str = ""


NOTHING = Annotations()
