"""Anatomy model: w -> volume by a deformation, linear appearance images and a flow.

The image is made in one common anatomy, level by level, where a constant, basis images and detail
images weighed by components of w are summed; a deformation that further components of w weigh
moves it from there (`deformation.py`), and a flow carries it to a person's texture (`flow.py`).
There is no convolution but those of the flow; `anatomy_layers.py` adds a StyleGAN's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.networks.anatomy_config import AnatomyConfig
from stylegan3d.networks.cascade import Cascade
from stylegan3d.networks.config import Grid
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
from stylegan3d.networks.leveled import LeveledSynthesis, sum_low
from stylegan3d.networks.memo import Memo, NoMemo
from stylegan3d.networks.noise import Noise, drawn_noise
from stylegan3d.networks.resampling import fine_bands, inverse_haar, upsample_image


@dataclass(frozen=True, eq=False)
class SilentLayers:
    """StyleGAN layers that were left out of a network, for their ToRGBs make nothing.

    Attributes
    ----------
    config : AnatomyConfig
        Of the network with its layers.
    tensors : mapping of str to Tensor
        Theirs, as they are stored.
    """

    config: AnatomyConfig
    tensors: Mapping[str, Tensor]


class AnatomyNetwork(LeveledSynthesis):
    """The synthesis network of an anatomy model without StyleGAN layers.

    Its latents have two rows for each level, as those of a StyleGAN do: of each level the first
    weighs velocities and the second appearance, finer than the velocities both weigh appearance.
    The very last row has no effect.
    """

    config: AnatomyConfig

    def __init__(self, config: AnatomyConfig) -> None:
        super().__init__()
        self.config = config
        self._pooled: dict[int, tuple[Fingerprint, Tensor]] = {}
        # Kept in case somebody tunes them.
        self.silent: SilentLayers | None = None
        self.add_layers()
        self._add_anatomy()

    def add_layers(self) -> None:
        """Make the parameters of layers, of which there are none here."""

    def _add_anatomy(self) -> None:
        """Make the parameters that the configuration asks for."""
        config = self.config
        bands = 8 if config.head == "haar" else 1
        grid = config.grid(config.num_levels - 1)
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
        if config.layout_channels:
            a, b, c = config.layout_channels
            d, e, f = config.fine_channels
            self.cascade = Cascade((a, b, c), (d, e, f), grid, config.fine_taps)
            self.cascade.requires_grad_(False)
        if config.deformation:
            grid = config.grid(config.deformation_level)
            self.velocity_basis = Basis(config.deformation, 3, grid)
            self.velocity_const = nn.Parameter(torch.zeros(3, *grid))
            # Found by registration and kept: the layers learn on top of a fixed anatomy.
            self.velocity_const.requires_grad_(False)
            self.velocity_basis.requires_grad_(False)
            if config.image_basis:
                self.image_basis.requires_grad_(False)

    @property
    def stored_noise(self) -> list[Tensor]:
        """The map of the flow or cascade, if there is one."""
        return [] if self.last_flow is None else [self.last_flow.noise]

    @property
    def last_flow(self) -> Flow | Cascade | None:
        """What the finished image of a random brain passes or is replaced by."""
        if self.config.layout_channels:
            return self.cascade
        return self.flow if self.config.flow_channels else None

    def noise_maps(self, noise: Noise, batch: int = 1) -> list[Tensor | None]:
        """The flow's map; of a seed what comes after the maps of layers, drawn or not.

        So a seed means the same texture for a model with layers and for one without.
        """
        layers = [torch.empty(1, 1, *grid) for grid in self.config.noise_grids]
        return drawn_noise([*layers, *self.stored_noise], noise, batch)[len(layers) :]

    @property
    def has_layer_noise(self) -> bool:
        """Whether the noise of any layer has an effect."""
        return False

    @property
    def has_noise(self) -> bool:
        """Whether noise of a layer or of the flow has an effect."""
        if self.config.layout_channels:
            return True
        flow = self.config.flow_channels and bool(self.flow.noise_strength)
        return flow or self.has_layer_noise

    def pyramid(
        self,
        w: Tensor,
        noise: Noise | list[Tensor | None] = "fixed",
        stop: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> list[Tensor]:
        """The images of all levels up to `stop`, coarse to fine, before the flow.

        That of the last level of a Haar head is the image itself, or its eight bands where there
        is no deformation.
        """
        images = self.canonical(w, noise, stop, dtype)
        if not self.config.deformation:
            return images
        if images[-1].shape[1] == 8 * self.config.image_channels and self.config.head == "haar":
            images[-1] = inverse_haar(images[-1])
        displacement = exponential(self.velocity(w))
        return [
            self.finished(read_at(image, self.points(displacement, _grid_of(image))))
            for image in images
        ]

    def coarse(self, w: Tensor, memo: Memo | None = None) -> Tensor:
        """What the deformation and the levels above the last one make of w.

        The last level has the constant image alone: the mean brain is sharp in it where people are
        alike, and no folds are laid out that a mixture cannot know.

        Returns
        -------
        [N, C, X / 2, Y / 2, Z / 2] for a network with a Haar head, the grid of its bands.
        """
        last = self.config.num_levels - 1
        *_, image = self._walk(w, self._maps("none", len(w)), last - 1, torch.float32)
        return self.moved(self._with_constant(self._doubled(image), last), w, memo)

    def canonical(
        self,
        w: Tensor,
        noise: Noise | list[Tensor | None] = "fixed",
        stop: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> list[Tensor]:
        """As `pyramid`, in the common anatomy: before the deformation, the Haar head as bands."""
        stop = self.config.num_levels - 1 if stop is None else stop
        images = self._walk(w, self._maps(noise, len(w)), stop, dtype)
        return [self._with_constant(image, level) for level, image in enumerate(images)]

    def appearance(self, w: Tensor) -> Tensor:
        """What w [N, num_layers, w_dim] looks like in the common anatomy, without texture.

        [N, C, X, Y, Z]; of a Haar head the low band, at half the image's resolution.
        """
        last = self.config.num_levels - 1
        draft = self.config.head == "haar"
        *_, image = self._walk(w, self._maps("none", len(w)), last, torch.float32, draft=draft)
        return self.finished(self._with_constant(image, last)[:, : self.config.image_channels])

    def smooth_points(self, w: Tensor) -> Tensor:
        """Where the deformation of w reads, as `points`, at twice its own resolution.

        The places on any finer grid lie linearly between these.
        """
        displacement = exponential(self.velocity(w)).flip(1)
        first, *_ = full = self.config.image_grids[-1]
        if first <= 2 * displacement.shape[2]:
            return add_identity(resize(displacement, full))
        x, y, z = (2 * n for n in displacement.shape[2:])
        kernel = self.config.resample_kernel
        return add_identity(enlarge_smoothly(displacement, (x, y, z), kernel))

    def _canonical(
        self,
        w: Tensor,
        maps: list[Tensor | None],
        stop: int,
        dtype: torch.dtype,
        *,
        draft: bool,
        memo: Memo | None,
    ) -> Tensor:
        *_, image = self._walk(w, maps, stop, dtype, draft=draft, memo=memo)
        return self._with_constant(image, stop)

    def _finish(
        self,
        image: Tensor,
        w: Tensor,
        maps: list[Tensor | None],
        dtype: torch.dtype,
        *,
        full: bool,
        memo: Memo | None,
    ) -> Tensor:
        image = self.moved(image, w, memo)
        if not full or self.last_flow is None:
            return image
        return self.flowed(image, w, maps[-1], dtype, memo)

    def _walk(
        self,
        w: Tensor,
        maps: list[Tensor | None],
        stop: int,
        dtype: torch.dtype,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Iterator[Tensor]:
        """The images of the levels up to `stop` without the constant, coarse to fine."""
        memo = memo or NoMemo()
        image: Tensor | None = None
        for level in range(stop + 1):
            make = partial(self._image, w, level, image, draft)
            image = memo.get(("image", level, draft), 2 * level + 1, make)
            yield image

    def _image(self, w: Tensor, level: int, before: Tensor | None, draft: bool) -> Tensor:
        """The image of a level from that of the one before, without the constant."""
        low = self._low(self._terms(w, level, before), level)
        if draft and level == self.config.num_levels - 1:
            return self._drafted(w, low, level)
        bands = 8 if self.config.head == "haar" and level == self.config.num_levels - 1 else 1
        image = low.new_zeros(1, bands * low.shape[1], 1, 1, 1)
        return self._completed(sum_low(image, low), low, self._details(w, level), level)

    def _terms(self, w: Tensor, level: int, before: Tensor | None) -> list[Tensor]:
        """What is summed to a level's low band: the coarser image, its band of basis images."""
        terms = [] if before is None else [self._doubled(before)]
        return [*terms, self._band(w, level)] if self.config.image_basis else terms

    def _low(self, terms: list[Tensor], level: int) -> Tensor:
        """Their sum [N or 1, C, X, Y, Z]."""
        if not terms:
            shape = (self.config.image_channels, *self.config.grid(level))
            return torch.zeros(1, *shape, device=next(self.parameters()).device)
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    def _drafted(self, w: Tensor, low: Tensor, level: int) -> Tensor:
        """The low band of the last level with the details' one."""
        detail = self._details(w, level, low_only=True)
        return low if detail is None else low + detail

    def _completed(self, image: Tensor, low: Tensor, detail: Tensor | None, level: int) -> Tensor:
        """The bands of a level with those that continue its low one, and the details."""
        beyond = self.continued(low, level)
        image = image if beyond is None else image + beyond
        return image if detail is None else image + detail

    def continued(self, low: Tensor, level: int) -> Tensor | None:
        """Bands that continue the low one of the last level [N, C, ...]; its own place is zero."""
        taps = self.config.fine_taps
        if not taps or level < self.config.num_levels - 1:
            return None
        return torch.cat([torch.zeros_like(low), fine_bands(low, taps)], dim=1)

    def flowed(
        self, image: Tensor, w: Tensor, noise: Tensor | None, dtype: torch.dtype, memo: Memo | None
    ) -> Tensor:
        """A whole image [N, 1, X, Y, Z] after the flow or cascade, as far as its details ask."""
        assert self.last_flow is not None
        details = self._detail_weights(w)
        gate = self.last_flow.gate(details)
        if gate.device.type == "cpu" and not bool(gate.any()):
            return image
        memo = memo or NoMemo()

        def make() -> Tensor:
            config = self.config
            if not config.layout_channels:
                return self.flow(image, noise, config.flow_steps, dtype, memo.check)
            coarse = self.coarse(w, memo)
            return self.cascade(coarse, details, noise, config.cascade_steps, dtype, memo.check)

        flowed = memo.get(("flow", dtype), self._rows_read, make)
        return torch.lerp(image, flowed, gate[:, None, None, None, None])

    @property
    def _rows_read(self) -> int:
        """How many rows of w have an effect."""
        return self.config.num_layers - 1

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
            ("points", grid), rows, lambda: self.points(exponential(self.velocity(w)), grid)
        )
        return self.finished(read_at(image, points))

    def finished(self, image: Tensor) -> Tensor:
        """The last step to an image, at every level."""
        return self.image_toe(image) if self.config.toe else image

    def points(self, displacement: Tensor, grid: Grid) -> Tensor:
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

    def _with_constant(self, image: Tensor, level: int) -> Tensor:
        """An image of a level, or its low band, with the constant image."""
        if not self.config.image_const:
            return image
        return image + self._constant(level)[:, : image.shape[1]]

    def _band(self, w: Tensor, level: int) -> Tensor:
        """What a level adds of the basis images, [N, C, X, Y, Z] on its grid.

        A Laplacian pyramid (Burt, Adelson 1983): a level adds what its grid shows and the next
        coarser one does not, weighed by the mean of the level's own rows of w. So mixing rows mixes
        spatial scales, and where all rows are equal the bands sum to the basis images' plain
        weighted sum.
        """
        config = self.config
        first = max(2 * level - 1, 0)
        if config.deformation and level <= config.deformation_level:
            first = 2 * level  # the level's first row weighs the velocities
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
