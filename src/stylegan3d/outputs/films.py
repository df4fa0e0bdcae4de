"""Films of a way through latent space: MP4, GIF, or a moving PNG or WebP.

MP4 is encoded by an external program, ffmpeg: the one on the PATH, or the one that the Python
package imageio-ffmpeg brings (its ffmpeg is under the GPL, which is no matter for this program: it
is run, not linked, and not shipped with it). Pillow writes the others.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from stylegan3d.base import SILENT, Json, OutputError, Progress
from stylegan3d.geometry.space import PLANES, Plane, Upright
from stylegan3d.outputs import results
from stylegan3d.recipe.description import describe_recipe, mark_of, marked, with_mark
from stylegan3d.recipe.keyframes import count_stills, stills
from stylegan3d.recipe.recipe import Recipe
from stylegan3d.render.figures import Look, draw_planes, source_type, with_source_type
from stylegan3d.render.recipes import render_moment
from stylegan3d.settings.option import KINDS, FilmSettings, check_options
from stylegan3d.storage.about import INTENDED_USE
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import temporary_folder

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator
    from stylegan3d.render.renderer import Renderer

#: Quality of the H.264 stream, 0 (lossless) to 51; 18 looks like the original.
CRF = 18
NO_FFMPEG = (
    "An MP4 needs the program ffmpeg: install it, or the Python package imageio-ffmpeg "
    "(pip install 'napari-stylegan3d[mp4]'), or save a .gif, .png or .webp."
)


@dataclass(frozen=True)
class Film:
    """What a film shows.

    Attributes
    ----------
    recipes : tuple of Recipe
        Key frames, two or more.
    settings : FilmSettings
        The pace and the way between them.
    planes : tuple of Plane
        Which planes, side by side.
    at_mm : tuple of float or None
        The point (RAS+) the slices pass through; None for the centre.
    look : Look
        How the slices are drawn; the caption is on every picture.
    """

    recipes: tuple[Recipe, ...]
    settings: FilmSettings
    planes: tuple[Plane, ...] = PLANES
    at_mm: tuple[float, float, float] | None = None
    look: Look = field(default_factory=Look)

    def __post_init__(self) -> None:
        check_options(self.settings)
        if not self.planes:
            raise OutputError("A film needs at least one plane: choose one.")

    @property
    def name(self) -> str:
        """How its file's name ends: "film", and to what other scans it leads."""
        _, *others = dict.fromkeys(recipe.source for recipe in self.recipes)
        scans = [results.source_in_a_name(source) for source in others if source.seed is None]
        return "film" + "".join(f"To{scan}" for scan in scans)

    @property
    def frames(self) -> int:
        """All pictures."""
        return count_stills(len(self.recipes), self.settings.frames_per_leg, self.settings.loop)


def draw_film(film: Film, generator: Generator, renderer: Renderer) -> Iterator[Image.Image]:
    """The pictures of a film, one after the other."""
    how = film.settings
    moments = stills(
        film.recipes, generator, how.frames_per_leg, how.easing, how=how.how, loop=how.loop
    )
    for still in moments:
        rendered = render_moment(renderer, still, "fast")
        volume = Upright.of(rendered.volume, rendered.space)
        mark = mark_of(still.detail is not None, still.is_edited_scan)
        whose = " to ".join(map(describe_recipe, still.shows))
        look = replace(film.look, caption=with_mark(whose, with_mark(mark, film.look.caption)))
        yield draw_planes(volume, look, planes=film.planes, at_mm=film.at_mm)


def film_files(
    path: Path, film: Film, generator: Generator, renderer: Renderer, progress: Progress = SILENT
) -> dict[Path, bytes]:
    """The film and the JSON beside it, not yet written: name to content.

    Parameters
    ----------
    path : Path
        Ends in .mp4, .gif, .png (a moving PNG) or .webp.
    progress : Progress
        Called before each picture.

    Raises
    ------
    OutputError
        If the name has another ending, or there is no ffmpeg for an MP4.
    RecipeError, LatentError
        If a key frame does not fit the generator.
    """
    check_suffix(path)

    def pictures() -> Iterator[Image.Image]:
        for number, picture in enumerate(draw_film(film, generator, renderer)):
            progress(number, film.frames, "Rendering the film", f"frame {number + 1}")
            yield picture

    suffix = path.suffix.lower()
    data = encode(pictures(), suffix, film.settings.fps, loop=film.settings.loop)
    data = with_source_type(data, suffix, source_type(*film.recipes))
    told = film_sidecar(film, generator, path) | results.doubts_entry(*film.recipes)
    return {path: data, results.json_path(path): to_json(told).encode()}


