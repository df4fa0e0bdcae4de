"""Settings: from a file and back, changed by name=value, and what is wrong said in one sentence."""

import json
from dataclasses import asdict, replace
from functools import partial

import pytest

from stylegan3d.base import ModelError
from stylegan3d.training.options import (
    PRESETS,
    StyleGANSettings,
    brain_2mm,
    change_settings,
    changed_settings,
    read_settings,
    tiny,
)


@pytest.mark.parametrize("preset", [p for kind in PRESETS.values() for p in kind.values()])
def test_a_settings_file_gives_the_same_settings(tmp_path, preset):
    config = replace(preset(), conditions=("age", "sex"))
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(asdict(config)))
    assert read_settings(type(config), path) == config


def test_settings_of_another_kind_are_refused():
    with pytest.raises(ModelError, match=r"no setting 'generator\.deformation'"):
        change_settings(tiny(), ["generator.deformation=5"])
    with pytest.raises(ModelError, match="train it with `train stylegan`"):
        change_settings(brain_2mm(), ["generator.deformation=0"])


def test_words_change_settings():
    words = ["r1_gamma=5", 'conditions=["age"]', "d_augment=fixed", "d_augment_p=0.5"]
    changed = change_settings(tiny(), words, {"batch": 8})
    assert (changed.r1_gamma, type(changed.r1_gamma)) == (5.0, float)
    assert changed.conditions == ("age",)
    assert (changed.d_augment, changed.d_augment_p, changed.batch) == ("fixed", 0.5, 8)
    # Settings that only fit together may come in any order.
    both = change_settings(tiny(), ["accumulate=2", "batch=8"])
    assert (both.accumulate, both.batch) == (2, 8)
    deep = change_settings(tiny(), ["discriminator.channels=[3,3]", "discriminator.mbstd_group=2"])
    assert deep.discriminator.channels == (3, 3)
    assert asdict(deep) == asdict(deep) | {"generator": asdict(tiny().generator)}


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("r1_gama=5", "did you mean r1_gamma"),
        ("r1_gamma", "write name=value"),
        ("r1_gamma=much", 'r1_gamma is "much", but it must be a number'),
        ("r1_gamma=NaN", "a finite number"),
        ("batch=4.5", "batch is 4.5, but it must be a whole number"),
        ("batch=true", "a whole number"),
        ("mirror=1", "mirror is 1, but it must be true or false"),
        ("conditions=age", "conditions is"),
        ("precision=float8", "one of auto, bfloat16, float32"),
        ("d_augment=some", "one of none, fixed, adaptive"),
        ("d_augment=fixed", "does nothing"),
        ("d_augment_p=2", "probability"),
        ("accumulate=3", "microbatches"),
        ("generator=3", "object of settings"),
        ("generator.depth=3", "There is no setting 'generator.depth'"),
        ("generator.base=[5,7]", "a list of 3"),
        ("batch.size=3", "There is no setting 'batch.size'"),
        ("discriminator.base=[6,7,6]", "make discriminator.base, channels and head fit"),
    ],
)
def test_wrong_words_are_refused_in_one_sentence(word, sentence):
    with pytest.raises(ModelError, match=sentence.replace("[", r"\[")) as error:
        change_settings(tiny(), [word])
    assert "\n" not in str(error.value)


def test_some_settings_of_a_run_that_goes_on_can_change():
    changed = partial(changed_settings, StyleGANSettings)
    assert changed(["r1_gamma=2", "steps=5"]) == {"r1_gamma": 2.0, "steps": 5}
    for word in ("batch=8", "generator.w_dim=8", "conditions=[]"):
        with pytest.raises(ModelError, match="cannot change"):
            changed([word])
    with pytest.raises(ModelError, match="no setting"):
        changed(["gamme=1"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "JSON .Expecting"),
        ("", "it is empty"),
        ("[]", "object of settings"),
        ('{"seed": "a"}', "seed"),
        ('{"sed": 1}', "did you mean seed"),
        ('{"generator": {"base": 3}}', "generator.base"),
    ],
)
def test_wrong_files_are_refused_in_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(ModelError, match=sentence):
        read_settings(StyleGANSettings, path)
    with pytest.raises(ModelError, match="cannot be read"):
        read_settings(StyleGANSettings, tmp_path / "none.json")
