"""A normal distribution of latents and what noise makes of it, in closed form.

Along the principal directions of subjects' latents the variances are known, and one number stands
for that of everything else. Of such a distribution with noise added, the mean of what lies beneath
(Wiener's filter) and the way of the probability flow from the noise to a latent can be written
down. The network of a diffusion (`latent_diffusion.py`) has only to learn what is left (compare
Wang, Vastola 2024, "The unreasonable effectiveness of Gaussian score approximation for diffusion
models", arXiv 2412.09726).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LatentGaussian(nn.Module):
    """Normal distribution of latents, each element standardised.

    Parameters
    ----------
    directions : int
        K, number of principal directions.
    numbers : int
        D, size of a latent.

    Attributes
    ----------
    basis : Tensor, shape (K, D)
        Orthonormal.
    variances : Tensor, shape (K,)
        Along them.
    rest : Tensor
        The variance in every direction that is orthogonal to all of these.
    middle : Tensor, shape (K,)
        Mean along them; that of the rest is zero.
    """

    basis: Tensor
    variances: Tensor
    rest: Tensor
    middle: Tensor

    def __init__(self, directions: int, numbers: int) -> None:
        super().__init__()
        self.register_buffer("basis", torch.zeros(directions, numbers))
        self.register_buffer("variances", torch.ones(directions))
        self.register_buffer("rest", torch.ones(()))
        self.register_buffer("middle", torch.zeros(directions))

    @classmethod
    def of(
        cls, basis: Tensor, variances: Tensor, rest: Tensor, middle: Tensor | None = None
    ) -> LatentGaussian:
        """With these values."""
        made = cls(*basis.shape).to(basis.device)
        made.basis, made.variances, made.rest = basis, variances, rest
        if middle is not None:
            made.middle = middle
        return made

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, D] -> [N, K] along the directions, and the residual, [N, D]."""
        along = x @ self.basis.T
        return along, x - along @ self.basis

    def join(self, along: Tensor, left: Tensor) -> Tensor:
        """Inverse of `split`."""
        return left + along @ self.basis

    def denoise(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Posterior mean of the latents [N, D] given x [N, D] with noise of sigma [N]."""
        along, left = self.split(x)
        noise = sigma.square()[:, None]
        gain = self.variances / (self.variances + noise)
        along = self.middle + gain * (along - self.middle)
        return self.join(along, left * (self.rest / (self.rest + noise)))

    def error(self, sigma: Tensor) -> Tensor:
        """Mean squared error of `denoise` for a number, [N], if this were the distribution."""
        noise = sigma.square()[:, None]
        count, numbers = self.basis.shape
        along = (self.variances * noise / (self.variances + noise)).sum(dim=1)
        rest = (numbers - count) * (self.rest * noise / (self.rest + noise))[:, 0]
        return (along + rest) / numbers

    def from_normal(self, z: Tensor, sigma: float) -> Tensor:
        """Standard normal z [N, D] to latents with noise of sigma.

        It is where the probability flow (Song et al. 2021, arXiv 2011.13456) carries pure noise:
        the same numbers give the same latent at any sigma.
        """
        along, left = self.split(z)
        along = self.middle + along * (self.variances + sigma**2).sqrt()
        return self.join(along, left * (self.rest + sigma**2).sqrt())

    def to_normal(self, x: Tensor, sigma: float) -> Tensor:
        """Inverse of `from_normal`."""
        along, left = self.split(x)
        along = (along - self.middle) / (self.variances + sigma**2).sqrt()
        return self.join(along, left / (self.rest + sigma**2).sqrt())
