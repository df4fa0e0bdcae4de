"""deepbet's networks with the memory that they need, not three times as much.

As TorchScript they take 0.8 GB for a scan, nearly all of it in the first and the last layers, at a
half and the whole of 256 x 256 x 256 voxels. Those run here a few channels at a time, which is the
same: their normalisation is of each channel by itself.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

#: Channels at a time.
GROUP = 4
#: Of instance normalisation.
EPSILON = 1e-5


class BrainNetwork:
    """One of deepbet's two networks, a LinkNet of `torch.jit`.

    Parameters
    ----------
    script : RecursiveScriptModule
        As deepbet loads it.
    """

    def __init__(self, script: Any) -> None:
        self._script = script

    def parameters(self) -> Iterator[Tensor]:
        """Those of the network; deepbet asks where they are."""
        found: Iterator[Tensor] = self._script.parameters()
        return found

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        """From [1, 1, X, Y, Z] the probability of brain, the second of [1, 2, X, Y, Z]."""
        net = self._script
        relu = getattr(net.conv, "2")  # the layers share it
        beside = [_in_groups(x, getattr(net.init, "0").weight)]
        del x
        made = net.down0(relu, beside[0])
        for layer in (net.down1, net.down2, net.down3):
            beside.append(made)
            made = layer(relu, made)
        for layer in (net.up0, net.up1, net.up2, net.up3):
            made = layer(relu, made).add_(beside.pop())
        made = net.tp_conv1(relu, made)
        made = _in_groups(made, getattr(net.conv, "0").weight)
        # Of two classes only the difference matters, and the bias that normalising takes away
        # does not.
        last = net.tp_conv2
        weight, bias = (p.diff(dim=dim) for p, dim in ((last.weight, 1), (last.bias, 0)))
        sure = F.conv_transpose3d(made, weight, bias, stride=2).sigmoid_()
        return sure.expand(1, 2, *sure.shape[2:])


def _in_groups(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution, normalised and rectified; of the first layer also halved twice.

    Parameters
    ----------
    x : Tensor, shape (1, C, X, Y, Z)
    weight : Tensor, shape (D, C, k, k, k)
        k is 7 in the first layer, 3 in others.

    Returns
    -------
    Tensor, shape (1, D, x, y, z)
    """
    halved, parts = weight.shape[2] == 7, []
    for kernels in weight.split(GROUP):
        part = F.conv3d(x, kernels, stride=2 if halved else 1, padding=weight.shape[2] // 2)
        for channel in part[0]:
            deviation, mean = torch.var_mean(channel, correction=0)
            channel.sub_(mean).mul_((deviation + EPSILON).rsqrt()).relu_()
        parts.append(F.max_pool3d(part, 3, 2, 1) if halved else part)
    return torch.cat(parts, dim=1)
