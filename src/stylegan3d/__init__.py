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

from stylegan3d.about import version
from stylegan3d.errors import (
    LatentError,
    ModelError,
    OutputError,
    RecipeError,
    ScanError,
    StyleGAN3DError,
)

if TYPE_CHECKING:
    from stylegan3d.directions.attributes import attribute_directions, build_directions
    from stylegan3d.geometry.frame import Frame
    from stylegan3d.geometry.space import Space
    from stylegan3d.measures.attributes import measure_volume
    from stylegan3d.measures.similarity import similarity
    from stylegan3d.model.components import pca_directions
    from stylegan3d.model.converting import convert
    from stylegan3d.model.generator import Generator
    from stylegan3d.model.loading import load
    from stylegan3d.outputs.results import save_rendered
    from stylegan3d.projection import project
    from stylegan3d.recipe.direction_file import load_directions, save_directions
    from stylegan3d.recipe.directions import Directions
    from stylegan3d.recipe.drawing import seed_latents
    from stylegan3d.recipe.latents import Latent, load_latent, mix, save_latent
    from stylegan3d.recipe.recipe import Edit, Mix, Recipe, Source, Truncation
    from stylegan3d.recipe.text import read_recipe
    from stylegan3d.render.renderer import Renderer
    from stylegan3d.scans import list_series, read_scan
    from stylegan3d.storage.volumes import write_volume

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
    "Directions": "recipe.directions",
    "Edit": "recipe.recipe",
    "Frame": "geometry.frame",
    "Generator": "model.generator",
    "Latent": "recipe.latents",
    "Mix": "recipe.recipe",
    "Recipe": "recipe.recipe",
    "Renderer": "render.renderer",
    "Source": "recipe.recipe",
    "Space": "geometry.space",
    "Truncation": "recipe.recipe",
    "attribute_directions": "directions.attributes",
    "build_directions": "directions.attributes",
    "convert": "model.converting",
    "list_series": "scans",
    "load": "model.loading",
    "load_directions": "recipe.direction_file",
    "load_latent": "recipe.latents",
    "measure_volume": "measures.attributes",
    "mix": "recipe.latents",
    "pca_directions": "model.components",
    "project": "projection",
    "read_recipe": "recipe.text",
    "read_scan": "scans",
    "save_directions": "recipe.direction_file",
    "save_latent": "recipe.latents",
    "save_rendered": "outputs.results",
    "seed_latents": "recipe.drawing",
    "similarity": "measures.similarity",
    "write_volume": "storage.volumes",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = version()
    elif name in _MODULE_OF:
        value = getattr(import_module(f"stylegan3d.{_MODULE_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'stylegan3d' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
