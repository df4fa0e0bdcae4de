"""Reading and writing files for napari: readers, writers and samples of the manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.transforms import CompositeAffine

from napari_stylegan3d.core.scans import LayerTuple, sample_path, scan_layer
from napari_stylegan3d.views.captions import KEY, Provenance
from stylegan3d.storage.formats import is_kind, scan_stem

if TYPE_CHECKING:
    from napari_stylegan3d.app.explorer import Explorer

#: Result of a napari reader that adds no layer.
NO_LAYER: list[Any] = [(None,)]


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerTuple]] | None:
    """npe2 reader: a function that reads these files, or None if not supported."""
    paths = [path] if isinstance(path, (str, Path)) else list(path)
    if paths and all(is_kind(p, "scan", "dicom") for p in paths):
        return read_scans
    if paths and all(is_kind(p, "tensors") for p in paths):
        return read_latents
    if len(paths) == 1 and is_kind(paths[0], "checkpoint"):
        return read_checkpoint  # not model folders: napari would ask for every folder
    return None


def read_scans(path: str | Sequence[str]) -> list[LayerTuple]:
    """Read scans as image layers, and label maps as labels layers, in RAS+ millimetres.

    For files with several volumes or series no layer is added: the explorer asks which one to open.
    An open explorer adds layers of label maps itself, and moves them with the scan.

    Raises
    ------
    ScanError
        If a file is not a usable 3D scan.
    """
    from napari_stylegan3d.project.label_maps import LabelMap
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
        if not looks_like_labels(scan.data):
            layers.append(scan_layer(scan))
        elif explorer is not None:
            explorer.projecting.labels.add(LabelMap.of(scan, scan_stem(p)))
        else:
            layers.append(LabelMap.of(scan, scan_stem(p)).layer().as_layer_data_tuple())
    return layers or NO_LAYER


def read_latents(path: str | Sequence[str]) -> list[LayerTuple]:
    """Show a latent file in an open explorer; otherwise render it with the bundled model.

    Raises
    ------
    LatentError
        If a file is not a latent or belongs to another model.
    """
    from napari_stylegan3d.core.jobs import load_model, render_beside
    from napari_stylegan3d.views.captions import KEY, Provenance
    from stylegan3d.progress import SILENT
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
    explorer = docked_explorer()
    explorer.open_model(Path(path if isinstance(path, (str, Path)) else path[0]))
    return NO_LAYER


def docked_explorer() -> Explorer:
    """The explorer of the current viewer, docked if necessary."""
    import napari

    found = open_explorer()
    if found is not None:
        return found
    window = napari.current_viewer().window
    return window.add_plugin_dock_widget("napari-stylegan3d", "Explorer")[1]


def open_explorer() -> Explorer | None:
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
    from stylegan3d.errors import OutputError
    from stylegan3d.storage.volumes import write_volume

    if data.ndim != 3 or meta.get("rgb"):
        raise OutputError("Only 3D images can be saved as NIfTI: choose one layer with three axes.")
    provenance = meta.get("metadata", {}).get(KEY)
    known = isinstance(provenance, Provenance)
    write_volume(
        path,
        np.asarray(data),
        layer_affine(meta),
        description=str(meta.get("name", "")),
        sidecar={"Description": provenance.one_line if known else "Saved from napari."},
        overwrite=True,
        synthetic=known and provenance.made_as != "scan",
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
