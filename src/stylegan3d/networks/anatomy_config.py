"""Configuration of an anatomy model: a deformation, appearance images and a flow.

Older files describe such models as StyleGANs with additional settings, by which `config_of`
recognises them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from stylegan3d.errors import ModelError
from stylegan3d.networks.config import GeneratorConfig, Grid


@dataclass(frozen=True)
class AnatomyConfig(GeneratorConfig):
    """Everything needed to build the mapping and synthesis networks of an anatomy model.

    The image is made in one common anatomy as a constant plus images weighted by components of w,
    warped by a deformation, and given realistic texture by a flow. The first `deformation`
    components of w weight velocity fields, the next `image_basis` basis images, the next
    `detail_basis` detail images.

    Attributes
    ----------
    channels : tuple of int
        Always (): only a StyleGAN has feature channels.
    levels : int
        Number of levels.
    refine_layers : int
        Of former networks: how many more maps of noise precede the flow's, see
        `AnatomyNetwork.noise_maps`.
    image_const : bool
        Whether a constant image is added to the output: the mean of the training data.
    image_basis : int
        Number of images added linearly, weighted by components of w, at the last feature level's
        resolution; each row of w controls the spatial frequencies of its level. Initialised with
        the principal components of the training data. 0 for none.
    detail_basis : int
        Number of detail images, in all bands of the last level, weighted by that level's rows. They
        add the texture missing in the smooth basis images. 0 for none.
    fine_taps : tuple of float
        With a Haar head, the later half of the odd filter that extrapolates basis images and
        coarser levels to the seven fine bands, see `resampling.fine_bands`. With () each of their
        samples is a block of eight equal voxels.
    detail_slope : float
        Steepness of the sigmoid applied to details, see `finish.py`; 0 for none.
    toe : bool
        Whether a toe suppresses the dark background, see `finish.py`.
    deformation : int
        Number of learned velocity fields, see `deformation.py`; 0 for none.
    deformation_level : int
        Level of the velocities' grid.
    flow_channels : tuple of int
        Three widths of the flow, see `flow.py`; () for none.
    flow_steps : int
        Number of steps along it.
    flow_curves : bool
        Whether curves finish its fine bands, see `finish.py`.
    """

    channels: tuple[int, ...] = ()
    levels: int = 4
    refine_layers: int = 0
    image_basis: int = 0
    detail_basis: int = 0
    fine_taps: tuple[float, ...] = ()
    detail_slope: float = 0.0
    toe: bool = False
    deformation: int = 0
    deformation_level: int = 0
    flow_channels: tuple[int, ...] = ()
    flow_steps: int = 4
    flow_curves: bool = False

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
        elif self.flow_curves:
            raise ModelError("The architecture's flow_curves need a flow.")
        if self.deformation and not 0 <= self.deformation_level < self.num_levels:
            raise ModelError(
                f"The architecture's deformation level {self.deformation_level} does not exist; "
                f"it has the levels 0 to {self.num_levels - 1}."
            )
        if self.channels:
            raise ModelError("An anatomy model has no channels: set levels, the number of levels.")
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

    @property
    def num_levels(self) -> int:
        """Number of feature resolutions."""
        return self.levels

    @property
    def linear_dim(self) -> int:
        """Number of leading components of w for velocity fields, basis images and details."""
        return self.deformation + self.image_basis + self.detail_basis

    @property
    def details(self) -> slice:
        """The components of w for the details."""
        return slice(self.linear_dim - self.detail_basis, self.linear_dim)

    @property
    def noise_grids(self) -> list[Grid]:
        """The grid of each map of noise that precedes the flow's, coarse to fine."""
        finest = self.grid(self.num_levels - 1)
        return [*super().noise_grids, *[finest] * self.refine_layers]


#: Settings of former cards: of a cascade of flows, which no model has any more.
FORMER = ("layout_channels", "fine_channels", "cascade_steps")
ADDED = {f.name for f in fields(AnatomyConfig)} - {f.name for f in fields(GeneratorConfig)}
#: Settings that a StyleGAN does not have; if all are zero it is not an anatomy model.
MARKS = ("image_basis", "detail_basis", "fine_taps", "deformation", "refine_layers")


def is_anatomy(data: Mapping[str, Any]) -> bool:
    """Whether a generator's settings describe an anatomy model."""
    at_mean = bool(data.get("image_const")) and not data.get("channels")
    return at_mean or any(data.get(name) for name in MARKS)


def config_of(data: Mapping[str, Any]) -> GeneratorConfig:
    """The configuration of a StyleGAN or anatomy model from its settings.

    Raises
    ------
    ModelError
        If a setting is unknown or invalid.
    """
    kind, given = kind_of(data)
    return kind.from_dict(given)


def kind_of(data: Mapping[str, Any]) -> tuple[type[GeneratorConfig], dict[str, Any]]:
    """Class of a configuration, and the settings it has.

    Raises
    ------
    ModelError
        If the model was given a cascade of flows, which this version has no more.
    """
    if data.get("layout_channels"):
        raise ModelError(
            "This model has a cascade of flows, which this version cannot run; train a flow for "
            "it, or open it with the version that made it."
        )
    given = {k: v for k, v in data.items() if k not in FORMER}
    if is_anatomy(data):
        # Former models had layers of a StyleGAN beside their images, one channel width a level.
        levels = {"channels": (), "levels": len(given["channels"])} if given.get("channels") else {}
        return AnatomyConfig, given | levels
    return GeneratorConfig, {k: v for k, v in given.items() if k not in ADDED}
