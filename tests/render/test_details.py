"""Recipes with a scan's own detail: what is shown, of whose scan, and what is refused."""

import dataclasses
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from tiny import tiny_generator
from tolerances import FLOAT32, LAYERS, SUMS

from stylegan3d.base import OutputError, RecipeError, ScanError
from stylegan3d.geometry.space import Space
from stylegan3d.networks.deformation import add_identity, read_at
from stylegan3d.outputs.projections import edit_names
from stylegan3d.outputs.results import sidecar, volume_name
from stylegan3d.projection import project
from stylegan3d.recipe.description import describe_recipe
from stylegan3d.recipe.keyframes import stills
from stylegan3d.recipe.latents import Latent, save_latent
from stylegan3d.recipe.recipe import Detail, Edit, Mix, Recipe, Source
from stylegan3d.render.editable import Details, Original
from stylegan3d.render.movement import deformed_anatomy, movement_between
from stylegan3d.render.recipes import carried_detail, edited_scan, render_moment, render_recipe
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans.aligned import AlignedScan
from stylegan3d.scans.resampling import pack_mask
from stylegan3d.scans.scan_data import ScanData
from stylegan3d.storage.about import WORN_DETAIL

EDIT = (Edit("PC 1", 2.0),)


def with_deformation():
    """A generator that says where it moves tissue to, of random numbers."""
    generator = tiny_generator(image_const=True, image_basis=4, deformation=4)
    random, network = torch.Generator().manual_seed(0), generator.synthesis
    with torch.no_grad():
        for weight, size in (
            (network.image_const, 0.1),
            (network.image_basis.weight, 0.1),
            (network.velocity_basis.weight, 0.02),
        ):
            weight.copy_(torch.randn(weight.shape, generator=random) * size)
    return generator


@pytest.fixture(scope="module", params=[tiny_generator, with_deformation])
def generator(request):
    """One that has to be registered, and one that deforms."""
    return request.param()


def original_of(generator, name, seed):
    """A scan twice as fine as the model's grid, and how its brain was aligned."""
    space = generator.space
    random = np.random.RandomState(seed)
    mask = np.zeros(space.shape, bool)
    mask[4:-4, 5:-5, 4:-4] = True
    aligned = np.where(mask, 0.4 + 0.3 * random.rand(*space.shape), 0).astype(np.float32)
    x, y, z = (2 * n for n in space.shape)
    own: Space = space.resized((x, y, z))
    data = np.kron(aligned, np.ones((2, 2, 2))).astype(np.float32) * 300
    data += 20 * random.rand(*data.shape).astype(np.float32)  # a head around the brain
    described = {
        "path": f"{name}_T1w.nii.gz",
        "sha256": f"sha of {name}",
        "shape": list(own.shape),
        "affine": own.affine.tolist(),
        "rigid": np.eye(4).tolist(),
        "model_affine": space.affine.tolist(),
        "intensity_scale": 300.0,
        "brain_mask": pack_mask(mask),
    }
    return Original(data, described, aligned)


@pytest.fixture
def people(generator, tmp_path):
    """Sources and originals of two projected scans."""
    found = {}
    for seed, name in enumerate(("sub-01", "sub-02")):
        original = original_of(generator, name, seed)
        w = generator.map(torch.randn(1, generator.z_dim, generator=torch.manual_seed(seed)))[0]
        path = tmp_path / f"{name}_desc-projected_latent.safetensors"
        save_latent(path, Latent.of(generator, w, scan=dict(original.described)))
        found[name] = Source.from_file(path), original
    return found


@pytest.fixture
def renderer(generator, people):
    """One that has both scans at hand."""

    def find(source):
        for known, original in people.values():
            if known.is_same(source):
                return original
        raise ScanError("not at hand")

    return Renderer(generator, Details(find))


def detailed(people, name="sub-01", strength=1.0, **changes):
    source = people[name][0]
    return Recipe(source, detail=Detail(source, strength), **changes)


@pytest.mark.parametrize("quality", ["full", "preview", "fast"])
def test_without_an_edit_it_is_the_aligned_scan_and_the_scan_bit_for_bit(renderer, people, quality):
    original = people["sub-01"][1]
    rendered = render_recipe(renderer, detailed(people), quality)
    np.testing.assert_array_equal(rendered.volume, original.aligned)
    assert rendered.space.same_as(renderer.generator.space)
    assert rendered.movement.is_nothing
    edited = edited_scan(renderer, detailed(people))
    np.testing.assert_array_equal(edited.data, original.data)
    np.testing.assert_array_equal(edited.image.get_fdata(), original.data)


def test_there_and_back_on_the_sliders_is_the_scan_again(renderer, people):
    there, back = (Edit("PC 1", 2.0), Edit("PC 1", -2.0))
    edited = render_recipe(renderer, detailed(people, edits=(there,))).volume
    assert np.abs(edited - people["sub-01"][1].aligned).max() > 0.01
    again = render_recipe(renderer, detailed(people)).volume
    np.testing.assert_array_equal(again, people["sub-01"][1].aligned)
    nearly = render_recipe(renderer, detailed(people, edits=(there, back))).volume
    np.testing.assert_allclose(nearly, again, atol=2e-3)  # what two float32 steps leave


