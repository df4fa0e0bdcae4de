"""The original 3D-StyleGAN once more, slow and obvious, in float64 and on its own variables.

Written from the description of the format alone: nothing of the package is used, no filter is
separated, no operation is fused. `test_parity.py` first compares it with what the original program
computed, then the package with it.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F

DEFAULT_KERNEL = [1, 3, 3, 3, 1]


class Generator:
    """`mapping`, `synthesis`: variables as stored; `settings`: static_kwargs of all parts."""

    def __init__(self, mapping, synthesis, w_avg, settings):
        self.mapping = {k: double(v) for k, v in mapping.items()}
        self.synthesis = {k: double(v) for k, v in synthesis.items()}
        self.w_avg = double(w_avg)
        self.settings = settings
        const = next(k for k in synthesis if k.endswith("Const/const"))
        self.base = self.synthesis[const].shape[2:]
        self.kernel = settings.get("resample_kernel", DEFAULT_KERNEL) or [1, 1]
        smallest = settings.get("resolution", 128) / min(self.base)
        self.last = int(math.log2(int(smallest * 4)))  # of the resolutions 2, 3, …
        self.num_layers = 2 * self.last - 2

    def map(self, z, labels=None):
        """[N, latent] -> [N, layers, dlatent]"""
        x = double(z)
        if "LabelConcat/weight" in self.mapping:
            x = torch.cat([x, double(labels) @ self.mapping["LabelConcat/weight"]], dim=1)
        if self.settings.get("normalize_latents", True):
            x = x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
        lrmul = self.settings.get("mapping_lrmul", 0.01)
        for i in range(self.settings.get("mapping_layers", 8)):
            x = dense(x, self.mapping, f"Dense{i}", lrmul, activate=True)
        return x[:, None].repeat(1, self.num_layers, 1)

    def scope(self, res):
        a, b, c = (n * 2 ** (res - 2) for n in self.base)
        return f"{a}x{b}X{c}" if res == 2 else f"{a}x{b}x{c}"

    def layer(self, x, name, w, noise, up=False):
        v = self.synthesis
        style = dense(w, v, name, 1.0, kind="mod_") + 1
        weight = v[f"{name}/weight"] / math.sqrt(np.prod(v[f"{name}/weight"].shape[:-1]))
        y = x * style[:, :, None, None, None]
        y = upconv(y, weight, self.kernel) if up else plain_conv(y, weight)
        modulated = weight[None] * style[:, None, None, None, :, None]  # [N, k, k, k, in, out]
        norm = (modulated.square().sum(dim=(1, 2, 3, 4)) + 1e-8).sqrt()
        y = y / norm[:, :, None, None, None]
        strength = v.get(f"{name}/noise_strength")
        if strength is not None and noise is not None:
            y = y + noise * strength
        return lrelu(y + v[f"{name}/bias"][:, None, None, None])

    def to_rgb(self, x, res, w):
        name, v = f"{self.scope(res)}/ToRGB", self.synthesis
        style = dense(w, v, name, 1.0, kind="mod_") + 1
        weight = v[f"{name}/weight"] / math.sqrt(np.prod(v[f"{name}/weight"].shape[:-1]))
        y = plain_conv(x * style[:, :, None, None, None], weight)
        return y + v[f"{name}/bias"][:, None, None, None]

    def synthesize(self, w, noise=True):
        """[N, layers, dlatent] -> [N, C, …]; `noise`: stored maps or none."""
        wiring = self.settings.get("architecture", "skip")
        w = double(w) if not torch.is_tensor(w) else w
        maps = [self.synthesis[f"noise{i}"] if noise else None for i in range(self.num_layers - 1)]
        v = self.synthesis
        x = v[f"{self.scope(2)}/Const/const"].repeat(len(w), 1, 1, 1, 1)
        x = self.layer(x, f"{self.scope(2)}/Conv", w[:, 0], maps[0])
        y = None
        if wiring == "skip" or self.last == 2:
            y = self.to_rgb(x, 2, w[:, 1])
        for res in range(3, self.last + 1):
            t = x
            i = 2 * res - 5
            x = self.layer(x, f"{self.scope(res)}/Conv0_up", w[:, i], maps[i], up=True)
            x = self.layer(x, f"{self.scope(res)}/Conv1", w[:, i + 1], maps[i + 1])
            if wiring == "resnet":
                weight = v[f"{self.scope(res)}/Skip/weight"]
                weight = weight / math.sqrt(np.prod(weight.shape[:-1]))
                x = (x + upconv(t, weight, self.kernel)) / math.sqrt(2)
            if wiring == "skip":
                y = upsample_image(y, self.kernel) + self.to_rgb(x, res, w[:, i + 2])
            elif res == self.last:
                y = self.to_rgb(x, res, w[:, i + 2])
        return y


class Discriminator:
    def __init__(self, variables, settings):
        self.v = {k: double(v) for k, v in variables.items()}
        self.settings = settings
        name = next(k for k in variables if k.endswith("/Dense0/weight"))
        self.base = [int(n) for n in name.split("/")[0].split("x")]
        kernel = settings.get("resample_kernel", DEFAULT_KERNEL)
        self.image_kernel = kernel or [1, 1]
        self.down_kernel = kernel or [1] * 6
        self.last = int(math.log2(int(settings.get("resolution", 128) / min(self.base) * 4)))

    def scope(self, res):
        return "x".join(str(n * 2 ** (res - 2)) for n in self.base)

    def conv(self, x, name, down=False, activate=True):
        weight = self.v[f"{name}/weight"]
        weight = weight / math.sqrt(np.prod(weight.shape[:-1]))
        y = downconv(x, weight, self.down_kernel) if down else plain_conv(x, weight)
        return lrelu(y + self.v[f"{name}/bias"][:, None, None, None]) if activate else y

    def score(self, images, labels=None):
        """[N, C, …] -> [N]"""
        wiring = self.settings.get("architecture", "orig")
        y = double(images) if not torch.is_tensor(images) else images
        x = self.conv(y, f"{self.scope(self.last)}/FromImage")
        for res in range(self.last, 2, -1):
            name = self.scope(res)
            if wiring == "skip" and res < self.last:
                x = x + self.conv(y, f"{name}/FromImage")
            t = x
            x = self.conv(x, f"{name}/Conv0")
            x = self.conv(x, f"{name}/Conv1_down", down=True)
            if wiring == "resnet":
                x = (x + self.conv(t, f"{name}/Skip", down=True, activate=False)) / math.sqrt(2)
            if wiring == "skip":
                y = downsample_image(y, self.image_kernel)
        if wiring == "skip" and self.last > 2:
            x = x + self.conv(y, f"{self.scope(2)}/FromImage")
        size = min(self.settings.get("mbstd_group_size", 4), len(x))
        x = self.with_deviation(x, size)
        x = self.conv(x, f"{self.scope(2)}/Conv").flatten(1)
        x = dense(x, self.v, f"{self.scope(2)}/Dense0", 1.0, activate=True)
        x = dense(x, self.v, "Output", 1.0)
        return x[:, 0] if labels is None else (x * double(labels)).sum(dim=1)

    @staticmethod
    def with_deviation(x, size):
        """One more channel: how much a sample's group (n modulo the number of groups) varies."""
        n = len(x)
        groups = n // size
        extra = torch.zeros(n, 1, *x.shape[2:], dtype=x.dtype)
        for m in range(groups):
            members = [k for k in range(n) if k % groups == m]
            of_group = torch.stack([x[k] for k in members])
            variance = (of_group - of_group.mean(dim=0)).square().mean(dim=0)
            for k in members:
                extra[k] = (variance + 1e-8).sqrt().mean()
        return torch.cat([x, extra], dim=1)


