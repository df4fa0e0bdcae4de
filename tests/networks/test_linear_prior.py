"""People drawn for a label, against the closed form of a normal distribution."""

import numpy as np
import pytest
import torch

from stylegan3d.labels import encode_labels, encode_rows, schema_of
from stylegan3d.networks.linear_prior import LabelKnowledge, LinearPrior

K, PEOPLE = 6, 20_000
# How a score follows an age, of which it is one standard deviation.
SLOPE = torch.tensor([0.8, 0.0, -0.5, 0.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def world():
    """Many people whose scores go with age and sex, and the prior that knows them."""
    rng = np.random.default_rng(0)
    ages = rng.normal(50, 15, PEOPLE)
    male = rng.random(PEOPLE) < 0.4
    rows = [{"age": a, "sex": "M" if m else "F"} for a, m in zip(ages, male, strict=True)]
    y = torch.from_numpy((ages - ages.mean()) / ages.std()).float()[:, None]
    scores = torch.from_numpy(rng.normal(size=(PEOPLE, K))).float() * (1 - SLOPE**2).sqrt()
    scores = scores + y * SLOPE
    scores[:, 5] = scores[:, 5] * 0.6 + 1.6 * (torch.from_numpy(male).float() - 0.4)
    scores[:, 5] /= scores[:, 5].std()
    schema = schema_of(rows, ["age", "sex"])
    sizes = [len(entry["average"]) for entry in schema]
    vectors = encode_rows(schema, rows)
    known = LabelKnowledge.of(scores, vectors, sizes, encode_labels(schema)[0])
    prior = LinearPrior(K, K, sizes)
    prior.components.copy_(torch.eye(K))
    for part in ("average", "spread", "shared"):
        getattr(prior, part).copy_(getattr(known, part))
    return prior, schema, scores, ages, male


def drawn(prior, schema, **values):
    z = torch.from_numpy(np.random.RandomState(0).randn(4000, K)).float()
    label = encode_labels(schema, values).expand(len(z), -1)
    return prior(z, label)


def test_who_is_drawn_for_an_age_is_as_people_of_that_age(world):
    prior, schema, _, ages, _ = world
    found = drawn(prior, schema, age=50 + 2 * 15)
    expected = SLOPE * (80 - ages.mean()) / ages.std()
    assert torch.allclose(found.mean(dim=0)[:5], expected[:5].float(), atol=0.06)
    left = torch.tensor([0.6, 1, 0.75**0.5, 1, 1, 1])
    assert torch.allclose(found.std(dim=0), left, atol=0.04)


def test_who_is_drawn_for_a_sex_is_as_people_of_that_sex(world):
    prior, schema, scores, _, male = world
    found = drawn(prior, schema, sex="M")
    assert float(found[:, 5].mean()) == pytest.approx(float(scores[male, 5].mean()), abs=0.05)
    assert torch.allclose(found[:, :5].mean(dim=0), torch.zeros(5), atol=0.06)


def test_what_is_left_open_is_as_among_all(world):
    prior, schema, *_ = world
    z = torch.randn(5, K)
    assert torch.equal(prior(z, encode_labels(schema).expand(5, -1)), prior(z))
    assert torch.equal(prior(z), z)


def test_chance_is_not_taken_for_knowledge(world):
    prior, *_ = world
    # Scores 1, 3 and 4 have nothing to do with the age.
    assert int((prior.shared[[1, 3, 4], 1] != 0).sum()) <= 1
    assert bool((prior.shared[[0, 2], 1].abs() > 0.2).all())