def film_sidecar(film: Film, generator: Generator, path: Path) -> Json:
    """Content of a film's JSON file: the key frames as recipes, and how it goes through them."""
    recipes = [recipe.relative_to(path.parent) for recipe in film.recipes]
    made = f"Film of synthetic volumes made by {generator.name}. Not a measurement."
    return {
        "Description": marked(made, *film.recipes),
        "IntendedUse": INTENDED_USE,
        "SyntheticImage": True,
        **results.provenance(generator),
        "Sources": list(
            dict.fromkeys(
                file for one in film.recipes for file in results.sources(one, path.parent)
            )
        ),
        "Recipes": [recipe.to_dict() for recipe in recipes],
        "Model": results.model_of(generator, *recipes),
        "Film": {
            "SecondsPerLeg": film.settings.seconds,
            "FramesPerSecond": film.settings.fps,
            "Frames": film.frames,
            "Easing": film.settings.easing,
            "Way": film.settings.how,
            "Loop": film.settings.loop,
            "Planes": list(film.planes),
            "PointMm": film.at_mm,
            "Convention": film.look.convention,
        },
    }


def check_suffix(path: Path) -> None:
    """OutputError unless a film of this name can be made here."""
    if path.suffix.lower() not in KINDS:
        *others, last = KINDS
        raise OutputError(f"{path.name} must end in {', '.join(others)} or {last}.")
    if path.suffix.lower() == ".mp4":
        ffmpeg()


def encode(pictures: Iterator[Image.Image], suffix: str, fps: int, *, loop: bool = False) -> bytes:
    """Pictures of one size as a film; `loop` has a player begin again at the end."""
    if suffix == ".mp4":
        return _mp4(pictures, fps)
    first, *others = pictures
    buffer = io.BytesIO()
    # A GIF counts in hundredths of a second, so that pictures may differ in how long they stay.
    unit = 10 if suffix == ".gif" else 1
    ends = [unit * round(k * 1000 / (fps * unit)) for k in range(len(others) + 2)]
    options: dict[str, Any] = {"duration": [b - a for a, b in pairwise(ends)], "save_all": True}
    # Pillow's loop is the number of times, 0 for ever; a GIF without it is shown once.
    if suffix != ".gif" or loop:
        options["loop"] = 0 if loop else 1
    if suffix == ".gif":
        # One palette for all frames: with palettes of their own, greys would flicker.
        palette = first.quantize(256, Image.Quantize.MEDIANCUT)
        fitted = partial(Image.Image.quantize, palette=palette, dither=Image.Dither.NONE)
        first, others = fitted(first), [*map(fitted, others)]
    if suffix == ".webp":
        options |= {"quality": 90, "method": 4}
    first.save(buffer, format=suffix[1:], append_images=others, **options)
    return buffer.getvalue()


def ffmpeg() -> str:
    """The program; OutputError where there is none."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise OutputError(NO_FFMPEG) from None


def has_ffmpeg() -> bool:
    """Whether an MP4 can be made here."""
    try:
        return bool(ffmpeg())
    except OutputError:
        return False


def _mp4(pictures: Iterator[Image.Image], fps: int) -> bytes:
    """H.264 in the colours every player knows, through a temporary file: MP4 is not written in
    one go.
    """
    first = next(pictures)
    width, height = (size + size % 2 for size in first.size)  # yuv420p halves the colours' grid
    with temporary_folder() as folder:
        target = folder / "film.mp4"
        command: Sequence[str] = [
            *(ffmpeg(), "-hide_banner", "-loglevel", "error", "-y"),
            *("-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{width}x{height}"),
            *("-framerate", str(fps), "-i", "-", "-an", "-c:v", "libx264", "-crf", str(CRF)),
            *("-pix_fmt", "yuv420p", "-movflags", "+faststart", str(target)),
        ]
        with (folder / "said.txt").open("w+b") as said:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
            )
            assert process.stdin is not None
            try:
                for picture in chain([first], pictures):
                    padded = picture.convert("RGB").crop((0, 0, width, height))
                    process.stdin.write(padded.tobytes())
                process.stdin.close()
                failed = process.wait() != 0
            except BrokenPipeError:
                failed = True
            finally:
                process.kill()
                process.wait()
            if failed:
                said.seek(0)
                lines = said.read().decode(errors="replace").splitlines() or ["no reason given"]
                raise OutputError(f"ffmpeg could not make the MP4 ({lines[-1]}): save a .gif.")
        return target.read_bytes()
