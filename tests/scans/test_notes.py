"""What is to be looked into is told from what is merely said by its level, in files by a word."""

import pytest

from stylegan3d.scans.notes import Note, checks, info


@pytest.mark.parametrize("words", ["Check: the brain is cut off.", "Axes LAS.", "Check it: no."])
def test_files_keep_notes_in_words(words):
    assert str(Note.read(words)) == words


def test_levels():
    notes = [*info("Axes LAS."), Note("check", "the brain is cut off.")]
    assert checks(notes) == [Note.read("Check: the brain is cut off.")]
    assert checks(notes)[0].sentence == "The brain is cut off."
