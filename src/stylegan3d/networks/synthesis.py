"""Synthesis network of StyleGAN2 in three dimensions: w -> volume.

A learned constant passes levels of doubling resolution, each of two modulated convolutions with
noise and a leaky ReLU; ToRGB layers make the image of the features (Karras et al. 2020, arXiv
1912.04958).

Mapping network: z -> w (Karras et al. 2019, arXiv 1812.04948, section 2).

The building blocks: equalised dense and convolution layers, modulated convolution.

Weights are stored with unit variance and scaled at run time by 1 / sqrt(fan in), which equalises
the effective learning rate of all layers (Karras et al. 2018, arXiv 1710.10196, section 4.1).
Modulated convolution is that of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958, eq. 1-3).
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.base import ModelError
from stylegan3d.networks import deformation
from stylegan3d.networks.config import GeneratorConfig, Grid
from stylegan3d.networks.flow import DetailTexture, Flow, Toe, details_between
from stylegan3d.networks.memo import Maps, Memo, Noise, NoMemo, drawn_noise, of_sample
from stylegan3d.networks.resampling import (
    CHANNELS_LAST,
    conv3d,
    fir3d,
    haar,
    inverse_haar,
    upsample_image,
)

LEAK = 0.2
DEMODULATION_EPSILON = 1e-8
#: What a leaky ReLU is multiplied by, so that it preserves the variance.
ACTIVATION_GAIN = math.sqrt(2)


def leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, scaled by sqrt(2) so that it preserves the variance."""
    return F.leaky_relu(x, LEAK) * ACTIVATION_GAIN


def is_inference(*tensors: Tensor | None) -> bool:
    """Whether no gradient will flow through these tensors."""
    return not torch.is_grad_enabled() or not any(
        t is not None and t.requires_grad for t in tensors
    )


class Dense(nn.Module):
    """Equalised fully connected layer: x W^T + b.

    Parameters
    ----------
    lr_multiplier : float
        Scales weight and bias at run time, hence their learning rate.
    bias_init : float
        What the bias contributes at the start.
    activate : bool
        Whether a leaky ReLU follows.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
        activate: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init / lr_multiplier))
        self.lr_multiplier = lr_multiplier
        self.activate = activate

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs]"""
        scale = self.lr_multiplier / math.sqrt(self.weight.shape[1])
        y = F.linear(x, self.weight.to(x.dtype) * scale, self.bias.to(x.dtype) * self.lr_multiplier)
        return leaky_relu(y) if self.activate else y


