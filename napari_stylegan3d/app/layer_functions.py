"""Functions on napari layers, for the Layers menu; magicgui creates their forms from their types.

Each works on any image layer in a thread, and returns new layers. Annotations are evaluated (no
`annotations` from `__future__`), since magicgui reads them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.qt.threading import FunctionWorker, create_worker
from napari.types import LayerDataTuple
from napari.utils.transforms import CompositeAffine

from napari_stylegan3d.core.scans import DOUBTS, LayerTuple, sample_path, scan_layer
from napari_stylegan3d.core.session import report_doubts, report_error
from napari_stylegan3d.core.tissues import make_layer
from napari_stylegan3d.views.display import KEY, upright
from stylegan3d.base import SILENT, Doubt, OutputError, ScanError, doubts_in
from stylegan3d.projection.settings import Budget, Skull
from stylegan3d.session.provenance import Kind, Provenance
from stylegan3d.storage.about import Origin
from stylegan3d.storage.formats import is_kind, looks_like_dicom

if TYPE_CHECKING:
    from napari_stylegan3d.app.explorer import Explorer

#: Result of a napari reader that adds no layer.
NO_LAYER: list[Any] = [(None,)]


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerTuple]] | None:
    """npe2 reader: a function that reads these files, or None if not supported."""
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    if paths and all(is_kind(p, "scan", "dicom") or _holds_dicom(Path(p)) for p in paths):
        return read_scans
    if paths and all(is_kind(p, "tensors") for p in paths):
        return read_latents
    if len(paths) == 1 and is_kind(paths[0], "checkpoint"):
        return read_checkpoint  # not model folders: napari would ask for every folder
    return None


def _holds_dicom(path: Path) -> bool:
    """Whether one of the first files of a folder is a DICOM file."""
    return path.is_dir() and any(map(looks_like_dicom, islice(path.rglob("*"), 100)))


def read_scans(path: str | Sequence[str]) -> list[LayerTuple]:
    """Read scans as image layers, and label maps as labels layers, in RAS+ millimetres.

    For files with several volumes or series no layer is added: the explorer asks which one to open.
    An open explorer adds layers of label maps itself, and moves them with the scan.

    Raises
    ------
    ScanError
        If a file is not a usable 3D scan.
    """
    from napari_stylegan3d.project.overlay import LabelMap
    from stylegan3d.scans import SeveralSeries, SeveralVolumes, looks_like_labels, read_scan

    paths = [path] if isinstance(path, (str, Path)) else list(path)
    layers: list[Any] = []
    for p in paths:
        try:
            scan = read_scan(p)
        except (SeveralSeries, SeveralVolumes):
            docked_explorer().open_scan(p)
            continue
        explorer = open_explorer()
        report_doubts(scan.doubts)
        if not looks_like_labels(scan.data):
            layers.append(scan_layer(scan))
        elif explorer is not None:
            explorer.projecting.labels.add(LabelMap.of(scan))
        else:
            layers.append(LabelMap.of(scan).layer().as_layer_data_tuple())
    return layers or NO_LAYER


def read_latents(path: str | Sequence[str]) -> list[LayerTuple]:
    """Show a latent file in an open explorer; otherwise render it with the bundled model.

    Raises
    ------
    LatentError
        If a file is not a latent or belongs to another model.
    """
    from napari_stylegan3d.core.jobs import load_model, render_beside
    from stylegan3d.recipe.latents import load_latent
    from stylegan3d.recipe.recipe import Recipe, Source

    paths = [path] if isinstance(path, (str, Path)) else list(path)
    explorer = open_explorer()
    if explorer is not None and explorer.session.generator is not None:
        explorer.opening.open_latent(Path(paths[-1]))
        return NO_LAYER
    loaded = load_model(SILENT, None)
    layers: list[LayerTuple] = []
    for p in paths:
        recipe = Recipe(Source.from_file(p), noise=load_latent(p, loaded.generator).noise)
        shown = render_beside((loaded, recipe)).shown
        meta = {
            **shown.layer_kwargs(),
            "name": Path(p).stem,
            "colormap": "gray",
            "contrast_limits": (0.0, 1.0),
            "interpolation2d": "linear",
            "rendering": "attenuated_mip",
            "metadata": {KEY: Provenance("generated", Path(p).stem), "latent": str(p)},
        }
        layers.append((shown.data, meta, "image"))
    return layers


def read_checkpoint(path: str | Sequence[str]) -> list[Any]:
    """Open an official checkpoint in the explorer, docking it if necessary; adds no layer."""
    docked_explorer().open_model(Path(path if isinstance(path, (str, Path)) else path[0]))
    return NO_LAYER


def docked_explorer() -> "Explorer":
    """The explorer of the current viewer, docked if necessary."""
    import napari

    found = open_explorer()
    if found is not None:
        return found
    return napari.current_viewer().window.add_plugin_dock_widget("napari-stylegan3d", "Explorer")[1]


def open_explorer() -> "Explorer | None":
    """The explorer of the current viewer, if any."""
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_stylegan3d.app.explorer import Explorer

    viewer = napari.current_viewer()
    found = (one for top in QApplication.topLevelWidgets() for one in top.findChildren(Explorer))
    return next((one for one in found if one.viewer is viewer), None)


def ucla() -> list[LayerTuple]:
    """A T1-weighted head from UCLA (OpenNeuro)."""
    return read_scans(str(sample_path("ucla-sub-04")))


def novosibirsk() -> list[LayerTuple]:
    """A T1-weighted head from Novosibirsk."""
    return read_scans(str(sample_path("novosibirsk-sub-09")))


def write_image(path: str, data: np.ndarray, meta: dict[str, Any]) -> list[str]:
    """Write one 3D image layer; the file is marked SYNTHETIC if the layer is.

    napari has already asked whether to overwrite an existing file.

    Raises
    ------
    OutputError
        If the layer is not a volume or the file cannot be written.
    """
    from stylegan3d.storage.volumes import write_volume

    if data.ndim != 3 or meta.get("rgb"):
        raise OutputError("Only 3D images can be saved as NIfTI: choose one layer with three axes.")
    metadata = meta.get("metadata", {})
    provenance, doubts = metadata.get(KEY), doubts_in(metadata.get(DOUBTS, ()))
    known = isinstance(provenance, Provenance)
    said = provenance.one_line if known else "Saved from napari."
    write_volume(
        path,
        np.asarray(data),
        layer_affine(meta),
        description=str(meta.get("name", "")),
        sidecar={"Description": said, "Doubts": doubts},
        overwrite=True,
        synthetic=known and ORIGINS.get(provenance.made_as) != "acquired",
    )
    return [path]


def layer_affine(meta: dict[str, Any]) -> np.ndarray:
    """(4, 4) voxel indices to the world's millimetres, from a layer's attributes."""
    voxels = CompositeAffine(
        scale=meta.get("scale", (1, 1, 1)),
        translate=meta.get("translate", (0, 0, 0)),
        rotate=meta.get("rotate"),
        shear=meta.get("shear"),
        ndim=3,
    ).affine_matrix
    world = meta.get("affine")
    return np.asarray(voxels) if world is None else np.asarray(world) @ np.asarray(voxels)


#: Metadata key of the `AlignedScan` of a layer in model space.
ALIGNED = "stylegan3d-aligned"


def project_layer(
    scan: Image, budget: Budget = "draft", brain_extraction: Skull = "auto"
) -> FunctionWorker[list[LayerDataTuple]]:
    """Reconstruct a T1-weighted scan with the bundled generator, on the scan's own grid.

    Parameters
    ----------
    scan : napari.layers.Image
        A T1-weighted scan in millimetres.
    budget : {"draft", "standard", "thorough"}
        Search effort: about 5 seconds, 12 seconds, or minutes on two cores.
    brain_extraction : {"auto", "extract", "keep"}
        Extract the brain unless already extracted; always; never.

    Returns
    -------
    FunctionWorker
        Returns one image layer, with the verdict in its metadata.
    """
    return _start(_projected, "projecting the layer", scan, budget, brain_extraction)


def segment_tissues(
    scan: Image, brain_extraction: Skull = "auto"
) -> FunctionWorker[list[LayerDataTuple]]:
    """Segment CSF, ventricles, grey and white matter and brain stem of a T1-weighted scan.

    Parameters
    ----------
    scan : napari.layers.Image
        A T1-weighted scan in millimetres.
    brain_extraction : {"auto", "extract", "keep"}
        Extract the brain unless already extracted; always; never.

    Returns
    -------
    FunctionWorker
        Returns one labels layer on the scan's grid, with volumes in ml in its metadata.
    """
    return _start(_segmented, "segmenting the layer", scan, brain_extraction)


def segment_structures(scan: Image) -> FunctionWorker[list[LayerDataTuple]]:
    """Label 33 structures, left and right, at 1 mm in an MR scan of any contrast.

    Parameters
    ----------
    scan : napari.layers.Image
        A scan of the head or brain in millimetres.

    Returns
    -------
    FunctionWorker
        Returns one labels layer on the scan's grid, with FreeSurfer's codes, names in its features
        and volumes in ml in its metadata.
    """
    return _start(_structures, "labelling the structures", scan)


def to_model_space(
    scan: Image, brain_extraction: Skull = "auto"
) -> FunctionWorker[list[LayerDataTuple]]:
    """Extract the brain of a scan and align it rigidly to the bundled generator's space.

    Parameters
    ----------
    scan : napari.layers.Image
        A T1-weighted scan in millimetres.
    brain_extraction : {"auto", "extract", "keep"}
        Extract the brain unless already extracted; always; never.

    Returns
    -------
    FunctionWorker
        Returns one image layer on the generator's grid, with intensities in [0, 1].
    """
    return _start(_aligned, "aligning the layer", scan, brain_extraction)


def to_native_space(layer: Layer, aligned_scan: Image) -> FunctionWorker[list[LayerDataTuple]]:
    """Resample a layer from model space to a scan's native grid.

    Parameters
    ----------
    layer : napari.layers.Image or napari.layers.Labels
        A layer in model space: an edited volume, a mask, labels.
    aligned_scan : napari.layers.Image
        The scan in model space, as created by "To model space".

    Returns
    -------
    FunctionWorker
        Returns one layer on the scan's native grid: images are interpolated linearly, labels by
        nearest neighbour.
    """
    return _start(_native, "transforming the layer to native space", layer, aligned_scan)


def _start(
    work: Callable[..., list[LayerDataTuple]], doing: str, *layers_and_options: Any
) -> FunctionWorker[list[LayerDataTuple]]:
    """Run in a thread; errors are shown as one sentence."""
    worker = create_worker(
        work,
        *layers_and_options,
        _start_thread=False,
        _ignore_errors=True,
        _progress={"desc": doing},
    )
    # What napari connects takes no error, which PySide6 passes; "finished" overwrites it anyway.
    worker.errored.disconnect()
    worker.errored.connect(partial(report_error, doing=doing))
    worker.returned.connect(lambda made: report_doubts(made[0][1]["metadata"][DOUBTS]))
    worker.start()
    return worker


#: What the scan of a layer of this kind is; of any other it is synthetic.
ORIGINS: dict[Kind, Origin] = {"scan": "acquired", "second": "acquired", "edited": "edited"}


def _scan_of(layer: Image | None) -> Any:
    """The scan of a layer."""
    from napari_stylegan3d.views.four import MM, NO_UNIT, PIXEL
    from stylegan3d.scans.origin import Told
    from stylegan3d.scans.reading import scan_of_array

    if not isinstance(layer, Image) or layer.rgb or layer.ndim != 3 or layer.multiscale:
        raise ScanError("Choose an image layer with three axes: a scan.")
    attributes = {n: getattr(layer, n) for n in ("scale", "translate", "rotate", "shear")}
    affine = layer_affine({**attributes, "affine": layer.affine.affine_matrix})
    told = layer.metadata.get(KEY)
    kind = told.made_as if isinstance(told, Provenance) else "scan"
    known = Told(ORIGINS.get(kind, "synthetic"), "its layer says so")
    no_unit = NO_UNIT in layer.metadata or all(str(unit) == PIXEL for unit in layer.units)
    mm = [1.0 if str(unit) == PIXEL else (1 * unit).to(MM).magnitude for unit in layer.units]
    scan = scan_of_array(np.asarray(layer.data), np.diag([*mm, 1]) @ affine, layer.name, known)
    if no_unit:
        size = " x ".join(f"{size:.3g}" for size in scan.space.voxel_size)
        text = f"The layer is in pixels; voxels of {size} mm are assumed; volumes depend on this."
        scan.notes.append(Doubt("unit", "ask", text, {"voxel_mm": list(scan.space.voxel_size)}))
    kinds = {doubt.kind for doubt in scan.doubts}
    of_file = [one for one in doubts_in(layer.metadata.get(DOUBTS, ())) if one.kind not in kinds]
    return replace(scan, notes=[*scan.notes, *of_file])


def _projected(scan: Image, budget: str, skull: str) -> list[LayerDataTuple]:
    import stylegan3d

    generator = stylegan3d.load()
    aligned = _scan_of(scan).align(generator, skull=skull)
    result = stylegan3d.project(generator, aligned, budget=budget)
    native = aligned.to_native(result.volume)
    name = f"{scan.name}: reconstruction"
    metadata = {
        KEY: Provenance("reconstruction", scan.name),
        "stylegan3d-trust": {key: result.assessment[key] for key in ("verdicts", "similarity")},
        DOUBTS: [*aligned.doubts, *result.assessment["doubts"]],
    }
    return [_image(np.asarray(native.dataobj), native.affine, name, metadata)]


def _segmented(scan: Image, skull: str) -> list[LayerDataTuple]:
    from stylegan3d.outputs.labels import segment_scan
    from stylegan3d.segmentation.inference import bundled_segmenter

    found = segment_scan(bundled_segmenter(), _scan_of(scan), skull=skull)
    shown = upright(np.asarray(found.image.dataobj), found.image.affine, nearest=True)
    data, meta, kind = make_layer(
        np.ascontiguousarray(shown.data), shown.layer_kwargs()
    ).as_layer_data_tuple()
    meta |= {"name": f"{scan.name}: tissues"}
    meta["metadata"] |= {"stylegan3d-measures": found.numbers.measures, DOUBTS: found.doubts}
    return [(data, meta, kind)]


def _structures(scan: Image) -> list[LayerDataTuple]:
    from stylegan3d.outputs.structures import TITLES, structures_of_scan

    found = structures_of_scan(_scan_of(scan))
    shown = upright(np.asarray(found.image.dataobj), found.image.affine, nearest=True)
    meta = {
        **shown.layer_kwargs(),
        "name": f"{scan.name}: structures",
        "features": {"index": list(TITLES), "name": list(TITLES.values())},
        "metadata": {"stylegan3d-measures": found.cells, DOUBTS: found.doubts},
    }
    return [(np.ascontiguousarray(shown.data), meta, "labels")]


def _aligned(scan: Image, skull: str) -> list[LayerDataTuple]:
    import stylegan3d

    aligned = _scan_of(scan).align(stylegan3d.load(), skull=skull)
    name = f"{scan.name}: model space"
    provenance = Provenance("scan", scan.name, origin=aligned.scan.origin)
    metadata = {KEY: provenance, ALIGNED: aligned, DOUBTS: aligned.doubts}
    return [_image(aligned.volume, aligned.space.affine, name, metadata, (0.0, 1.0))]


def _native(layer: Layer, reference: Image) -> list[LayerDataTuple]:
    aligned = reference.metadata.get(ALIGNED) if isinstance(reference, Image) else None
    if aligned is None:
        raise ScanError(
            "As aligned scan, choose a layer made by Layers > Transform > To model space."
        )
    if not isinstance(layer, Image | Labels) or layer.data.shape != aligned.space.shape:
        shape = " x ".join(map(str, aligned.space.shape))
        raise ScanError(f"Choose an image or labels layer on the model's grid ({shape} voxels).")
    name = f"{layer.name}: native space"
    if isinstance(layer, Labels):
        data = aligned.labels_to_native(np.asarray(layer.data))
        shown = upright(data, aligned.scan.affine, nearest=True)
        meta = {**shown.layer_kwargs(), "name": name, "metadata": {DOUBTS: aligned.doubts}}
        return [(np.ascontiguousarray(shown.data), meta, "labels")]
    native = aligned.to_native(np.asarray(layer.data, np.float32))
    kept = {KEY: layer.metadata[KEY]} if KEY in layer.metadata else {}
    kept[DOUBTS] = aligned.doubts
    return [_image(np.asarray(native.dataobj), native.affine, name, kept)]


def _image(
    data: np.ndarray,
    affine: np.ndarray,
    name: str,
    metadata: dict[str, Any],
    limits: tuple[float, float] | None = None,
) -> LayerDataTuple:
    """An image layer of a volume on any grid, in RAS+ millimetres."""
    shown = upright(data, affine)
    meta = {
        **shown.layer_kwargs(),
        "name": name,
        "colormap": "gray",
        "contrast_limits": limits or (0.0, float(max(np.percentile(data, 99.5), 1e-6))),
        "interpolation2d": "linear",
        "metadata": metadata,
    }
    return shown.data, meta, "image"
