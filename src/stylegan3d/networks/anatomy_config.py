"""The shape of an anatomy model: a deformation, linear appearance images, a flow, maybe layers.

Such models were once written down as StyleGANs with more settings; `config_of` tells the two apart
by these settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from stylegan3d.errors import ModelError
from stylegan3d.networks.config import GeneratorConfig, Grid


@dataclass(frozen=True)
class AnatomyConfig(GeneratorConfig):
    """Everything needed to build the mapping and synthesis networks of an anatomy model.

    The image is made in one common anatomy as a constant plus images that components of w weigh,
    moved from there by a deformation, and carried to a person's texture by a flow. The first
    `deformation` components of w weigh velocity fields, the next `image_basis` basis images, the
    next `detail_basis` detail images.

    Attributes
    ----------
    channels : tuple of int
        Feature channels of the StyleGAN layers that add to the image, coarse to fine; () for a
        model without layers. `wiring`, `base_input`, `upsample_gain` and `refine_layers` are
        settings of these layers.
    levels : int
        Number of levels of a model without layers; else it is that of `channels`.
    refine_layers : int
        Further convolutions at the last level, which also see the image made so far: what turns a
        soft image of the right anatomy into a sharp one. They share the level's last row of w.
    image_const : bool
        Whether a learned constant image is added to the output. Started at the mean of the training
        data it leaves the network only the differences between subjects to learn.
    image_basis : int
        Number of learned images that components of w add to the output linearly, at the last
        feature level's resolution; each row of w weighs the spatial frequencies of its level. They
        start at the principal components of the training data. 0 for none.
    detail_basis : int
        Number of images that further components of w add at the last level, all its bands, weighed
        by that level's rows. They carry the texture that the few smooth basis images leave out. 0
        for none.
    fine_taps : tuple of float
        With a Haar head, the later half of the odd filter that continues the basis images and the
        coarser levels into the seven fine bands, see `resampling.fine_bands`. Without it each of
        their samples is a block of eight equal voxels; () for that.
    detail_slope : float
        Steepness of the sigmoid that the details pass, see `finish.py`; 0 for none.
    toe : bool
        Whether the image's dark end is pulled to nothing, see `finish.py`.
    deformation : int
        Number of learned velocity fields, see `deformation.py`; 0 for none.
    deformation_level : int
        The level on whose grid the velocities lie.
    flow_channels : tuple of int
        Three widths of the flow that carries the finished image from the linear model's brains to
        subjects', see `flow.py`; () for none.
    flow_steps : int
        How many steps along it.
    layout_channels, fine_channels : tuple of int
        Three widths of each flow of a cascade, which draws folds and texture of random brains from
        noise, see `cascade.py`; () for none.
    cascade_steps : int
        How many steps along each.
    """

    channels: tuple[int, ...] = ()
    levels: int = 4
    refine_layers: int = 0
    image_const: bool = False
    image_basis: int = 0
    detail_basis: int = 0
    fine_taps: tuple[float, ...] = ()
    detail_slope: float = 0.0
    toe: bool = False
    deformation: int = 0
    deformation_level: int = 0
    flow_channels: tuple[int, ...] = ()
    flow_steps: int = 4
    layout_channels: tuple[int, ...] = ()
    fine_channels: tuple[int, ...] = ()
    cascade_steps: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        bases = (self.image_basis, self.detail_basis, self.deformation)
        if min(bases) < 0 or self.linear_dim > self.w_dim:
            raise ModelError(
                f"The architecture's bases have {self.linear_dim} fields, but w has only "
                f"{self.w_dim} components to weigh them."
            )
        if self.detail_slope < 0 or (self.detail_slope and not self.detail_basis):
            raise ModelError(
                "The architecture's detail_slope must be 0, or positive beside a detail_basis."
            )
        if self.fine_taps and self.head != "haar":
            raise ModelError(
                "The architecture's fine_taps need a `haar` head, which has fine bands."
            )
        if self.toe and not self.deformation:
            raise ModelError("The architecture's toe needs a deformation, after which it comes.")
        if self.flow_channels:
            self._check_flow()
        if self.layout_channels or self.fine_channels:
            self._check_cascade()
        if self.deformation and not 0 <= self.deformation_level < self.num_levels:
            raise ModelError(
                f"The architecture's deformation level {self.deformation_level} does not exist; "
                f"it has the levels 0 to {self.num_levels - 1}."
            )
        if self.wiring != "skip":
            raise ModelError(
                "An anatomy model needs the `skip` wiring: it has an image at every level."
            )

    def _check_flow(self) -> None:
        if len(self.flow_channels) != 3 or min(*self.flow_channels, self.flow_steps) < 1:
            raise ModelError(
                "The architecture's flow needs three positive flow_channels and at least one step."
            )
        if not self.detail_basis or self.head != "haar" or self.image_channels != 1:
            raise ModelError(
                "The architecture's flow needs a detail_basis, a `haar` head and one image channel."
            )

    def _check_cascade(self) -> None:
        widths = (self.layout_channels, self.fine_channels)
        if any(len(w) != 3 for w in widths) or min(*map(min, widths), self.cascade_steps) < 1:
            raise ModelError(
                "The architecture's cascade needs three positive layout_channels and "
                "fine_channels, and at least one step."
            )
        last = self.grid(self.num_levels - 1)
        if self.flow_channels or not self.deformation or any(n % 2 for n in last):
            raise ModelError(
                "The architecture's cascade needs a deformation and a last level of even sides, "
                "and takes the place of a flow."
            )
        if not self.detail_basis or self.head != "haar" or self.image_channels != 1:
            raise ModelError(
                "The architecture's cascade needs a detail_basis, a `haar` head and one image "
                "channel."
            )

    @property
    def num_levels(self) -> int:
        """Number of resolutions below that of a Haar head's image."""
        return len(self.channels) or self.levels

    @property
    def linear_dim(self) -> int:
        """Leading components of w that weigh velocity fields, basis images and details."""
        return self.deformation + self.image_basis + self.detail_basis

    @property
    def details(self) -> slice:
        """The components of w that weigh the details."""
        return slice(self.linear_dim - self.detail_basis, self.linear_dim)

    @property
    def noise_grids(self) -> list[Grid]:
        """The grid of each layer's noise, coarse to fine, also where the layers were left out."""
        finest = self.grid(self.num_levels - 1)
        return [*super().noise_grids, *[finest] * self.refine_layers]

    def without_layers(self) -> AnatomyConfig:
        """The same model without its StyleGAN layers."""
        return replace(self, channels=(), levels=self.num_levels)


#: The settings that a StyleGAN does not have; those at nought make no anatomy model.
ADDED = {f.name for f in fields(AnatomyConfig)} - {f.name for f in fields(GeneratorConfig)}
MARKS = ("image_const", "image_basis", "detail_basis", "fine_taps", "deformation", "refine_layers")


def is_anatomy(data: Mapping[str, Any]) -> bool:
    """Whether a generator's settings are those of an anatomy model, not of a StyleGAN."""
    return any(data.get(name) for name in MARKS)


def config_of(data: Mapping[str, Any]) -> GeneratorConfig:
    """The configuration that settings describe, of a StyleGAN or of an anatomy model.

    Raises
    ------
    ModelError
        If a setting is unknown or impossible.
    """
    kind, given = kind_of(data)
    return kind.from_dict(given)


def kind_of(data: Mapping[str, Any]) -> tuple[type[GeneratorConfig], dict[str, Any]]:
    """The class of configuration that settings are of, and those of them that it has."""
    if is_anatomy(data):
        return AnatomyConfig, dict(data)
    return GeneratorConfig, {k: v for k, v in data.items() if k not in ADDED}
