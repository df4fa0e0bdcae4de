"""A rectified flow of a few steps from a linear model's brains to realistic ones.

Sums of many textures have the right variance at every position and scale, but tissue is not a sum
of textures: cortex is a ribbon of uniform grey. A flow transports one distribution to the other:
v(x, t) = E[x1 - x0 | (1 - t) x0 + t x1 = x], where x0 is a brain of the linear model and x1 a
subject with the same coarse anatomy (Liu, Gong, Liu 2023, arXiv 2209.03003; with coupled pairs,
Albergo et al. 2024, arXiv 2310.03725). From x0, dx = v(x, t) dt is integrated by Euler's method. It
is trained by least squares on small cubes (`training/flow.py`), which is feasible with few subjects
and processors.

Reconstructions of scans are not changed: the flow is gated by the details, which reconstructions
omit, and is exactly the identity without them, unless it was opened for a scan's own noise.

Finishing of an anatomy model's image: saturated details, a toe, and curves after the flow.

Sums of many textures are Gaussian and sometimes darker or brighter than any tissue. So details are
scaled to unit variance at each voxel and passed through a sigmoid, with a strength predicted from
w. And the outline of an average brain is soft, unlike that of an extracted brain: a toe (the dark
end of a tone curve) suppresses very dark values.

What a flow has learned by least squares is a little too smooth: the finest bands are too weak and
too evenly distributed, and brains end in a faint margin. Curves applied to each band match both to
subjects.

The parameters are set by `training/export.py` and `training/flow_export.py`, not by
training.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylegan3d.networks.config import FLOW_UNIT, Grid
from stylegan3d.networks.memo import Check
from stylegan3d.networks.resampling import CHANNELS_LAST, haar, inverse_haar

# Limits the contrast of extreme edits.
LARGEST_GAIN = 2.0
# Between these, in units of a band's spread, its curve is a power; beyond them it is straight.
LEAST_SIZE, LARGEST_SIZE = 1e-3, 8.0


class DetailTexture(nn.Module):
    """Details through a sigmoid: bands of unit variance -> bands of the image.

    t = scale gain(w) tanh(slope u), with u the details at full resolution and
    gain(w) = exp(contrast . (w - centre)).

    Attributes
    ----------
    scale : Tensor, shape (1, X, Y, Z)
        Standard deviation of the details divided by that of tanh(slope u), on the bands' grid.
    contrast, centre : Tensor, shape (w_dim,)
        Dependence of the details' strength on w.
    within : Tensor
        Variance of u within blocks of 2 x 2 x 2 voxels, for the low band.
    """

    scale: Tensor
    contrast: Tensor
    centre: Tensor
    within: Tensor

    def __init__(self, slope: float, haar_head: bool, w_dim: int, grid: Grid) -> None:
        super().__init__()
        self.slope = slope
        self.haar_head = haar_head
        self.register_buffer("scale", torch.ones(1, *grid))
        self.register_buffer("contrast", torch.zeros(w_dim))
        self.register_buffer("centre", torch.zeros(w_dim))
        self.register_buffer("within", torch.zeros(()))

    def forward(self, details: Tensor, w: Tensor, low_only: bool = False) -> Tensor:
        """Details [N, C, X, Y, Z] (bands of a Haar head, or its low one) of w [N, w_dim]."""
        if not self.haar_head:
            shaped = torch.tanh(self.slope * details)
        elif low_only:
            # The mean of tanh(s u) over u of mean m and variance v is about that of a logistic
            # curve (MacKay 1992): tanh(s m / sqrt(1 + pi s^2 v / 2)).
            slope = self.slope * torch.rsqrt(1 + math.pi / 2 * self.slope**2 * self.within)
            shaped = torch.tanh(slope * details)
        else:
            shaped = haar(torch.tanh(self.slope * inverse_haar(details)))
        return shaped * (self.scale * self._gain(w)[:, None, None, None, None])

    def _gain(self, w: Tensor) -> Tensor:
        limit = math.log(LARGEST_GAIN)
        return torch.exp(((w - self.centre) @ self.contrast).clamp(-limit, limit))


class Toe(nn.Module):
    """Dark end of a tone curve: 0 below `ends[0]`, unchanged above `ends[1]`, smooth between.

    Attributes
    ----------
    ends : Tensor, shape (2,)
        Intensities, where 0 is background and 1 the brightest tissue.
    """

    ends: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("ends", torch.tensor([-1.0, 0.0]))

    def forward(self, image: Tensor) -> Tensor:
        """An image in [-1, 1], of any shape."""
        return toed(image, *self.ends.unbind())


def toed(image: Tensor, low: float | Tensor, high: float | Tensor) -> Tensor:
    """An image in [-1, 1] after a toe between two intensities in [0, 1], see `Toe`."""
    value = (image + 1) / 2
    t = ((value - low) / (high - low)).clamp(0, 1)
    return value * (t * t * (3 - 2 * t)) * 2 - 1


class BandCurves(nn.Module):
    """A curve for each fine Haar band of a flow's image, its brightness and its darkest end.

    x -> gain x |x / spread|^tail for each fine band: a positive tail makes weak values weaker and
    strong ones stronger, as edges between tissues are. Such curves match marginal distributions of
    bands (Heeger, Bergen 1995, "Pyramid-based texture analysis/synthesis").

    Attributes
    ----------
    gain, tail, spread : Tensor, shape (7,)
        As above; `spread` is the root mean square of each band, of an image in [-1, 1].
    brightness : Tensor
        Factor for intensities above the background.
    ends : Tensor, shape (2,)
        Intensities in [0, 1] of a toe: zero below the first, unchanged above the second.
    """

    gain: Tensor
    tail: Tensor
    spread: Tensor
    brightness: Tensor
    ends: Tensor

    def __init__(self, ends: tuple[float, float]) -> None:
        super().__init__()
        self.register_buffer("gain", torch.ones(7))
        self.register_buffer("tail", torch.zeros(7))
        self.register_buffer("spread", torch.ones(7))
        self.register_buffer("brightness", torch.ones(()))
        self.register_buffer("ends", torch.tensor(ends))

    def forward(self, bands: Tensor) -> Tensor:
        """Haar bands [N, 8, X, Y, Z] of an image in [-1, 1]."""
        low = (bands[:, :1] + 1) * self.brightness - 1
        fine = bands[:, 1:]
        gain, tail, spread = (
            per_band[None, :, None, None, None]
            for per_band in (self.gain * self.brightness, self.tail, self.spread)
        )
        size = (fine.abs() / spread).clamp(LEAST_SIZE, LARGEST_SIZE)
        return torch.cat([low, fine * gain * size**tail], dim=1)


EMBEDDING = 64
FREQUENCIES = 16


def embedding_of(numbers: int, width: int) -> nn.Sequential:
    """Two dense layers that make a vector of so many numbers, such as a time's frequencies."""
    return nn.Sequential(nn.Linear(numbers, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())


class FlowBlock(nn.Module):
    """A residual block of two 3x3x3 convolutions; the time modulates the features in between."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, stride, padding=1)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1)
        self.time = nn.Linear(EMBEDDING, 2 * outputs)
        plain = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if plain else nn.Conv3d(inputs, outputs, 1, stride)
        for parameter in (*self.time.parameters(), *self.second.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[N, inputs, X, Y, Z], [N, EMBEDDING] -> [N, outputs, X / stride, ...]"""
        gain, shift = self.time(time)[:, :, None, None, None].chunk(2, dim=1)
        inner = F.silu(self.first(x)) * (1 + gain) + shift
        out: Tensor = self.second(F.silu(inner))
        return out.add_(self.shortcut(x))


class BandUNet(nn.Module):
    """A U-Net conditioned on time; its output is zero until trained.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    channels : feature channels on the bands' grid, its half and its quarter. On current processors
        multiples of 32 are fastest.
    """

    def __init__(self, inputs: int, outputs: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        self.channels = channels
        a, b, c = channels
        self.embedding = embedding_of(2 * FREQUENCIES, EMBEDDING)
        self.stem = nn.Conv3d(inputs, a, 3, padding=1)
        self.down = nn.ModuleList([FlowBlock(a, a), FlowBlock(b, b), FlowBlock(c, c)])
        self.halve = nn.ModuleList([FlowBlock(a, b, stride=2), FlowBlock(b, c, stride=2)])
        self.narrow = nn.ModuleList([nn.Conv3d(b, a, 1), nn.Conv3d(c, b, 1)])
        self.up = nn.ModuleList([FlowBlock(a, a), FlowBlock(b, b)])
        self.head = nn.Conv3d(a, outputs, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def answer(self, x: Tensor, time: Tensor, check: Check = lambda: None) -> Tensor:
        """Output of the network for bands at a time.

        Parameters
        ----------
        x : [N, inputs, X, Y, Z]
        time : Tensor, [N]
            From 0 to 1.
        check : callable or None
            Called between the layers; what it raises ends the work.

        Returns
        -------
        [N, outputs, X, Y, Z] float32
        """
        octaves = torch.exp(torch.linspace(0, 4, FREQUENCIES, device=x.device)) * math.pi / 2
        angles = time[:, None].to(octaves) * octaves
        embedded = self.embedding(torch.cat([angles.sin(), angles.cos()], dim=1))
        x = self.stem(x.contiguous(memory_format=CHANNELS_LAST))
        check()
        x = self.down[0](x, embedded)
        check()
        half = self.down[1](self.halve[0](x, embedded), embedded)
        quarter = self.down[2](self.halve[1](half, embedded), embedded)
        check()
        half = self.up[1](half + _doubled(self.narrow[1](quarter), half), embedded)
        x = self.up[0](x + _doubled(self.narrow[0](half), x), embedded)
        check()
        found: Tensor = self.head(x)
        return found.float()


def places_on(grid: torch.Size | Grid, device: torch.device) -> Tensor:
    """[1, 3, X, Y, Z] from -1 at the first voxel of each axis to 1 at its last."""
    axes = [torch.linspace(-1, 1, n, device=device) for n in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]


def _doubled(x: Tensor, like: Tensor) -> Tensor:
    """Each voxel twice along each axis; the last one once where `like` has an odd number."""
    a, b, c = like.shape[2:]
    return F.interpolate(x, scale_factor=2, mode="nearest")[:, :, :a, :b, :c]


# Gains for unit variance: mean of a block, its seven fine bands, velocities.
LOW_GAIN, FINE_GAIN, VELOCITY_GAIN = 2.0, 10.0, 15.0
# Ends of a toe: outside of subjects' brains there is exactly nothing.
FLOOR = (0.01, 0.03)
# Maximum extension of a brain beyond that of the linear model, in voxels of the bands' grid.
REACH = 2
# Mean square of the details' weights relative to random brains, at which the gate starts to open
# and is fully open. Reconstructions have about 0.01.
GATE = (0.1, 0.4)
# How much the fully open gate changes a brain, relative to details as strong as random brains'.
GATE_CHANGES = 0.5


class Flow(BandUNet):
    """Velocity of the flow, a U-Net on Haar bands, and its integration.

    Parameters
    ----------
    channels : tuple of int
        Feature channels on the bands' grid, its half and its quarter.
    grid : Grid
        Grid of the bands.
    curves : bool
        Whether curves finish the result.

    Attributes
    ----------
    noise : Tensor, shape (1, 1, 2 X, 2 Y, 2 Z)
        Noise added before the flow if noise is "fixed".
    noise_strength : Tensor
        Its standard deviation, in intensities of [-1, 1].
    spread : Tensor
        Root mean square of the details' weights among random brains.
    opened : Tensor, shape (1,)
        How far the flow is open whatever the details: 0 in a model, 1 for a scan whose own noise
        was found (`projection/projector.py`). Not stored with the model.
    curves : BandCurves or None
        Applied to the result.
    """

    noise: Tensor
    noise_strength: Tensor
    spread: Tensor
    opened: Tensor

    def __init__(self, channels: tuple[int, int, int], grid: Grid, *, curves: bool = False) -> None:
        super().__init__(8 + 3, 8, channels)
        x, y, z = (2 * n for n in grid)
        self.register_buffer("noise", torch.randn(1, 1, x, y, z))
        self.register_buffer("noise_strength", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("opened", torch.zeros(1), persistent=False)
        self.curves = BandCurves(FLOOR) if curves else None

    def gate(self, details: Tensor) -> Tensor:
        """Gate of the flow, see `gate_of`."""
        return (gate_of(details, self.spread) + self.opened).clamp(max=1)

    def velocity(
        self, bands: Tensor, time: Tensor, places: Tensor, check: Check = lambda: None
    ) -> Tensor:
        """Velocity at a time.

        Parameters
        ----------
        bands : Tensor, shape (N, 8, X, Y, Z)
            Haar bands of an image or a cube in [-1, 1].
        time : Tensor, shape (N,)
            From 0 (the linear model) to 1 (subjects).
        places : Tensor, shape (1 or N, 3, X, Y, Z)
            Positions of its voxels, see `places_on`.
        check : callable
            Called between layers; may raise to cancel.

        Returns
        -------
        Tensor, shape (N, 8, X, Y, Z), float32
        """
        scaled = torch.cat([bands[:, :1] * LOW_GAIN, bands[:, 1:] * FINE_GAIN], dim=1)
        x = torch.cat([scaled, places.expand(len(bands), -1, -1, -1, -1).to(bands)], dim=1)
        return self.answer(x, time, check) / VELOCITY_GAIN

    def forward(
        self,
        image: Tensor,
        noise: Tensor | None,
        steps: int,
        dtype: torch.dtype = torch.float32,
        check: Check = lambda: None,
    ) -> Tensor:
        """Integrate the flow.

        Parameters
        ----------
        image : Tensor, shape (N, 1, X, Y, Z)
            Image of the linear model, values in [-1, 1].
        noise : Tensor, shape (1 or N, 1, X, Y, Z), or None
            Standard normal noise.
        steps : int
            Euler steps.
        dtype : torch.dtype
            Precision of the feature maps.
        check : callable
            Called between layers; may raise to cancel.

        Returns
        -------
        Tensor, shape (N, 1, X, Y, Z), float32
        """
        bands, near, box = self.followed(image, noise, steps, dtype, check)
        return within(bands if self.curves is None else self.curves(bands), near, box, self.ends)

    @property
    def ends(self) -> tuple[float, float]:
        """The ends of the toe, intensities in [0, 1]."""
        low, high = FLOOR if self.curves is None else self.curves.ends.tolist()
        return low, high

    def box(self, near: Tensor) -> tuple[slice, slice, slice]:
        """The part of the bands' grid where it is followed, see `box_of`."""
        return box_of(near)

    def followed(
        self,
        image: Tensor,
        noise: Tensor | None,
        steps: int,
        dtype: torch.dtype = torch.float32,
        check: Check = lambda: None,
    ) -> tuple[Tensor, Tensor, tuple[slice, slice, slice]]:
        """Where the flow leads, before curves and outline; parameters as of `forward`.

        Returns
        -------
        tuple
            Haar bands in [-1, 1] within a box, where the linear model's brain is near, and the box;
            see `within`.
        """
        near = near_brain(image)
        box = self.box(near)
        inner = tuple(slice(2 * side.start, 2 * side.stop) for side in box)
        start = image[:, :, *inner]
        if noise is not None:
            start = start + noise[:, :, *inner].to(image) * self.noise_strength
        bands = haar(start)
        places = places_on(near.shape[2:], bands.device)[:, :, *box]
        low = dtype != torch.float32
        for step in range(steps):
            time = bands.new_full((len(bands),), step / steps)
            with torch.autocast(image.device.type, dtype if low else None, enabled=low):
                bands = bands + self.velocity(bands, time, places, check) / steps
        return bands, near, box


def gate_of(details: Tensor, spread: Tensor) -> Tensor:
    """How much of a flow's change is made, [N] from 0 to 1.

    Parameters
    ----------
    details : Tensor
        [N, details] weights.
    spread : Tensor
        Their root mean square among random brains.
    """
    share = details.square().mean(dim=1) / spread.square()
    return ((share - GATE[0]) / (GATE[1] - GATE[0])).clamp(0, 1)


def details_between(a: Tensor, b: Tensor, share: float, spread: Tensor) -> Tensor:
    """Details on the way from `a` to `b` that change the picture as evenly as the share does.

    On a straight line the details of two random brains are weakest half-way, where the gate closes
    and folds are blurred; to a scan, which has nearly none, it opens or closes within a part of the
    way. So their direction follows an arc (Shoemake 1985, "Animating rotation with quaternion
    curves") and their size what is seen of them: themselves and the gate.

    Parameters
    ----------
    a, b : Tensor, shape (details,)
        Weights of the detail images.
    share : float
        From 0 (a) to 1 (b).
    spread : Tensor
        Their root mean square among random brains.
    """
    sizes = [details.square().mean().sqrt() for details in (a, b)]
    if not all(sizes):  # nothing has no direction
        return torch.lerp(a, b, share)
    a_seen, b_seen = (_seen(size / spread) for size in sizes)
    size = _size_of(torch.lerp(a_seen, b_seen, share)) * spread
    from_a, to_b = (details / own for details, own in zip((a, b), sizes, strict=True))
    angle = torch.arccos((from_a * to_b).mean().clamp(-1, 1))
    if angle.sin() < 1e-3:
        return size * torch.lerp(from_a, to_b, share)
    first, second = torch.sin((1 - share) * angle), torch.sin(share * angle)
    return size * (first * from_a + second * to_b) / angle.sin()


def _seen(size: Tensor) -> Tensor:
    """How much details of a root mean square, relative to random brains', change a brain."""
    low, high = GATE
    return size + GATE_CHANGES * ((size.square() - low) / (high - low)).clamp(0, 1)


def _size_of(seen: Tensor) -> Tensor:
    """Inverse of `_seen`: its three pieces are a line, a parabola and a line."""
    low, high = GATE
    slope = GATE_CHANGES / (high - low)
    within = ((1 + 4 * slope * (seen + slope * low)).sqrt() - 1) / (2 * slope)
    return torch.where(
        seen < low**0.5, seen, torch.where(within < high**0.5, within, seen - GATE_CHANGES)
    )


def near_brain(image: Tensor) -> Tensor:
    """[N, 1, X, Y, Z] bool on the bands' grid: near the brain of the linear model."""
    return reached(F.avg_pool3d((image > 2 * FLOOR[1] - 1).float(), 2))


def reached(low: Tensor) -> Tensor:
    """[N, 1, X, Y, Z] bool: where there is something on the bands' grid, and `REACH` beyond.

    Noise elsewhere is removed.
    """
    for axis in range(3):  # one after the other, 15 comparisons in the place of 125
        size, edge = [1, 1, 1], [0, 0, 0]
        size[axis], edge[axis] = 2 * REACH + 1, REACH
        low = F.max_pool3d(low, size, 1, edge)
    return low > 0


def within(
    bands: Tensor, near: Tensor, box: tuple[slice, slice, slice], ends: tuple[float, float] = FLOOR
) -> Tensor:
    """The image [N, 1, 2 X, 2 Y, 2 Z] of the bands in a box, -1 where nothing is near.

    Parameters
    ----------
    bands : Tensor, [N, 8, x, y, z]
        Haar bands in [-1, 1].
    near : Tensor, [1 or N, 1, X, Y, Z]
        Above 0 where there may be something, see `reached`.
    box : tuple of slice
        See `box_of`.
    ends : tuple of float
        Of a toe, intensities in [0, 1], see `toed`.
    """
    reach = F.interpolate(near[:, :, *box].float(), scale_factor=2, mode="nearest") > 0
    found = torch.where(reach, toed(inverse_haar(bands), *ends), -1.0)
    whole = found.new_full((len(found), 1, *(2 * n for n in near.shape[2:])), -1.0)
    whole[:, :, *(slice(2 * side.start, 2 * side.stop) for side in box)] = found
    return whole


def box_of(near: Tensor) -> tuple[slice, slice, slice]:
    """The part of the bands' grid that holds all that is near.

    Parameters
    ----------
    near : Tensor, [N, 1, X, Y, Z]
        Above 0 where something is.
    """
    sides = []
    for axis in (2, 3, 4):
        found = near.amax(dim=[i for i in range(near.ndim) if i != axis]).nonzero()
        if not len(found):  # no brain at all
            found = found.new_zeros(1, 1)
        sides.append(slice(int(found[0]) // FLOW_UNIT * FLOW_UNIT, int(found[-1]) + 1))
    x, y, z = sides
    return x, y, z
