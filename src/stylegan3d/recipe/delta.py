"""Delta: what pivotal tuning changes in a generator so that it reproduces one scan.

Pivotal tuning (Roich et al. 2021, arXiv 2106.05744) fits a few weights, and layer noise can be
fitted likewise. Both are stored with the latent, as float16 differences to the model's weights; the
model's own file is never changed. So is a scan's own noise (`projection/own_noise.py`), as what it
adds to the constant image.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from stylegan3d.errors import LatentError
from stylegan3d.recipe.model import Model

if TYPE_CHECKING:
    from torch import Tensor

NOISE = ".noise"
#: The constant image in the common anatomy.
CONSTANT = "image_const"
#: Of a flow that is open for a scan's own noise, which is then in the constant image.
OPENED = "flow.opened"


@dataclass(frozen=True, eq=False)
class Delta:
    """Differences to the weights and stored noise maps of one generator's synthesis network.

    Attributes
    ----------
    tensors : mapping of str to ndarray
        Name in the network's state (such as "image_const" or "levels.3.plain.noise") to float16
        array of that tensor's shape, to be added to it.

    Raises
    ------
    LatentError
        If it is empty or not finite.
    """

    tensors: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        if not self.tensors:
            raise LatentError("A tuning changes at least one weight or noise map of its model.")
        kept = {}
        for name, values in sorted(self.tensors.items()):
            array = np.array(values, dtype=np.float16)
            if not np.isfinite(array).all():
                raise LatentError("This tuning contains NaN or infinity: create it again.")
            array.setflags(write=False)
            kept[name] = array
        object.__setattr__(self, "tensors", kept)

    @classmethod
    def between(cls, before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> Delta:
        """The differences between tensors of the same names."""
        return cls({k: (after[k] - before[k]).detach().cpu().numpy() for k in after})

    @property
    def noise(self) -> dict[str, np.ndarray]:
        """The part that belongs to noise maps."""
        return {k: v for k, v in self.tensors.items() if k.endswith(NOISE)}

    @property
    def has_own_noise(self) -> bool:
        """Whether it holds the own noise of a scan, or of a mix of scans."""
        return OPENED in self.tensors

    @cached_property
    def digest(self) -> str:
        """sha256 of names and numbers; equal for equal deltas."""
        code = hashlib.sha256()
        for name, values in self.tensors.items():
            code.update(f"{name}{values.shape}".encode())
            code.update(values.tobytes())
        return code.hexdigest()

    def check(self, generator: Model, called: str = "This tuning") -> None:
        """Raise LatentError, naming the tuning `called`, if it does not fit the generator."""
        reason = generator.cannot.get("tuning")
        if reason is not None:
            raise LatentError(f"{called} does not fit {generator.name}. {reason}")
        shapes = generator.tunable_shapes()
        for name, values in self.tensors.items():
            if shapes.get(name) != values.shape:
                raise LatentError(
                    f"{called} changes '{name}', which {generator.name} does not have in that "
                    "form: make it again with this model."
                )


def mixed(
    first: Delta | None,
    second: Delta | None,
    strength: Sequence[float],
    rows_of: Callable[[str], range],
) -> Delta | None:
    """Interpolate from one delta (strength 0) to another (strength 1), layer by layer.

    None stands for an untuned generator. Each tensor follows the mean strength of the rows of w
    that its layer reads, see `Generator.rows_of`. The own noise of a scan follows an arc: half-way
    on a straight line the sum of two unrelated noises would be too weak, and folds blurred.
    """
    if first is None and second is None:
        return None
    tensors: dict[str, np.ndarray] = {}
    for delta, is_second in ((first, False), (second, True)):
        for name, values in (delta.tensors if delta else {}).items():
            share = float(np.mean([strength[row] for row in rows_of(name)]))
            weight = share if is_second else 1 - share
            if delta and delta.has_own_noise and name == CONSTANT:
                weight = math.sin(weight * math.pi / 2)
            part = values.astype(np.float32) * weight
            tensors[name] = tensors[name] + part if name in tensors else part
    return Delta(tensors)
