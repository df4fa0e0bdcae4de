"""`stylegan3d model`: add to a model, export it, or convert one of the original 3D-StyleGAN.

`stylegan3d info`: describe a generator, latent, directions file, recipe, volume or scan.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from stylegan3d.base import Doubt, Json, ScanError, StyleGAN3DError, doubts_in, facts_in
from stylegan3d.cli import common
from stylegan3d.dataset.pack import load_pack
from stylegan3d.recipe.latents import load_directions, read_latent
from stylegan3d.storage.encoding import to_json
from stylegan3d.storage.files import check_output, only_run
from stylegan3d.storage.formats import is_dicom, is_scan
from stylegan3d.storage.places import PRIVACY, repeats_path, site_path
from stylegan3d.storage.volumes import sidecar_path
from stylegan3d.training.options import LabelSettings

if TYPE_CHECKING:
    from stylegan3d.model.generator import Generator


#: Name of the unfinished index in the model's folder, from which an interrupted run continues.
WORK = ".privacy-index"
app = typer.Typer(
    help="Add to a model: labels, calibration, site, privacy index; export it for other "
    "programs; or convert an original network.\n\n"
    "Example: stylegan3d model calibrate prepared --model my-model"
)


@app.command("labels")
@common.grouped
def learn(
    data: common.DataArgument,
    settings: LabelSettings,
    model: common.ModelOption = None,
    device: common.DeviceOption = "auto",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Output folder.", show_default="the model's own folder"),
    ] = None,
    overwrite: common.OverwriteOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Add labels to a trained model, so that it can generate brains by age, sex or volume.

    The model needs an encoder, no labels of its own, and the dataset it was trained on. Its
    weights do not change: without a label every seed gives the same brain as before.

    Example: stylegan3d model labels prepared --model my-model --labels age,sex

    Then: stylegan3d generate --model my-model --seeds 1-3 --label age=70 --out brains
    """
    if model is None:
        raise typer.BadParameter("Give the model to add labels to with --model.")
    from stylegan3d.training.labels import learn_labels

    pack = load_pack(data)
    names = [name.strip() for name in settings.labels.split(",") if name.strip()]
    with common.progress("Reading brains") as bar:
        generator = learn_labels(
            model, pack, names, out, brains=settings.brains, overwrite=overwrite, report=bar
        )
    schema = generator.card["labels"]
    lines = [
        f"{generator.folder}: {', '.join(entry['name'] for entry in schema)}",
        *(
            f"  {entry['name']}: {entry['told_by']} explain {100 * entry['explained']:.0f} % of it "
            f"in held-out subjects ({entry['people']} subjects)"
            for entry in schema
        ),
    ]
    folder = str(generator.folder)
    result = {"model": common.model_entry(generator), "folder": folder, "labels": schema}
    common.emit(result, lines, as_json=as_json)


@app.command("calibrate")
def calibrate_model(
    data: common.DataArgument,
    model: common.ModelOption = None,
    device: common.DeviceOption = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the result without changing the card.")
    ] = False,
    as_json: common.JsonOption = False,
) -> None:
    """Calibrate a model's verdict on projections: which scans are outside what it knows.

    Measured on the validation subjects of its dataset and written to the model's card. Training
    does this on export.

    Example: stylegan3d model calibrate prepared --model my-model
    """
    from stylegan3d.checkpoints.folder import add_to_card
    from stylegan3d.model.card import card_text
    from stylegan3d.model.generator import check_page
    from stylegan3d.projection.assessment import FILE
    from stylegan3d.projection.calibration import calibrate

    pack = load_pack(data)
    generator = common.open_model(model)
    if not dry_run:
        check_page(generator)
    with common.progress("Calibrating") as report:
        entry, maps = calibrate(generator, pack, progress=report)
    if not dry_run:
        add_to_card(generator.needed_folder(), {"trust": entry}, card_text, {FILE: maps})
    check = entry["check"]
    lines = [
        f"{entry['people']} subjects; close up to an out-of-distribution score of "
        f"{entry['close']:.2f}, outside from {entry['outside']:.2f}",
        f"out-of-distribution images made from these subjects are recognised with an AUC "
        f"of {check['auc']:.3f}; {100 * check['others_outside']:.0f} % of them and "
        f"{100 * check['people_outside']:.0f} % of the subjects are classified as outside",
        *(f"  {kind}: {score:.1f}" for kind, score in check["median_strangeness"].items()),
        f"a focal finding in {100 * entry['residual']['people_with_findings']:.0f} % of the "
        "subjects, each judged against the others",
    ]
    common.emit({"trust": entry, "model": common.model_entry(generator)}, lines, as_json=as_json)