def test_a_preview_is_nearly_what_is_shown_when_the_hand_rests(renderer, people):
    recipe = detailed(people, edits=EDIT)
    full = render_recipe(renderer, recipe).volume
    preview = render_recipe(renderer, recipe, "preview").volume
    assert preview.shape == full.shape
    # A registration in fewer steps may find less.
    if deformed_anatomy(renderer.generator) is not None:
        inside = people["sub-01"][1].aligned > 0
        assert np.sqrt(np.square(full - preview)[inside].mean()) < 0.12
        assert not np.array_equal(preview, people["sub-01"][1].aligned)


def test_of_a_preview_the_planes_that_are_looked_at_suffice(renderer, people):
    recipe, (_, aligned) = detailed(people, edits=EDIT), people["sub-01"]
    voxel = (7, 11, 9)
    point = nib.affines.apply_affine(renderer.generator.affine, voxel)
    whole = render_recipe(renderer, recipe, "preview")
    flat = render_recipe(renderer, recipe, "preview", through=tuple(point))
    assert (whole.through, flat.through) == (None, tuple(point))
    for axis in range(3):
        np.testing.assert_array_equal(
            flat.volume.take(voxel[axis], axis), whole.volume.take(voxel[axis], axis)
        )
    np.testing.assert_array_equal(
        flat.volume[voxel[0] + 1 :, voxel[1] + 1 :, voxel[2] + 1 :],
        aligned.aligned[voxel[0] + 1 :, voxel[1] + 1 :, voxel[2] + 1 :],
    )
    assert render_recipe(renderer, recipe, through=tuple(point)).through is None


def test_the_edited_scan_is_the_model_s_change_on_the_scan(renderer, people):
    """What is seen at the model's resolution is what the brain of the model does."""
    recipe = detailed(people, edits=EDIT)
    rendered = render_recipe(renderer, recipe)
    assert rendered.movement.jacobian.min() > 0
    native = edited_scan(renderer, recipe)
    assert native.data.shape == people["sub-01"][1].data.shape
    assert native.movement.jacobian.min() > 0
    assert np.abs(native.data - people["sub-01"][1].data).max() > 3  # of 300


def test_strength_leads_from_the_models_brain_to_the_scan(renderer, people):
    volumes = [
        render_recipe(renderer, detailed(people, strength=s, edits=EDIT)).volume
        for s in (0.0, 0.25, 1.0)
    ]
    brain = render_recipe(renderer, detailed(people, edits=EDIT).replace(detail=None)).volume
    np.testing.assert_array_equal(volumes[0], brain)
    expected = 0.75 * brain + 0.25 * volumes[2]
    np.testing.assert_allclose(volumes[1], expected, atol=SUMS)
    half = edited_scan(renderer, detailed(people, strength=0.5, edits=EDIT)).data
    whole = edited_scan(renderer, detailed(people, edits=EDIT)).data
    outside = edited_scan(renderer, detailed(people)).carried.made(np.ones_like(brain)) == 0
    np.testing.assert_allclose(half[outside], whole[outside] / 2, rtol=SUMS)


def test_another_brain_wears_the_detail(renderer, people):
    """Its shape and appearance, and what is finer is the scan's."""
    seed = Recipe(Source("seed", 5))
    worn = seed.replace(detail=Detail(people["sub-01"][0]))
    assert worn.worn_detail is not None
    assert not worn.is_edited_scan
    shown = render_recipe(renderer, worn)
    assert np.isfinite(shown.volume).all()
    other = render_recipe(renderer, seed.replace(detail=Detail(people["sub-02"][0]))).volume
    assert np.abs(shown.volume - other).max() > 0.05
    with pytest.raises(RecipeError, match="at its own resolution"):
        edited_scan(renderer, worn)


def test_the_wearers_own_latent_gives_the_scan(renderer, people):
    """A brain of the same latent that wears the detail: nothing moves, all is the scan's."""
    source, original = people["sub-01"]
    mixed = Mix(source, (1.0,) * renderer.generator.num_layers)
    worn = Recipe(Source("seed", 5), mix=mixed, detail=Detail(source))
    shown = render_recipe(renderer, worn)
    np.testing.assert_allclose(shown.volume, original.aligned, atol=LAYERS)


def test_two_patients_never_share_what_is_ready(renderer, people):
    for name in ("sub-01", "sub-02", "sub-01"):
        shown = render_recipe(renderer, detailed(people, name)).volume
        np.testing.assert_array_equal(shown, people[name][1].aligned)


