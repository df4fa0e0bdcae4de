"""Encoder for a generator with a deformation: estimate it, undo it, then fit the appearance.

Shape and appearance cannot be estimated at once, since the basis images belong to the common
anatomy. So the encoder estimates the weights of the velocity fields linearly from the coarse
volume, warps the volume to the common anatomy, and corrects the estimate from the remaining
difference to the average, a few times. The corrections are linear maps learned by regression, as in
active appearance models (Cootes, Edwards, Taylor 2001, PAMI 23(6)) and supervised descent (Xiong,
De la Torre 2013, CVPR); ReStyle also refines iteratively, with a convolutional encoder (Alaluf et
al. 2021, arXiv 2104.02699). The weights of the basis images are then a projection. Details are
omitted, since the detail images cannot represent a scan's own texture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.errors import ModelError
from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import EncoderConfig
from stylegan3d.networks.deformation import exponential, resize, warp
from stylegan3d.networks.encoder import Encoder
from stylegan3d.networks.leveled import LeveledSynthesis

# Log variance of a latent without uncertainty.
CERTAIN = -8.0


def build_encoder(config: EncoderConfig, synthesis: LeveledSynthesis) -> Encoder | FittingEncoder:
    """Build the encoder of a configuration for a generator."""
    if config.kind != "fitting":
        return Encoder(config)
    if not isinstance(synthesis, AnatomyNetwork):
        raise ModelError("A fitting encoder needs an anatomy model, whose deformation it finds.")
    return FittingEncoder(config, synthesis)


class FittingEncoder(nn.Module):
    """Volume -> w via the common anatomy of a generator.

    Attributes
    ----------
    start : torch.nn.Linear
        From the coarse volume (minus `start_mean`, inside the velocity basis) to weights.
    correct : torch.nn.Linear or None
        From the difference to the average in the common anatomy, at the last level's resolution
        and inside the image basis, to a correction of the weights; None without corrections.
    """

    start_mean: Tensor

    def __init__(self, config: EncoderConfig, synthesis: AnatomyNetwork) -> None:
        super().__init__()
        self.config = config
        # Not a submodule, since its weights are saved with the generator.
        self._synthesis = (synthesis,)
        generator = synthesis.config
        fields, coarse = generator.deformation, synthesis.velocity_basis.weight.shape[2]
        fine = synthesis.image_basis.weight.shape[2]
        self.start = nn.Linear(coarse, fields)
        self.correct = nn.Linear(fine, fields) if config.corrections else None
        self.register_buffer("start_mean", torch.zeros(coarse))
        for layer in (self.start, self.correct):
            if layer is not None:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)
        self.requires_grad_(False)

    @property
    def synthesis(self) -> AnatomyNetwork:
        """The generator's synthesis network."""
        return self._synthesis[0]

    def belong_to(self, synthesis: AnatomyNetwork) -> None:
        """Use another synthesis network."""
        self._synthesis = (synthesis,)

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """[N, C, X, Y, Z] in [-1, 1] -> w [N, num_layers, w_dim]; `dtype` is ignored."""
        weights = self.start(self.coarse(image))
        if self.correct is not None:
            for _ in range(self.config.corrections):
                weights = weights + self.correct(self.inside(self.canonical(image, weights)))
        inside = self.inside(self.canonical(image, weights))
        appearance = self.synthesis.image_basis.weights_of(inside)
        w = torch.cat([weights, appearance], dim=1)
        w = F.pad(w, (0, self.synthesis.config.w_dim - w.shape[1]))
        return w[:, None].expand(-1, self.synthesis.config.num_layers, -1)

    def posterior(self, image: Tensor, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Latent and log variance [N, w_dim]; the variance is negligible."""
        w = self(image, dtype)[:, 0]
        return w, torch.full_like(w, CERTAIN)

    def coarse(self, image: Tensor) -> Tensor:
        """[N, 1, X, Y, Z] -> [N, voxels inside the velocity basis], the input of `start`."""
        basis = self.synthesis.velocity_basis
        low = resize(image[:, :1], _shape(basis.inside))
        return low.flatten(1)[:, basis.inside.flatten()] - self.start_mean

    def canonical(self, image: Tensor, weights: Tensor) -> Tensor:
        """Warp a volume to the common anatomy, at the last level's resolution.

        Parameters
        ----------
        image : Tensor, shape (N, 1, X, Y, Z)
            Values in [-1, 1].
        weights : Tensor, shape (N, fields)
            Weights of the velocity basis.

        Returns
        -------
        Tensor
            [N, 1, X', Y', Z'] minus the generator's constant image.
        """
        synthesis = self.synthesis
        config = synthesis.config
        grid = config.grid(config.num_levels - 1)
        velocity = synthesis.velocity_const + synthesis.velocity_basis(weights)
        displacement = resize(exponential(-velocity), grid)
        moved = warp(resize(image, grid), displacement)
        return moved - synthesis.image_const[None, : config.image_channels]

    def inside(self, canonical: Tensor) -> Tensor:
        """[N, 1, X, Y, Z] -> [N, voxels inside the image basis]"""
        return canonical.flatten(1)[:, self.synthesis.image_basis.inside.flatten()]

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *args: object) -> None:
        # The number of voxels inside the bases depends on the data.
        for name in ("start", "correct"):
            stored = state.get(f"{prefix}{name}.weight")
            if stored is not None:
                layer = nn.Linear(stored.shape[1], stored.shape[0])
                setattr(self, name, layer.to(stored.device).requires_grad_(False))
        mean = state.get(f"{prefix}start_mean")
        if mean is not None:
            self.start_mean = torch.zeros_like(self.start_mean).new_zeros(mean.shape)
        super()._load_from_state_dict(state, prefix, *args)


def _shape(mask: Tensor) -> tuple[int, int, int]:
    return mask.shape[0], mask.shape[1], mask.shape[2]