class Conv3d(nn.Module):
    """Equalised 3D convolution of odd size; `down` low-pass filters and halves the grid first."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        down: bool = False,
        bias: bool = True,
        activate: bool = True,
        kernel: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.down = down
        self.activate = activate
        self.kernel = tuple(kernel)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, X, Y, Z] -> [N, outputs, X, Y, Z], or half the grid with `down`."""
        size = self.weight.shape[-1]
        weight = (self.weight / math.sqrt(self.weight[0].numel())).to(x.dtype)
        if self.down:
            k = len(self.kernel)
            x = fir3d(x, self.kernel, ((k - 2 + size) // 2, (k - 3 + size) // 2))
            padding, stride = 0, 2
        else:
            padding, stride = size // 2, 1
        if x.shape[1] > 1:
            weight = weight.contiguous(memory_format=CHANNELS_LAST)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        y = conv3d(x, weight, bias, stride=stride, padding=padding)
        return leaky_relu(y) if self.activate else y


def is_traced() -> bool:
    """Whether the operations are being recorded (torch.export): values are not known then."""
    return bool(torch.compiler.is_compiling())


def is_frozen(weight: Tensor) -> bool:
    """Whether values derived from a parameter may be cached, see `Fingerprint`.

    A parameter that is trained may not, even where nothing is differentiated: fused optimisers
    change it without counting. Nor are changes counted of one that was made in inference mode.
    """
    return not (weight.requires_grad or weight.is_inference() or is_traced())


class Fingerprint:
    """Detects whether a parameter was changed, replaced or moved since this was taken."""

    def __init__(self, weight: Tensor) -> None:
        # Both are referenced, so that nothing else can be allocated at the same address.
        self._weight, self._values = weight, weight.detach()
        self._state = weight.data_ptr(), weight._version, weight.device

    def matches(self, weight: Tensor) -> bool:
        """Whether `weight` is the same parameter with the same values."""
        state = weight.data_ptr(), weight._version, weight.device
        return weight is self._weight and state == self._state


@dataclass(frozen=True)
class _Prepared:
    """What of a layer does not depend on w, computed once for a frozen network.

    source : of the stored weight; None if that is not frozen.
    weight : [O, I, k, k, k] times 1 / sqrt(fan in), in the layout of its convolution; for an
        upsampling layer mirrored and transposed, [I, O, k, k, k].
    power : [O, I] sums of squares over the kernel, for demodulation.
    """

    source: Fingerprint | None
    weight: Tensor
    power: Tensor


class ModulatedConv3d(nn.Module):
    """Convolution whose input channels are scaled by a style, one style per sample.

    s = A(w);  w'_ijk = s_i w_ijk;  w''_ijk = w'_ijk / sqrt(sum_ik w'_ijk^2 + eps)
    (StyleGAN2, eq. 1 and 3; i input channel, j output channel, k position in the kernel).

    With `up`, zeros are inserted between the samples before the convolution and the result is
    low-pass filtered; a gain of 8 keeps the amplitude.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        w_dim: int,
        *,
        up: bool = False,
        demodulate: bool = True,
        kernel: Sequence[float] = (1.0, 3.0, 3.0, 1.0),
        up_gain: float = 8.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size, size))
        self.style = Dense(w_dim, inputs, bias_init=1.0)
        self.up = up
        self.demodulate = demodulate
        self.kernel = tuple(kernel)
        self.up_gain = up_gain
        self._prepared: _Prepared | None = None

    def forward(
        self, x: Tensor, w: Tensor, bias: Tensor | None = None, gain: float = 1.0
    ) -> Tensor:
        """Convolve.

        Parameters
        ----------
        x : Tensor, shape (N, inputs, X, Y, Z)
        w : Tensor, shape (N, w_dim)
        bias : Tensor, shape (outputs,), or None
            Added to the result.
        gain : float
            Multiplies the result, not the bias. (One that follows from outside would cost a pass
            over the features; here it multiplies the small weight.).

        Returns
        -------
        Tensor, shape (N, outputs, X, Y, Z)
            (doubled with `up`).
        """
        prepared = self._prepare()
        style = self.style(w.to(prepared.weight.dtype))  # [N, I]
        scale = self._demodulation(prepared.power, style) * gain  # [N, O]
        fitted = style.requires_grad and not prepared.weight.requires_grad
        if x.shape[0] == 1 and not fitted:
            # One sample: scaling the small weight is free, scaling activations costs two passes.
            # Not so where w alone is fitted: a scaled weight would need a gradient, which costs a
            # third convolution, and whose float32 sums over all voxels lose four digits.
            factors = scale[0, :, None] * style[0, None, :]  # [O, I]
            factors = factors.T if self.up else factors
            weight = prepared.weight * factors[:, :, None, None, None]
            return self._convolve(x, weight.to(x.dtype), bias)
        scale = scale.to(x.dtype)[:, :, None, None, None]
        y = self._convolve(
            x * style.to(x.dtype)[:, :, None, None, None], prepared.weight.to(x.dtype)
        )
        if bias is None:
            return y * scale
        return torch.addcmul(bias.to(y.dtype)[:, None, None, None], y, scale)

    def _prepare(self) -> _Prepared:
        """The part of the weight independent of w; cached while the weight is not trained."""
        if not is_frozen(self.weight):
            return self._prepare_anew(None)
        known = self._prepared
        if known is None or known.source is None or not known.source.matches(self.weight):
            # Who asks next may want to differentiate, whoever asks now.
            with torch.inference_mode(False):
                known = self._prepare_anew(Fingerprint(self.weight))
            self._prepared = known
        return known

    def _prepare_anew(self, source: Fingerprint | None) -> _Prepared:
        weight = self.weight / math.sqrt(self.weight[0].numel())
        power = weight.square().sum(dim=(2, 3, 4))
        if self.up:
            # Zero insertion and correlation in one step: a transposed convolution, mirrored. The
            # filter's gain goes into it too, so that its taps stay whole numbers, which bfloat16
            # holds exactly.
            weight = weight.flip(2, 3, 4).transpose(0, 1) * (self.up_gain / sum(self.kernel) ** 3)
        weight = weight.contiguous(memory_format=CHANNELS_LAST)
        return _Prepared(source, weight, power)

    def _demodulation(self, power: Tensor, style: Tensor) -> Tensor:
        """[N, O]; sums over the kernel first, so that no [N, O, I, k, k, k] is ever built."""
        if not self.demodulate:
            return style.new_ones(len(style), len(power))
        return torch.rsqrt(F.linear(style.square(), power) + DEMODULATION_EPSILON)

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        size = weight.shape[-1]
        bias = None if bias is None else bias.to(x.dtype)
        if not self.up:
            return conv3d(x, weight, bias, padding=size // 2)
        k = len(self.kernel)
        pad = ((k + 2 - size) // 2, (k - size + 1) // 2)
        # Handed over without a name of its own: the filter frees it after its first pass.
        return fir3d(
            F.conv_transpose3d(x, weight, stride=2), self.kernel, pad, sum(self.kernel) ** 3, bias
        )


class Inputs(NamedTuple):
    """What an image is synthesised from.

    Attributes
    ----------
    w : Tensor, shape (N, num_layers, w_dim)
    maps : list of Tensor or None
        Noise maps.
    dtype : torch.dtype
        Precision of the feature maps.
    memo : Memo
        Results of earlier calls to use again.
    """

    w: Tensor
    maps: Maps
    dtype: torch.dtype
    memo: Memo


class LeveledSynthesis(nn.Module):
    """w -> volume, full or coarser. `_canonical` makes the image and `_finish` completes it."""

    config: GeneratorConfig
    image_const: nn.Parameter

    def add_constant(self) -> None:
        """Make the constant image of the configuration, if it has one."""
        config = self.config
        if config.image_const:
            bands = 8 if config.head == "haar" else 1
            shape = (config.image_channels * bands, *config.grid(config.num_levels - 1))
            self.image_const = nn.Parameter(torch.zeros(shape))

    def add_flow(self) -> None:
        """Make the flow of the configuration, if it has one."""
        config = self.config
        if config.flow_channels:
            a, b, c = config.flow_channels
            grid = config.grid(config.num_levels - 1)
            self.flow = Flow((a, b, c), grid, curves=config.flow_curves).requires_grad_(False)

    @property
    def last_flow(self) -> Flow | None:
        """The flow that finishes random brains, if any."""
        return self.flow if self.config.flow_channels else None

    @property
    def has_layer_noise(self) -> bool:
        """Whether the noise of any layer has an effect."""
        return False

    @property
    def has_noise(self) -> bool:
        """Whether the noise of a layer or of the flow has an effect."""
        flow = self.last_flow
        return self.has_layer_noise or (flow is not None and bool(flow.noise_strength))

    @property
    def has_own_noise(self) -> bool:
        """Whether the noise of a scan can be found: by a flow alone, after a deformation."""
        config = self.config
        return bool(config.num_velocities and config.image_const and config.flow_channels)

    @property
    def rows_read(self) -> int:
        """Number of first rows of w that have an effect."""
        return self.config.num_layers

    def canonical(self, w: Tensor, noise: Noise | Maps = "none") -> Tensor:
        """The image of w [N, num_layers, w_dim] in the common anatomy: before deformation and flow.

        [N, C, X, Y, Z]; with a Haar head its eight bands, at half the resolution.
        """
        inputs = Inputs(w, self._maps(noise, len(w)), torch.float32, NoMemo())
        return self._canonical(inputs, self.config.num_levels - 1, draft=False)

    def appearance(self, w: Tensor) -> Tensor:
        """The image of w [N, num_layers, w_dim] in the common anatomy, without texture.

        [N, C, X, Y, Z]; with a Haar head the low band, at half the image's resolution.
        """
        return self.finished(self.canonical(w)[:, : self.config.image_channels])

    def velocity(self, w: Tensor) -> Tensor:
        """Velocity field of the deformation, w [N, num_layers, w_dim] -> [N, 3, X, Y, Z]."""
        raise NotImplementedError

    def finished(self, image: Tensor) -> Tensor:
        """The final processing of an image, at every level."""
        return image

    def moved(self, image: Tensor, w: Tensor, memo: Memo | None = None) -> Tensor:
        """Warp a canonical image [N, C, X, Y, Z] by the deformation of w."""
        if not self.config.num_velocities:
            return image
        return self.finished(deformation.read_at(image, self.points_of(w, grid_of(image), memo)))

    def noise_there(self, w: Tensor, noise: Tensor, memo: Memo | None = None) -> Tensor:
        """White noise [N, 1, X, Y, Z] of the common anatomy at its places in that of w."""
        if not self.config.num_velocities:
            return noise
        return deformation.nearest_at(noise, self.points_of(w, grid_of(noise), memo))

    def points_of(self, w: Tensor, grid: Grid, memo: Memo | None = None) -> Tensor:
        """Where the deformation of w reads the voxels of `grid`, [N, 3, X, Y, Z]."""
        rows = max(2 * self.config.velocity_level, 1)
        make = lambda: self.points(deformation.exponential(self.velocity(w)), grid)  # noqa: E731
        return (memo or NoMemo()).get(("points", grid), rows, make)

    def smooth_points(self, w: Tensor) -> Tensor:
        """Sampling positions of the deformation of w, like `points`, at twice its resolution.

        Positions on finer grids are linear interpolations of these.
        """
        displacement = deformation.exponential(self.velocity(w)).flip(1)
        first, *_ = full = self.config.image_grids[-1]
        if first <= 2 * displacement.shape[2]:
            return deformation.add_identity(deformation.resize(displacement, full))
        x, y, z = (2 * n for n in displacement.shape[2:])
        return deformation.add_identity(
            deformation.enlarge_smoothly(displacement, (x, y, z), self.config.resample_kernel)
        )

    def detail_weights(self, w: Tensor) -> Tensor:
        """Weights of the images of details from w [N, num_layers, w_dim], [N, num_details]."""
        raise NotImplementedError

    @property
    def detail_rows(self) -> slice:
        """The rows of w whose mean weighs the images of details."""
        raise NotImplementedError

    def detail_shift(self, change: Tensor) -> Tensor:
        """The shift of these rows, [w_dim], that changes those weights by [num_details]."""
        raise NotImplementedError

    def evened(self, mixed: Tensor, first: Tensor, second: Tensor, strength: Tensor) -> Tensor:
        """A mix whose details change evenly with the strength, see `flow.details_between`.

        Parameters
        ----------
        mixed : Tensor, shape (num_layers, w_dim)
            The mix on a straight line, row by row.
        first, second : Tensor, shape (num_layers, w_dim)
            What was mixed.
        strength : Tensor, shape (num_layers,)
            From 0 (first) to 1 (second).
        """
        share = float(strength[self.detail_rows].mean())
        if self.last_flow is None or not 0 < share < 1:
            return mixed
        one, other, now = (self.detail_weights(w[None])[0] for w in (first, second, mixed))
        wanted = details_between(one, other, share, self.last_flow.spread)
        evened = mixed.clone()
        evened[self.detail_rows] += self.detail_shift(wanted - now)
        return evened

    def flowed(self, image: Tensor, inputs: Inputs) -> Tensor:
        """An image [N, 1, X, Y, Z] after the flow, gated by its details."""
        w, (*_, noise), dtype, memo = inputs
        gate = self.flow.gate(self.detail_weights(w))
        if gate.device.type == "cpu" and not is_traced() and not bool(gate.any()):
            return image

        def make() -> Tensor:
            drawn = noise
            if noise is not None and self.config.noise_bands:  # layers have read it before
                drawn = self.noise_there(w, noise, memo)
            return self.flow(image, drawn, self.config.flow_steps, dtype, memo.check)

        flowed = memo.get(("flow", dtype), self.rows_read, make)
        return torch.lerp(image, flowed, gate[:, None, None, None, None])

    def _canonical(self, inputs: Inputs, stop: int, *, draft: bool) -> Tensor:
        """The image of level `stop`; of the last one with a Haar head the bands.

        With `draft` the last level of a Haar head may give its low band only.
        """
        raise NotImplementedError

    def _finish(self, image: Tensor, inputs: Inputs, *, full: bool) -> Tensor:
        """The image of a level as it is returned; `full` at full resolution."""
        image = self.moved(image, inputs.w, inputs.memo)
        return self.flowed(image, inputs) if full and self.last_flow is not None else image

    def points(self, displacement: Tensor, grid: Grid) -> Tensor:
        """Sampling positions for each voxel of `grid`, [N, 3, X, Y, Z]; see `read_at`."""
        backwards = displacement.flip(1)
        if grid[0] > 2 * displacement.shape[2]:
            # In two steps, the first one smooth: a piecewise linear field has visible kinks.
            larger = deformation.enlarge_smoothly(backwards, grid, self.config.resample_kernel)
        else:
            larger = deformation.resize(backwards, grid)
        return deformation.add_identity(larger)

    @property
    def stored_noise(self) -> list[Tensor]:
        """The noise maps stored with the network, in the order of `noise_maps`."""
        raise NotImplementedError

    def noise_maps(self, noise: Noise, batch: int = 1) -> Maps:
        """Noise maps, each [1 or N, 1, X, Y, Z]: stored, absent, fresh or drawn from a seed.

        A white volume is drawn after the maps that layers would have, so that a seed gives the
        texture that it has always given, and a pupil's that of its teacher.
        """
        stored = self.stored_noise
        grids = self.config.noise_grids if stored and self.has_white_noise else []
        unused = [stored[0].new_empty(1, 1, *grid) for grid in grids]
        return drawn_noise([*unused, *stored], noise, batch)[len(unused) :]

    @property
    def has_white_noise(self) -> bool:
        """Whether its noise is one white volume of the image's grid."""
        return self.config.noise_bands

    def forward(
        self,
        w: Tensor,
        noise: Noise | Maps = "fixed",
        level: int = -1,
        dtype: torch.dtype = torch.float32,
        *,
        draft: bool = False,
        memo: Memo | None = None,
    ) -> Tensor:
        """Synthesise.

        Parameters
        ----------
        w : Tensor, shape (N, num_layers, w_dim)
        noise : Noise or list of Tensor
            How the noise maps are chosen, or the maps themselves.
        level : int
            Which of `config.image_grids` to return; -1 is the full image. Finer levels are not
            computed.
        dtype : torch.dtype
            Precision of the feature maps; the image is always float32.
        draft : bool
            For images coarser than the full one: leave out what the last level of a Haar head adds
            to its low band by convolutions, and the part of the details that needs all bands.
        memo : Memo, optional
            Results of earlier calls to use again; for one volume, without gradients.

        Returns
        -------
        Tensor, shape (N, image_channels, X, Y, Z)
            About in [-1, 1].
        """
        if len(w) > 1 and memo is None and w.device.type == "cpu" and is_inference(w):
            # On a CPU nothing is gained by a batch: one by one they take less memory, and each
            # volume has the same bits whatever stands beside it.
            maps = noise if isinstance(noise, list) else self.noise_maps(noise, len(w))
            return torch.cat(
                [
                    self(w[i : i + 1], of_sample(maps, i), level, dtype, draft=draft)
                    for i in range(len(w))
                ]
            )
        stop, half = self._plan(level)
        inputs = Inputs(w, self._maps(noise, len(w), memo), dtype, memo or NoMemo())
        image = self._canonical(inputs, stop, draft=draft and half)
        last = stop == self.config.num_levels - 1
        if self.config.head == "haar" and last:
            image = image[:, : self.config.image_channels] if half else inverse_haar(image)
        return self._finish(image, inputs, full=last and not half)

    def _maps(self, noise: Noise | Maps, batch: int, memo: Memo | None = None) -> Maps:
        if isinstance(noise, list):
            maps = noise
        elif memo is None:
            maps = self.noise_maps(noise, batch)
        else:
            maps = memo.maps(noise, lambda: self.noise_maps(noise, batch))
        opened = None if self.last_flow is None else self.flow.opened
        if opened is None or (opened.device.type == "cpu" and not is_traced() and not opened.any()):
            return maps
        # A scan's own noise takes the place of the rest.
        left = (1 - opened).clamp(min=0).sqrt()
        return [m if m is None else m * left for m in maps]

    def _constant(self, level: int) -> Tensor:
        """The constant image at the resolution of a level, [1, C, X, Y, Z]."""
        const = self.image_const[None]
        last = self.config.num_levels - 1
        if level == last:
            return const
        return F.avg_pool3d(const[:, : self.config.image_channels], 2 ** (last - level))

    def _with_constant(self, image: Tensor, level: int) -> Tensor:
        """An image of a level, or its low band, plus the constant image."""
        if not self.config.image_const:
            return image
        return image + self._constant(level)[:, : image.shape[1]]

    def _plan(self, level: int) -> tuple[int, bool]:
        """Last level to compute, and whether only the low band of it is wanted."""
        grids = self.config.image_grids
        if not -len(grids) <= level < len(grids):
            raise ModelError(
                f"This generator has images at {len(grids)} resolutions only, so level {level} "
                "does not exist."
            )
        # Counted from the finest; with a Haar head the two finest share one feature level.
        from_end = len(grids) - 1 - level % len(grids)
        last = self.config.num_levels - 1
        if self.config.head == "haar":
            return last - max(from_end - 1, 0), from_end == 1
        return last - from_end, False

    def _doubled(self, image: Tensor) -> Tensor:
        """An image at the next finer resolution."""
        config = self.config
        nearest = config.image_upsampling == "nearest"
        return upsample_image(image, config.resample_kernel, config.upsample_gain, nearest)


def grid_of(image: Tensor) -> Grid:
    """The grid of an image [N, C, X, Y, Z]."""
    return image.shape[2], image.shape[3], image.shape[4]


def sum_low(bands: Tensor, low: Tensor) -> Tensor:
    """Add `low` [N, C, ...] to the first channels of `bands` [1 or N, >= C, ...]."""
    return bands + F.pad(low, (0, 0, 0, 0, 0, 0, 0, bands.shape[1] - low.shape[1]))


class SynthesisLayer(nn.Module):
    """Modulated 3x3x3 convolution, noise, bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, grid: Grid, config: GeneratorConfig, up: bool):
        super().__init__()
        self.conv = ModulatedConv3d(
            inputs,
            outputs,
            3,
            config.w_dim,
            up=up,
            kernel=config.resample_kernel,
            up_gain=config.upsample_gain,
        )
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise: Tensor
        if config.noise_bands:
            textured = config.textures and grid == config.grid(config.num_levels - 1)
            self.noise_strength = nn.Parameter(torch.zeros(outputs, 16 if textured else 8))
        else:
            self.noise_strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise", torch.randn(1, 1, *grid))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """x [N, C, X, Y, Z], w [N, w_dim], noise [N or 1, 1, 8 or 16, X, Y, Z] or None"""
        # A leaky ReLU commutes with a positive factor: its gain is applied to smaller tensors
        # before.
        y = self.conv(x, w, self.bias * ACTIVATION_GAIN, ACTIVATION_GAIN)
        inference = is_inference(y, noise)
        if noise is not None and not (inference and self._is_silent()):
            strength = self.noise_strength * ACTIVATION_GAIN
            if strength.ndim:
                kernel = strength[:, :, None, None, None].to(y.dtype)
                added = F.conv3d(noise, kernel.contiguous(memory_format=CHANNELS_LAST))
            else:
                added = (noise * strength).to(y.dtype)
            y = y.add_(added) if inference else y + added
        # In place also when differentiated: its gradient follows from its result.
        return F.leaky_relu_(y, LEAK)

    def _is_silent(self) -> bool:
        """Whether noise has no effect; on a GPU the question would cost more than the answer."""
        strength = self.noise_strength
        return strength.device.type == "cpu" and not is_traced() and not bool(strength.any())


class ToRGB(nn.Module):
    """1x1x1 modulated convolution to the image, without demodulation."""

    def __init__(self, inputs: int, outputs: int, w_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv3d(inputs, outputs, 1, w_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """[N, C, X, Y, Z] -> float32 [N, image channels, X, Y, Z]; images are never half."""
        return self.conv(x, w).float() + self.bias[:, None, None, None]


class Level(nn.Module):
    """One resolution: an upsampling and a plain layer (the base has the plain one only)."""

    def __init__(self, config: GeneratorConfig, index: int) -> None:
        super().__init__()
        outputs, grid = config.channels[index], config.grid(index)
        self.up: SynthesisLayer | None = None
        self.shortcut: Conv3d | None = None
        self.index = index
        self.kernel, self.up_gain = config.resample_kernel, config.upsample_gain
        if index:
            inputs = config.channels[index - 1]
            self.up = SynthesisLayer(inputs, outputs, grid, config, up=True)
            if config.wiring == "resnet":
                self.shortcut = Conv3d(inputs, outputs, 1, bias=False, activate=False)
        self.plain = SynthesisLayer(outputs, outputs, grid, config, up=False)

    def forward(self, x: Tensor, w: Tensor, noises: Maps, memo: Memo | None = None) -> Tensor:
        """Features of this level from those of the one before.

        Parameters
        ----------
        x : Tensor, shape (N, inputs, X, Y, Z)
        w : Tensor, shape (N, num_layers, w_dim)
        noises : list of Tensor or None
            One map per layer.
        memo : Memo, optional
            Where layers are looked up that were computed before.
        """
        memo = memo or NoMemo()
        before, dtype = x, x.dtype
        for i, row in enumerate(self.rows):
            make = partial(self.layers[i], x, w[:, row], noises[i])
            x = memo.get((self.index, i, dtype), row + 1, make)
        if self.shortcut is None:
            return x
        rows = self.rows[-1] + 1
        return memo.get((self.index, "sum", dtype), rows, partial(self._joined, x, before))

    def _joined(self, x: Tensor, before: Tensor) -> Tensor:
        """Sum with the shortcut of the `resnet` wiring."""
        assert self.shortcut is not None
        # A 1x1x1 convolution commutes with the filter, so it runs on the small grid.
        coarse = self.shortcut(before)
        return (x + upsample_image(coarse, self.kernel, self.up_gain)) / math.sqrt(2)

    @property
    def rows(self) -> list[int]:
        """Which row of w each layer reads."""
        return [*range(max(2 * self.index - 1, 0), 2 * self.index + 1)]

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The level's modulated layers in order."""
        return [self.plain] if self.up is None else [self.up, self.plain]


class Warp(nn.Module):
    """Velocity fields that w weighs: the image is warped in the end by their exponential.

    So the layers draw one common anatomy, and need not draw every edge anew where shape differs
    (spatial transformer: Jaderberg et al. 2015, arXiv 1506.02025). A toe keeps the background dark.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.grids = [config.grid(level) for level in range(config.warp_level + 1)]
        self.style = Dense(config.w_dim, config.warps)
        self.basis = deformation.Basis(config.warps, 3, self.grids[-1])
        self.const = nn.Parameter(torch.zeros(3, *self.grids[-1]))
        self.toe = Toe()

    def forward(self, w: Tensor) -> Tensor:
        """w [N, num_layers, w_dim] -> velocity [N, 3, X, Y, Z], see `velocity_of`"""
        weights = [self.style(w[:, max(2 * i - 1, 0)]) for i in range(len(self.grids))]
        return deformation.velocity_of(self.basis, self.const, weights, self.grids)


#: Standard deviation of a texture, which layers read at about unit variance.
TEXTURE_UNIT = 0.06


class Texture(nn.Module):
    """Images that w weighs: a texture, which the layers of the last level read beside noise.

    Where folds lie is more than convolutions of a coarser grid can say; those only shape them then.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        grid = config.grid(config.num_levels - 1)
        self.style = Dense(config.w_dim, config.textures)
        self.basis = deformation.Basis(config.textures, 8 * config.image_channels, grid)
        self.shape = DetailTexture(1.0, True, config.w_dim, grid)

    def forward(self, w: Tensor) -> Tensor:
        """w [N, w_dim] -> Haar bands [N, 8, X, Y, Z], of about unit variance"""
        bands: Tensor = self.shape(self.basis(self.style(w)), w)
        return bands / TEXTURE_UNIT


class SynthesisNetwork(LeveledSynthesis):
    """Constant input, levels of doubling resolution, image by `orig`, `skip` or `resnet` wiring."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.const = nn.Parameter(torch.randn(1, config.channels[0], *config.base))
        if config.base_input == "dense":
            rank = config.base_rank
            self.base_narrow = Dense(config.w_dim, rank) if rank else nn.Identity()
            self.base_dense = Dense(rank or config.w_dim, self.const.numel())
        self.levels = nn.ModuleList(Level(config, i) for i in range(config.num_levels))
        last = config.num_levels - 1
        image_levels = range(last + 1) if config.wiring == "skip" else (last,)
        bands = 8 if config.head == "haar" else 1
        self.to_rgb = nn.ModuleDict(
            {
                str(i): ToRGB(
                    config.channels[i],
                    config.image_channels * (bands if i == last else 1),
                    config.w_dim,
                )
                for i in image_levels
            }
        )
        self.add_constant()
        self.noise: Tensor
        if config.noise_bands:
            self.register_buffer("noise", torch.randn(1, 1, *config.image_grids[-1]))
        if config.warps:
            self.warp = Warp(config).requires_grad_(False)
        if config.textures:
            self.texture = Texture(config).requires_grad_(False)
        self.add_flow()
        if self.last_flow is not None:
            del self.flow.noise  # it is given that of the layers

    @property
    def typed_levels(self) -> list[Level]:
        """The levels, as what they are."""
        return cast("list[Level]", list(self.levels))

    @property
    def image_layers(self) -> list[ToRGB]:
        """The ToRGB layers, coarse to fine."""
        return cast("list[ToRGB]", list(self.to_rgb.values()))

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The modulated layers of all levels, coarse to fine."""
        return [layer for level in self.typed_levels for layer in level.layers]

    @property
    def has_layer_noise(self) -> bool:
        """Whether the noise of any layer has an effect."""
        return any(
            bool(torch.atleast_2d(layer.noise_strength)[:, :8].any()) for layer in self.layers
        )

    def base(self, w: Tensor, dtype: torch.dtype) -> Tensor:
        """Input of the first level, [N, C, X, Y, Z], from w [N, num_layers, w_dim]."""
        x = self.const.expand(len(w), -1, -1, -1, -1)
        if self.config.base_input == "dense":
            x = x + self.base_dense(self.base_narrow(w[:, 0])).reshape(x.shape)
        return x.to(dtype).contiguous(memory_format=CHANNELS_LAST)

    @property
    def stored_noise(self) -> list[Tensor]:
        """One map per layer, or the white volume whose bands all layers read."""
        if self.has_white_noise:
            return [self.noise]
        return [layer.noise for layer in self.layers]

    @property
    def has_features(self) -> bool:
        """Whether there are features before the last level."""
        return self.config.num_levels > 1

    def last_features(
        self,
        w: Tensor,
        noise: Noise | Maps,
        dtype: torch.dtype = torch.float32,
        memo: Memo | None = None,
    ) -> Tensor:
        """Feature maps before the last level, [N, channels, X, Y, Z] on half its grid."""
        inputs = Inputs(w, self._maps(noise, len(w), memo), dtype, memo or NoMemo())
        *_, (x, _) = self._walk(inputs, self.config.num_levels - 2)
        return x

    def images(self, w: Tensor, stop: int, dtype: torch.dtype, maps: Maps) -> list[Tensor]:
        """Images of the levels up to `stop`; the last of a Haar head are bands."""
        inputs = Inputs(w, maps, dtype, NoMemo())
        walk = enumerate(image for _, image in self._walk(inputs, stop))
        made = [self._with_constant(image, i) for i, image in walk if image is not None]
        if not self.config.warps:
            return made
        *coarser, last = made
        warped = [self._finish(image, inputs, full=False) for image in coarser]
        if last.shape[1] == 1:
            return [*warped, self._finish(last, inputs, full=False)]
        return [*warped, haar(self._finish(inverse_haar(last), inputs, full=True))]

    def velocity(self, w: Tensor) -> Tensor:
        """That of the warp."""
        found: Tensor = self.warp(w)
        return found

    def finished(self, image: Tensor) -> Tensor:
        """That after the warp."""
        return self.warp.toe(image) if self.config.warps else image

    def detail_weights(self, w: Tensor) -> Tensor:
        """Weights of the texture's images from w [N, num_layers, w_dim], [N, textures]."""
        found: Tensor = self.texture.style(w[:, self.detail_rows].mean(dim=1))
        return found

    @property
    def detail_rows(self) -> slice:
        """That of the last level's first layer."""
        first = self.typed_levels[-1].rows[0]
        return slice(first, first + 1)

    def detail_shift(self, change: Tensor) -> Tensor:
        """The smallest of those that do, see `LeveledSynthesis.detail_shift`."""
        weights = self.texture.style.weight / math.sqrt(self.config.w_dim)
        return torch.linalg.pinv(weights) @ change

    def _canonical(self, inputs: Inputs, stop: int, *, draft: bool) -> Tensor:
        *_, (_, image) = self._walk(inputs, stop, draft=draft)
        assert image is not None
        return self._with_constant(image, stop)

    def _walk(
        self, inputs: Inputs, stop: int, *, draft: bool = False
    ) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Features and image of each level up to `stop`, coarse to fine."""
        w, maps, dtype, memo = inputs
        x, noises = self.base(w, dtype), iter(self._of_layers(w, maps, dtype, memo))
        image: Tensor | None = None
        for i, level in enumerate(self.typed_levels[: stop + 1]):
            if draft and i == self.config.num_levels - 1:
                yield x, self._drafted(image)
                return
            x = level(x, w, list(islice(noises, len(level.layers))), memo)
            if str(i) in self.to_rgb:
                make = partial(self._image, x, w, i, image)
                image = memo.get((i, "image", dtype), 2 * i + 2, make)
            yield x, image

    def _of_layers(self, w: Tensor, maps: Maps, dtype: torch.dtype, memo: Memo) -> Maps:
        """The noise of each layer: its map, or the bands that the white volume has on its grid.

        Those of the last level also have the bands of the texture.
        """
        if not self.config.noise_bands:
            return maps
        (white,), found = maps, Maps()
        for level in reversed(self.typed_levels):
            bands = None
            if white is not None:
                make = partial(_white_bands, white, dtype)
                bands = memo.get(("noise", level.index, dtype), 0, make)
                white = bands[:, :1]
            if self.config.textures and not found:
                make = partial(self._textured, bands, w[:, level.rows[0]], dtype)
                bands = memo.get(("texture", dtype), level.rows[0] + 1, make)
            found = [*[bands] * len(level.layers), *found]
        return found

    def _textured(self, bands: Tensor | None, w: Tensor, dtype: torch.dtype) -> Tensor:
        """Bands of the noise, if any, followed by those of the texture of w [N, w_dim]."""
        texture = self.texture(w).to(dtype)
        bands = torch.zeros_like(texture) if bands is None else bands.expand_as(texture)
        return torch.cat([bands, texture], dim=1).contiguous(memory_format=CHANNELS_LAST)

    def _drafted(self, image: Tensor | None) -> Tensor:
        """The low band of the last level, without what its own layers add."""
        if image is not None:
            return self._doubled(image)
        config = self.config
        return self.const.new_zeros(1, config.image_channels, *config.grid(config.num_levels - 1))

    def _image(self, x: Tensor, w: Tensor, level: int, before: Tensor | None) -> Tensor:
        """The image of a level: what its features make, and that of the level before doubled.

        The coarser image joins the low band of a Haar head.
        """
        rgb: Tensor = self.to_rgb[str(level)](x, w[:, 2 * level + 1])
        return rgb if before is None else sum_low(rgb, self._doubled(before))


def _white_bands(white: Tensor, dtype: torch.dtype) -> Tensor:
    """Haar bands of white noise of unit variance, which have unit variance, too."""
    bands = haar(white.float()) * math.sqrt(8)
    return bands.to(dtype).contiguous(memory_format=CHANNELS_LAST)


#: Points that a curve passes through.
KNOTS = 9
#: The hidden units of `set_gaussian` are this many standard deviations above zero.
HEADROOM = 7.0


class SizeCurves(nn.Module):
    """Piecewise linear curves along some directions of w.

    What a mapping network sends z to is nearly Gaussian; sizes of heads and ventricles are not.
    Each curve is a function of a size, a linear function of w, and w is moved until the size is
    what the curve says. At first nothing is moved; see `training/flow_export.py`.

    Attributes
    ----------
    centre : Tensor, shape (w_dim,)
        Mean of w.
    read : Tensor, shape (w_dim, M)
        Linear functions of w - centre: the sizes.
    write : Tensor, shape (M, w_dim)
        Shifts of w that change one size by one, and no other.
    knots, values : Tensor, shape (M, K)
        Sizes, and what they become. Beyond the first and the last a curve is continued straight.
    """

    centre: Tensor
    read: Tensor
    write: Tensor
    knots: Tensor
    values: Tensor

    def __init__(self, count: int, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(w_dim))
        self.register_buffer("read", torch.zeros(w_dim, count))
        self.register_buffer("write", torch.zeros(count, w_dim))
        self.register_buffer("knots", torch.linspace(-1, 1, KNOTS).repeat(count, 1))
        self.register_buffer("values", self.knots.clone())

    def forward(self, w: Tensor) -> Tensor:
        """[N, w_dim] -> [N, w_dim]"""
        size = (w - self.centre) @ self.read
        place = (self.knots[:, None, 1:-1] < size.T[..., None]).sum(dim=2)
        slopes = self.values.diff(dim=1) / self.knots.diff(dim=1)
        knot, value, slope = (
            table.gather(1, place).T for table in (self.knots, self.values, slopes)
        )
        return w + (value + (size - knot) * slope - size) @ self.write


class MappingNetwork(nn.Module):
    """Normalise z, then dense layers with leaky ReLU at a reduced learning rate.

    A label is embedded to the size of z and concatenated before the normalisation.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.label_dim = config.label_dim
        if config.label_dim:
            self.embed = nn.Parameter(torch.randn(config.label_dim, config.z_dim))
        inputs = config.z_dim * (2 if config.label_dim else 1)
        self.normalize = config.normalize_z
        hidden = config.mapping_width or config.w_dim
        widths = [inputs, *[hidden] * (config.mapping_layers - 1), config.w_dim]
        last = config.mapping_layers - 1
        self.layers = nn.ModuleList(
            Dense(
                a,
                b,
                lr_multiplier=config.mapping_lr_multiplier,
                activate=i < last or not config.mapping_linear_output,
            )
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )

        self.curves = SizeCurves(config.size_curves, config.w_dim) if config.size_curves else None

    @property
    def typed_layers(self) -> list[Dense]:
        """The layers, as what they are."""
        return cast("list[Dense]", list(self.layers))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, z_dim], label [N, label_dim] -> w [N, w_dim]"""
        x = z
        if self.label_dim:
            assert label is not None, "a conditional mapping network needs a label"
            x = torch.cat([x, label.to(x.dtype) @ self.embed], dim=1)
        if self.normalize:
            x = x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = layer(x)
        return x if self.curves is None else self.curves(x)


@torch.no_grad()
def set_gaussian(mapping: MappingNetwork, mean: Tensor, root: Tensor) -> None:
    """Make the mapping send z ~ N(0, I) to N(mean, root root^T), exactly for all but rare z.

    The hidden layers are set to the identity and kept where leaky ReLU is linear by an offset that
    the last layer takes off again; training bends the map from there.

    Parameters
    ----------
    mean : Tensor, shape (w_dim,)
    root : Tensor, shape (w_dim, w_dim)
        Its columns in the order of importance (z may have fewer entries).

    Raises
    ------
    ModelError
        If the network's shape cannot be linear (one layer, or an activated output).
    """
    layers = mapping.typed_layers
    if len(layers) < 2 or layers[-1].activate:
        raise ModelError(
            "Only a mapping network of two or more layers with a linear output can start at a "
            "Gaussian; set mapping_linear_output."
        )
    first = layers[0]
    used = min(root.shape[1], first.weight.shape[1])
    root = F.pad(root[:, :used], (0, first.weight.shape[1] - used))
    offset = HEADROOM * root.norm(dim=1) + 1e-3
    set_dense(first, root, offset)
    identity = torch.eye(len(mean))
    for layer in layers[1:-1]:
        set_dense(layer, identity, torch.zeros_like(mean))
    set_dense(layers[-1], identity, mean - offset)


def set_dense(layer: Dense, weight: Tensor, bias: Tensor) -> None:
    """Effective weight and bias, before the activation's gain of sqrt(2)."""
    gain = math.sqrt(2) if layer.activate else 1.0
    scale = layer.lr_multiplier / math.sqrt(layer.weight.shape[1])
    layer.weight.copy_(weight / gain / scale)
    layer.bias.copy_(bias / gain / layer.lr_multiplier)
