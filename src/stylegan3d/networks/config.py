"""Configuration of the networks, as plain data stored in a model's card."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal, Self, get_args, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from stylegan3d.base import Json, ModelError

Wiring = Literal["orig", "skip", "resnet"]
Head = Literal["image", "haar"]
BaseInput = Literal["const", "dense"]
EncoderKind = Literal["convolution", "fitting"]
ImageUpsampling = Literal["zeros", "nearest"]
ImageDownsampling = Literal["centred", "shifted"]
Grid = tuple[int, int, int]
#: Axes of a flow's grid are multiples of this: its U-Net halves them twice.
FLOW_UNIT = 4
#: Downsampling factor and channels of an autoencoder's latent.
LATENT_FACTOR, LATENT_CHANNELS = 8, 16


#: How settings from files and words are checked: nothing is converted but 5 to 5.0.
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Config:
    """A frozen dataclass of sizes and choices that a card holds."""

    __pydantic_config__ = STRICT

    def to_dict(self) -> Json:
        """Plain data for JSON."""
        return asdict(self)  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_dict`; refuses unknown fields, which could change the network.

        Raises
        ------
        ModelError
            If an entry is not of its kind or out of its range.
        """
        return typed(cls, data)


@dataclass(frozen=True)
class GeneratorConfig(Config):
    """Everything needed to build the mapping and synthesis networks of a StyleGAN.

    Attributes
    ----------
    base : Grid
        Grid of the constant input, such as (5, 7, 6); every level doubles it.
    channels : tuple of int
        Feature channels of each level, coarse to fine; their number is the number of levels.
    z_dim, w_dim : int
        Sizes of the input latent and of the intermediate latent.
    wiring : Wiring
        `orig` (image from the last level), `skip` (an image at every level, summed) or `resnet`
        (residual levels), as in Karras et al. 2020 (arXiv 1912.04958), Fig. 7.
    base_input : BaseInput
        `const`, the learned constant of StyleGAN, or `dense`, which adds a dense layer of the first
        row of w. If anatomy varies by shape rather than texture, that speeds up training with few
        volumes.
    base_rank : int
        Width of the bottleneck of that dense layer; 0 for none.
    image_const : bool
        Whether a constant image is added to the output of the `skip` wiring, initialised with the
        mean of the training data, so that the network only learns differences between subjects.
    head : Head
        `image`, or `haar`: the last level predicts eight Haar bands of an image twice its grid.
    noise_bands : bool
        With the `haar` head: every layer reads the Haar bands, on its grid, of one white volume of
        the image's grid, each channel with strengths of its own (as in Karras et al. 2019, arXiv
        1812.04948), instead of a map with one strength.
    warps, warp_level : int
        How many velocity fields, weighed by w, on the grid of which level, warp the image, see
        `synthesis.Warp`. 0 for none.
    textures : int
        With `noise_bands`: how many images, weighed by w, the layers of the last level read beside
        the white one, see `synthesis.Texture`. 0 for none.
    flow_channels : tuple of int
        Three widths of the flow that finishes random brains, see `flow.py`; () for none.
    flow_steps : int
        Number of steps along it.
    flow_curves : bool
        Whether curves finish its fine bands, see `flow.py`.
    mapping_layers, mapping_lr_multiplier : int, float
        The mapping network.
    mapping_linear_output : bool
        Whether the mapping's last layer has no activation, so that w can be symmetric about its
        mean.
    mapping_width : int
        Size of the mapping's hidden layers; 0 for that of w.
    size_curves : int
        How many sizes of random brains follow a curve, see `SizeCurves`.
    normalize_z : bool
        Whether the mapping scales its input to unit root mean square.
    label_dim : int
        Size of the label vector; 0 for an unconditional generator.
    resample_kernel : tuple of float
        Taps of the separable low-pass filter used when resampling.
    upsample_gain : float
        Gain of that filter after zero insertion. 8, two to the power of three, preserves the
        amplitude; the original 3D-StyleGAN (Hong et al. 2021) uses 4 as in two dimensions.
    image_upsampling : ImageUpsampling
        How the `skip` wiring doubles its image: `zeros` between the samples, then the filter, or
        the `nearest` sample twice, then the filter with the same gain, as the original 3D-StyleGAN
        does.
    """

    base: Grid = (5, 7, 6)
    channels: tuple[int, ...] = (128, 128, 80, 40)
    z_dim: int = 128
    w_dim: int = 128
    image_channels: int = 1
    wiring: Wiring = "skip"
    base_input: BaseInput = "const"
    base_rank: int = 0
    image_const: bool = False
    head: Head = "image"
    noise_bands: bool = False
    warps: int = 0
    warp_level: int = 0
    textures: int = 0
    flow_channels: tuple[int, ...] = ()
    flow_steps: int = 4
    flow_curves: bool = False
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    mapping_linear_output: bool = False
    mapping_width: int = 0
    size_curves: int = 0
    normalize_z: bool = True
    label_dim: int = 0
    resample_kernel: tuple[float, ...] = (1.0, 3.0, 3.0, 1.0)
    upsample_gain: float = 8.0
    image_upsampling: ImageUpsampling = "zeros"

    def __post_init__(self) -> None:
        sizes = (*self.base, *self.channels, self.z_dim, self.w_dim, self.image_channels)
        counts = (*sizes, self.num_levels, self.mapping_layers)
        if len(self.base) != 3 or min(counts) < 1:
            raise ModelError(
                "The architecture in the model's card is incomplete: it needs a base grid of three "
                "sizes, at least one level of channels and positive latent sizes."
            )

        if self.noise_bands and self.head != "haar":
            raise ModelError("The architecture's noise_bands needs the `haar` head.")
        if self.warps < 0 or not 0 <= self.warp_level < self.num_levels:
            raise ModelError("The architecture's warps must be 0, or positive at an own level.")
        if self.textures < 0 or (self.textures and not self.noise_bands):
            raise ModelError("The architecture's textures must be 0, or positive with noise_bands.")
        if self.flow_channels:
            self._check_flow()
        elif self.flow_curves:
            raise ModelError("The architecture's flow_curves need a flow.")
        if self.image_const and self.wiring != "skip":
            raise ModelError(
                "The architecture's image_const needs the `skip` wiring: it has an image at every "
                "level."
            )

    def _check_flow(self) -> None:
        if len(self.flow_channels) != 3 or min(*self.flow_channels, self.flow_steps) < 1:
            raise ModelError(
                "The architecture's flow needs three positive flow_channels and at least one step."
            )
        if not self.num_details or self.head != "haar" or self.image_channels != 1:
            raise ModelError(
                "The architecture's flow needs textures or a detail_basis, a `haar` head and one "
                "image channel."
            )

    @property
    def num_details(self) -> int:
        """Number of images of details, without which there is no flow."""
        return self.textures

    @property
    def num_velocities(self) -> int:
        """Number of velocity fields of the deformation, 0 for none."""
        return self.warps

    @property
    def velocity_level(self) -> int:
        """Level of their grid."""
        return self.warp_level

    @property
    def num_levels(self) -> int:
        """Number of feature levels, including the base grid."""
        return len(self.channels)

    @property
    def num_layers(self) -> int:
        """Rows of w: one per convolution, and one for the last ToRGB."""
        return 2 * self.num_levels

    def grid(self, level: int) -> Grid:
        """Feature grid of `level` (0 is the base)."""
        a, b, c = (n * 2**level for n in self.base)
        return a, b, c

    @property
    def image_grids(self) -> list[Grid]:
        """Grids of the image levels, coarse to fine; the last is the full image."""
        levels = [self.grid(i) for i in range(self.num_levels)]
        if self.head == "haar":
            levels.append(self.grid(self.num_levels))
        if self.wiring == "skip":
            return levels
        return levels[-2:] if self.head == "haar" else levels[-1:]

    @property
    def layer_grids(self) -> list[Grid]:
        """The grid that each row of w controls."""
        first = [self.grid(0)]
        middle = [self.grid(i) for i in range(1, self.num_levels) for _ in range(2)]
        return [*first, *middle, self.image_grids[-1]]

    @property
    def noise_grids(self) -> list[Grid]:
        """The grid of each layer's noise, coarse to fine."""
        return [self.grid(i) for i in range(self.num_levels) for _ in range(2 if i else 1)]