@app.command()
@common.grouped
def site(
    folder: Annotated[
        Path,
        typer.Argument(help="Scans of 5 to 20 healthy people of one scanner, a folder or list."),
    ],
    name: Annotated[str, typer.Option(help="Name of the site, for project --site NAME.")],
    written: common.Result,
    cache: common.CacheOption = None,
) -> None:
    """Calibrate a site: learn what is usual for its scanner from scans of healthy people.

    Verdicts then compare other scans of the site with these, within narrower ranges. Do not include
    patients. The calibration is kept in your own data folder and contains no scans. Where three
    people or more were scanned twice within weeks (sub-01_ses-1 and sub-01_ses-2), the test-retest
    error of two visits is learned as well: segment --longitudinal --site NAME.

    Example: stylegan3d model site our-scanner --name "3T ward"
    """
    from stylegan3d.cohort.run import find_items, people_of
    from stylegan3d.outputs.visits import measures_of, named_doubts, visits_of_scans
    from stylegan3d.projection.calibration import LEAST, measure_scans, save_site
    from stylegan3d.scans.reading import read_scan
    from stylegan3d.scans.verdicts import unsuitable
    from stylegan3d.segmentation import norms

    subjects = people_of(find_items([folder], common.log.warning))
    if len(subjects) < LEAST:
        raise StyleGAN3DError(
            f"A site needs scans of at least {LEAST} healthy people, and '{folder}' has "
            f"{len(subjects)}; add more of them."
        )
    twice = [scans[:2] for scans in subjects if len(scans) > 1]
    learns = len(twice) >= norms.LEAST
    check_output([site_path(name), *([repeats_path(name)] if learns else [])], written.overwrite)
    generator = written.open()
    people, pairs, doubts, left_out = [], [], list[Doubt](), {}
    networks: tuple[str, ...] = ()
    images: dict[str, Path] = {}
    steps = len(subjects) + (len(twice) if learns else 0)
    with common.progress("Measuring") as report:
        for done, (item, *_) in enumerate(subjects, 1):
            try:
                read = read_scan(item.path)
                if (known := images.setdefault(read.sha256, item.path)) != item.path:
                    raise ScanError(f"It is the same image as {known.name}.")
                aligned = read.align(generator, cache=cache)
                if why := unsuitable(aligned.doubts):
                    raise ScanError(f"It is {why}.")
                people += measure_scans(generator, [(aligned.volume, aligned.brain_mask)])
                doubts += named_doubts(aligned)
            except StyleGAN3DError as error:
                left_out[item.path.name] = str(error)
            report(done, steps)
        twice = [both for both in twice if both[0].path.name not in left_out]
        learns = learns and len(twice) >= norms.LEAST
        for done, both in enumerate(twice if learns else (), len(subjects) + 1):
            try:
                first, second = (read_scan(item.path) for item in both)
                visits = visits_of_scans(first, second, cache=cache)
                pairs.append(measures_of(visits))
                doubts += visits.doubts
                networks = visits.labels.networks
            except StyleGAN3DError as error:
                left_out[both[1].path.name] = str(error)
            report(done, steps)
    common.print_doubts(doubts := doubts_in(doubts))
    for scan, why in left_out.items():
        common.log.warning("%s was left out: %s", scan, why)
    path = save_site(generator, name, people, overwrite=written.overwrite)
    lines = [str(path), f"'{name}' is calibrated with {len(people)} scans: project --site '{name}'"]
    result: Json = {"file": str(path), "people": len(people), "repeats": len(pairs)}
    if len(pairs) >= norms.LEAST:
        found = norms.learn_repeats(pairs, name, networks)
        kept = norms.save_site_repeats(name, found, overwrite=written.overwrite)
        lines += [
            str(kept),
            f"its error is that of {found.name}: segment --longitudinal --site '{name}'",
        ]
    elif twice:
        both_used = sum(both[1].path.name not in left_out for both in twice)
        lines.append(
            f"Only {both_used} people have two usable scans; at least {norms.LEAST} are needed "
            "to learn the site's test-retest error."
        )
    result |= {"left_out": left_out, "doubts": doubts, "model": common.model_entry(generator)}
    common.emit(result, lines, as_json=written.as_json)


