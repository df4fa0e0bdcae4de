"""How far the training subjects reach along each direction.

Beyond their range an edit makes brains of which there was none to learn from. A position along a
principal component is the projection of w. Along the direction of an attribute a projection tells
next to nothing: subjects of one age differ more along it, by everything else, than subjects of
different ages (r = 0.16 between age and projection in the bundled data). There the position is what
the regression that the direction was made from tells (`directions.attributes`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from stylegan3d.directions.checks import name_of, scaled
from stylegan3d.directions.people import People, deviations, group_numbers
from stylegan3d.directions.regression import regress
from stylegan3d.plain import JsonView
from stylegan3d.recipe.directions import Directions

#: An encoder that finds less than this of a standard deviation does not see the direction.
LEAST_FOUND = 0.5


def seen_in_people(directions: Directions, people: People) -> Directions:
    """Directions with `seen` and `readings` from the training subjects among `people`.

    Left out are attributes that are not among theirs, and directions that the encoder does not
    find in scans, such as fine texture: their latents say nothing of those.
    """
    checks = [told for told in directions.checks if told["name"] in directions.names]
    readings = _readings(directions, checks, people)
    found = dataclasses.replace(directions, readings=readings)
    unknown = {told["name"] for told in checks} - readings.keys()
    seen = {}
    for name in directions.names:
        at = np.array([found.position(name, w) for w in people.w[~people.held_out]])
        if name not in unknown and at.std() >= LEAST_FOUND:
            seen[name] = (float(at.min()), float(at.max()))
    return dataclasses.replace(found, seen=seen)


def _readings(
    directions: Directions, checks: Sequence[JsonView], people: People
) -> dict[str, np.ndarray]:
    """Weights of w [w_dim] that estimate each attribute in units of its direction.

    Without what the attributes held fixed explain of it: head size explains most of the white
    matter, but an edit along white matter keeps the head as it is.
    """
    fit = ~people.held_out
    place = group_numbers(people.groups, fit)
    w, betas = deviations(people.w, place, fit), {}

    def beta(key: str) -> np.ndarray:
        if key not in betas:
            target = deviations(scaled(key, people.attributes[key]), place, fit)
            betas[key] = regress(key, w, target, fit)
        return betas[key]

    keys = {name_of(key): key for key in people.attributes}
    readings = {}
    for told in checks:
        if told["attribute"] not in people.attributes:
            continue
        reading = beta(told["attribute"])
        fixed = [keys[name] for name in told["held_fixed"] if name in keys]
        if fixed:
            others = np.stack([beta(key) for key in fixed], axis=1)  # [w_dim, m]
            known = w[fit] @ others
            reading = reading - others @ np.linalg.lstsq(known, w[fit] @ reading, rcond=None)[0]
        readings[told["name"]] = reading / float(reading @ directions.step(told["name"]))
    return readings