def double(values):
    return torch.from_numpy(np.array(values, dtype=np.float64))


def lrelu(x):
    return torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)


def dense(x, variables, name, lrmul, activate=False, kind=""):
    weight = variables[f"{name}/{kind}weight"]
    y = x @ (weight * lrmul / math.sqrt(weight.shape[0])) + variables[f"{name}/{kind}bias"] * lrmul
    return lrelu(y) if activate else y


def plain_conv(x, weight):
    """SAME correlation; weight [k, k, k, in, out]."""
    return F.conv3d(x, weight.permute(4, 3, 0, 1, 2), padding=weight.shape[0] // 2)


def fir(x, kernel, pad0, pad1, gain=1.0):
    """Zero pad, VALID correlation with the filter flipped on all axes."""
    f = torch.tensor(kernel, dtype=torch.float64)
    f = f[:, None, None] * f[None, :, None] * f[None, None, :]
    f = (f / f.sum() * gain).flip(0, 1, 2)
    n, c, *grid = x.shape
    x = F.pad(x, (pad0, pad1) * 3).reshape(n * c, 1, *(g + pad0 + pad1 for g in grid))
    y = F.conv3d(x, f[None, None])
    return y.reshape(n, c, *y.shape[2:])


def upconv(x, weight, kernel):
    """Transposed convolution with weights flipped on the first two axes only, then the filter."""
    size, taps = weight.shape[0], len(kernel)
    y = F.conv_transpose3d(x, weight.flip(0, 1).permute(3, 4, 0, 1, 2), stride=2)
    return fir(y, kernel, (taps + 2 - size) // 2, (taps - size + 1) // 2, gain=4.0)


def downconv(x, weight, kernel):
    size, taps = weight.shape[0], len(kernel)
    y = fir(x, kernel, (taps - 2 + size) // 2, (taps - 3 + size) // 2)
    return F.conv3d(y, weight.permute(4, 3, 0, 1, 2), stride=2)


def upsample_image(y, kernel):
    taps = len(kernel)
    for axis in (2, 3, 4):
        y = y.repeat_interleave(2, dim=axis)
    return fir(y, kernel, (taps + 1) // 2, (taps - 2) // 2, gain=4.0)


def downsample_image(y, kernel):
    taps = len(kernel)
    return fir(y, kernel, (taps + 1) // 2, (taps - 2) // 2)[:, :, ::2, ::2, ::2]
