"""A doubt stays data on its way through files; what earlier versions wrote is still read."""

import json

from stylegan3d.base import Doubt, doubts_in, facts_in
from stylegan3d.storage.encoding import to_json

DOUBT = Doubt("slices-missing", "ask", "2 slices are missing of 20.", {"missing": 2})


def test_files_keep_doubts():
    assert Doubt.read(json.loads(to_json(DOUBT))) == DOUBT
    assert str(DOUBT) == "Check: 2 slices are missing of 20."


def test_facts_and_doubts_are_told_apart_and_said_once():
    notes = ["Axes LAS.", DOUBT, "Axes LAS.", DOUBT]
    assert (facts_in(notes), doubts_in(notes)) == (["Axes LAS."], [DOUBT])
