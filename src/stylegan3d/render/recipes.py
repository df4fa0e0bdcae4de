"""Render a recipe: the one place where recipes and the renderer meet.

A renderer knows nothing of recipes, and a recipe nothing of quality. Everything that a recipe
sets (noise, channel, tuning) is passed on here, or another brain would be shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from stylegan3d.progress import effort

if TYPE_CHECKING:
    from stylegan3d.recipe.recipe import Recipe
    from stylegan3d.render.renderer import Quality, Rendered, Renderer


def render_recipe(
    renderer: Renderer,
    recipe: Recipe,
    quality: Quality = "full",
    should_stop: Callable[[], bool] | None = None,
) -> Rendered:
    """Render a recipe with the renderer's generator.

    Parameters
    ----------
    renderer, quality, should_stop : Renderer, Quality, callable or None
        See `Renderer.render`.
    recipe : Recipe
        Recipe for that generator.

    Raises
    ------
    RecipeError, LatentError
        If the recipe does not fit the generator, or a file that it names has changed.
    Cancelled
        If `should_stop` returned true.
    """
    from stylegan3d.render.renderer import stopper

    generator = renderer.generator
    with effort("preview" if quality == "preview" else "full", stopper(should_stop)):
        w = recipe.latent(generator)
    return renderer.render(
        w,
        quality,
        recipe.shown_noise(generator),
        recipe.channel,
        should_stop,
        recipe.delta(generator),
    )
