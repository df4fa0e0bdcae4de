"""Groups of brains: the design of a table, maps of another program, and brains of the model."""

import csv
import json
from functools import partial
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from stylegan3d.base import RecipeError, StyleGAN3DError
from stylegan3d.cli import main
from stylegan3d.directions.people import latents_of, read_value_table
from stylegan3d.evaluation import groups
from stylegan3d.evaluation.groups import design_of
from stylegan3d.evaluation.settings import GroupSettings
from stylegan3d.recipe.recipe import Truncation
from stylegan3d.render.figures import SYNTHETIC
from stylegan3d.segmentation.classes import HEAD


def table(folder, rows, name="people.csv"):
    with open(folder / name, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / name


def design(path, by, hold_fixed=()):
    read = read_value_table(path)
    return design_of(read, by, hold_fixed, list(read.named or read.brains))


def two_scans_each(folder, by=lambda subject, scan: "ab"[subject % 2]):
    rows = [["brain", "participant_id", "group", "age"]]
    rows += [[2 * s + k, f"sub-{s}", by(s, k), 40 + s] for s in range(8) for k in (0, 1)]
    return table(folder, rows)


def test_scans_of_one_subject_are_averaged(tmp_path):
    found = design(two_scans_each(tmp_path), "group", ["age"])
    assert found.rows == tuple((2 * s, 2 * s + 1) for s in range(8))
    assert found.blocks is None
    assert found.levels == ("a", "b")
    assert list(found.group) == [0, 1] * 4
    np.testing.assert_allclose(found.averaged(np.arange(16.0)), 0.5 + 2 * np.arange(8))


def test_what_differs_within_subjects_is_compared_within_them(tmp_path):
    found = design(two_scans_each(tmp_path, lambda _s, scan: f"visit{scan}"), "group")
    assert len(found.rows) == 16
    assert list(found.blocks) == [s for s in range(8) for _ in (0, 1)]
    assert found.fixed.shape[1] == 8


@pytest.mark.parametrize("pairs", [3, 4])
def test_arrangements_that_are_equal_but_for_rounding_count_as_equal(tmp_path, pairs):
    rows = [["brain", "participant_id", "group"]]
    rows += [[2 * s + k, f"sub-{s}", f"visit{k}"] for s in range(pairs) for k in (0, 1)]
    random = np.random.default_rng(0)
    maps = random.normal(0, 0.3, (2 * pairs, 500)) + np.tile([0.0, 1.0], pairs)[:, None]
    permutations = 1000
    found = design(table(tmp_path, rows), "group").compared(maps, GroupSettings(permutations))
    # Each statistic comes twice among the signs; less so many standard errors of a share.
    least = 2 / 2**pairs - 4 * np.sqrt(2 / 2**pairs / permutations)
    assert min(found.p.min(), found.p_any.min(), found.q.min()) > least


def test_who_has_one_group_alone_tells_nothing_within_subjects_and_is_not_counted(tmp_path):
    rows = [["brain", "participant_id", "group"]]
    rows += [[2 * s + k, f"sub-{s}", "ab"[k]] for s in range(4) for k in (0, 1)]
    rows += [[8 + k, f"sub-{4 + k}", "ab"[k % 2]] for k in range(6)]
    path = table(tmp_path, rows)
    found = design(path, "group")
    assert found.rows == tuple((k,) for k in range(8))
    assert (found.subjects, np.bincount(found.group).tolist()) == (4, [4, 4])
    left_out, within, few = groups._remarks(found, read_value_table(path))
    assert left_out == (
        "Left out because group is the same in all scans of the subject: 8, 9, 10, 11, 12, 13."
    )
    assert "compared within subjects" in within
    assert few.startswith("4 subjects")


def test_volumes_told_are_of_the_brains_that_are_compared(tmp_path):
    rows = [["brain", "participant_id", "group"]]
    rows += [[k, f"sub-{max(k, 1)}", "ab"[k % 2] if k > 1 else "a"] for k in range(8)]
    rows.append([8, "sub-8", "n/a"])
    measured = [{"ventricle_ml": v} for v in (10.0, 30.0, *[20.0] * 6, 900.0)]
    (told,) = groups._regions(
        design(table(tmp_path, rows), "group"), measured, GroupSettings(permutations=10)
    )
    assert told["ml"] == pytest.approx(20)


def test_words_held_fixed_are_averaged_with_the_scans(tmp_path):
    rows = [["brain", "participant_id", "group", "site"]]
    rows += [
        [2 * s + k, f"sub-{s}", "ab"[s % 2], "xy"[(s + k) % 2]] for s in range(7) for k in (0, 1)
    ]
    rows += [[14, "sub-7", "b", "y"]]
    coded = design(table(tmp_path, rows), "group", ["site"]).fixed[:, 1]
    np.testing.assert_allclose(coded, [*[0.5] * 7, 1.0])


def test_codes_are_words_where_they_are_said_to_be(tmp_path):
    rows = [["brain", "group", "site"], *([k, "ab"[k % 2], k % 3] for k in range(9))]
    path = table(tmp_path, rows)
    assert design(path, "group", ["site"]).fixed.shape[1] == 2
    assert design(path, "group", ["site:category"]).fixed.shape[1] == 3


def test_numbers_are_numbers_and_unknown_ones_leave_the_brain_out(tmp_path):
    rows = [["brain", "score"], *([k, k * 1.5 if k else "n/a"] for k in range(9))]
    found = design(table(tmp_path, rows), "score")
    assert found.levels == ()
    assert [row[0] for row in found.rows] == list(range(1, 9))
    assert abs(found.interest.mean()) < 1e-12


@pytest.mark.parametrize(
    ("by", "hold_fixed", "sentence"),
    [("nothing", (), "no column nothing"), ("age", ("site",), "no column site")],
)
def test_columns_that_are_missing_are_named(tmp_path, by, hold_fixed, sentence):
    with pytest.raises(RecipeError, match=sentence):
        design(two_scans_each(tmp_path), by, hold_fixed)


@pytest.mark.parametrize("hold_fixed", [(), ("score",)])
def test_a_cell_that_is_no_number_among_numbers_is_named(tmp_path, hold_fixed):
    rows = [["brain", "group", "score"], *([k, "ab"[k % 2], 80 + k] for k in range(9))]
    for cell, words in (("89+", r"numbers, but also '89\+'"), ("inf", "an infinite value")):
        rows[-1][2] = cell
        with pytest.raises(RecipeError, match=f"score of people.csv holds {words}"):
            design(table(tmp_path, rows), "group" if hold_fixed else "score", hold_fixed)


def test_a_group_of_two_is_refused(tmp_path):
    path = two_scans_each(tmp_path, lambda subject, _scan: "a" if subject < 2 else "b")
    with pytest.raises(RecipeError, match="group a of group has 2 subjects"):
        design(path, "group")


def test_maps_of_another_program_are_compared(tmp_path, capsys):
    """A planted difference is found where it is, in the maps' unit, and nowhere else."""
    random = np.random.default_rng(0)
    affine = np.diag([3.0, 3, 3, 1])
    rows = [["map", "group", "age"]]
    for k in range(24):
        volume = random.normal(10, 1, size=(8, 9, 10)).astype(np.float32)
        volume[2:5, 2:5, 2:5] += 4 * (k % 2)
        volume[7, 8, 9] = np.nan if k == 5 else 10
        nib.save(nib.Nifti1Image(volume, affine), tmp_path / f"sub-{k:02d}_map.nii.gz")
        rows.append([f"sub-{k:02d}_map.nii.gz", "ab"[k % 2], 30 + k])
    rows.append(["sub-23_map.nii.gz", "a", "n/a"])
    out = tmp_path / "out"
    out.mkdir()
    for name in ("groups.json", "group-a_desc-average_T1w.nii.gz", "mine.csv"):
        (out / name).write_text("of an earlier comparison")
    path = table(tmp_path, rows)
    words = f"compare {path} --by group --adjust-for age --permutations 200 --overwrite --json"
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), "--out", str(out)])
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    assert told["groups"] == {"a": 12, "b": 12}
    assert told["smallest_corrected_p"] <= 0.01
    assert "Left out because a value is missing: sub-23_map.nii.gz." in told["notes"]
    assert "Left out because a map has no number there: 1 voxel." in told["notes"]
    assert not (out / "group-a_desc-average_T1w.nii.gz").exists()
    assert (out / "mine.csv").exists()
    assert json.loads((out / "stat-q_statmap.json").read_text())["SyntheticImage"] is False
    effect, q = (
        np.asarray(nib.load(out / f"stat-{name}_statmap.nii.gz").dataobj)
        for name in ("effect", "q")
    )
    planted = np.zeros(q.shape, bool)
    planted[2:5, 2:5, 2:5] = True
    assert (q[planted] <= 0.05).mean() > 0.95
    assert (q[~planted] <= 0.05).mean() < 0.02
    assert abs(effect[planted].mean() - 4) < 0.5
    page = (out / "groups.html").read_text()
    assert "b minus a" in page.lower()
    assert SYNTHETIC not in page


