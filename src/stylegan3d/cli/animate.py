"""`stylegan3d animate`: a film of the way from brain to brain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import (
    FrameOption,
    JsonOption,
    ModelOption,
    NoiseOption,
    OverwriteOption,
    TruncationOption,
    emit,
    model_entry,
    open_model,
    progress,
)
from stylegan3d.cli.parsing import parse_planes, parse_point
from stylegan3d.cli.picture import (
    PointOption,
    RecipesArgument,
    ScaleOption,
    SeedsOption,
    chosen_recipes,
    look,
)
from stylegan3d.geometry.slicing import PLANES
from stylegan3d.recipe.keyframes import EASINGS, WAYS


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("animate")(animate)


def animate(
    recipes: RecipesArgument = None,
    seeds: SeedsOption = None,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The film: a name in .mp4, .gif, .png or .webp."),
    ] = Path("film.gif"),
    seconds: Annotated[
        float, typer.Option("--seconds", help="From one key frame to the next, 0.1 to 60.")
    ] = 2.0,
    fps: Annotated[int, typer.Option("--fps", help="Pictures per second, 1 to 60.")] = 12,
    easing: Annotated[
        str, typer.Option("--easing", help=f"Pace between key frames: {' or '.join(EASINGS)}.")
    ] = "in-out",
    way: Annotated[
        str,
        typer.Option(
            "--way",
            help="Straight in W (linear), or, between two seeds, round in Z (spherical), which "
            "keeps more variety midway; with a latent diffusion round between any brains.",
        ),
    ] = WAYS[0],
    loop: Annotated[
        bool, typer.Option("--loop", help="Lead back to the first key frame, and run on.")
    ] = False,
    planes: Annotated[
        str, typer.Option("--planes", help="Which planes, side by side, with commas.")
    ] = ",".join(PLANES),
    at: PointOption = None,
    scale: ScaleOption = 2.0,
    truncation: TruncationOption = None,
    noise: NoiseOption = None,
    model: ModelOption = None,
    frame: FrameOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a film from brain to brain, with its key frames as recipes beside it.

    Example: stylegan3d animate --seeds 0-3 --loop --out walk.gif
    """
    frames = chosen_recipes(recipes, seeds, truncation, noise)
    from stylegan3d.outputs.films import Film, check_suffix, film_files
    from stylegan3d.outputs.pictures import json_path
    from stylegan3d.recipe.keyframes import check_key_frames
    from stylegan3d.storage.volumes import check_output, write_together

    film = Film(
        tuple(frames),
        seconds,
        fps,
        easing,  # type: ignore[arg-type]
        way,  # type: ignore[arg-type]
        loop,
        parse_planes(planes),
        parse_point(at),
        look(scale),
    )
    check_suffix(out)
    check_output([out, json_path(out)], overwrite)
    generator = open_model(model, frame)
    check_key_frames(film.recipes, generator)
    from stylegan3d.render.renderer import Renderer

    with progress("Rendering", total=film.frames) as report:
        files = film_files(
            out, film, generator, Renderer(generator), lambda done, total: report(done, total)
        )
    write_together(files, overwrite=overwrite)
    result = {"path": str(out), "sidecar": str(json_path(out)), "frames": film.frames}
    emit({**result, "model": model_entry(generator)}, [str(out)], as_json=as_json)
