"""Of a scan that is refused no volume, z or apparent age is told, in whatever way one asks."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from bundled import bundled, random_brain

from stylegan3d.base import Doubt, ScanError, StyleGAN3DError, doubts_in
from stylegan3d.cohort.work import row_of
from stylegan3d.directions.edit_effects import measure_effect, rows_of
from stylegan3d.outputs.labels import lesions_of_scan
from stylegan3d.outputs.projections import projected_latent
from stylegan3d.outputs.report import build_case, identity, notes, sides_table, whole_table
from stylegan3d.outputs.results import rendered_files
from stylegan3d.outputs.structures import structures_of_scan
from stylegan3d.projection.projector import tissues_of
from stylegan3d.recipe.latents import save_latent
from stylegan3d.recipe.recipe import Recipe, Source
from stylegan3d.render.figures import Look
from stylegan3d.render.recipes import render_recipe
from stylegan3d.render.renderer import Renderer
from stylegan3d.scans import read_scan
from stylegan3d.segmentation.classes import ALL_MEASURES
from stylegan3d.segmentation.numbers import READ
from stylegan3d.storage.volumes import write_volume

WHY = "withheld: the acquisition is unsuitable"


@pytest.fixture(scope="module")
def generator():
    return bundled()


@pytest.fixture(scope="module")
def scan(generator, tmp_path_factory):
    """A brain with the contrast of T2, on the model's grid."""
    brain = random_brain(1) / np.float32(255)
    path = tmp_path_factory.mktemp("brain") / "sub-01_T1w.nii.gz"
    shown = np.where(brain > 0.05, 1.05 - brain, 0)
    write_volume(path, shown, generator.affine, description="a brain", sidecar={})
    return path


def test_on_the_command_line_in_its_tables_and_sidecars(run, scan, tmp_path):
    who = ["--age", "40", "--sex", "F"]
    out, table = tmp_path / "labels.nii.gz", tmp_path / "volumes.csv"
    told = run("segment", scan, *who, "--out", out, "--table", table)
    assert told.status == 0, told.err
    assert WHY in told.out
    assert not any(word in told.out for word in (" ml", "percentile", "Reading"))
    assert "Not usable" in told.err
    (row,) = csv.DictReader(table.open())
    assert not any(row[name] for name in (*ALL_MEASURES, *READ, "grey_ml_z"))
    assert "Not usable" in row["doubts"]
    sidecar = json.loads((tmp_path / "labels.json").read_text())
    assert sidecar["Measures"] == {}
    assert "contrast" in [doubt["kind"] for doubt in sidecar["Doubts"]]
    (tmp_path / "scans.txt").write_text(f"{scan}\n")
    assert run("segment", tmp_path / "scans.txt", "--out", tmp_path / "many").status == 0
    (row,) = csv.DictReader((tmp_path / "many/segmentations.tsv").open(), delimiter="\t")
    assert {row[name] for name in (*ALL_MEASURES, *READ)} == {"n/a"}
    assert "Not usable" in row["doubts"]


def test_for_scripts_and_where_nothing_else_can_be_done(run, scan):
    known = run("segment", scan, "--age", "40", "--sex", "F", "--json").json
    assert (known["measures"], known["scores"], known["reading"]) == ({}, {}, None)
    assert WHY in known["among"]
    assert "contrast" in [doubt["kind"] for doubt in known["doubts"]]
    with pytest.raises(ScanError, match=f"Lesions of {scan.name} are {WHY}"):
        lesions_of_scan(read_scan(scan))
    phase = scan.with_name("sub-01_part-phase_T1w.nii.gz")
    phase.write_bytes(scan.read_bytes())
    with pytest.raises(StyleGAN3DError, match="an MR phase image"):
        structures_of_scan(read_scan(phase))


def test_in_all_that_a_projection_leads_to(tiny_generator, tmp_path):
    refused = Doubt("acquisition", "refuse", "The scan covers only 88 % of the brain.")
    w, model = Recipe(Source("seed", 3)).latent(tiny_generator), tiny_generator
    assessment = {"doubts": [refused]}
    settings = {"space": "w+", "noise": "fixed"}
    result = SimpleNamespace(w=w, delta=None, settings=settings, assessment=assessment)
    path = tmp_path / "sub-01_desc-projected_latent.safetensors"
    save_latent(path, projected_latent(model, result, {"path": "sub-01.nii", "doubts": []}))
    recipe = Recipe(Source("projected", path=str(path)))
    rendered = render_recipe(Renderer(model), recipe)
    written = rendered_files(tmp_path / "b.nii.gz", rendered, recipe, model)
    (sidecar,) = [json.loads(data) for name, data in written.items() if name.suffix == ".json"]
    assert set(sidecar["TissueVolumes"]) == {"Measured"}
    assert WHY in sidecar["TissueVolumes"]["Measured"]
    volume = rendered.volume
    aligned = SimpleNamespace(volume=volume)
    run = SimpleNamespace(
        aligned=aligned, operator=None, generator=model, doubts=doubts_in([refused])
    )
    tissues = {what: found.to_dict() for what, found in tissues_of(run, volume).items()}
    report = {
        "trust": assessment,
        "similarity": dict.fromkeys(("ssim", "psnr", "ncc"), 0.5),
        "tissues": tissues,
        "doubts": [refused],
        "files": {"report": "r.json"},
    }
    row = row_of(report, tmp_path)
    assert {row[name] for name in row if name.endswith("_ml")} == {None}
    case = build_case(recipe, model, Renderer(model), look=Look(pixels_per_mm=1))
    assert (whole_table(case), sides_table(case)) == ([], [])
    assert WHY in notes(case)[0]
    assert identity(case)
    effect = measure_effect(volume, volume, model.space, withheld=f"are {WHY}")
    assert not any(ml == ml for _name, *known in rows_of(effect) for ml in known)


def test_no_age_is_read_from_it_to_count_from(run, generator, tmp_path):
    refused = Doubt("acquisition", "refuse", "The scan covers only 88 % of the brain.")
    w, assessment = Recipe(Source("seed", 3)).latent(generator), {"doubts": [refused]}
    settings = {"space": "w+", "noise": "fixed"}
    result = SimpleNamespace(w=w, delta=None, settings=settings, assessment=assessment)
    path = tmp_path / "sub-01_desc-projected_latent.safetensors"
    save_latent(path, projected_latent(generator, result, {"path": "sub-01.nii", "doubts": []}))
    words = ("edit", "--latent", path, "--detail", "0", "--to-age", 70, "--out", tmp_path / "out")
    told = run(*words)
    assert told.status == 2
    assert WHY in told.err
    assert "--age" in told.err
    assert run(*words, "--age", 50).status == 0