@app.command()
def privacy_index(
    data: common.DataArgument,
    model: common.ModelOption = None,
    device: common.DeviceOption = "auto",
    overwrite: common.OverwriteOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Add a privacy index to a model, to check how close a brain is to its training subjects.

    It contains features of these subjects, no images; the window then checks the brain shown
    (Browse, Privacy). An interrupted run continues where it stopped.

    Example: stylegan3d model privacy-index prepared --model my-model
    """
    from stylegan3d.evaluation.privacy_index import build_index, write_index

    pack = load_pack(data)
    generator = common.open_model(model)
    folder = generator.needed_folder()
    pack.check_grid(generator.space, generator.name)
    check_output([folder / PRIVACY], overwrite)
    work = folder / WORK
    with only_run(work):
        with common.progress("Computing features") as report:
            index = build_index(pack, generator.hash, report, work)
        path = write_index(folder, index, overwrite)
        for file in work.glob("*.z"):
            file.unlink(missing_ok=True)
    result = {
        "file": str(path),
        "people": len(index.straight),
        "strangers": len(index.strangers),
        "bytes": path.stat().st_size,
        "model": common.model_entry(generator),
    }
    lines = [
        f"{path}: features of {len(index.straight)} training subjects, no images; distances of "
        f"{len(index.strangers)} unrelated subjects ({path.stat().st_size / 1000:.0f} kB)"
    ]
    common.emit(result, lines, as_json=as_json)


@app.command()
def convert(
    network: Annotated[
        Path, typer.Argument(help="Network file (.pkl) of the original 3D-StyleGAN.")
    ],
    out: common.OutOption,
    frame: common.FrameOption = None,
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16"],
        typer.Option(
            help="Precision of the stored weights: float32 keeps images identical bit for bit, the "
            "others take half the space."
        ),
    ] = "float32",
    overwrite: common.OverwriteOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Convert a network of the original 3D-StyleGAN to a model folder, without TensorFlow.

    The file is read as data; no code in it is run. It does not contain axes and voxel size: without
    --frame, those of FreeSurfer's conformed scans are assumed, and the model's card says so.

    Example: stylegan3d model convert 2mm_f96.pkl --out my-model --frame LIA:2
    """
    from stylegan3d.geometry.space import Frame
    from stylegan3d.model.generator import convert

    given = None if frame is None else Frame.parse(frame)
    with common.progress("Converting"):
        convert(network, out, frame=given, dtype=dtype, overwrite=overwrite)
    generator = common.open_model(out)
    size = " x ".join(map(str, generator.shape))
    common.emit(
        {"folder": str(out), "dtype": dtype, "model": common.model_entry(generator)},
        [f"{out}: {generator.name}, {size} voxels, frame {generator.frame}"],
        as_json=as_json,
    )


@app.command()
def export(
    to: Annotated[
        Literal["hub", "monai", "onnx", "torch-export"],
        typer.Option(
            help="A folder for the Hugging Face Hub, a MONAI bundle, or networks for ONNX Runtime "
            "or torch.export.load."
        ),
    ],
    out: common.OutOption,
    model: common.ModelOption = None,
    overwrite: common.OverwriteOption = False,
    as_json: common.JsonOption = False,
) -> None:
    """Export a model as a folder that other programs open.

    Recorded networks are compared with the engine first: no voxel may differ by more than 1e-4.

    Example: stylegan3d model export --model my-model --to monai --out bundle
    """
    from stylegan3d.model.export import export

    generator = common.open_model(model, device="cpu")
    with common.progress("Exporting"):
        made = export(generator, to, out, overwrite=overwrite)
    lines = [f"{out}: {', '.join(made.files)}"]
    if made.difference is not None:
        lines.append(f"differs from the engine by {made.difference:.1g} at most (seed 1)")
    lines += made.left_out
    result = {"folder": str(out), "to": to, **vars(made), "model": common.model_entry(generator)}
    common.emit(result, lines, as_json=as_json)


def info(
    path: Annotated[
        Path | None,
        typer.Argument(
            help="Model folder, network file of the original 3D-StyleGAN, latent or directions "
            "file, recipe, saved volume, scan or DICOM folder; by default the bundled model.",
            show_default=False,
        ),
    ] = None,
    frame: common.FrameOption = None,
    as_json: common.JsonOption = False,
) -> None:
    """Describe a file: what it is, which model it belongs to, how it was made.

    Example: stylegan3d info projected/sub-01_desc-projected_latent.safetensors
    """
    result = _describe(path, frame)
    # Opening a model has told its own.
    common.print_doubts([] if result.get("type") == "generator" else result.get("doubts", []))
    told = {key: value for key, value in result.items() if key != "doubts"}
    common.emit(result, _lines(told), as_json=as_json)


#: Files that may be archives or scans without an ending, and are told of as such.
PACKED = ("", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".rar", ".7z")


def _describe(path: Path | None, frame: str | None) -> Json:
    from stylegan3d.storage.encoding import kind_of

    if path is None:
        return _describe_model(common.open_model(path, frame))
    saved = path.suffix == ".json" and path.name != "card.json"
    if path.name.endswith(".nii.gz"):
        from stylegan3d.scans.checks import check_there
        from stylegan3d.scans.origin import sidecar_record

        check_there(path)
        saved = "Recipe" in sidecar_record(path)
    if saved:
        return _describe_recipe(path)
    packed = path.is_file() and path.suffix.lower() in PACKED
    if packed or (is_scan(path) and not (path / "card.json").is_file()):
        return _describe_scan(path)
    kind = kind_of(path)
    if kind == "latent":
        return _describe_latent(path)
    if kind == "directions":
        return _describe_directions(path)
    return _describe_model(common.open_model(path, frame))


def _describe_model(generator: Generator) -> Json:
    from stylegan3d.networks.config import GeneratorConfig

    card, config = generator.card, generator.config
    network = config if isinstance(config, GeneratorConfig) else None
    copied = ("version", "licence", "intended_use", "training_data", "quality", "trust", "origin")
    return {
        "type": "generator",
        **common.model_entry(generator),
        "family": generator.family,
        "shape": list(generator.shape),
        "voxel_size_mm": list(generator.voxel_size),
        "axes": "".join(generator.space.axcodes),
        "z_dim": generator.z_dim,
        "w_dim": generator.w_dim,
        "num_layers": generator.num_layers,
        "layer_resolutions": [list(grid) for grid in generator.layer_resolutions],
        **({"wiring": network.wiring, "channels": list(network.channels)} if network else {}),
        "image_channels": config.image_channels,
        "label_dim": generator.label_dim,
        "discriminator": generator.discriminator is not None,
        "encoder": generator.encoder is not None,
        **({"cannot": generator.cannot} if generator.cannot else {}),
        "device": str(generator.device),
        **{key: card[key] for key in copied if key in card},
    }


def _describe_latent(path: Path) -> Json:

    latent, sha256 = read_latent(path)
    return {
        "type": "latent",
        "sha256": sha256,
        "space": latent.space,
        "shape": list(latent.w.shape),
        "model": {"name": latent.model_name, "sha256": latent.model_hash},
        "truncation": latent.truncation,
        "truncation_layers": latent.truncation_layers,
        "noise": latent.noise,
        "scan": latent.scan,
        "changes": None if latent.delta is None else sorted(latent.delta.tensors),
    }


def _describe_directions(path: Path) -> Json:

    found = load_directions(path)
    return {
        "type": "directions",
        "names": list(found.names),
        "explained_variance": found.explained_variance.tolist(),
        "model": {"name": found.model_name, "sha256": found.model_hash},
    }


def _describe_recipe(path: Path) -> Json:
    from stylegan3d.recipe.description import read_recipe

    volume = path.name.endswith(".nii.gz")
    recipe = read_recipe(sidecar_path(path) if volume else path)
    told = _origin_of(path) if volume and path.is_file() else {}
    return {"type": "recipe", **told, **recipe.to_dict(), "command": recipe.command()}


def _origin_of(path: Path) -> Json:
    """What a saved volume is, and the sentence on how that is known."""
    from stylegan3d.scans.checks import open_image
    from stylegan3d.scans.origin import origin_of_file, sidecar_record

    told, kept = origin_of_file(path, open_image(path).header), list[Doubt]()
    with suppress(ValueError, TypeError):
        kept = [Doubt.read(one) for one in sidecar_record(path).get("Doubts", ())]
    return {"origin": told.origin, "doubts": [*told.doubts, *kept]}


def _describe_scan(path: Path) -> Json:
    from stylegan3d.scans import SeveralSeries, SeveralVolumes, list_series, read_scan
    from stylegan3d.scans.alignment import bundled_template, header_doubts

    about: Json = {"type": "scan"}
    if is_dicom(path):
        about["series"] = [
            f"{series}{f', not readable: {series.problem}' * bool(series.problem)}"
            for series in list_series(path)
        ]
    with common.progress("Reading"):
        try:
            scan = read_scan(path)
        except SeveralVolumes as choice:
            about["volumes"], scan = choice.count, read_scan(path, 0)  # they share a header
        except SeveralSeries:
            return about
        seen = header_doubts(scan, bundled_template())
    return {
        **about,
        "type": "labels" if "labels" in {doubt.kind for doubt in seen} else "scan",
        "shape": list(scan.data.shape),
        "voxel_size_mm": [round(size, 4) for size in scan.space.voxel_size],
        "axes": "".join(scan.space.axcodes),
        "contrast": scan.contrast,
        "origin": scan.origin,
        "sha256": scan.sha256,
        "notes": facts_in(scan.notes),
        "doubts": [*scan.doubts, *seen],
    }


def _lines(result: Json) -> list[str]:
    """`key: value` lines; nested values as indented JSON."""
    if result.get("scan"):
        # The packed brain mask is only in the --json output.
        result = {**result, "scan": {**result["scan"], "brain_mask": "…"}}
    lines = []
    for key, value in result.items():
        if value is None or value in ("", []):
            continue
        nested = isinstance(value, dict) or (value and isinstance(value, list))
        text = to_json(value).rstrip() if nested else str(value)
        lines.append(f"{key.replace('_', ' ')}: {text}")
    return lines
