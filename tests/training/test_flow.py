"""Training of a flow: pairs, resuming, and the generator that comes of it."""

import os
import signal
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from small_flow import SMALL, Texture
from tolerances import LAYERS
from torch.nn.utils import parameters_to_vector

from stylegan3d.base import ModelError
from stylegan3d.cli import main
from stylegan3d.cli.train import STOPPED
from stylegan3d.model.generator import load
from stylegan3d.networks.flow import details_between, within
from stylegan3d.networks.synthesis import MappingNetwork
from stylegan3d.recipe.model import seed_latents
from stylegan3d.training import flow_export, shape_matching
from stylegan3d.training.data import as_input
from stylegan3d.training.export import ModelTarget, export_stylegan
from stylegan3d.training.flow import (
    Cubes,
    FlowTask,
    flow_of,
    flow_start,
    make_pairs,
    make_trajectories,
    start_of_run,
    straight_config,
    train_flow,
    without_flow,
)
from stylegan3d.training.flow_export import (
    export_matched,
    export_pupil,
    export_with_flow,
    export_with_teachers_flow,
    uncurved,
)
from stylegan3d.training.options import FlowSettings, MatchSettings, tiny
from stylegan3d.training.run import CHECKPOINT, Run, load_run
from stylegan3d.training.shape_matching import match_flow
from stylegan3d.training.stylegan import train_stylegan

pytestmark = pytest.mark.usefixtures("few_brains")
ROUNDED = 0.03
#: Steps after which a flow has learned something.
LONG = 50
# Relative rounding of float16, in which matched weights are written; they are below 2.
FLOAT16 = 2**-10


@pytest.fixture(scope="module")
def generator(anatomy_models):
    """A linear start with details."""
    return load(anatomy_models / "calibrated", device="cpu")


@pytest.fixture(scope="module")
def pairs(generator, pack, tmp_path_factory):
    return make_pairs(generator, pack, tmp_path_factory.mktemp("pairs"), draws=2)


@pytest.fixture(scope="module")
def trained(pairs, tmp_path_factory):
    """A run long enough to learn something."""
    return train_flow(pairs, tmp_path_factory.mktemp("run"), FlowSettings(steps=LONG, **SMALL))


