"""Which files of a folder are scans, whose they are, and which side of the split."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from stylegan3d.base import StyleGAN3DError
from stylegan3d.scans.person import (
    Person,
    person_and_doubts,
    person_of_dicom,
    person_of_file,
)
from stylegan3d.scans.sources import find_sources, read_participants, split_of
from stylegan3d.storage.about import PROGRAM
from stylegan3d.storage.volumes import sidecar_path, write_volume


def empty_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_sources_of_a_bids_tree(tmp_path):
    empty_files(
        tmp_path,
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz",
        "sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii",
        "sub-02/anat/sub-02_T1w.nii.gz",
        "derivatives/x/sub-01_desc-brain_T1w.nii.gz",
        ".hidden/sub-03_T1w.nii.gz",
    )
    found = find_sources(tmp_path)
    assert [(s.name, s.person) for s in found.sources] == [
        ("sub-01_ses-1", "sub-01"),
        ("sub-01_ses-2", "sub-01"),
        ("sub-02", "sub-02"),
    ]


def test_sources_of_a_plain_folder(tmp_path):
    empty_files(
        tmp_path, "anna.nii.gz", "bert/t1.nii", "carl/t1.nii", "carl/t1_mask.nii.gz", "x.txt"
    )
    assert [s.name for s in find_sources(tmp_path).sources] == ["anna", "bert-t1", "carl-t1"]


def test_split_by_person():
    sides = [split_of(f"sub-{i}", {}, 0.2) for i in range(1000)]
    # Three deviations of a binomial: 3 sqrt(1000 * 0.2 * 0.8).
    assert sides.count("validation") == pytest.approx(200, abs=40)
    assert sides == [split_of(f"sub-{i}", {}, 0.2) for i in range(1000)]
    assert split_of("sub-1", {"split": "validation"}, 0.0) == "validation"


def test_what_is_left_out_is_told(tmp_path):
    empty_files(
        tmp_path,
        "sub-01_T1w.nii.gz",
        "sub-01_T2w.nii.gz",
        "sub-01_dseg.nii.gz",
        "derivatives/sub-01_T1w.nii.gz",
        ".cache/sub-01_T1w.nii.gz",
        "notes.txt",
    )
    reasons = dict(find_sources(tmp_path).left_out)
    assert list(reasons) == sorted(reasons)
    assert {file: reason.split()[-1] for file, reason in reasons.items()} == {
        ".cache/sub-01_T1w.nii.gz": "hidden.",
        "derivatives/sub-01_T1w.nii.gz": "derivatives.",
        "sub-01_T2w.nii.gz": "not.",
        "sub-01_dseg.nii.gz": "template.",
    }


@pytest.mark.parametrize("name", ["IM0001", "a/b/slice.dcm"])
def test_a_folder_of_dicom_says_what_to_do(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(bytes(128) + b"DICM" + bytes(10))
    (tmp_path / "README").write_text("text")
    with pytest.raises(StyleGAN3DError, match=r"DICOM files \(1 or more\).*dcm2niix"):
        find_sources(tmp_path)


def test_a_folder_of_labels_alone_is_not_called_empty(tmp_path):
    (tmp_path / "a_dseg.nii.gz").touch()
    with pytest.raises(StyleGAN3DError, match=r"holds 1 images, but .* none is a T1 scan"):
        find_sources(tmp_path)


def test_copies_in_another_space_and_phases_are_left_out(tmp_path):
    empty_files(
        tmp_path,
        "sub-01/anat/sub-01_desc-preproc_T1w.nii.gz",
        "sub-01/anat/sub-01_space-MNI152NLin6Asym_res-2_desc-preproc_T1w.nii.gz",
        "sub-02/anat/sub-02_space-MNI152NLin6Asym_T1w.nii.gz",
        "sub-03/anat/sub-03_part-mag_T1w.nii.gz",
        "sub-03/anat/sub-03_part-phase_T1w.nii.gz",
    )
    found = find_sources(tmp_path)
    assert [Path(source.file).name.split("_T1w")[0] for source in found.sources] == [
        "sub-01_desc-preproc",
        "sub-02_space-MNI152NLin6Asym",
        "sub-03_part-mag",
    ]
    assert [reason.split()[:3] for _, reason in found.left_out] == [
        ["It", "is", "a"],
        ["By", "its", "name"],
    ]


def test_results_of_this_program_are_no_scans_beside_others(tmp_path):
    marks = {
        "anna": {"SyntheticImage": False},
        "out/seed-0001_desc-synthetic_T1w": {"SyntheticImage": True, "Sources": []},
        "out/anna_desc-projected_T1w": {"SyntheticImage": True, "Doubts": []},
        "out/anna_space-model_desc-aligned_T1w": {"GeneratedBy": [{"Name": PROGRAM}], "Doubts": []},
    }
    empty_files(tmp_path, *(f"{name}.nii.gz" for name in marks))
    for name, mark in marks.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(mark))
    found = find_sources(tmp_path)
    assert [source.name for source in found.sources] == ["anna"]
    reasons = [reason.partition(",")[0] for _, reason in found.left_out]
    assert reasons == ["This program made it"] * 3
    (made,) = find_sources(tmp_path / "out").sources
    assert made.name == "seed-0001_desc-synthetic", "a folder of made brains can be read"


@pytest.mark.parametrize(
    ("name", "synthetic"), [("seed-0001_desc-synthetic", True), ("anna_desc-aligned", False)]
)
def test_a_result_whose_sidecar_is_lost_is_known_by_its_header(tmp_path, name, synthetic):
    data, said = np.ones((4, 4, 4), np.float32), f"{PROGRAM} small 0123abcd"
    path = tmp_path / f"{name}_T1w.nii.gz"
    write_volume(path, data, np.eye(4), description=said, sidecar={}, synthetic=synthetic)
    sidecar_path(path).unlink()
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "anna.nii.gz")
    assert [source.name for source in find_sources(tmp_path).sources] == ["anna"]
    (tmp_path / "anna.nii.gz").unlink()
    assert [source.name for source in find_sources(tmp_path).sources] == [name]


@pytest.mark.parametrize(
    ("told", "years"),
    [
        ({"Units": "months"}, 2.5),
        ({"Units": "weeks"}, 0.57),
        ({"Units": "Year"}, 30.0),
        ({"Units": "n/a", "Description": "Age at the scan in months"}, 2.5),
        ({"Description": "Age (months)"}, 2.5),
        ({"Description": "Age in years (M=34.2, SD=5)"}, 30.0),
        ({"Description": "Age (in years), month of birth removed"}, 30.0),
        ({"Description": "Age in years, w/o decimals"}, 30.0),
        ({"Description": "Age on the day of the scan"}, 30.0),
        ({"Description": "Age in completed months"}, 2.5),
        ({"Units": "decimal years"}, 30.0),
        ({"Units": "a"}, 30.0),
        ({"Units": "mos"}, 2.5),
        ({"Units": "moons"}, None),
        ({}, 30.0),
    ],
)
def test_ages_have_the_unit_that_the_table_gives(tmp_path, told, years):
    empty_files(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t30\tM\n")
    (tmp_path / "participants.json").write_text(json.dumps({"age": told}))
    assert person_of_file(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz") == Person(years, "M")
    if years is None:
        with pytest.raises(StyleGAN3DError, match=r"participants\.json gives a unit of age"):
            read_participants(tmp_path)
    else:
        assert read_participants(tmp_path)["sub-01"]["age"] == years


def test_the_age_is_that_of_the_session(tmp_path):
    empty_files(tmp_path, *(f"sub-01/ses-{k}/anat/sub-01_ses-{k}_T1w.nii.gz" for k in "12"))
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t30\tF\n")
    table = tmp_path / "sub-01" / "sub-01_sessions.tsv"
    table.write_text("session_id\tage\nses-1\t360\nses-2\tn/a\n")
    (tmp_path / "sessions.json").write_text(json.dumps({"age": {"Units": "months"}}))
    found = [person_of_file(tmp_path / source.file) for source in find_sources(tmp_path).sources]
    assert found == [Person(30.0, "F"), Person(30.0, "F")]
    table.write_text("session_id\tage\nses-1\t372\n")
    assert person_of_file(tmp_path / "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz").age == 31.0


def test_rows_of_one_participant_are_told_apart_by_the_session(tmp_path):
    table = "participant_id\tsession_id\tage\tsex\nsub-01\tses-01\t30\tF\nsub-01\tses-02\t75\tM\n"
    (tmp_path / "participants.tsv").write_text(table)
    later = tmp_path / "sub-01/ses-02/anat/sub-01_ses-02_T1w.nii.gz"
    assert person_and_doubts(later) == (Person(75.0, "M"), [])
    found, (doubt,) = person_and_doubts(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz")
    assert (found, doubt.severity) == (Person(), "ask")
    assert "2 rows of sub-01 that differ; none is used" in doubt.sentence


def test_a_table_that_contradicts_the_sidecar_is_told(tmp_path):
    empty_files(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    scan = tmp_path / "sub-01/anat/sub-01_T1w.nii.gz"
    beside = scan.with_name("sub-01_T1w.json")
    beside.write_text(json.dumps({"PatientAge": "025Y", "PatientSex": "M"}))
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t25.7\tM\n")
    assert person_and_doubts(scan) == (Person(25.0, "M"), [])
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-01\t54\tF\n")
    found, (doubt,) = person_and_doubts(scan)
    assert found == Person(25.0, "M")
    assert doubt.severity == "ask"
    assert "gives another sex and age" in doubt.sentence


def test_an_age_whose_unit_cannot_be_read_is_none(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t30\n")
    (tmp_path / "participants.json").write_text('{"age": {"Units": "months"},}')
    found, doubts = person_and_doubts(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz")
    assert found == Person()
    assert any("unit of age in participants.json" in doubt.sentence for doubt in doubts)


@pytest.mark.parametrize(
    ("about", "years"),
    [
        ({"Age": {"Units": "months"}}, 2.5),
        ({"age": {"units": "months"}}, 2.5),
        ({"age": {"LongName": "Age (months)"}}, 2.5),
        ({"age": {"Description": "Age at scan, in months"}}, 2.5),
        ({"age": {"Description": "Age at baseline; follow-up after 6 months"}}, 30.0),
        ({"age": {"Description": "Age; scans were made within 14 days of testing"}}, 30.0),
    ],
)
def test_the_unit_of_age_is_that_of_the_age(tmp_path, about, years):
    """However its JSON is written, and not of another time that is named beside it."""
    (tmp_path / "participants.tsv").write_text("participant_id\tAge \nsub-01 \t 30\n")
    (tmp_path / "participants.json").write_text(json.dumps(about))
    scan = tmp_path / "sub-01/anat/sub-01_T1w.nii.gz"
    assert person_and_doubts(scan) == (Person(years), [])
    assert read_participants(tmp_path)["sub-01"]["age"] == years


def test_of_several_sessions_a_table_tells_what_all_of_them_say(tmp_path):
    table = "participant_id\tsession_id\tage\tsex\nsub-01\tses-01\t30\tF\nsub-01\tses-02\t32\tF\n"
    (tmp_path / "participants.tsv").write_text(table)
    people = read_participants(tmp_path)
    assert people["sub-01"]["sex"] == "F"
    assert "age" not in people["sub-01"]
    scan = tmp_path / "sub-01/ses-02/anat/sub-01_ses-02_T1w.nii.gz"
    assert person_and_doubts(scan)[0] == Person(32.0, "F")


def test_nobody_is_held_out_in_one_session_alone(tmp_path):
    table = "participant_id\tsession_id\tsplit\nsub-01\tses-01\ttest\nsub-01\tses-02\ttrain\n"
    (tmp_path / "participants.tsv").write_text(table)
    with pytest.raises(StyleGAN3DError, match="two different rows of sub-01"):
        read_participants(tmp_path)


def test_a_date_that_is_none_gives_no_age():
    for birth, age in (("19701350", None), ("19700101", 50.0), ("20300101", None)):
        found = person_of_dicom("", birth, "20200101", "").age
        # A year has a quarter of a day more.
        assert found == (None if age is None else pytest.approx(age, abs=0.01))


def test_the_ages_of_a_table_are_read_in_one_way(tmp_path):
    table = "participant_id\tage\tort\nsub-01\t89+\tZürich\nsub-02\told\tBern\n"
    (tmp_path / "participants.tsv").write_bytes(table.encode("latin-1"))
    people = read_participants(tmp_path)
    assert people["sub-01"] == {"age": 89.0, "ort": "Zürich"}
    assert people["sub-02"]["age"] is None


def test_two_different_rows_of_one_participant_are_refused(tmp_path):
    table = tmp_path / "participants.tsv"
    table.write_text("participant_id\tsplit\nsub-01\ttest\nsub-01\ttrain\n")
    with pytest.raises(StyleGAN3DError, match="two different rows of sub-01"):
        read_participants(tmp_path)


@pytest.mark.parametrize(
    ("word", "sex"),
    [("F", "F"), ("male", "M"), ("Woman", "F"), ("missing", None), ("mujer", None), ("", None)],
)
def test_only_a_word_for_a_sex_is_one(word, sex, tmp_path):
    (tmp_path / "participants.tsv").write_text(f"participant_id\tage\tsex\nsub-01\t30\t{word}\n")
    assert person_of_file(tmp_path / "sub-01/anat/sub-01_T1w.nii.gz") == Person(30, sex)


@pytest.mark.parametrize(
    ("table", "person", "told"),
    [
        (b"participant_id\tage\tsex\nsub-01\t35,5\tM\n", Person(35.5, "M"), []),
        (b"participant_id;Age;Sex\nsub-01;35,5;M\n", Person(35.5, "M"), []),
        (b"participant_id, age, sex\nsub-01, 35.5, M\n", Person(35.5, "M"), []),
        (b"participant_id\tage\tsex\nsub-01\tn/a\tO\n", Person(), []),
        (b"participant_id\tage\tsex\nsub-01\t89+\tM\n", Person(89, "M"), ["89 years are assumed"]),
        (b"participant_id\tage\tsex\nsub-01\t0\tM\n", Person(None, "M"), ["age '0' in part"]),
        (b"participant_id\tage\tsex\nsub-01\t35\t2\n", Person(35), ["sex '2' in part"]),
        (
            "participant_id\tage\tort\nsub-01\t35\tZürich\n".encode("latin-1"),
            Person(35),
            [],
        ),
        ("participant_id\tage\nsub-01\t35\n".encode("utf-16"), Person(35), []),
        (b"name\tage\nsub-01\t35\n", Person(), ["'participant_id' is missing"]),
    ],
)
def test_what_cannot_be_read_of_a_person_is_told(tmp_path, table, person, told):
    (tmp_path / "participants.tsv").write_bytes(table)
    scan = tmp_path / "sub-01/anat/sub-01_T1w.nii.gz"
    found, doubts = person_and_doubts(scan)
    assert (found, len(doubts)) == (person, len(told))
    assert all(part in doubt.sentence for part, doubt in zip(told, doubts, strict=True))


@pytest.mark.parametrize(
    ("sidecar", "person", "told"),
    [
        (b'{"PatientAge": "035Y", "RepetitionTime": NaN}', Person(35), 0),
        (b'{"PatientAge": 35.5, "PatientSex": ""}', Person(35.5), 0),
        (b'{"PatientAge": "about 35"}', Person(), 1),
        (b'{"PatientAge": "35Y"}', Person(35), 1),
        ('{"PatientAge": "035Y", "InstitutionName": "Universität"}'.encode("latin-1"), Person(), 1),
        (b'{"PatientAge": "035Y",', Person(), 1),
    ],
)
def test_a_sidecar_that_cannot_be_read_is_told(tmp_path, sidecar, person, told):
    (tmp_path / "a_T1w.json").write_bytes(sidecar)
    found, doubts = person_and_doubts(tmp_path / "a_T1w.nii.gz")
    assert (found, len(doubts)) == (person, told)
