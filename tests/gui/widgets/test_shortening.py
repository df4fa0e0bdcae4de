"""Names that are cut keep what tells them apart."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylegan3d.pages.shortening import told_apart


@pytest.mark.parametrize(
    "names",
    [
        ("Beijing_sub01234_T1w_skullstripped", "Beijing_sub05678_T1w_skullstripped"),
        ("sub-01_ses-baseline_acq-mprage_T1w_defaced", "sub-01_ses-followup_acq-mprage_T1w"),
        (f"{'a' * 40}", f"{'a' * 40}b"),
        ("A patient with a very long name A", "A patient with a very long name B"),
        ("A patient with a very long name B", "A patient with a very long name B (2)"),
        ("short", "other"),
        ("ucla-sub-04_desc-editedScan", "ucla-sub-04_desc-editedChange"),
    ],
)
def test_names_that_are_cut_are_told_apart(names):
    shown = [told_apart(name, [*names, "unrelated"], 24) for name in names]
    assert shown[0] != shown[1]
    assert all(len(text) <= 24 for text in shown)


def test_a_number_is_shown_whole():
    names = ("Beijing_sub01234_T1w_skullstripped", "Beijing_sub01678_T1w_skullstripped")
    assert "01234" in told_apart(names[0], names, 24)


WORDS = st.text(string.ascii_letters + string.digits + "_-. ,", min_size=1, max_size=12)
SIMILAR = st.lists(st.sampled_from(["sub-", "0", "12", "_desc-edited", "a" * 9, ", x"]) | WORDS)


@given(st.sets(SIMILAR.map("".join), min_size=2, max_size=8), st.integers(16, 30))
def test_names_that_differ_are_never_shown_alike(names, length):
    shown = {name: told_apart(name, names, length) for name in names}
    assert len(set(shown.values())) == len(names)
    for name, text in shown.items():
        assert len(text) <= length
        assert ("…" in text) == (len(name) > length)


def test_a_beginning_that_is_all_there_has_no_ellipsis():
    names = ["ucla-sub-04_desc-editedScan", "ucla-sub-04_desc-editedChange", "Beijing"]
    assert all(told_apart(name, names, 24)[0] in "uB" for name in names)