@pytest.fixture(scope="module")
def with_flow(trained, generator, pack, tmp_path_factory):
    """The generator with its flow, of two steps."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    return export_with_flow(trained, generator.folder, pack, folder, steps=2)


@pytest.fixture(scope="module")
def begun(pairs, tmp_path_factory):
    """A run that has only begun."""
    return train_flow(pairs, tmp_path_factory.mktemp("begun"), FlowSettings(steps=2, **SMALL))


@pytest.fixture(scope="module")
def plain(begun, generator, pack, tmp_path_factory):
    """The generator with that flow, of one step."""
    folder = tmp_path_factory.mktemp("plain") / "model"
    return export_with_flow(begun, generator.folder, pack, folder, steps=1)


def test_a_pair_is_a_person_and_a_brain_with_that_anatomy(pairs, pack, generator):
    assert pairs.made.shape == (20, 2, *pack.space.shape)
    assert pairs.training.sum() == 16
    like, unlike = [], []
    for i in range(0, 16, 2):
        person = pairs.person(i).astype(float).ravel()
        like.append(np.corrcoef(person, pairs.made[i, 0].ravel())[0, 1])
        unlike.append(np.corrcoef(person, pairs.made[(i + 6) % 16, 0].ravel())[0, 1])
    assert np.mean(like) > np.mean(unlike)
    assert np.array_equal(pairs.person(1), pairs.person(0)[::-1])
    assert not np.array_equal(pairs.made[0, 0], pairs.made[0, 1]), "their details differ"


def test_making_pairs_goes_on_where_it_stopped(generator, pack, pairs, tmp_path):
    def stop(done, _):
        if done == 19:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_pairs(generator, pack, tmp_path, draws=2, report=stop)
    told = []
    again = make_pairs(generator, pack, tmp_path, draws=2, report=lambda *x: told.append(x))
    assert len(told) == 20, "what is not known to be on the disk is made again"
    assert np.array_equal(again.made, pairs.made)
    told.clear()
    make_pairs(generator, pack, tmp_path, draws=2, report=lambda *x: told.append(x))
    assert not told
    with pytest.raises(ModelError, match="another generator or dataset"):
        make_pairs(generator, pack, tmp_path, draws=1)


def test_cubes_lie_where_they_say(pairs):
    cubes = Cubes(pairs, 16, 5)
    start, end, places = cubes.draw(np.random.default_rng(3), training=True)
    assert start.shape == end.shape == (5, 1, 16, 16, 16)
    assert places.shape == (5, 3, 8, 8, 8)
    made = torch.from_numpy(np.asarray(pairs.made[pairs.training]).astype(np.float32) / 127.5 - 1)
    for cube, place in zip(start, places, strict=True):
        corner = [
            round((float(place[k].min()) + 1) / 2 * (n - 1)) * 2 for k, n in enumerate(cubes.grid)
        ]
        x, y, z = (slice(c, c + 16) for c in corner)
        there = made[:, :, x, y, z]
        assert (there == cube).flatten(2).all(dim=2).any()


def test_it_learns_and_a_resumed_run_is_the_same(trained, pairs, tmp_path):
    whole = trained
    start = Run(FlowTask(FlowSettings(steps=LONG, **SMALL), whole.task.grid), whole.device)
    cubes = Cubes(pairs, 16, 4)
    before, after = start.measure(cubes), whole.measure(cubes)
    assert after["error at 0.5"] < 0.9 * before["error at 0.5"]

    def stop(done, total, figures):
        if done == LONG // 2:
            raise KeyboardInterrupt

    config = FlowSettings(steps=LONG, save_seconds=0.0, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        train_flow(pairs, tmp_path / "parts", config, progress=stop)
    resumed = train_flow(pairs, tmp_path / "parts", resume=True)
    for name, value in whole.average.state_dict().items():
        assert torch.equal(value, resumed.average.state_dict()[name]), name
    with pytest.raises(ModelError, match="holds a run"):
        train_flow(pairs, tmp_path / "parts", config)
    with pytest.raises(ModelError, match="no training run"):
        train_flow(pairs, tmp_path / "none", resume=True)
    (tmp_path / "parts" / CHECKPOINT).write_bytes(b"damaged")
    told = []
    train_flow(pairs, tmp_path / "parts", resume=True, tell=told.append)
    assert len(told) == 1


def test_the_exported_generator_ends_with_the_flow(trained, with_flow, generator, pack):
    run, made, out = trained, with_flow, with_flow.folder
    assert made.config.flow_channels == (8, 8, 8)
    assert made.has_noise
    assert made.card["training"]["flow"]["steps_done"] == LONG
    assert "a rectified flow of 2 steps" in (out / "README.md").read_text(encoding="utf-8")
    w = seed_latents(made, [0])
    w[:, :, -6:] *= 2  # details enough for all of it
    plain = generator.synthesis(w, "none")
    curves = made.synthesis.flow.curves
    low, high = curves.ends.tolist()
    bands, near, box = run.average.followed(plain, None, 2)
    expected = within(curves(bands), near, box, (low, high))
    # Exported weights are bfloat16.
    torch.testing.assert_close(made.synthesis(w, "none"), expected, rtol=0, atol=0.1)
    assert (expected - plain).abs().max() > 0.3
    image = torch.from_numpy(pack.volumes[0].astype(np.float32))[None, None] / 127.5 - 1
    code = made.encoder(image)
    assert torch.equal(made.synthesis(code, "none"), generator.synthesis(code, "none"))


def test_a_models_flow_is_trained_on(with_flow, pairs, generator, pack, tmp_path):
    """Its pairs are of the linear model behind it, and what it learned before is told."""
    model = with_flow
    again = make_pairs(model, pack, tmp_path / "pairs", draws=2)
    assert np.array_equal(again.made, pairs.made)
    start = flow_of(model)
    assert flow_of(generator) is None
    config = FlowSettings(steps=1, **(SMALL | {"learning_rate": 0.0}))
    run = train_flow(again, tmp_path / "run", config, start=start)
    there = model.synthesis.flow
    for name, value in run.average.named_parameters():
        torch.testing.assert_close(value, there.get_parameter(name))
    run = train_flow(again, tmp_path / "run", resume=True)
    made = export_with_flow(run, model.folder, pack, tmp_path / "made", steps=2)
    told = made.card["training"]["flow"]
    assert (told["steps_done"], told["begun_with"]["steps_done"]) == (1, LONG)
    page = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert f"The final flow was trained on {LONG + 1} x 4 cubes of 16 voxels" in page
    w = seed_latents(made, [0])
    # Exported weights are bfloat16.
    torch.testing.assert_close(made.synthesis(w), model.synthesis(w), rtol=0, atol=0.02)


def test_generators_without_details_are_refused(pack, tmp_path):
    run = train_stylegan(pack, tmp_path / "run", tiny(), should_stop=lambda: True)
    plain = export_stylegan(run, pack, ModelTarget(tmp_path / "plain", "plain"))
    with pytest.raises(ModelError, match="cannot be given a flow"):
        make_pairs(plain, pack, tmp_path / "pairs")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"steps": 0}, "The setting steps is 0, but must be at least 1"),
        ({"side": 12}, "12.* a multiple of 8"),
        ({"channels": (0, 4, 4)}, "A flow needs channels of 1 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong, sentence):
    with pytest.raises(ModelError, match=sentence):
        FlowSettings(**wrong)


def test_cubes_larger_than_the_volumes_are_refused(pairs, tmp_path):
    with pytest.raises(ModelError, match="do not fit"):
        train_flow(pairs, tmp_path, FlowSettings(steps=1, side=24, channels=(4, 4, 4)))


def test_a_straightened_flow_goes_its_teachers_way_in_one_step(generator, pack, trained, tmp_path):
    teacher = trained
    ways = make_trajectories(generator, teacher, pack, tmp_path / "run", count=24, steps=4)
    assert ways.training.sum() == 22
    start = torch.from_numpy(ways.starts[:1].astype(np.float32))[None]
    torch.testing.assert_close(
        teacher.average(start, None, 4)[0, 0],
        torch.from_numpy(ways.ends[0].astype(np.float32)),
        rtol=0,
        atol=0.05,  # it was followed in reduced precision
    )
    again = make_trajectories(generator, teacher, pack, tmp_path / "run", count=24, steps=4)
    assert np.array_equal(again.ends, ways.ends)
    config = replace(straight_config(teacher), steps=40, learning_rate=3e-3)
    run = train_flow(ways, tmp_path / "run", config, start=start_of_run(teacher))
    untrained = Run(FlowTask.of(ways, config, start_of_run(teacher)), run.device)
    cubes = Cubes(ways, 16, 4)
    untrained.start(cubes)
    before, after = untrained.measure(cubes), run.measure(cubes)
    assert after["error at 0"] < 0.9 * before["error at 0"]
    made = export_with_flow(run, generator.folder, pack, tmp_path / "fast")
    assert made.config.flow_steps == 1
    # Its curves are fitted with it, and are not what a next flow starts from.
    assert made.config.flow_curves
    assert flow_of(made).state.keys() == run.average.state_dict().keys()
    with pytest.raises(ModelError, match="straightened flow itself"):
        make_trajectories(generator, run, pack, tmp_path / "other", count=2)
    wide = replace(config, channels=(16, 8, 8))
    with pytest.raises(ModelError, match="different widths"):
        FlowTask.of(ways, wide, start_of_run(teacher))


def test_a_stylegan_has_the_flow_of_its_teacher(with_flow, pack, tmp_path):
    network = replace(tiny().generator, base_input="dense")
    few = replace(tiny(), generator=network, steps=6, teacher_steps=6, validate_every=6)
    run = train_stylegan(pack, tmp_path / "run", few, teacher=with_flow)
    plain = export_stylegan(run, pack, ModelTarget(tmp_path / "plain", "plain"), teacher=with_flow)
    made = export_pupil(run, pack, ModelTarget(tmp_path / "made", "made"), with_flow)
    assert "Its flow is its teacher's" in (tmp_path / "made" / "README.md").read_text()
    assert made.config.flow_steps == 2
    assert made.has_noise
    w = seed_latents(made, range(4))
    assert torch.equal(w, seed_latents(plain, range(4)))  # seeds mean what they did
    w[:, 1] *= 2  # details enough for all of it
    start, _ = flow_start(made, without_flow(made), made.synthesis.flow, 7)
    assert torch.equal(start, plain.synthesis(seed_latents(plain, [7]), 7))
    flow, known = made.synthesis.flow, with_flow.synthesis.flow
    for name, value in flow.named_parameters():
        torch.testing.assert_close(value, known.get_parameter(name))
    # Noise comes to the flow where the warp takes what the layers have read.
    maps = made.synthesis.noise_maps(7)
    torch.testing.assert_close(
        made.synthesis(w[:1], maps),
        flow(plain.synthesis(w[:1], maps), made.synthesis.noise_there(w[:1], *maps), 2),
        rtol=0,
        atol=LAYERS,
    )
    assert not torch.equal(made.synthesis(w[:1], 7), made.synthesis(w[:1], 8))
    # Half-way to another brain details are as strong as in both.
    mixed = made.mix(w[0], w[2], 0.5)
    strong = [made.synthesis.detail_weights(one[None])[0] for one in (w[0], w[2], mixed)]
    between = details_between(strong[0], strong[1], 0.5, flow.spread)
    torch.testing.assert_close(strong[2], between, rtol=0, atol=LAYERS)
    # A person's reconstruction has no details, and stays as it was.
    person = made.encoder(as_input(pack.volumes[0])[None])
    assert torch.equal(made.synthesis(person), plain.synthesis(person))
    with pytest.raises(ModelError, match="the model that taught it"):
        export_with_teachers_flow(made, tmp_path / "plain", pack, tmp_path / "other")
    with pytest.raises(ModelError, match="that of its teacher"):
        make_pairs(plain, pack, tmp_path / "pairs")


@pytest.fixture
def sized(generator, begun, pack, tmp_path, monkeypatch):
    """The same as `plain`, of subjects who are said to be enough for a calibration of sizes."""
    monkeypatch.setattr(flow_export, "FEWEST", 4)
    monkeypatch.setattr(flow_export, "SIZES_BRAINS", 12)
    # Phantoms have no ventricles, and are too dark for the head size of directions.
    monkeypatch.setattr(flow_export, "sizes_of", lambda v, _: [float((v > 25).sum()), np.nan])
    return export_with_flow(begun, generator.folder, pack, tmp_path / "sized")


def test_sizes_are_calibrated_with_the_flow_where_subjects_are_enough(sized, plain):
    assert plain.config.size_curves == 0  # there are eight subjects
    assert sized.config.size_curves == 1
    assert isinstance(sized.mapping, MappingNetwork)
    w, before = (seed_latents(g, range(30)) for g in (sized, plain))
    assert not torch.allclose(w, before)
    assert torch.equal(uncurved(sized.mapping)(torch.eye(16)), plain.mapping(torch.eye(16)))


@pytest.mark.soak
def test_sizes_are_calibrated_again_from_the_start(
    sized, begun, plain, pack, tmp_path, monkeypatch
):
    # Fitted anew they are the same; they are not fitted to what they have moved already.
    again = export_with_flow(begun, sized.folder, pack, tmp_path / "again")
    first, second = (g.mapping.curves.state_dict() for g in (sized, again))
    torch.testing.assert_close(second, first, rtol=ROUNDED, atol=ROUNDED)
    monkeypatch.setattr(flow_export, "FEWEST", 50)
    none = export_with_flow(begun, sized.folder, pack, tmp_path / "none")
    assert none.config.size_curves == 0
    torch.testing.assert_close(seed_latents(none, range(30)), seed_latents(plain, range(30)))


@pytest.mark.soak
def test_a_flow_is_matched_to_what_is_measured_of_people(
    generator, plain, pack, even_pack, tmp_path
):
    measure, told = Texture(), []
    settings = MatchSettings(rounds=2, brains=20, slopes=3, judged=6)
    search = partial(match_flow, plain, pack, tmp_path / "search", measures=[measure])
    found = search(settings=settings, report=told.append)
    assert found.finished
    assert told[0] == "Measuring 20 random brains and 8 subjects."
    assert len(told) == 1 + 2 * 3
    assert any("is taken" in line for line in told)
    made = export_matched(found, plain.folder, pack, tmp_path / "made", share=1.0)
    halfway = export_matched(found, plain.folder, pack, tmp_path / "halfway", share=0.5)
    ends = [model.synthesis.flow.state_dict() for model in (plain, halfway, made)]
    for key, weight in ends[1].items():
        middle = (ends[0][key].float() + ends[2][key].float()) / 2
        torch.testing.assert_close(weight.float(), middle, rtol=FLOAT16, atol=FLOAT16)
    # A search that ended goes on for another round only where it is asked for.
    for rounds, more in ((2, 0), (3, 3)):
        told.clear()
        longer = replace(settings, rounds=rounds)
        search(settings=longer, resume=True, report=told.append)
        assert len(told) == more
    with pytest.raises(ModelError, match="holds a run; continue with --resume"):
        search(settings=settings)
    other = replace(settings, judged=5)
    with pytest.raises(ModelError, match="another generator or other settings"):
        search(settings=other, resume=True)
    people = measure.of(pack.volumes[row] for row in pack.indices("train"))

    def apart(model):
        """Of random brains that were not looked at, in deviations of people."""
        images = (model.synthesis(seed_latents(model, [k]), k)[0, 0] for k in range(60))
        found = [measure.soft(((image + 1) / 2).clamp(0, 1)) for image in images]
        return np.abs(np.mean(found, axis=0) - people.mean(axis=0)) / people.std(axis=0)

    assert apart(made).max() < 0.5 * apart(plain).max()
    told = made.card["training"]["flow"]["matched"]
    assert told["distance"][1] < told["distance"][0]
    assert "have the subjects' means" in (made.folder / "README.md").read_text("utf-8")
    with pytest.raises(ModelError, match="above 0 and at most 1"):
        export_matched(found, plain.folder, pack, tmp_path / "none", share=1.5)
    with pytest.raises(ModelError, match="No change of the flow"):
        export_matched(replace(found, steps=0), plain.folder, pack, tmp_path / "none")
    assert made.synthesis.flow.curves.ends.tolist() == plain.synthesis.flow.curves.ends.tolist()
    with pytest.raises(ModelError, match="has no flow to match"):
        match_flow(generator, pack, tmp_path / "none", measures=[measure])
    with pytest.raises(ModelError, match="a different grid"):
        match_flow(plain, even_pack, tmp_path / "none", measures=[measure])
    for wrong in ({"rounds": 0}, {"share": 1.5}):
        with pytest.raises(ModelError, match=r"at least a round|above 0 and at most 1"):
            MatchSettings(**wrong)


@pytest.fixture
def program(capsys):
    """Runs the program; its status and what it printed."""

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main([str(w) for w in words])
        return ended.value.code or 0, capsys.readouterr()

    return run


def test_a_search_that_is_stopped_goes_on_from_the_command_line(
    plain, pack, tmp_path, program, monkeypatch
):
    texture = Texture()
    monkeypatch.setattr(shape_matching, "TissueShapes", lambda _: texture)
    monkeypatch.setattr(shape_matching, "RegionFeatures", lambda _: texture)
    few = (*MatchSettings.__init__.__defaults__[:2], 20, 3, 6)
    monkeypatch.setattr(MatchSettings.__init__, "__defaults__", few)
    out = ("--out", tmp_path / "match", "--rounds", 2)
    words = ("train", "fit-statistics", plain.folder, pack.path, *out)
    export = ("--export", tmp_path / "made", "--share", 0.5)

    class Stopping(Texture):
        """Asks the program to stop in its second round."""

        def soft(self, image):
            kept = tmp_path / "match" / CHECKPOINT
            if kept.exists() and torch.load(kept)["counts"][1]:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().soft(image)

    texture = Stopping()
    status, told = program(*words, *export)
    assert status == 0
    assert STOPPED in told.out
    assert not (tmp_path / "made").exists()
    assert "Round 1" in told.err
    assert "Round 2" not in told.err
    texture = Texture()
    assert "holds a run; continue with --resume" in program(*words, *export)[1].err
    assert "must be 0.01 to 1" in program(*words, "--share", 2)[1].err
    status, told = program(*words, *export, "--resume")
    assert status == 0
    assert "Round 1" not in told.err
    assert "Round 2" in told.err
    assert load(tmp_path / "made").card["training"]["flow"]["matched"]["share"] == 0.5
    assert "--overwrite" in program(*words, *export, "--resume")[1].err


def test_a_search_that_is_killed_measures_no_brain_twice(plain, pack, tmp_path):
    settings = MatchSettings(rounds=1, brains=10, slopes=2, judged=2)

    class Killed(Texture):
        """Measures so many brains in all."""

        left = 1000

        def soft(self, image):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            return super().soft(image)

    def search(name, measure):
        return match_flow(
            plain,
            pack,
            tmp_path / name,
            measures=[measure],
            settings=settings,
            resume=(tmp_path / name).exists(),
        )

    whole = search("whole", measure := Killed())
    needed, brains = 1000 - measure.left, 10 + len(pack.indices("train"))
    for parts in (
        (brains + 3,),
        (brains + 4, 2),
    ):  # in slopes; before steps
        name, measure = str(parts), Killed()
        for measure.left in parts:
            with pytest.raises(KeyboardInterrupt):
                search(name, measure)
        measure.left = needed - sum(parts)
        found = search(name, measure)
        assert measure.left == 0
        assert parameters_to_vector(found.flow.parameters()).equal(
            parameters_to_vector(whole.flow.parameters())
        )


def test_the_program_trains_both_and_says_what_is_wrong(
    generator, pack, tmp_path, program, monkeypatch
):
    """On the settings of a real run, for a step or two."""
    run = program
    first = ("train", "flow", generator.folder, pack.path, "--out")
    status, told = run(*first, tmp_path / "flow", "--steps", 1)
    assert status == 2
    assert "do not fit into these volumes" in told.err  # the phantoms are smaller than a cube
    assert not (tmp_path / "flow" / "pairs.npy").exists()  # which takes minutes
    config = FlowSettings(steps=2, **SMALL)
    pairs = make_pairs(generator, pack, tmp_path / "small")
    train_flow(pairs, tmp_path / "small", config)
    status, told = run(*first, tmp_path / "small", "--resume", "--export", tmp_path / "made")
    assert (status, load(tmp_path / "made").config.flow_steps) == (0, 4)
    assert "2 steps of training" in told.out
    assert "holds a run" in run(*first, tmp_path / "small")[1].err
    assert "for new runs" in run(*first, tmp_path / "small", "--resume", "--steps", 3)[1].err
    assert "no training run" in run(*first, tmp_path / "x", "--teacher", tmp_path / "none")[1].err
    on = ("train", "flow", tmp_path / "made", pack.path, "--out", tmp_path / "on", "--steps", 1)
    assert "do not fit into these volumes" in run(*on)[1].err
    on = (*on[:-3], tmp_path / "small on", "--steps", 1)
    with monkeypatch.context() as patch:
        patch.setattr("stylegan3d.cli.train.FlowSettings", partial(FlowSettings, **SMALL))
        assert run(*on)[0] == 0
    on = load_run(FlowTask, tmp_path / "small on", torch.device("cpu"))
    assert on.task.begun_with["steps_done"] == 2
