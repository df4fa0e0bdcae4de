"""The building blocks: equalised dense and convolution layers, modulated convolution.

Weights are stored with unit variance and scaled at run time by 1 / sqrt(fan in), which equalises
the effective learning rate of all layers (Karras et al. 2018, arXiv 1710.10196, section 4.1).
Modulated convolution is that of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958, eq. 1-3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.networks.resampling import CHANNELS_LAST, conv3d, fir3d

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


def is_frozen(weight: Tensor) -> bool:
    """Whether values derived from a parameter may be cached, see `Fingerprint`.

    A parameter that is trained may not, even where nothing is differentiated: fused optimisers
    change it without counting. Nor are changes counted of one that was made in inference mode.
    """
    return not (weight.requires_grad or weight.is_inference())


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
