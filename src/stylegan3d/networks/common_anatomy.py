"""What a generator knows of anatomy beside its convolutions: learned images and deformations.

The image is made in one common anatomy, where a constant, basis images and detail images weighed
by components of w are added to what the convolutions make of it, and moved from there by a
deformation that further components of w weigh (`deformation.py`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.networks.config import GeneratorConfig, Grid
from stylegan3d.networks.deformation import (
    Basis,
    add_identity,
    enlarge_smoothly,
    exponential,
    read_at,
    resize,
)
from stylegan3d.networks.finish import DetailTexture, Toe
from stylegan3d.networks.flow import Flow
from stylegan3d.networks.layers import Fingerprint, is_frozen
from stylegan3d.networks.memo import Memo, NoMemo
from stylegan3d.networks.resampling import upsample_image


class CommonAnatomy(nn.Module):
    """The part of a synthesis network that is linear in w, and the deformation."""

    config: GeneratorConfig

    def _add_anatomy(self) -> None:
        """Make the parameters that the configuration asks for."""
        config = self.config
        bands = 8 if config.head == "haar" else 1
        grid = config.grid(config.num_levels - 1)
        self._pooled: dict[int, tuple[Fingerprint, Tensor]] = {}
        if config.image_const:
            self.image_const = nn.Parameter(torch.zeros(config.image_channels * bands, *grid))
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
        if config.flow_channels:
            a, b, c = config.flow_channels
            self.flow = Flow((a, b, c), grid).requires_grad_(False)
        if config.deformation:
            grid = config.grid(config.deformation_level)
            self.velocity_basis = Basis(config.deformation, 3, grid)
            self.velocity_const = nn.Parameter(torch.zeros(3, *grid))
            # Found by registration and kept: the layers learn on top of a fixed anatomy.
            self.velocity_const.requires_grad_(False)
            self.velocity_basis.requires_grad_(False)
            if config.image_basis:
                self.image_basis.requires_grad_(False)

    def velocity(self, w: Tensor) -> Tensor:
        """Velocity field of the deformation, w [N, num_layers, w_dim] -> [N, 3, X, Y, Z].

        Band by band like the basis images: what a level's grid shows and the next coarser one does
        not is weighed by the first row of that level, which leaves the second to the image.
        """
        config = self.config
        total = self.velocity_const[None]
        for level in range(config.deformation_level + 1):
            row = w[:, max(2 * level - 1, 0), : config.deformation]
            field = self.velocity_basis(row)
            band = resize(field, config.grid(level))
            if level:
                band = band - resize(resize(field, config.grid(level - 1)), config.grid(level))
            total = total + resize(band, config.grid(config.deformation_level))
        return total

    def moved(self, image: Tensor, w: Tensor, memo: Memo | None = None) -> Tensor:
        """A canonical image [N, C, X, Y, Z] at the places that w asks for."""
        if not self.config.deformation:
            return image
        grid = _grid_of(image)
        rows = max(2 * self.config.deformation_level, 1)
        points = (memo or NoMemo()).get(
            ("points", grid), rows, lambda: self._points(exponential(self.velocity(w)), grid)
        )
        return self._finished(read_at(image, points))

    def _read(self, image: Tensor, displacement: Tensor) -> Tensor:
        """`image` where the displacement, on the velocities' grid, points to."""
        return self._finished(read_at(image, self._points(displacement, _grid_of(image))))

    def _finished(self, image: Tensor) -> Tensor:
        """The last step to an image, at every level."""
        return self.image_toe(image) if self.config.toe else image

    def _points(self, displacement: Tensor, grid: Grid) -> Tensor:
        """Where each voxel of `grid` is read, [N, 3, X, Y, Z]; see `read_at`."""
        backwards = displacement.flip(1)
        if grid[0] > 2 * displacement.shape[2]:
            # In two steps, the first one smooth: a piecewise linear field would show its kinks.
            larger = enlarge_smoothly(backwards, grid, self.config.resample_kernel)
        else:
            larger = resize(backwards, grid)
        return add_identity(larger)

    def _details(self, w: Tensor, level: int, low_only: bool = False) -> Tensor | None:
        """Weighted sum of the detail images, bands of the last level [N, C, X, Y, Z]."""
        config = self.config
        if not config.detail_basis or level < config.num_levels - 1:
            return None
        rows = w[:, max(2 * level - 1, 0) : 2 * level + 1].mean(dim=1)
        channels = config.image_channels if low_only else None
        details = self.detail_basis(self._detail_weights(w), channels)
        if not config.detail_slope:
            return details
        finished: Tensor = self.detail_texture(details, rows, low_only)
        return finished

    def _detail_weights(self, w: Tensor) -> Tensor:
        """What w [N, num_layers, w_dim] weighs the detail images by, [N, detail_basis]."""
        last = self.config.num_levels - 1
        rows = w[:, max(2 * last - 1, 0) : 2 * last + 1, self.config.details]
        return rows.mean(dim=1)

    def _constant(self, level: int) -> Tensor:
        """The learned constant image at the resolution of a level, [1, C, X, Y, Z]."""
        const = self.image_const[None]
        last = self.config.num_levels - 1
        if level == last:
            return const
        low = const[:, : self.config.image_channels]
        return F.avg_pool3d(low, 2 ** (last - level))

    def _with_constant(self, low: Tensor, level: int) -> Tensor:
        if not self.config.image_const:
            return low
        return low + self._constant(level)[:, : self.config.image_channels]

    def _basis_bands(self, w: Tensor, stop: int | None = None) -> list[Tensor]:
        """What each level up to `stop` adds of the basis images, [N, C, X, Y, Z] on its grid.

        A Laplacian pyramid (Burt, Adelson 1983): a level adds what its grid shows and the next
        coarser one does not, weighed by the mean of the level's own rows of w. So mixing rows mixes
        spatial scales, and where all rows are equal the bands sum to the basis images' plain
        weighted sum.
        """
        config = self.config
        last = config.num_levels - 1
        stop = last if stop is None else stop
        if config.wiring != "skip":
            # One image only: all levels' bands at once.
            return [torch.empty(0)] * last + [self._weighed(w.mean(dim=1), last)]
        bands = []
        for level in range(stop + 1):
            first = max(2 * level - 1, 0)
            if config.deformation and level <= config.deformation_level:
                first = 2 * level  # the level's first row weighs the velocities
            row = w[:, first : 2 * level + 1].mean(dim=1)
            image = self._weighed(row, level)
            if level:
                coarser = self._weighed(row, level - 1)
                image = image - upsample_image(coarser, config.resample_kernel)
            bands.append(image)
        return bands

    def _weighed(self, w: Tensor, level: int) -> Tensor:
        """Weighted sum of the basis images at a level's resolution: w [N, w_dim] -> [N, C, ...]."""
        config = self.config
        weights = w[:, config.deformation : config.deformation + config.image_basis]
        halvings = config.num_levels - 1 - level
        if not halvings:
            return self.image_basis(weights)
        if not is_frozen(self.image_basis.weight):
            return F.avg_pool3d(self.image_basis(weights), 2**halvings)
        # Halving and summing commute: a frozen basis is halved once, not its sum each time.
        pooled = self._pooled_basis(level)
        return (weights @ pooled).reshape(len(w), config.image_channels, *config.grid(level))

    def _pooled_basis(self, level: int) -> Tensor:
        """[count, C X Y Z] basis images at a coarser level, kept while they do not change."""
        known = self._pooled.get(level)
        if known is None or not known[0].matches(self.image_basis.weight):
            halvings = self.config.num_levels - 1 - level
            with torch.inference_mode(False):  # or it could not be differentiated through later
                fields = self.image_basis.fields
                pooled = F.avg_pool3d(fields, 2**halvings).flatten(1)
                known = Fingerprint(self.image_basis.weight), pooled
            self._pooled[level] = known
        return known[1]


def _grid_of(image: Tensor) -> Grid:
    return image.shape[2], image.shape[3], image.shape[4]