def test_groups_that_differ_in_signs_have_files_of_their_own():
    assert groups._plain(["APOE4+", "APOE4-", "apoe4"]) == ["APOE4Plus", "APOE4", "apoe4x2"]
    assert groups._plain(["patient \u00dc", "?"]) == ["patient", "x"]


def test_covariates_leave_chance_as_it_is(tiny_generator, tmp_path):
    """Groups and covariates drawn at random: what tells a brain from others is not let out."""
    random = np.random.default_rng(0)
    auc = []
    for trial in range(10):
        drawn = random.permutation(24)
        rows = [["brain", "group", "a", "b", "c", "d"]]
        rows += [[24 * trial + k, "xy"[drawn[k] % 2], *random.normal(size=4)] for k in range(24)]
        read = read_value_table(table(tmp_path, rows))
        found = design_of(read, "group", list("abcd"), list(read.brains))
        latents = latents_of(tiny_generator, read.sources(), Truncation(1.0))
        _, direction, _ = groups._in_latents(tiny_generator, latents, found, list(read.brains))
        auc.append(direction.checks[0]["auc"])
    assert np.mean(auc) < 0.6


def test_a_value_gives_a_direction(tiny_generator, tmp_path, monkeypatch):
    """With a generator of another family, whose brains are registered; its volumes are stood in."""
    monkeypatch.setattr(
        groups, "label_brain", lambda volume, _space: SimpleNamespace(measures={HEAD: volume.size})
    )
    path = table(tmp_path, [["brain", "width"], *([seed, seed % 7] for seed in range(26))])
    read = read_value_table(path)
    latents = latents_of(tiny_generator, read.sources(), Truncation(1.0))
    few = GroupSettings(99)
    with pytest.raises(StyleGAN3DError, match="permutations is 99, but must be 100"):
        groups.compare_latents(tiny_generator, latents, read, "width", [], [], settings=few)
    found = groups.compare_latents(
        tiny_generator, latents, read, "width", [], list(read.brains), settings=GroupSettings(100)
    )
    assert found.direction.names == ("width",)
    assert found.design.levels == ()
    assert found.maps.p_any.min() > 0.01, "numbers that have nothing to do with the brains"
    assert found.latents.shape == (1, tiny_generator.num_layers, tiny_generator.w_dim)
    # On a grid that the networks of regions do not know, shapes are compared all the same.
    monkeypatch.undo()
    names, few = list(read.brains), GroupSettings(100)
    compared = partial(groups.compare_latents, tiny_generator, latents, read, "width")
    found = compared([], names, settings=few)
    assert found.regions == []
    assert found.notes[0].startswith("No regions: ")
    with pytest.raises(StyleGAN3DError, match="2 x 2 x 2 mm"):
        compared([groups.HEAD_SIZE], names, settings=few)


