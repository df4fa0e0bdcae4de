"""Functions on napari layers, for the Layers menu; magicgui creates their forms from their types.

Each works on any image layer in a thread, and returns new layers. Annotations are evaluated (no
`annotations` from `__future__`), since magicgui reads them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.qt.threading import FunctionWorker, create_worker
from napari.types import LayerDataTuple

from napari_stylegan3d.app.files import layer_affine
from napari_stylegan3d.core.context import report_error
from napari_stylegan3d.core.tissues import make_layer
from napari_stylegan3d.views.captions import KEY, Kind, Provenance
from napari_stylegan3d.views.display import upright
from stylegan3d.errors import ScanError
from stylegan3d.projection.settings import Budget, Skull
from stylegan3d.storage.about import Origin

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
    worker.start()
    return worker


#: What the scan of a layer of this kind is; of any other it is synthetic.
ORIGINS: dict[Kind, Origin] = {"scan": "acquired", "second": "acquired", "edited": "edited"}


def _scan_of(layer: Image | None) -> Any:
    """The scan of a layer."""
    from stylegan3d.scans.origin import Told
    from stylegan3d.scans.reading import scan_of_array

    if not isinstance(layer, Image) or layer.rgb or layer.ndim != 3 or layer.multiscale:
        raise ScanError("Choose an image layer with three axes: a T1-weighted scan.")
    attributes = {n: getattr(layer, n) for n in ("scale", "translate", "rotate", "shear")}
    affine = layer_affine({**attributes, "affine": layer.affine.affine_matrix})
    told = layer.metadata.get(KEY)
    kind = told.made_as if isinstance(told, Provenance) else "scan"
    known = Told(ORIGINS.get(kind, "synthetic"), "its layer says so")
    return scan_of_array(np.asarray(layer.data), affine, layer.name, known)


def _projected(scan: Image, budget: str, skull: str) -> list[LayerDataTuple]:
    import stylegan3d

    generator = stylegan3d.load()
    aligned = _scan_of(scan).align(generator, skull=skull)
    result = stylegan3d.project(generator, aligned, budget=budget)
    native = aligned.to_native(result.volume)
    verdict = {name: result.assessment[name] for name in ("verdict", "sentence", "similarity")}
    name = f"{scan.name}: reconstruction"
    metadata = {KEY: Provenance("reconstruction", scan.name), "stylegan3d-trust": verdict}
    return [_image(np.asarray(native.dataobj), native.affine, name, metadata)]


def _segmented(scan: Image, skull: str) -> list[LayerDataTuple]:
    from stylegan3d.segmentation.inference import bundled_segmenter
    from stylegan3d.segmentation.scans import segment_scan

    found = segment_scan(bundled_segmenter(), _scan_of(scan), skull=skull)
    shown = upright(np.asarray(found.image.dataobj), found.image.affine, nearest=True)
    data, meta, kind = make_layer(
        np.ascontiguousarray(shown.data), shown.layer_kwargs()
    ).as_layer_data_tuple()
    meta |= {"name": f"{scan.name}: tissues"}
    meta["metadata"] = {**meta["metadata"], "stylegan3d-measures": found.numbers.measures}
    return [(data, meta, kind)]


def _aligned(scan: Image, skull: str) -> list[LayerDataTuple]:
    import stylegan3d

    aligned = _scan_of(scan).align(stylegan3d.load(), skull=skull)
    name = f"{scan.name}: model space"
    origin = aligned.scan.origin
    metadata = {KEY: Provenance("scan", scan.name, origin=origin), ALIGNED: aligned}
    return [_image(aligned.volume, aligned.space.affine, name, metadata, (0.0, 1.0))]


def _native(layer: Layer, reference: Image) -> list[LayerDataTuple]:
    aligned = reference.metadata.get(ALIGNED) if isinstance(reference, Image) else None
    if aligned is None:
        raise ScanError(
            "Choose as aligned scan a layer that Layers > Transform > To model space made."
        )
    if not isinstance(layer, Image | Labels) or layer.data.shape != aligned.space.shape:
        shape = " x ".join(map(str, aligned.space.shape))
        raise ScanError(f"Choose an image or labels layer on the model's grid ({shape} voxels).")
    name = f"{layer.name}: native space"
    if isinstance(layer, Labels):
        data = aligned.labels_to_native(np.asarray(layer.data))
        shown = upright(data, aligned.scan.affine, nearest=True)
        meta = {**shown.layer_kwargs(), "name": name}
        return [(np.ascontiguousarray(shown.data), meta, "labels")]
    native = aligned.to_native(np.asarray(layer.data, np.float32))
    kept = {KEY: layer.metadata[KEY]} if KEY in layer.metadata else {}
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
