"""What a script gets wrong is answered in a sentence; what it prints is short."""

import json
import math
import pickle
import warnings
from dataclasses import make_dataclass, replace

import numpy as np
import pytest
import torch

import stylegan3d
from stylegan3d.base import StyleGAN3DError, brief_repr
from stylegan3d.cohort import find_items
from stylegan3d.directions.attributes import attribute_directions
from stylegan3d.directions.people import read_value_table
from stylegan3d.evaluation.evaluation import evaluate
from stylegan3d.evaluation.groups import compare_table
from stylegan3d.evaluation.settings import EvaluationSettings
from stylegan3d.outputs.labels import segment_scan
from stylegan3d.outputs.visits import Visits
from stylegan3d.projection import Uncertainty, uncertainty
from stylegan3d.projection.operators import ThickSlices
from stylegan3d.recipe.latents import Latent
from stylegan3d.recipe.model import Label
from stylegan3d.render.movement import Movement
from stylegan3d.render.recipes import EditedScan
from stylegan3d.scans.scan import Scan, second_image
from stylegan3d.segmentation.inference import Segmentation


def zeros(generator):
    return torch.zeros(1, generator.z_dim)


def rows(generator):
    return generator.w_avg.expand(1, generator.num_layers, -1)


def brain(generator):
    return np.ones(generator.shape, np.float32)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda G: stylegan3d.project(G, 5), "Project a scan, its path or an array, not 5"),
        (
            lambda G: stylegan3d.project(G, brain(G), step=9),
            "no option step: the options are space",
        ),
        (lambda G: stylegan3d.project(G, brain(G), operator="mask"), "operator must be Operator"),
        (lambda G: uncertainty(G, "scan.nii.gz"), "not .scan.nii.gz."),
        (lambda G: stylegan3d.project(G, brain(G), "draft"), "choices must be Choices"),
        (lambda G: G.tuned(None), "delta must be Delta"),
        (lambda G: G.with_space(None), "space must be Space"),
        (lambda G: G.can("noize"), "no feature 'noize'"),
        (lambda G: stylegan3d.Space((0, 2, 2), np.eye(4)), "A grid has voxels"),
        (lambda G: stylegan3d.project(G, "none.nii.gz"), "none.nii.gz does not exist"),
        (lambda G: stylegan3d.project("model", np.zeros(3)), "generator must be Generator"),
        (lambda G: stylegan3d.measure_volume(torch.zeros(3, 3, 3), G.space), "must be ndarray"),
        (lambda G: stylegan3d.measure_volume(np.zeros((3, 3, 3))), "argument: 'space'"),
        (lambda G: stylegan3d.picture(brain(G), G.space, limits=(1,)), "must be 2 finite numbers"),
        (lambda G: stylegan3d.picture(brain(G), G.space, at_mm=("a", 1, 2)), "3 finite numbers"),
        (lambda G: stylegan3d.read_scan(np.zeros(3)), "path must be str or Path"),
        (lambda G: stylegan3d.read_scan("a.nii", volume=True), "int or None, not bool .True."),
        (lambda G: stylegan3d.picture(np.nan * brain(G), G.space), "contains NaN or infinity"),
        (lambda G: stylegan3d.seed_latents(G, 5), "seeds must be Sequence"),
        (lambda G: stylegan3d.seed_latents(G, [0.5]), "seed must be a whole number"),
        (lambda G: stylegan3d.seed_latents(G, [1], label={"age": 7}), "without labels"),
        (lambda G: G.map(torch.zeros(1, G.z_dim), age=70), "without labels"),
        (lambda G: G.map("z"), "z must be Tensor"),
        (lambda G: stylegan3d.seed_latents(G, [1], label="old"), "Mapping or None, not str"),
        (lambda G: stylegan3d.seed_latents(G, []), "at least one seed"),
        (lambda G: stylegan3d.Renderer("G"), "Renderer: generator must be Generator"),
        (lambda G: stylegan3d.Renderer(G).render(rows(G)[0], "best"), "must be 'full' or 'fast'"),
        (lambda G: stylegan3d.export(G, "keras", "out"), "'monai' or 'onnx' or 'torch-export'"),
        (lambda G: stylegan3d.Recipe().latent(5), "generator must be Generator, not int"),
        (lambda G: stylegan3d.build_directions(G, "pack"), "pack must be Pack or None, not str"),
        (lambda G: stylegan3d.to_table(3), "found must be Mapping"),
        (lambda G: stylegan3d.picture(3), "volume must be ndarray or SpatialImage"),
        (lambda G: stylegan3d.measure_volume(np.nan * brain(G), G.space), "NaN or infinity"),
        (lambda G: stylegan3d.similarity(brain(G), brain(G), 0 * brain(G)), "mask is empty"),
        (lambda G: stylegan3d.Space((1, 2), np.eye(4)), "three axes"),
        (lambda G: stylegan3d.Frame(1), "axes '1' of the frame are impossible"),
        (lambda G: G.synthesize([1]), "w must be Tensor"),
        (lambda G: stylegan3d.mix(G.w_avg[None], G.w_avg[None], 7), "strengths from 0 to 1"),
        (lambda G: stylegan3d.mix(G.w_avg[None], G.w_avg[None], "a"), "strength must be float"),
        (lambda G: stylegan3d.measure_volume(np.zeros((3, 3, 3)), G.space), r"\(3, 3, 3\) voxels"),
        (lambda G: G.map(zeros(G), truncation=float("nan")), "finite number, not nan"),
        (lambda G: G.map(zeros(G), truncation_layers=-3), "whole number from 0, not -3"),
        (lambda G: G.map(zeros(G), truncation_layers=99), "choose 0 to 4"),
        (lambda G: G.synthesize(rows(G), "loud"), "a whole number from 0 to 4294967295"),
        (lambda G: G.synthesize(rows(G), -5), "a whole number from 0 to 4294967295"),
        (lambda G: stylegan3d.Renderer(G).render(rows(G)[0], channel=1), "image channel 1, but"),
        (lambda G: stylegan3d.project(G, brain(G), channel=1), "image channel 1, but"),
        (lambda G: stylegan3d.project(G, brain(G), noise=-5), "a whole number from 0 to"),
        (lambda G: stylegan3d.pca_directions(G, 2, seed=-1), "seed must be a whole number"),
        (lambda G: stylegan3d.similarity(brain(G), brain(G)[1:], brain(G) > 0), "on one grid"),
        (lambda G: evaluate(G, None, EvaluationSettings(samples=3)), "pack must be Pack, not None"),
        (lambda G: segment_scan(brain(G)), "missing a required argument: 'scan'"),
        (lambda G: segment_scan("network", brain(G)), "segmenter must be Segmenter, not str"),
        (lambda G: compare_table(brain(G), "group"), "missing a required argument: 'hold_fixed'"),
        (lambda G: find_items("scans"), "paths must be Sequence, not str"),
        (lambda G: read_value_table(brain(G)), "path must be str or Path, not ndarray"),
        (lambda G: stylegan3d.seed_latents(G, [[1]]), "seed must be a whole number"),
        (lambda G: G.mix(*2 * [rows(G)[0]], (0.5, 0.5, 0.5)), "3 mixing strengths for"),
        (lambda G: G.mix(G.w_avg[None], G.w_avg, 0.5), r"first has shape \(1, "),
        (lambda G: G.synthesize(rows(G), [torch.zeros(3)]), r"noise maps are \(n, ...\)"),
        (lambda G: attribute_directions(G, rows(G), {}, [True], ["age"]), "no values of age"),
        (lambda G: attribute_directions(G, rows(G), {"age": [3]}, [1, 0]), "of the same subjects"),
        (lambda G: G.synthesize(rows(G)[:0]), "shape .0, "),
        (lambda G: G.map(zeros(G) * 1j), "z is complex: give real numbers"),
        (lambda G: second_image(brain(G), brain(G)), "scan must be ScanData, not ndarray"),
        (lambda G: ThickSlices("x", -3), "ThickSlices: thickness_mm must be float, not str"),
    ],
)
def test_a_wrong_argument_is_one_sentence(call, says, tiny_generator):
    with pytest.raises(StyleGAN3DError, match=says) as raised:
        call(tiny_generator)
    assert len(str(raised.value).splitlines()) == 1


