"""Anatomy model: w -> volume by a deformation, linear appearance images and a flow.

The image is made in one common anatomy, level by level, as the sum of a constant, basis images and
detail images weighted by components of w; a deformation controlled by further components warps it
(`deformation.py`), and a flow adds realistic texture (`flow.py`). Only the flow has convolutions.
"""

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.networks.config import AnatomyConfig
from stylegan3d.networks.deformation import Basis, velocity_of
from stylegan3d.networks.flow import DetailTexture, Toe
from stylegan3d.networks.memo import Memo, NoMemo
from stylegan3d.networks.resampling import fine_bands, upsample_image
from stylegan3d.networks.synthesis import Fingerprint, Inputs, LeveledSynthesis, is_frozen, sum_low


class AnatomyNetwork(LeveledSynthesis):
    """The synthesis network of an anatomy model.

    Its latents have two rows per level, like those of a StyleGAN: the first controls velocities and
    the second appearance; at levels finer than the velocities both control appearance. The last row
    has no effect.
    """

    config: AnatomyConfig

    def __init__(self, config: AnatomyConfig) -> None:
        super().__init__()
        self.config = config
        self._pooled: dict[int, tuple[Fingerprint, Tensor]] = {}
        bands = 8 if config.head == "haar" else 1
        grid = config.grid(config.num_levels - 1)
        self.add_constant()
        if config.image_basis:
            self.image_basis = Basis(config.image_basis, config.image_channels, grid)
        if config.detail_basis:
            self.detail_basis = Basis(config.detail_basis, config.image_channels * bands, grid)
            self.detail_basis.requires_grad_(False)
        if config.detail_slope:
            haar_head = config.head == "haar"
            self.detail_texture = DetailTexture(config.detail_slope, haar_head, config.w_dim, grid)
        if config.toe:
            self.image_toe = Toe()
        self.add_flow()
        if config.deformation:
            grid = config.grid(config.deformation_level)
            self.velocity_basis = Basis(config.deformation, 3, grid)
            self.velocity_const = nn.Parameter(torch.zeros(3, *grid))
            self.velocity_const.requires_grad_(False)
            self.velocity_basis.requires_grad_(False)
            if config.image_basis:
                self.image_basis.requires_grad_(False)

    @property
    def stored_noise(self) -> list[Tensor]:
        """The noise map of the flow, if any."""
        return [] if self.last_flow is None else [self.last_flow.noise]

    @property
    def has_white_noise(self) -> bool:
        """The flow's is."""
        return True

    def appearance(self, w: Tensor) -> Tensor:
        """The image of w [N, num_layers, w_dim] in the common anatomy, without texture.

        [N, C, X, Y, Z]; with a Haar head the low band, at half the image's resolution.
        """
        last = self.config.num_levels - 1
        draft = self.config.head == "haar"
        *_, image = self._walk(w, last, draft=draft)
        return self.finished(self._with_constant(image, last)[:, : self.config.image_channels])

    def _canonical(self, inputs: Inputs, stop: int, *, draft: bool) -> Tensor:
        *_, image = self._walk(inputs.w, stop, draft=draft, memo=inputs.memo)
        return self._with_constant(image, stop)

    def _walk(
        self, w: Tensor, stop: int, *, draft: bool = False, memo: Memo | None = None
    ) -> Iterator[Tensor]:
        """Images of the levels up to `stop` without the constant, coarse to fine."""
        memo = memo or NoMemo()
        image: Tensor | None = None
        for level in range(stop + 1):
            make = partial(self._image, w, level, image, draft)
            image = memo.get(("image", level, draft), 2 * level + 1, make)
            yield image

    def _image(self, w: Tensor, level: int, before: Tensor | None, draft: bool) -> Tensor:
        """Image of a level from that of the previous one, without the constant.

        All bands of the last level of a Haar head, or with `draft` only the low one.
        """
        config = self.config
        terms = [] if before is None else [self._doubled(before)]
        if config.image_basis:
            terms.append(self._band(w, level))
        low = w.new_zeros(1, config.image_channels, *config.grid(level))
        if terms:
            low = terms[0] if len(terms) == 1 else terms[0] + terms[1]
        if level < config.num_levels - 1:
            return low
        detail = self._details(w, low_only=draft)
        if not draft and config.head == "haar":
            fine = self.continued(low)
            low = sum_low(low.new_zeros(1, 8 * low.shape[1], 1, 1, 1), low)
            low = low if fine is None else low + fine
        return low if detail is None else low + detail

    def continued(self, low: Tensor) -> Tensor | None:
        """Fine bands extrapolated from the low one of the last level [N, C, ...], which is zero."""
        if not self.config.fine_taps:
            return None
        return torch.cat([torch.zeros_like(low), fine_bands(low, self.config.fine_taps)], dim=1)

    @property
    def rows_read(self) -> int:
        """Number of first rows of w that have an effect."""
        return self.config.num_layers - 1

    def velocity(self, w: Tensor) -> Tensor:
        """Velocity field of the deformation, w [N, num_layers, w_dim] -> [N, 3, X, Y, Z].

        Band by band like the basis images: frequencies that a level's grid resolves and the next
        coarser one does not are weighted by the first row of that level; the second controls the
        image.
        """
        levels, count = range(self.config.deformation_level + 1), self.config.deformation
        weights = [w[:, max(2 * level - 1, 0), :count] for level in levels]
        grids = [self.config.grid(level) for level in levels]
        return velocity_of(self.velocity_basis, self.velocity_const, weights, grids)

    def finished(self, image: Tensor) -> Tensor:
        """The final processing of an image, at every level."""
        return self.image_toe(image) if self.config.toe else image

    def _details(self, w: Tensor, low_only: bool = False) -> Tensor | None:
        """Weighted sum of the detail images, as bands of the last level [N, C, X, Y, Z]."""
        config = self.config
        if not config.detail_basis:
            return None
        rows = w[:, self.detail_rows].mean(dim=1)
        channels = config.image_channels if low_only else None
        details = self.detail_basis(self.detail_weights(w), channels)
        if not config.detail_slope:
            return details
        finished: Tensor = self.detail_texture(details, rows, low_only)
        return finished

    def detail_weights(self, w: Tensor) -> Tensor:
        """Weights of the detail images from w [N, num_layers, w_dim], [N, detail_basis]."""
        return w[:, self.detail_rows, self.config.details].mean(dim=1)

    @property
    def detail_rows(self) -> slice:
        """The rows of w whose mean weighs the detail images: those of the last level."""
        last = self.config.num_levels - 1
        return slice(max(2 * last - 1, 0), 2 * last + 1)

    def detail_shift(self, change: Tensor) -> Tensor:
        """See `LeveledSynthesis.detail_shift`."""
        shift = change.new_zeros(self.config.w_dim)
        shift[self.config.details] = change
        return shift

    def _band(self, w: Tensor, level: int) -> Tensor:
        """Contribution of the basis images to a level, [N, C, X, Y, Z] on its grid.

        A Laplacian pyramid (Burt, Adelson 1983): a level adds the frequencies that its grid
        resolves and the next coarser one does not, weighted by the mean of the level's rows of w.
        So mixing rows mixes spatial scales, and with equal rows the bands sum to the plain weighted
        sum.
        """
        config = self.config
        first = max(2 * level - 1, 0)
        if config.deformation and level <= config.deformation_level:
            first = 2 * level  # the level's first row controls the velocities
        row = w[:, first : 2 * level + 1].mean(dim=1)
        image = self._weighed(row, level)
        if level:
            image = image - upsample_image(self._weighed(row, level - 1), config.resample_kernel)
        return image

    def _weighed(self, w: Tensor, level: int) -> Tensor:
        """Weighted sum of the basis images at a level's resolution: w [N, w_dim] -> [N, C, ...]."""
        config = self.config
        weights = w[:, config.deformation : config.deformation + config.image_basis]
        halvings = config.num_levels - 1 - level
        if not halvings:
            return self.image_basis(weights)
        if not is_frozen(self.image_basis.weight):
            return F.avg_pool3d(self.image_basis(weights), 2**halvings)
        # Downsampling and summing commute: a frozen basis is downsampled once.
        pooled = self._pooled_basis(level)
        return (weights @ pooled).reshape(len(w), config.image_channels, *config.grid(level))

    def _pooled_basis(self, level: int) -> Tensor:
        """[count, C X Y Z] basis images at a coarser level, cached while unchanged."""
        known = self._pooled.get(level)
        if known is None or not known[0].matches(self.image_basis.weight):
            halvings = self.config.num_levels - 1 - level
            with torch.inference_mode(False):  # otherwise gradients could not be computed later
                weight = self.image_basis.weight
                # A few at a time: all of them on the whole grid take hundreds of MB.
                few = torch.eye(len(weight), device=weight.device).split(8)
                pooled = [F.avg_pool3d(self.image_basis(one), 2**halvings) for one in few]
                known = Fingerprint(weight), torch.cat(pooled).flatten(1)
            self._pooled[level] = known
        return known[1]
