"""Velocity fields, their exponential, sparse bases, and a generator that deforms its image."""

import torch
from tolerances import LAYERS, SUMS

from stylegan3d.networks.anatomy import AnatomyNetwork
from stylegan3d.networks.config import AnatomyConfig
from stylegan3d.networks.deformation import Basis, exponential, resize, warp
from stylegan3d.networks.resampling import fine_bands, inverse_haar

GRID = (12, 10, 8)


def blob(grid=GRID, center=(0.0, 0.0, 0.0), width=0.35):
    axes = [torch.linspace(-1 + 1 / n, 1 - 1 / n, n) for n in grid]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    distance = (points - torch.tensor(center)[:, None, None, None]).square().sum(dim=0)
    return torch.exp(-distance / (2 * width**2))[None, None]


def field(grid=GRID, size=0.15):
    torch.manual_seed(0)
    return resize(torch.randn(1, 3, 3, 3, 2), grid) * size * blob(grid, width=0.5)


def test_a_displacement_reads_from_where_it_points_along_each_axis():
    for axis in range(3):
        image = torch.zeros(1, 1, *GRID)
        image[(0, 0, *(n // 2 for n in GRID))] = 1
        displacement = torch.zeros(1, 3, *GRID)
        displacement[:, axis] = 2 * 2 / GRID[axis]  # two voxels
        expected = torch.roll(image, -2, dims=2 + axis)
        torch.testing.assert_close(warp(image, displacement), expected, atol=LAYERS, rtol=0)


def test_the_exponential_is_undone_by_that_of_the_negative_and_folds_nowhere():
    velocity = field((24, 20, 16), 0.3)
    there, back = exponential(velocity, 7), exponential(-velocity, 7)
    composed = back + warp(there, back)
    assert composed.abs().max() < 0.1 * there.abs().max()
    # Along each axis the moved places keep their order.
    for axis in range(3):
        step = 2 / velocity.shape[2 + axis]
        assert (there[:, axis].diff(dim=1 + axis) > -step).all()
    plain = velocity * 4
    assert not (plain[:, 0].diff(dim=1) > -2 / 24).all(), "the plain field would fold"


def test_a_constant_velocity_moves_by_itself():
    velocity = torch.full((1, 3, *GRID), 0.05)
    torch.testing.assert_close(exponential(velocity), velocity)


def test_a_basis_stores_what_is_inside_and_sums_it_like_the_whole_fields():
    torch.manual_seed(0)
    fields, inside = torch.randn(4, 3, *GRID), blob()[0, 0] > 0.3
    basis = Basis(4, 3, GRID)
    basis.set_fields(fields, inside)
    assert basis.weight.shape == (4, 3, int(inside.sum())) != (4, 3, inside.numel())
    weights = torch.randn(2, 4)
    expected = torch.einsum("nk,kcxyz->ncxyz", weights, fields * inside)
    torch.testing.assert_close(basis(weights), expected)
    fresh = Basis(4, 3, GRID)
    fresh.load_state_dict(basis.state_dict())
    torch.testing.assert_close(fresh(weights), expected)


def network(**settings):
    torch.manual_seed(0)
    config = AnatomyConfig(
        **{
            "base": (3, 2, 4),
            "levels": 3,
            "z_dim": 9,
            "w_dim": 9,
            "head": "haar",
            "image_const": True,
            "image_basis": 4,
            "deformation": 3,
            "deformation_level": 1,
            **settings,
        }
    )
    made = AnatomyNetwork(config)
    grid = config.grid(config.num_levels - 1)
    made.image_basis.set_fields(0.1 * torch.randn(4, 1, *grid), torch.ones(grid, dtype=torch.bool))
    coarse = config.grid(config.deformation_level)
    made.velocity_basis.set_fields(
        0.1 * torch.randn(3, 3, *coarse), torch.ones(coarse, dtype=torch.bool)
    )
    torch.nn.init.normal_(made.image_const)
    return made


def test_velocities_move_the_image_and_nothing_else():
    made = network(deformation_level=2)
    w = torch.randn(1, 6, 9)
    canonical = inverse_haar(made.canonical(w))
    displacement = resize(exponential(made.velocity(w)), canonical.shape[2:])
    torch.testing.assert_close(made(w), warp(canonical, displacement))
    still = w.clone()
    still[..., :3] = 0
    assert torch.equal(made.velocity(still), made.velocity(torch.zeros_like(w)))
    assert made.velocity(w).abs().max() > 0


def test_equal_rows_sum_the_velocity_bands_to_the_plain_field():
    made = network()
    w = torch.randn(1, 1, 9).expand(1, 6, 9)
    expected = made.velocity_basis(w[:, 0, :3])
    torch.testing.assert_close(made.velocity(w), expected, atol=SUMS, rtol=LAYERS)


def test_shape_and_look_of_a_level_have_rows_of_their_own():
    made = network()
    w = torch.randn(1, 6, 9)
    shape, look = w.clone(), w.clone()
    shape[:, 1] += 1
    look[:, 2] += 1
    assert not torch.equal(made.velocity(shape), made.velocity(w))
    assert torch.equal(made.velocity(look), made.velocity(w))


def test_a_preview_is_moved_like_the_whole():
    made = network()
    w = torch.randn(1, 6, 9)
    full = torch.nn.functional.avg_pool3d(made(w), 2)
    preview = made(w, level=-2)
    assert preview.shape == full.shape
    unmoved = made.canonical(w)[:, :1]
    assert (preview - full).abs().mean() < 0.7 * (unmoved - full).abs().mean()


def test_what_is_below_the_last_level_goes_on_into_the_fine_bands():
    """All of the low band, which stays."""
    plain, made = network(), network(fine_taps=(0.2, -0.05))
    w = torch.randn(1, 6, 9)
    before, after = plain.canonical(w), made.canonical(w)
    assert torch.equal(before[:, :1], after[:, :1])
    low = before[:, :1] - made.image_const[None, :1]
    torch.testing.assert_close(after[:, 1:] - before[:, 1:], fine_bands(low, (0.2, -0.05)))
