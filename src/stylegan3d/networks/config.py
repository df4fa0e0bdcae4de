"""Configuration of the networks, as plain data stored in a model's card."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from stylegan3d.errors import ModelError
from stylegan3d.plain import Json

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


@dataclass(frozen=True)
class GeneratorConfig:
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
    image_const : bool
        Whether a constant image is added to the output of the `skip` wiring, initialised with the
        mean of the training data, so that the network only learns differences between subjects.
    head : Head
        `image`, or `haar`: the last level predicts eight Haar bands of an image twice its grid.
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
    image_const: bool = False
    head: Head = "image"
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
        choices = {
            "wiring": ("orig", "skip", "resnet"),
            "base_input": ("const", "dense"),
            "head": ("image", "haar"),
            "image_upsampling": ("zeros", "nearest"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ModelError(
                    f"The architecture's {name} '{getattr(self, name)}' is unknown; "
                    f"choose one of {', '.join(known)}."
                )
        sizes = (*self.base, *self.channels, self.z_dim, self.w_dim, self.image_channels)
        counts = (*sizes, self.num_levels, self.mapping_layers)
        if len(self.base) != 3 or min(counts) < 1:
            raise ModelError(
                "The architecture in the model's card is incomplete: it needs a base grid of three "
                "sizes, at least one level of channels and positive latent sizes."
            )

        if self.image_const and self.wiring != "skip":
            raise ModelError(
                "The architecture's image_const needs the `skip` wiring: it has an image at every "
                "level."
            )

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

    def to_dict(self) -> Json:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_dict`; refuses unknown fields, which could change the network."""
        return cls(**known_fields(cls, data))


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Configuration of a discriminator, the mirror image of a generator's levels.

    `detail_gain` multiplies the seven detail bands of a Haar head: they are an order of magnitude
    smaller than the mean, and what tells a sharp volume from a blurred one is in them.
    `packed` volumes are judged together, as channels of one (PacGAN, Lin et al. 2018, arXiv
    1712.04086): that they are alike is then seen at every voxel. `mbstd_group` counts volumes, not
    packs. `mbstd_channels` may be 0: no minibatch standard deviation. `dense_width` is the size of
    the dense layer before the output, 0 for that of the coarsest level.
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
    resample_kernel: tuple[float, ...] = field(default=(1.0, 3.0, 3.0, 1.0))
    down_kernel: tuple[float, ...] = ()
    image_downsampling: ImageDownsampling = "centred"

    def to_dict(self) -> Json:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DiscriminatorConfig:
        """Inverse of `to_dict`."""
        return cls(**known_fields(cls, data))


@dataclass(frozen=True)
class EncoderConfig:
    """Configuration of an encoder: volume -> w (one row per layer).

    A linear function of the volume at half resolution, the counterpart of the generator's
    `image_basis`, is added to the first `linear` components of w.

    `kind` is `convolution`, or `fitting` for a generator with a deformation: see `fitting.py`,
    which has no channels and corrects its estimate `corrections` times.
    """

    kind: EncoderKind = "convolution"
    corrections: int = 3

    base: Grid = (5, 7, 6)
    channels: tuple[int, ...] = (128, 128, 96, 48)
    w_dim: int = 128
    num_layers: int = 8
    image_channels: int = 1
    head: Head = "haar"
    linear: int = 0

    def to_dict(self) -> Json:
        """Plain data for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EncoderConfig:
        """Inverse of `to_dict`."""
        return cls(**known_fields(cls, data))


def seen_grid(network: DiscriminatorConfig | EncoderConfig) -> Grid:
    """Grid of the volumes that a network from volumes to its base grid reads."""
    factor = 2 ** (len(network.channels) - 1) * (2 if network.head == "haar" else 1)
    a, b, c = (n * factor for n in network.base)
    return a, b, c


def known_fields(cls: type, data: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments for the dataclass `cls`; lists become tuples, unknown fields are refused.

    Raises
    ------
    ModelError
        If `data` has an unknown field or a value of the wrong type.
    """
    kinds = {f.name: str(f.type) for f in fields(cls)}
    strangers = sorted(set(data) - set(kinds))
    if strangers:
        raise ModelError(
            f"The setting '{strangers[0]}' of the model or run is unknown: it was written by a "
            "newer version, so update this program to open it."
        )
    known = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    for name, value in known.items():
        if not _is_of(kinds[name], value):
            raise ModelError(f"The setting '{name}' of the model or run is no {kinds[name]}.")
    return known


def _is_of(kind: str, value: object) -> bool:
    """Whether a value from a file has the annotated type."""
    if kind == "bool":
        return isinstance(value, bool)
    whole = kind == "int" or kind == "Grid" or kind.startswith("tuple[int")
    if not whole and kind != "float" and not kind.startswith("tuple[float"):
        return True
    many = kind not in ("int", "float")
    if many and not isinstance(value, tuple):
        return False
    numbers = value if isinstance(value, tuple) and many else (value,)
    allowed = int if whole else (int, float)
    return all(isinstance(n, allowed) and not isinstance(n, bool) for n in numbers)