def test_right_arguments_of_other_types_are_taken(tiny_generator, tmp_path):
    G = tiny_generator
    w = stylegan3d.seed_latents(G, np.arange(2), truncation=np.float32(1))
    assert torch.equal(w, stylegan3d.seed_latents(G, (0, 1)))
    assert torch.equal(stylegan3d.mix(w[:1], w[1:], 1), w[1:])
    assert stylegan3d.Source(seed=np.int64(3)) == stylegan3d.Source(seed=3)
    label = Label.of({"age": np.int64(70)}).to_plain()
    assert json.dumps(label) == '{"age": 70}'
    assert math.isnan(stylegan3d.similarity(np.nan * brain(G), brain(G), brain(G))["psnr"])
    assert len(find_items([str(tmp_path / "a.nii.gz")])) == 1


def test_what_a_script_calls_can_be_sent_to_another_process():
    for name in stylegan3d.__all__:
        offered = getattr(stylegan3d, name)
        assert pickle.loads(pickle.dumps(offered)) == offered, name


def test_gradients_pass_where_they_are_asked_for(tiny_generator):
    z = torch.randn(1, tiny_generator.z_dim, requires_grad=True)
    tiny_generator.synthesize(tiny_generator.map(z)).mean().backward()
    assert z.grad is not None
    assert z.grad.abs().max() > 0
    assert not tiny_generator.map(z.detach()).requires_grad
    with torch.no_grad():
        assert not tiny_generator.map(z).requires_grad


