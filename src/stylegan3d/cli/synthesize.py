"""`stylegan3d synthesize`: a T1 brain generated from a label map."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stylegan3d.base import Json, doubts_in, facts_in
from stylegan3d.cli.common import (
    DeviceOption,
    JsonOption,
    NetworkOption,
    OverwriteOption,
    emit,
    print_doubts,
    progress,
)

if TYPE_CHECKING:
    import numpy as np

    from stylegan3d.scans.scan import Scan
    from stylegan3d.translation.files import PlacedMap
    from stylegan3d.translation.painter import Painter


def synthesize(
    labels: Annotated[
        Path,
        typer.Argument(
            help="Label map of any orientation and voxel size, NIfTI or MGH: tissues as "
            "`stylegan3d segment` writes them (1 CSF, 2 grey, 3 white, 4 ventricles, 5 brain "
            "stem), Neuromorphometrics regions, or FreeSurfer's structures."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Synthetic brain to write, .nii.gz.")],
    device: DeviceOption = "auto",
    resize: Annotated[
        list[str] | None,
        typer.Option(
            help="Grow or shrink a tissue first, by moving its border: csf, grey, white, ventricle "
            "or other (the brain stem), and mm, such as ventricle=4; may be repeated."
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            help="The brain whose labels were edited, on the model's grid; kept where no "
            "label changed."
        ),
    ] = None,
    contrast_from: Annotated[
        Path | None, typer.Option(help="T1-weighted scan whose contrast is copied.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Seed of a random contrast, as scanners differ.",
            show_default="the mean contrast",
        ),
    ] = None,
    codes: Annotated[
        Literal["auto", "tissues", "regions", "structures"],
        typer.Option(help="Meaning of the labels; auto decides by which there are."),
    ] = "auto",
    pose: Annotated[
        Literal["auto", "keep"],
        typer.Option(help="auto aligns the map to the model's brains if needed, keep leaves it."),
    ] = "auto",
    grid: Annotated[
        Literal["own", "model"], typer.Option(help="Write on the map's own grid or the model's.")
    ] = "own",
    labels_out: Annotated[
        Path | None,
        typer.Option(help="Also write the tissue labels used, on the same grid, .nii.gz."),
    ] = None,
    network: NetworkOption = None,
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Generate the brain that fits a label map; the result is synthetic.

    Example: stylegan3d synthesize brain_dseg.nii.gz --resize ventricle=4 --out larger.nii.gz
    """
    given = {"--base": base, "--contrast-from": contrast_from, "--seed": seed}
    several = [name for name, value in given.items() if value is not None]
    if len(several) > 1:
        raise typer.BadParameter(f"{' and '.join(several)} each set the contrast; give one.")
    for path in [out] + ([] if labels_out is None else [labels_out]):
        if not path.name.endswith(".nii.gz"):
            raise typer.BadParameter(f"The name {path.name} must end in .nii.gz.")

    from stylegan3d.scans import read_scan
    from stylegan3d.storage.files import check_output, write_together
    from stylegan3d.storage.volumes import sidecar_path
    from stylegan3d.translation.files import Resize, place_map
    from stylegan3d.translation.painter import load_painter

    planned = [p for path in (out, labels_out) if path for p in (path, sidecar_path(path))]
    check_output(planned, overwrite)
    edits = [Resize.parse(text) for text in resize or []]
    with progress("Synthesizing"):
        painter = load_painter(network)
        source = read_scan(labels)
        placed = place_map(source, painter, kind=codes, pose=pose)
        other = base or contrast_from
        reference = None if other is None else read_scan(other)
        made = _made(placed, painter, edits, reference, base is not None, seed)
        files = _files(out, labels_out, placed, painter, made, source, reference, grid, edits)
    write_together(files, overwrite=overwrite)
    dice = made["agreement"]
    doubts = doubts_in([*placed.notes, *([] if reference is None else reference.notes)])
    print_doubts(doubts)
    lines = [
        *(f"stylegan3d: {note}" for note in facts_in(placed.notes)),
        *(
            [f"Dice of the given labels and those segmented in the result: {dice['mean']:.3f}"]
            if dice
            else []
        ),
        *map(str, files),
    ]
    result = {
        "notes": facts_in(placed.notes),
        "doubts": doubts,
        "agreement": dice,
        "network": {"name": painter.name, "sha256": painter.hash},
        "files": list(map(str, files)),
    }
    emit(result, lines, as_json=as_json)


def _made(
    placed: PlacedMap,
    painter: Painter,
    edits: list[Any],
    reference: Scan | None,
    keep: bool,
    seed: int | None,
) -> Json:
    """The generated volume with its tissues, contrast, and agreement with the labels."""
    import numpy as np

    from stylegan3d.segmentation.classes import dice_scores
    from stylegan3d.segmentation.inference import bundled_segmenter
    from stylegan3d.translation.files import brain_of, check_onto, edited, painted

    segmenter = bundled_segmenter()
    contrast = painter.usual if seed is None else painter.random_contrast(seed)
    if keep and reference is not None:
        check_onto(reference, placed, painter)
    if reference is not None:
        brain, read = brain_of(reference, painter, segmenter)
        contrast = painter.contrast_of(brain, read)
    if keep:
        tissues = edited(placed.tissues, edits, painter)
        volume = painter.repaint(brain, read, tissues).volume
    else:
        volume, tissues = painted(placed, painter, contrast, edits)
    agreement: dict[str, float] = {}
    if segmenter.fits(painter.space):
        found = segmenter.segment(np.clip(volume, 0, 1), painter.space).labels
        agreement = dice_scores(found, tissues)
        there = [score for i, score in enumerate(agreement.values(), 1) if (tissues == i).any()]
        agreement["mean"] = float(np.mean(there))
    return {"volume": volume, "tissues": tissues, "contrast": contrast, "agreement": agreement}


def _files(
    out: Path,
    labels_out: Path | None,
    placed: PlacedMap,
    painter: Painter,
    made: dict[str, Any],
    source: Scan,
    reference: Scan | None,
    grid: str,
    edits: list[Any],
) -> dict[Path, bytes]:
    """Output files: name to content."""
    from stylegan3d.storage.volumes import make_image, volume_files
    from stylegan3d.translation.files import LABELS, contrast_entry, painted_files

    own = grid == "own"
    space = placed.space if own else painter.space
    volume: np.ndarray = placed.to_native(made["volume"], painter) if own else made["volume"]
    about = {
        "SpatialReference": "the label map's own grid" if own else "the model's grid",
        "Edits": [{"Tissue": edit.tissue, "BorderMovedBy_mm": edit.mm} for edit in edits],
        "Contrast": contrast_entry(made["contrast"]),
        "AgreementWithLabels_Dice": made["agreement"],
        "Preparation": facts_in(placed.notes),
        "Doubts": doubts_in(placed.notes),
    }
    sources = [source] + ([] if reference is None else [reference])
    files = painted_files(out, volume, space.affine, about, painter, sources)
    if labels_out is not None:
        tissues = placed.labels_to_native(made["tissues"], painter) if own else made["tissues"]
        said = {"Description": "Tissues that were painted.", "Labels": LABELS, **about}
        image = make_image(tissues, space.affine)
        files |= volume_files(labels_out, image, description="tissue labels", sidecar=said)
    return files
