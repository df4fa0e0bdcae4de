"""People drawn for a label, against the closed form of a normal distribution."""

import numpy as np
import pytest
import torch
from tolerances import FLOAT32

from stylegan3d.networks.linear_prior import LabelKnowledge, LinearPrior, Measured, foreseen_share
from stylegan3d.recipe.model import encode_labels, encode_rows, schema_of

K, PEOPLE = 6, 20_000
# How an age, of which it is one standard deviation, follows scores.
SLOPE = torch.tensor([0.8, 0.0, -0.5, 0.0, 0.0, 0.0])


def normal(rng, *size):
    return torch.from_numpy(rng.normal(size=size)).float()


@pytest.fixture(scope="module")
def world():
    """Many people whose scores go with age and sex, and the prior that knows them."""
    rng = np.random.default_rng(0)
    scores = normal(rng, PEOPLE, K)
    ages = scores @ SLOPE + (1 - SLOPE.square().sum()).sqrt() * normal(rng, PEOPLE)
    ages = 50 + 15 * ages.double().numpy()
    male = (0.8 * scores[:, 5] + 0.6 * normal(rng, PEOPLE)).numpy() > 0.3
    rows = [{"age": a, "sex": "M" if m else "F"} for a, m in zip(ages, male, strict=True)]
    schema = schema_of(rows, ["age", "sex"])
    sizes = [len(entry["average"]) for entry in schema]
    vectors = encode_rows(schema, rows)
    known = LabelKnowledge.of(scores, vectors, sizes, encode_labels(schema)[0])
    prior = LinearPrior(K, K, sizes)
    prior.components.copy_(torch.eye(K))
    for part in ("average", "spread", "shared"):
        getattr(prior, part).copy_(getattr(known, part))
    return prior, schema, scores, ages, male, known


def drawn(prior, schema, **values):
    z = torch.from_numpy(np.random.RandomState(0).randn(4000, K)).float()
    label = encode_labels(schema, values).expand(len(z), -1)
    return prior(z, label)


def test_who_is_drawn_for_an_age_is_as_people_of_that_age(world):
    prior, schema, _, ages, *_ = world
    found = drawn(prior, schema, age=50 + 2 * 15)
    expected = SLOPE * (80 - ages.mean()) / ages.std()
    assert torch.allclose(found.mean(dim=0)[:5], expected[:5].float(), atol=0.06)  # random people
    left = torch.tensor([0.6, 1, 0.75**0.5, 1, 1, 1])
    assert torch.allclose(found.std(dim=0), left, atol=0.04)  # random people


def test_who_is_drawn_for_a_sex_is_as_people_of_that_sex(world):
    prior, schema, scores, _, male, _ = world
    found = drawn(prior, schema, sex="M")
    # Random people.
    assert float(found[:, 5].mean()) == pytest.approx(float(scores[male, 5].mean()), abs=0.05)
    assert torch.allclose(found[:, :5].mean(dim=0), torch.zeros(5), atol=0.06)  # random people


def test_what_is_left_open_is_as_among_all(world):
    prior, schema, *_ = world
    z = torch.randn(5, K)
    assert torch.equal(prior(z, encode_labels(schema).expand(5, -1)), prior(z))
    assert torch.equal(prior(z), z)


def test_people_drawn_for_their_ages_spread_as_people_do(world):
    prior, schema, _, ages, *_ = world
    rng = np.random.default_rng(1)
    labels = torch.cat([encode_labels(schema, {"age": a}) for a in ages[:4000]])
    found = prior(normal(rng, 4000, K), labels)
    assert torch.allclose(torch.cov(found.T), torch.eye(K), atol=0.07)  # 4,000 random people


def test_the_share_that_is_explained_is_the_true_one(world):
    *_, known = world
    # Random people.
    assert float(known.explained[1]) == pytest.approx(float(SLOPE.square().sum()), abs=0.01)
    assert known.explained[0] == 0  # the one that is constant


def few_people(seed, share, people=220, size=200):
    """Hardly more people than scores, a label that some of these explain, and their direction."""
    rng = np.random.default_rng(seed)
    variances = torch.linspace(0, -4, size).exp()
    direction = normal(rng, size) * variances.sqrt()
    direction /= direction.norm()
    scores = normal(rng, people, size)
    y = share**0.5 * scores @ direction + (1 - share) ** 0.5 * normal(rng, people)
    labels = torch.stack([torch.ones(people), y], dim=1)
    return scores, labels, variances, direction


def known_of(scores, labels, **others):
    return LabelKnowledge.of(scores, labels, [1], torch.tensor([1.0, 0.0]), **others)


def test_few_people_tell_a_part_of_the_direction_and_no_more():
    for seed in range(3):
        scores, labels, variances, direction = few_people(seed, 0.9)
        known = known_of(scores, labels, variances=variances)
        shift = known.shared[:, 1] / known.spread[1, 1].sqrt()
        # Along what was found, people of that label are as far as who is drawn for it.
        true = 0.9**0.5 * float(direction @ (shift / shift.norm()))
        assert float(shift.norm()) == pytest.approx(true, abs=0.12)  # 220 people tell a part
        assert 0.3 < float(known.explained[1]) < 0.9


def test_what_differs_little_counts_less():
    # The same people, once as if all scores mattered alike.
    scores, labels, variances, direction = few_people(0, 0.9)
    found = [known_of(scores, labels, variances=v).shared[:, 1] for v in (variances, None)]
    weighed, alike = (float(direction @ v / v.norm()) for v in found)
    assert weighed > alike


