"""Synthesise, project, mix and edit 3D medical volumes with a StyleGAN.

    import stylegan3d
    G = stylegan3d.load()
    w = stylegan3d.seed_latents(G, [0, 1, 2], truncation=0.7)
    volumes = G.synthesize(w)

Names are imported when they are first used: torch takes over a second to import, and neither a
command line's `--help` nor a recipe needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stylegan3d.errors import (
    LatentError,
    ModelError,
    OutputError,
    RecipeError,
    ScanError,
    StyleGAN3DError,
)

if TYPE_CHECKING:
    from stylegan3d.attribute_directions import attribute_directions, build_directions
    from stylegan3d.attributes import measure_volume
    from stylegan3d.checkpoints.converting import convert
    from stylegan3d.directions import (
        Directions,
        load_directions,
        pca_directions,
        save_directions,
    )
    from stylegan3d.frame import Frame
    from stylegan3d.generator import Generator, load, mix, seed_latents
    from stylegan3d.latents import Latent, load_latent, save_latent
    from stylegan3d.metrics import similarity
    from stylegan3d.outputs import save_rendered
    from stylegan3d.projection import project
    from stylegan3d.recipe import Edit, Mix, Recipe, Source, Truncation, read_recipe
    from stylegan3d.renderer import Renderer
    from stylegan3d.scans import list_series, read_scan
    from stylegan3d.space import Space
    from stylegan3d.volumes import write_volume

__all__ = [
    "Directions",
    "Edit",
    "Frame",
    "Generator",
    "Latent",
    "LatentError",
    "Mix",
    "ModelError",
    "OutputError",
    "Recipe",
    "RecipeError",
    "Renderer",
    "ScanError",
    "Source",
    "Space",
    "StyleGAN3DError",
    "Truncation",
    "__version__",
    "attribute_directions",
    "build_directions",
    "convert",
    "list_series",
    "load",
    "load_directions",
    "load_latent",
    "measure_volume",
    "mix",
    "pca_directions",
    "project",
    "read_recipe",
    "read_scan",
    "save_directions",
    "save_latent",
    "save_rendered",
    "seed_latents",
    "similarity",
    "write_volume",
]

_MODULE_OF = {
    "Directions": "directions",
    "Edit": "recipe",
    "Frame": "frame",
    "Generator": "generator",
    "Latent": "latents",
    "Mix": "recipe",
    "Recipe": "recipe",
    "Renderer": "renderer",
    "Source": "recipe",
    "Space": "space",
    "Truncation": "recipe",
    "attribute_directions": "attribute_directions",
    "build_directions": "attribute_directions",
    "convert": "checkpoints.converting",
    "list_series": "scans",
    "load": "generator",
    "load_directions": "directions",
    "load_latent": "latents",
    "measure_volume": "attributes",
    "mix": "generator",
    "pca_directions": "directions",
    "project": "projection",
    "read_recipe": "recipe",
    "read_scan": "scans",
    "save_directions": "directions",
    "save_latent": "latents",
    "save_rendered": "outputs",
    "seed_latents": "generator",
    "similarity": "metrics",
    "write_volume": "volumes",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("napari-stylegan3d")
    elif name in _MODULE_OF:
        value = getattr(import_module(f"stylegan3d.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'stylegan3d' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
