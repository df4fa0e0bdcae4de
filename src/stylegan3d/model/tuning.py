"""Apply the delta of a projection (`recipe.latents`) to a generator."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.model.family import LACKS, HasSynthesis
from stylegan3d.networks.anatomy import FORMER, AnatomyNetwork, is_former_image
from stylegan3d.networks.config import GeneratorConfig
from stylegan3d.networks.leveled import LeveledSynthesis
from stylegan3d.recipe.latents import NOISE, OPENED, Delta


def network_of(generator: HasSynthesis) -> LeveledSynthesis:
    """The synthesis network of a generator that can be tuned.

    Raises
    ------
    ModelError
        If the generator's family has no such network.
    """
    if not isinstance(generator.synthesis, LeveledSynthesis):
        raise ModelError(LACKS["tuning"])
    return generator.synthesis


def tuned(synthesis: LeveledSynthesis, delta: Delta) -> LeveledSynthesis:
    """`synthesis` with a delta applied; all other tensors are shared."""
    state = tunable(synthesis)
    changed = {
        name: state[name].detach() + torch.from_numpy(values.astype(np.float32)).to(state[name])
        for name, values in delta.tensors.items()
        if not passes_over(synthesis, name, values)
    }
    return with_state(synthesis, changed)


def passes_over(synthesis: object, name: str, values: np.ndarray) -> bool:
    """Whether the change of a tensor is left out: it belongs to a former layer without effect.

    Former anatomy models had layers of a StyleGAN whose images were zero, and a projection could
    tune them. As long as the images stay zero the others show nothing.
    """
    if not isinstance(synthesis, AnatomyNetwork) or not name.startswith(FORMER):
        return False
    return not is_former_image(name) or not values.any()


def tunable_shapes(synthesis: object) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that a delta may change, by name; empty if it cannot be tuned."""
    if not isinstance(synthesis, LeveledSynthesis):
        return {}
    return {k: tuple(v.shape) for k, v in tunable(synthesis).items()}


def tunable(synthesis: nn.Module) -> dict[str, Tensor]:
    """Tensors that a delta may change: parameters and stored noise maps, by name."""
    noise = {k: v for k, v in synthesis.named_buffers() if k.endswith((NOISE, OPENED))}
    return {**dict(synthesis.named_parameters()), **noise}


def rows_of(name: str, config: GeneratorConfig) -> range:
    """The rows of w that control a tensor's layer; for the whole image those of the last level.

    As in `Level.rows`: a level's first row controls its upsampling layer, the second the other
    layers, and the next its image.
    """
    last = config.num_levels - 1
    parts = name.split(".")
    if parts[0] == "levels":
        level, first = int(parts[1]), parts[2] == "up"
        row = 2 * level - 1 if first else 2 * level
        return range(row, row + 1)
    if parts[0] == "to_rgb":
        row = 2 * int(parts[1]) + 1
        return range(row, row + 1)
    return range(max(2 * last - 1, 0), 2 * last + 2)


def with_state(module: LeveledSynthesis, changed: Mapping[str, Tensor]) -> LeveledSynthesis:
    """A network with these tensors replaced and all others shared."""
    return _copy(module, changed)  # type: ignore[return-value]


def _copy(module: nn.Module, changed: Mapping[str, Tensor]) -> nn.Module:
    """Copy only the modules that contain a changed tensor."""
    new: Any = copy.copy(module)
    new._parameters, new._buffers = dict(module._parameters), dict(module._buffers)
    new._modules = dict(module._modules)
    below: dict[str, dict[str, Tensor]] = {}
    for name, tensor in changed.items():
        first, _, rest = name.partition(".")
        if rest:
            below.setdefault(first, {})[rest] = tensor
        elif first in new._parameters:
            leaf = isinstance(tensor, nn.Parameter)
            new._parameters[first] = tensor if leaf else nn.Parameter(tensor, requires_grad=False)
        else:
            new._buffers[first] = tensor
    for child, inner in below.items():
        original = new._modules[child]
        assert original is not None
        new._modules[child] = _copy(original, inner)
    if hasattr(new, "_prepared"):
        new._prepared = None  # of the other weight
    return new
