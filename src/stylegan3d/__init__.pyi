"""What `import stylegan3d` offers; `__init__.py` imports each name when it is first used."""

__version__: str

from .base import LatentError as LatentError
from .base import ModelError as ModelError
from .base import OutputError as OutputError
from .base import RecipeError as RecipeError
from .base import ScanError as ScanError
from .base import StyleGAN3DError as StyleGAN3DError
from .directions.attributes import attribute_directions as attribute_directions
from .directions.attributes import build_directions as build_directions
from .geometry.space import Frame as Frame
from .geometry.space import Space as Space
from .measures.attributes import measure_volume as measure_volume
from .measures.similarity import similarity as similarity
from .model.export import export as export
from .model.generator import Generator as Generator
from .model.generator import convert as convert
from .model.generator import load as load
from .model.random_latents import pca_directions as pca_directions
from .outputs.results import save_rendered as save_rendered
from .projection import project as project
from .recipe.description import read_recipe as read_recipe
from .recipe.directions import Directions as Directions
from .recipe.latents import Latent as Latent
from .recipe.latents import load_directions as load_directions
from .recipe.latents import load_latent as load_latent
from .recipe.latents import mix as mix
from .recipe.latents import save_directions as save_directions
from .recipe.latents import save_latent as save_latent
from .recipe.model import seed_latents as seed_latents
from .recipe.recipe import Edit as Edit
from .recipe.recipe import Mix as Mix
from .recipe.recipe import Recipe as Recipe
from .recipe.recipe import Source as Source
from .recipe.recipe import Truncation as Truncation
from .render.figures import picture as picture
from .render.renderer import Renderer as Renderer
from .scans import list_series as list_series
from .scans import read_scan as read_scan
from .segmentation.numbers import to_table as to_table
from .storage.volumes import write_volume as write_volume
