"""Names that are cut keep what tells them apart."""

from __future__ import annotations

import pytest

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
    ],
)
def test_names_that_are_cut_are_told_apart(names):
    shown = [told_apart(name, names, 24) for name in names]
    assert shown[0] != shown[1]
    assert all(len(text) <= 24 for text in shown)


def test_a_number_is_shown_whole():
    names = ("Beijing_sub01234_T1w_skullstripped", "Beijing_sub01678_T1w_skullstripped")
    assert "01234" in told_apart(names[0], names, 24)