def test_chance_is_not_taken_for_knowledge():
    found = []
    for seed in range(8):
        scores, labels, variances, _ = few_people(seed, 0.0)
        found.append(float(known_of(scores, labels, variances=variances).shared[:, 1].norm()))
    assert np.median(found) == 0
    assert max(found) < 0.25


def test_a_label_of_noise_is_refused_and_one_that_scores_tell_is_not():
    random, accepted = np.random.default_rng(0), []
    for _ in range(60):
        x, y = (torch.from_numpy(random.normal(size=size)) for size in ((40, 5), (40,)))
        x, y = x - x.mean(dim=0), y - y.mean()
        accepted.append(foreseen_share(x, y)[1] > 0)
        assert foreseen_share(x, 2 * x[:, 0] + y)[1] > 0
    assert sum(accepted) <= 2


def test_who_is_not_known_is_left_out():
    scores, labels, variances, _ = few_people(0, 0.8)
    labels[150:, 1] = torch.nan
    found = known_of(scores, labels, variances=variances)
    alone = known_of(scores[:150], labels[:150], variances=variances)
    assert torch.equal(found.shared, alone.shared)
    assert torch.equal(found.spread, alone.spread)


def test_a_scanner_is_not_put_down_to_age():
    rng = np.random.default_rng(0)
    scores, y = normal(rng, 300, 20), normal(rng, 300)
    groups = torch.arange(300) % 2
    y, scores[:, 0] = y + 2 * groups, scores[:, 0] + 2 * groups
    labels = torch.stack([torch.ones(300), y], dim=1)
    blind = known_of(scores, labels).shared[:, 1].norm()
    assert float(blind) > 0.5
    assert float(known_of(scores, labels, groups=groups).shared[:, 1].norm()) < 0.1


def test_two_labels_that_say_the_same_leave_a_spread():
    rng = np.random.default_rng(0)
    scores = normal(rng, 500, 3)
    y = scores[:, 0] + 0.01 * normal(rng, 500)
    z = scores[:, 0] - 0.01 * normal(rng, 500)
    labels = torch.stack([torch.ones(500), y, z], dim=1)
    known = LabelKnowledge.of(scores, labels, [1, 1], torch.tensor([1.0, 0.0, 0.0]))
    left = torch.eye(3) - known.shared @ torch.linalg.pinv(known.spread) @ known.shared.T
    assert float(torch.linalg.eigvalsh(left).min()) >= 0


def measured_world(share=0.9, brains=600):
    """People whose scores tell nothing of a label, but whose measures do; in random brains scores
    change the measures, linearly."""
    rng = np.random.default_rng(3)
    change = torch.zeros(2, 30)
    change[0, 4], change[1, 4], change[1, 11] = 0.3, -0.2, 0.2
    of_people = normal(rng, 240, 2) @ torch.tensor([[0.4, -0.1], [0.0, 0.3]])
    direction = torch.tensor([1.0, -1.0])
    y = of_people @ direction / (of_people @ direction).std()
    y = share**0.5 * y + (1 - share) ** 0.5 * normal(rng, 240)
    scores = normal(rng, brains, 30)
    random = 5 + scores @ change.T + 0.02 * normal(rng, brains, 2)
    labels = torch.stack([torch.ones(240), y], dim=1)
    return normal(rng, 240, 30), labels, Measured(of_people + 7, scores, random), change


def test_brains_get_the_measures_of_people_with_a_label():
    scores, labels, measured, change = measured_world()
    known = known_of(scores, labels, measured=measured)
    assert known.by_measures == (False, True)
    assert float(known.explained[1]) == pytest.approx(0.9, abs=0.05)  # 240 people
    # What a label of one deviation changes in random brains, beside what it is in people.
    y = labels[:, 1] - labels[:, 1].mean()
    people = (measured.people - measured.people.mean(dim=0)).T @ y / y.square().sum()
    brains = change @ (known.shared[:, 1] / known.spread[1, 1])
    # As large a difference as random brains have, and people's in kind.
    assert torch.nn.functional.cosine_similarity(brains, people, dim=0) > 0.97
    assert 0.5 < float(brains.norm() / people.norm()) < 1.05
    # Scores that change nothing in brains are left alone.
    idle = [k for k in range(30) if k not in (4, 11)]
    assert float(known.shared[idle, 1].norm() / known.shared[:, 1].norm()) < 0.2


def test_measures_that_tell_less_than_scores_change_nothing():
    scores, labels, variances, _ = few_people(0, 0.9)
    rng = np.random.default_rng(5)
    nothing = Measured(normal(rng, len(scores), 2), normal(rng, 400, 200), normal(rng, 400, 2))
    found = known_of(scores, labels, variances=variances, measured=nothing)
    assert found.by_measures == (False, False)
    assert torch.equal(found.shared, known_of(scores, labels, variances=variances).shared)


def test_what_could_not_be_measured_in_somebody_is_left_out():
    scores, labels, measured, _ = measured_world()
    measured.people[200:, 0] = torch.nan
    measured.random[500:, 1] = torch.nan
    found = known_of(scores, labels, measured=measured)
    fewer = Measured(measured.people[:200], measured.scores[:500], measured.random[:500])
    labels[200:, 1] = torch.nan
    alone = known_of(scores, labels, measured=measured)
    assert torch.allclose(found.explained, alone.explained, atol=0.02)  # other people, other shares
    only = known_of(scores[:200], labels[:200], measured=fewer)
    assert torch.allclose(only.shared, alone.shared, atol=FLOAT32)