@pytest.mark.soak
def test_brains_with_larger_ventricles_are_told_so(tmp_path, capsys):
    """Random brains as they are, and others with larger ventricles by the model's own direction."""
    import stylegan3d

    G = stylegan3d.load()
    rows = [["brain", "participant_id", "group"]]
    for seed in range(10):
        recipe = stylegan3d.Recipe(
            stylegan3d.Source(seed=seed),
            edits=(stylegan3d.Edit("Ventricle volume", 2.0 if seed % 2 else -1.0),),
        )
        name = f"{seed}_latent.safetensors"
        stylegan3d.save_latent(tmp_path / name, stylegan3d.Latent.of(G, recipe.latent(G)))
        rows.append([name, f"sub-{seed}", "large" if seed % 2 else "small"])
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(
            [
                *("compare", str(table(tmp_path, rows)), "--by", "group"),
                *(
                    "--adjust-for",
                    "head size",
                    "--permutations",
                    "200",
                    "--out",
                    str(out),
                    "--json",
                ),
            ]
        )
    assert ended.value.code == 0
    told = json.loads(capsys.readouterr().out)
    (ventricles,) = (row for row in told["regions"] if row["region"] == "Ventricles")
    assert ventricles["effect_percent"][0] < -25  # small minus large
    assert ventricles["p"] <= 0.02
    assert told["direction"] == "large to small"
    assert {"direction.safetensors", "regions.csv", "group-small_desc-average_T1w.nii.gz"} <= {
        path.name for path in out.iterdir()
    }