def test_the_detail_of_one_patient_on_the_shape_of_another(renderer, people, tmp_path):
    """What is finer is the one's, all else the other's, and both are named for what they are."""
    own = detailed(people).replace(detail=None)
    worn = own.replace(detail=Detail(people["sub-02"][0]))
    assert not worn.is_edited_scan
    shown = render_recipe(renderer, worn)
    # The fine structure at the place that the movement says: each voxel of the other's scan.
    inside = ndimage.binary_erosion(people["sub-01"][1].aligned > 0, iterations=2)
    offsets = F.interpolate(shown.movement.offsets, shown.volume.shape, mode="trilinear")
    places = add_identity(offsets)
    alike = []
    for name in ("sub-01", "sub-02"):
        finer = torch.from_numpy(people[name][1].aligned)[None, None]
        read = read_at(finer, places)[0, 0].numpy()
        fine = [v - ndimage.gaussian_filter(v, 1) for v in (read, shown.volume)]
        alike.append(np.corrcoef(fine[0][inside], fine[1][inside])[0, 1])
    assert alike[1] > 0.4
    assert abs(alike[0]) < 0.1
    assert volume_name(worn) == "sub-01_space-model_desc-projectedDetailOfSub02_T1w.nii.gz"
    assert describe_recipe(worn) == "Projected sub-01, detail of sub-02"
    told = sidecar(worn, renderer.generator, folder=tmp_path)
    assert told["Description"].startswith(WORN_DETAIL)
    brain, detail = told["Sources"]
    assert "sub-01" in brain
    assert "sub-02" in detail
    with pytest.raises(OutputError, match="shows no edited scan"):
        edit_names(worn, tmp_path)


def test_another_persons_scan_is_refused(generator, people):
    wrong = Renderer(generator, Details(lambda source: people["sub-02"][1]))
    with pytest.raises(ScanError, match="belongs to another scan"):
        render_recipe(wrong, detailed(people))
    turned = dict(people["sub-01"][1].described, rigid=np.diag([1, 1, 1, 1.0]).tolist())
    turned["rigid"][0][3] = 2.0
    moved = dataclasses.replace(people["sub-01"][1], described=turned)
    with pytest.raises(ScanError, match="not projected in the pose"):
        render_recipe(Renderer(generator, Details(lambda source: moved)), detailed(people))
    with pytest.raises(ScanError, match="open that scan"):
        render_recipe(Renderer(generator), detailed(people))


def test_a_latent_without_its_scan_has_no_detail(generator, people, tmp_path):
    path = tmp_path / "plain_latent.safetensors"
    save_latent(path, Latent.of(generator, generator.w_avg.expand(generator.num_layers, -1)))
    source = Source("projected", path=str(path))
    renderer = Renderer(generator, Details(lambda _: people["sub-01"][1]))
    with pytest.raises(RecipeError, match="does not say which scan"):
        render_recipe(renderer, Recipe(source, detail=Detail(source)))


def test_a_film_of_an_edited_scan_begins_with_the_scan(renderer, people):
    ends = [detailed(people), detailed(people, strength=0.5, edits=EDIT)]
    moments = list(stills(ends, renderer.generator, 2, "linear"))
    assert [moment.detail.strength for moment in moments] == [1.0, 0.75, 0.5]
    assert all(moment.is_edited_scan for moment in moments)
    first = render_moment(renderer, moments[0], "fast").volume
    np.testing.assert_array_equal(first, people["sub-01"][1].aligned)
    last = render_moment(renderer, moments[-1]).volume
    np.testing.assert_allclose(last, render_recipe(renderer, ends[1]).volume, atol=FLOAT32)


def test_a_projection_edits_its_scan_from_python(generator, people):
    original = people["sub-01"][1]
    how = original.described
    scan = ScanData(original.data, np.array(how["affine"]), {}, Path(how["path"]), how["sha256"])
    mask = original.aligned > 0
    aligned = AlignedScan(original.aligned, generator.space, np.eye(4), 1.0, mask, 300.0, [], scan)
    result = project(generator, aligned, steps=1, space="w+")
    np.testing.assert_array_equal(result.edited(Recipe()).data, original.data)
    edited = result.edited(Recipe(edits=EDIT))
    assert edited.data.shape == original.data.shape
    assert np.abs(edited.data - original.data).max() > 3
    assert edited.movement.jacobian.min() > 0
    volume_alone = project(generator, original.aligned, steps=1, space="w+")
    with pytest.raises(RecipeError, match="not a volume alone"):
        volume_alone.edited(Recipe(edits=EDIT))


def test_painted_brains_are_registered(renderer, people):
    """What a painter changes moves the scan, too."""
    carried = carried_detail(renderer, Detail(people["sub-01"][0]))
    before = np.zeros(renderer.generator.shape, np.float32)
    before[4:-4, 5:-5, 4:-4] = 0.7
    after = before.copy()
    before[8:12, 12:16, 10:14], after[7:13, 11:17, 9:15] = 0.1, 0.1
    moved = carried.placed(movement_between(before, after, renderer.generator.space))
    assert moved.jacobian.min() > 0
    assert moved.gained_ml[4:6, 6:8, 5:7].sum() > 0
    assert not np.array_equal(carried.edited(moved), carried.data)