def test_printed_results_are_short(tiny_generator):
    w = stylegan3d.seed_latents(tiny_generator, [0])[0]
    text = repr(Latent(w, "W+", tiny_generator.hash, "tiny"))
    assert f"w=float32 {tuple(w.shape)}" in text
    assert len(text) < 1000
    directions = stylegan3d.pca_directions(tiny_generator, components=2, samples=20)
    around = make_dataclass("Around", ["kept"])({"a": np.zeros((2, 3)), "b": [[[1]]] * 9})
    assert (
        brief_repr(around) == "<Around kept={'a': float64 (2, 3), 'b': [[...], [...], [...], ...]}>"
    )
    directions = replace(directions, readings=dict.fromkeys(directions.names, w[0].numpy()))
    assert len(repr(directions)) < 1000
    assert "\n" not in repr(directions)
    assert "<th>names</th>" in directions._repr_html_()
    assert repr(stylegan3d.Renderer(tiny_generator)) == f"<Renderer of {tiny_generator!r}>"
    rendered = stylegan3d.Renderer(tiny_generator).render(w)
    assert f"space={tiny_generator.space!r}," in repr(rendered)
    assert f"{'x'.join(map(str, tiny_generator.shape))} voxels of " in repr(rendered)
    for kind in (Scan, EditedScan, Movement, Uncertainty, Segmentation, Visits):
        assert kind.__repr__ is brief_repr, kind
    nothing = Movement(np.zeros((3, 4, 4, 4)), np.zeros((4, 4, 4)), tiny_generator.space)
    assert "<th>change</th><td>float64 (4, 4, 4)</td>" in nothing._repr_html_()
    around = make_dataclass("Around", ["generator"])(tiny_generator)
    assert brief_repr(around) == f"<Around generator={tiny_generator!r}>"


def test_a_label_beyond_the_people_of_the_model_is_told():
    generator = stylegan3d.load()
    z = torch.randn(1, generator.z_dim)
    with pytest.warns(UserWarning, match=r"label age 175 is outside 19 to 79\.4 years"):
        generator.map(z, age=175)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator.map(z, age=70, sex="F")


@pytest.mark.parametrize("psi", [7, -1])
def test_a_truncation_beyond_people_is_told(tiny_generator, psi):
    recipe = stylegan3d.Recipe(truncation=stylegan3d.Truncation(psi))
    says = f"truncation {psi} is outside 0 to 1.5"
    with pytest.warns(UserWarning, match=says) as told:
        tiny_generator.map(zeros(tiny_generator), truncation=psi)
    assert told[0].filename == __file__
    with pytest.warns(UserWarning, match=says):
        recipe.latent(tiny_generator)


def test_an_edit_beyond_people_is_told(tiny_generator):
    near, far = (
        stylegan3d.Recipe(edits=(stylegan3d.Edit("PC 1", sd),)).doubts(tiny_generator)
        for sd in (-4, 12)
    )
    assert not near
    assert [doubt.sentence for doubt in far] == [
        "The edit of PC 1 by +12 sd is outside -4 to 4, beyond normal variation: expect artefacts."
    ]