@dataclass(frozen=True)
class DiscriminatorConfig(Config):
    """Configuration of a discriminator, the mirror image of a generator's levels.

    `detail_gain` multiplies the seven detail bands of a Haar head: they are an order of magnitude
    smaller than the mean, and what tells a sharp volume from a blurred one is in them.
    `packed` volumes are judged together, as channels of one (PacGAN, Lin et al. 2018, arXiv
    1712.04086): that they are alike is then seen at every voxel. `mbstd_group` counts volumes, not
    packs. `mbstd_channels` may be 0: no minibatch standard deviation. `dense_width` is the size of
    the dense layer before the output, 0 for that of the coarsest level. With `patches` every place
    of the base grid is judged by itself, of which the network knows where it is (Isola et al. 2017,
    arXiv 1611.07004).
    `down_kernel` are the taps of the filter before a strided convolution, if not `resample_kernel`.
    `image_downsampling` is where the halved image of the `skip` wiring lies: `centred`, or
    `shifted` by half a voxel as in the original 3D-StyleGAN.
    """

    base: Grid = (5, 7, 6)
    channels: tuple[int, ...] = (128, 96, 64, 32)
    image_channels: int = 1
    wiring: Wiring = "resnet"
    head: Head = "image"
    label_dim: int = 0
    detail_gain: float = 1.0
    packed: int = 1
    mbstd_group: int = 4
    mbstd_channels: int = 1
    dense_width: int = 0
    patches: bool = False
    resample_kernel: tuple[float, ...] = field(default=(1.0, 3.0, 3.0, 1.0))
    down_kernel: tuple[float, ...] = ()
    image_downsampling: ImageDownsampling = "centred"


