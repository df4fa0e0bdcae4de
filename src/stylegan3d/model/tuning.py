"""What a projection changes in a generator to make it show one scan: a small delta.

Pivotal tuning (Roich et al. 2021, arXiv 2106.05744) fits a few weights, and layer noise can be
fitted likewise. Both are kept as differences to the model's own numbers, in half precision, beside
the latent they were fitted with; the model's file stays what it is.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from stylegan3d.errors import LatentError
from stylegan3d.model.families.stylegan import style_network

if TYPE_CHECKING:
    from stylegan3d.model.family import Shape
    from stylegan3d.model.generator import Generator
    from stylegan3d.networks.config import GeneratorConfig
    from stylegan3d.networks.synthesis import SynthesisNetwork

NOISE = ".noise"


@dataclass(frozen=True, eq=False)
class Delta:
    """Differences to the weights and stored noise maps of one generator's synthesis network.

    Attributes
    ----------
    tensors : name in the network's state (such as "image_const" or "levels.3.plain.noise") ->
        float16 array of that tensor's shape, to be added to it.

    Raises
    ------
    LatentError
        If there is nothing in it or it is not finite.
    """

    tensors: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        if not self.tensors:
            raise LatentError("A tuning changes at least one weight or noise map of its model.")
        kept = {}
        for name, values in sorted(self.tensors.items()):
            array = np.array(values, dtype=np.float16)
            if not np.isfinite(array).all():
                raise LatentError("This tuning holds NaN or infinity: make it again.")
            array.setflags(write=False)
            kept[name] = array
        object.__setattr__(self, "tensors", kept)

    @classmethod
    def between(cls, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Delta:
        """What leads from some named tensors to others of the same names."""
        return cls({k: (after[k] - before[k]).detach().cpu().numpy() for k in after})

    @property
    def noise(self) -> dict[str, np.ndarray]:
        """The part that belongs to noise maps."""
        return {k: v for k, v in self.tensors.items() if k.endswith(NOISE)}

    @cached_property
    def digest(self) -> str:
        """sha256 of names and numbers; equal for equal deltas."""
        code = hashlib.sha256()
        for name, values in self.tensors.items():
            code.update(f"{name}{values.shape}".encode())
            code.update(values.tobytes())
        return code.hexdigest()

    def check(self, generator: Generator, called: str = "This tuning") -> None:
        """LatentError, with the tuning `called` so, if it does not fit the generator."""
        reason = generator.cannot.get("tuning")
        if reason is not None:
            raise LatentError(f"{called} does not fit {generator.name}. {reason}")
        state = tunable(style_network(generator))
        for name, values in self.tensors.items():
            if name not in state or tuple(state[name].shape) != values.shape:
                raise LatentError(
                    f"{called} changes '{name}', which {generator.name} does not have in that "
                    "form: make it again with this model."
                )

    def applied(self, synthesis: SynthesisNetwork) -> SynthesisNetwork:
        """A network that differs from `synthesis` by this delta; the rest is shared with it."""
        state = tunable(synthesis)
        changed = {
            name: state[name].detach() + torch.from_numpy(values.astype(np.float32)).to(state[name])
            for name, values in self.tensors.items()
        }
        return with_state(synthesis, changed)


def mixed(
    first: Delta | None, second: Delta | None, strength: Sequence[float], config: Shape
) -> Delta | None:
    """From one delta (strength 0) to another (strength 1), layer by layer; None is no change.

    Each tensor follows the mean strength of the rows of w that its layer reads.
    """
    from stylegan3d.networks.config import GeneratorConfig

    if first is None and second is None:
        return None
    assert isinstance(config, GeneratorConfig)  # nothing else can be tuned
    tensors: dict[str, np.ndarray] = {}
    for delta, is_second in ((first, False), (second, True)):
        for name, values in (delta.tensors if delta else {}).items():
            share = float(np.mean([strength[row] for row in rows_of(name, config)]))
            part = values.astype(np.float32) * (share if is_second else 1 - share)
            tensors[name] = tensors[name] + part if name in tensors else part
    return Delta(tensors)


def tunable(synthesis: nn.Module) -> dict[str, Tensor]:
    """What a delta may change: the parameters and the stored noise maps, by name."""
    noise = {k: v for k, v in synthesis.named_buffers() if k.endswith(NOISE)}
    return {**dict(synthesis.named_parameters()), **noise}


def rows_of(name: str, config: GeneratorConfig) -> range:
    """The rows of w that the layer of a tensor reads; of the whole image those of the last level.

    As in `Level.rows`: a level's first row drives its upsampling layer, the second the others, and
    the one after that its image.
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


def with_state(module: SynthesisNetwork, changed: Mapping[str, Tensor]) -> SynthesisNetwork:
    """A network with other tensors of these names, that shares all its other ones."""
    return _copy(module, changed)  # type: ignore[return-value]


def _copy(module: nn.Module, changed: Mapping[str, Tensor]) -> nn.Module:
    """Copy the modules on the way to each changed tensor, and only those."""
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
