"""`stylegan3d privacy-index`: what tells, without any image, how near a brain comes to people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylegan3d.cli.common import (
    JsonOption,
    ModelOption,
    OverwriteOption,
    emit,
    model_entry,
    open_model,
    progress,
)

#: In the model's folder, while an index is made: what an interrupted one is taken up again from.
WORK = ".privacy-index"


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.command("privacy-index")(privacy_index)


def privacy_index(
    data: Annotated[
        Path, typer.Argument(help="The prepared data set that the model was trained on.")
    ],
    model: ModelOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Let a model say how near a brain comes to the people it was trained on.

    Their features, not their images, are written into the model's folder; the window then checks
    the brain it shows (Browse, Privacy). Interrupted, it goes on where it stopped when run again.

    Example: stylegan3d privacy-index prepared --model my-model
    """
    from stylegan3d.dataset.pack import load_pack
    from stylegan3d.errors import StyleGAN3DError
    from stylegan3d.evaluation.privacy_index import FILE, build_index, write_index
    from stylegan3d.storage.locks import only_run
    from stylegan3d.storage.volumes import check_output

    pack = load_pack(data)
    generator = open_model(model)
    if generator.folder is None:
        raise StyleGAN3DError(
            f"{generator.name} is not a model folder, so an index has no place there; convert it "
            "first with `stylegan3d convert`."
        )
    if not generator.space.same_as(pack.space):
        raise StyleGAN3DError(
            f"{pack.path} and {generator.name} are not on the same grid; give the data set that "
            "the model was trained on."
        )
    check_output([generator.folder / FILE], overwrite)
    work = generator.folder / WORK
    with only_run(work):
        with progress("Describing people") as report:
            index = build_index(pack, generator.hash, report, work)
        path = write_index(generator.folder, index, overwrite)
        for file in work.glob("*.npz"):
            file.unlink(missing_ok=True)
    result = {
        "file": str(path),
        "people": len(index.straight),
        "strangers": len(index.strangers),
        "bytes": path.stat().st_size,
        "model": model_entry(generator),
    }
    lines = [
        f"{path}: features of {len(index.straight)} training people, no images; distances of "
        f"{len(index.strangers)} strangers ({path.stat().st_size / 1000:.0f} kB)"
    ]
    emit(result, lines, as_json=as_json)