@dataclass(frozen=True)
class EncoderConfig(Config):
    """Configuration of an encoder: volume -> w (one row per layer).

    `kind` is `convolution`, or `fitting` for a generator with a deformation: see
    `encoder.FittingEncoder`, which has no channels.
    """

    kind: EncoderKind = "convolution"
    base: Grid = (5, 7, 6)
    channels: tuple[int, ...] = (128, 128, 96, 48)
    w_dim: int = 128
    num_layers: int = 8
    image_channels: int = 1
    head: Head = "haar"


def seen_grid(network: DiscriminatorConfig | EncoderConfig) -> Grid:
    """Grid of the volumes that a network from volumes to its base grid reads."""
    factor = 2 ** (len(network.channels) - 1) * (2 if network.head == "haar" else 1)
    a, b, c = (n * factor for n in network.base)
    return a, b, c


#: What a setting must be, by the beginning of the kind of pydantic's error.
EXPECTED = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "string": "a text",
    "dataclass": "an object of settings",
}


def typed(kind: Any, value: Any, name: str = "") -> Any:
    """`value`, which came from JSON, as what the annotation `kind` asks for.

    Raises
    ------
    ModelError
        If it is something else; `name` is the setting's, for the message.
    """
    try:
        return _adapter(kind).validate_json(json.dumps(value))
    except ValidationError as reason:
        raise _refused(kind, reason.errors(include_url=False)[0], name) from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=None if is_dataclass(kind) else STRICT)


def _refused(kind: Any, error: Mapping[str, Any], name: str) -> ModelError:
    """What is wrong with a setting, as a sentence."""
    names = [part for part in error["loc"] if isinstance(part, str)]
    full = ".".join(filter(None, [name, *names])) or "settings"
    for part in names:
        holder, kind = kind, get_type_hints(kind).get(part)
    what, parts = error["type"], get_args(kind)
    if what == "unexpected_keyword_argument":
        return unknown_setting(full, names[-1], get_type_hints(holder))
    if what == "literal_error":
        expected = "one of " + ", ".join(map(str, parts))
    elif what == "tuple_type":
        expected = "a list, such as " + ("[5,7,6]" if int in parts else '["age"]')
    elif what in ("missing", "too_long") and parts:
        expected = f"a list of {len(parts)}"
    elif what == "missing":
        return ModelError(f"The setting {full} is missing: add it.")
    else:
        expected = EXPECTED.get(what.partition("_")[0], error["msg"])
    given = json.dumps(error["input"])
    return ModelError(f"The setting {full} is {given}, but it must be {expected}.")


def unknown_setting(full: str, name: str, known: object) -> ModelError:
    """There is no setting of this name among the known ones; `full` is its whole name."""
    near = get_close_matches(name, [*known] if isinstance(known, Mapping) else [], 1)
    hint = f"did you mean {near[0]}?" if near else "see docs/howto/train.md or update the program."
    return ModelError(f"There is no setting '{full}'; {hint}")


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
        Steepness of the sigmoid applied to details, see `flow.py`; 0 for none.
    toe : bool
        Whether a toe suppresses the dark background, see `flow.py`.
    deformation : int
        Number of learned velocity fields, see `deformation.py`; 0 for none.
    deformation_level : int
        Level of the velocities' grid.
    """

    channels: tuple[int, ...] = ()
    levels: int = 4
    image_basis: int = 0
    detail_basis: int = 0
    fine_taps: tuple[float, ...] = ()
    detail_slope: float = 0.0
    toe: bool = False
    deformation: int = 0
    deformation_level: int = 0

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

    @property
    def num_details(self) -> int:
        """Number of detail images."""
        return self.detail_basis

    @property
    def num_velocities(self) -> int:
        """Number of velocity fields."""
        return self.deformation

    @property
    def velocity_level(self) -> int:
        """Level of their grid."""
        return self.deformation_level

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


def is_anatomy(data: Mapping[str, Any]) -> bool:
    """Whether a generator's settings are those of an anatomy model, which has levels."""
    return "levels" in data


def config_of(data: Mapping[str, Any]) -> GeneratorConfig:
    """The configuration of a StyleGAN or anatomy model from its settings.

    Raises
    ------
    ModelError
        If a setting is unknown or invalid.
    """
    return (AnatomyConfig if is_anatomy(data) else GeneratorConfig).from_dict(dict(data))
