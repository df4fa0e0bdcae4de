"""Many scans: nothing lost, nothing done twice, whatever fails or is killed."""

import csv
import json
import subprocess
import sys
from collections import Counter

import cohort_work
import pytest

from stylegan3d.base import OutputError, Progress, StyleGAN3DError
from stylegan3d.cohort import find_items, run_cohort
from stylegan3d.cohort.run import (
    PROJECTIONS,
    CohortJob,
    do_one,
    holds_scans,
    lines_of,
    record_path,
)
from stylegan3d.pools import open_pool
from stylegan3d.scans.sources import NO_T1
from stylegan3d.storage.files import only_run


class Bench:
    """A folder of "scans", an output folder, and the log of what was done."""

    def __init__(self, folder, texts):
        self.scans, self.out, self.log = folder / "scans", folder / "out", folder / "log"
        for name, text in texts.items():
            path = self.scans / name / f"{name}_T1w.nii.gz"
            path.parent.mkdir(parents=True)
            path.write_text(text)
        self.settings = {"log": str(self.log)}

    def run(self, **options):
        items = find_items([self.scans])
        return run_cohort(items, self.out, cohort_work.copy, self.settings, **options)

    def done(self):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return Counter(line.split("/")[0] for line in lines)

    def table(self):
        with (self.out / PROJECTIONS.file).open() as stream:
            return {
                row["name"].split("/")[0]: row for row in csv.DictReader(stream, delimiter="\t")
            }

    def result(self, name):
        return (self.out / name / "result.txt").read_text()


@pytest.fixture
def bench(tmp_path):
    return lambda **texts: Bench(tmp_path, {k.replace("_", "-"): v for k, v in texts.items()})


def statuses(outcome):
    return [row["status"] for row in outcome.rows]


def test_one_that_fails_does_not_stop_the_rest_and_the_table_tells(bench):
    b = bench(sub_1="one", sub_2="bad", sub_3="defect", sub_4="four")
    outcome = b.run()
    assert statuses(outcome) == ["done", "failed", "failed", "done"]
    assert outcome.count("failed") == 2
    table = b.table()
    assert list(table) == ["sub-1", "sub-2", "sub-3", "sub-4"]
    assert table["sub-1"]["psnr"] == "20"
    assert table["sub-1"]["reconstruction"] == "green"
    assert table["sub-1"]["error"] == "n/a"
    assert table["sub-2"]["psnr"] == "n/a"
    assert table["sub-2"]["error"].endswith("is no scan; give another.")
    assert "Unexpected error (ZeroDivisionError: of this program)" in table["sub-3"]["error"]
    assert b.result("sub-4") == "four"


def test_what_is_done_is_kept_and_what_failed_is_tried_again(bench):
    b = bench(sub_1="one", sub_2="bad")
    b.run()
    (b.scans / "sub-2" / "sub-2_T1w.nii.gz").write_text("mended")
    seen = []
    outcome = b.run(progress=Progress(lambda *state: seen.append(state)))
    assert statuses(outcome) == ["kept", "done"]
    assert b.done() == {"sub-1": 1, "sub-2": 1}
    assert [(done, total) for done, total, *_ in seen] == [(1, 2), (1, 2), (2, 2)]
    assert len({text for _, _, text, _ in seen[1:]}) == 1, "named when it begins, too"
    assert b.table()["sub-1"]["status"] == "kept"


def test_a_changed_scan_or_result_is_redone(bench):
    b = bench(sub_1="one", sub_2="two", sub_3="three")
    b.run()
    (b.scans / "sub-1" / "sub-1_T1w.nii.gz").write_text("ONE")
    (b.out / "sub-2" / "result.txt").write_text("t")
    assert statuses(b.run()) == ["done", "done", "kept"]
    assert (b.result("sub-1"), b.result("sub-2")) == ("ONE", "two")
    record = next((b.out / ".cohort").glob("*sub-3*.json"))
    record.write_text(record.read_text()[:40])
    assert statuses(b.run()) == ["kept", "kept", "done"]


def test_another_person_of_the_same_name_replaces_nobody_and_drops_no_row(bench, tmp_path):
    b = bench(sub_1="one", sub_2="two")
    b.run()
    b.scans = b.scans.rename(tmp_path / "moved")
    assert statuses(b.run()) == ["kept", "kept"]
    (b.scans / "sub-2").rename(tmp_path / "sub-2")
    (b.scans / "sub-1" / "sub-1_T1w.nii.gz").write_text("another person")
    assert statuses(b.run()) == ["failed"]
    assert b.result("sub-1") == "one"
    assert "another scan of this name" in b.table()["sub-1"]["error"]
    assert list(b.table()) == ["sub-2", "sub-1"]
    assert statuses(b.run(overwrite=True)) == ["done"]
    assert b.result("sub-1") == "another person"


def test_results_of_other_settings_are_replaced_only_when_told(bench):
    b = bench(sub_1="one")
    b.run()
    b.settings["budget"] = "draft"
    with pytest.raises(OutputError, match="another budget: add --overwrite"):
        b.run()
    assert statuses(b.run(overwrite=True)) == ["done"]
    assert statuses(b.run()) == ["kept"]


def test_files_of_others_are_not_overwritten(bench):
    b = bench(sub_1="one", sub_2="bad")
    for name in ("sub-1", "sub-2"):
        (b.out / name).mkdir(parents=True)
        (b.out / name / "result.txt").write_text("precious")
    for _ in range(2):
        outcome = b.run()
        assert "exists already" in outcome.rows[0]["error"]
    (b.scans / "sub-2" / "sub-2_T1w.nii.gz").write_text("mended")
    assert b.run().count("failed") == 2
    assert (b.result("sub-1"), b.result("sub-2")) == ("precious", "precious")
    assert statuses(b.run(overwrite=True)) == ["done", "done"]


def test_half_written_results_are_redone(bench):
    """As a run leaves them that was killed while it wrote."""
    b = bench(sub_1="one")
    (item,) = find_items([b.scans])
    (b.out / "sub-1").mkdir(parents=True)
    (b.out / "sub-1" / "result.txt").write_text("ha")
    record_path(b.out, item, PROJECTIONS).parent.mkdir()
    record_path(b.out, item, PROJECTIONS, "begun").touch()
    assert statuses(b.run()) == ["done"]
    assert b.result("sub-1") == "one"


def test_a_scan_given_out_twice_is_done_once(bench):
    b = bench(sub_1="one")
    (item,) = find_items([b.scans])
    job = CohortJob(cohort_work.copy, b.settings, b.out)
    first, second = do_one(job, item), do_one(job, item)
    assert first == second
    assert b.done() == {"sub-1": 1}


HOLD = """
import sys, time
from pathlib import Path
from stylegan3d.cohort.run import PROJECTIONS
from stylegan3d.storage.files import only_run
out = Path(sys.argv[1])
with only_run(out, out / PROJECTIONS.records / "lock"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_runs_do_not_share_a_folder(bench):
    b = bench(sub_1="one")
    words = [sys.executable, "-c", HOLD, str(b.out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=rf"Another run \(process {other.pid} on .* is using"):
            b.run()
        other.kill()  # a lock of a process that is gone holds nobody up
    assert statuses(b.run()) == ["done"]
    with only_run(b.out, b.out / PROJECTIONS.records / "lock"):
        pass


def test_processes_survive_that_one_of_them_is_killed(bench):
    b = bench(sub_1="one", sub_2="killed once", sub_3="three", sub_4="deadly", sub_5="bad")
    outcome = b.run(jobs=2)
    assert statuses(outcome) == ["done", "done", "done", "failed", "failed"]
    assert "fewer --jobs" in outcome.rows[3]["error"]
    assert b.done() == {"sub-1": 1, "sub-2": 1, "sub-3": 1}
    assert b.result("sub-2") == "killed once"


def test_who_stops_a_run_does_not_wait_for_the_scans_that_are_running(bench):
    def stop(done, *_):
        if done:
            raise KeyboardInterrupt

    b = bench(sub_1="one", sub_2="slow")
    with pytest.raises(KeyboardInterrupt):
        b.run(jobs=2, progress=Progress(stop))
    assert b.done() == {"sub-1": 1}


def test_on_a_cluster_a_killed_worker_costs_no_scan(bench):
    """Two workers, one of which is killed while it writes: no scan lost, none done twice."""
    distributed = pytest.importorskip("distributed")
    texts = {f"sub_{i}": f"scan {i}" for i in range(6)} | {"sub_2": "killed once"}
    b = bench(**texts)
    b.settings["sleep"] = 0.1
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    ) as cluster:
        outcome = b.run(scheduler=cluster.scheduler_address)
        assert statuses(outcome) == ["done"] * 6
        assert b.done() == {f"sub-{i}": 1 for i in range(6)}
        assert b.result("sub-2") == "killed once"
        assert statuses(b.run(scheduler=cluster.scheduler_address)) == ["kept"] * 6
        assert sum(b.done().values()) == 6


def test_on_a_cluster_what_fails_once_is_tried_again(cluster, tmp_path):
    def work(job, item):
        try:
            (job / item).mkdir()
        except FileExistsError:
            return item.upper()
        raise SystemError("a passing one")

    with open_pool(1, cluster, 2) as pool:
        assert sorted(pool.each(work, tmp_path, ["a", "b"])) == [("a", "A"), ("b", "B")]


def test_no_scheduler_is_said_in_words(bench, monkeypatch):
    b = bench(sub_1="one")
    monkeypatch.setattr("stylegan3d.pools.CONNECT_S", 0.5)
    with pytest.raises(StyleGAN3DError, match="No Dask scheduler answers at"):
        b.run(scheduler="tcp://127.0.0.1:1")
    monkeypatch.setattr("stylegan3d.pools.CONNECT_S", 60)
    with pytest.raises(StyleGAN3DError, match="No Dask scheduler answers at nonsense"):
        b.run(scheduler="nonsense")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(StyleGAN3DError, match=r"pip install 'napari-stylegan3d\[cluster\]'"):
        b.run(scheduler="tcp://127.0.0.1:1")


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_scans_of_a_bids_tree(tmp_path):
    names = ["sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz", "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii.gz"]
    for name in [*names, "sub-1/ses-1/anat/sub-1_ses-1_FLAIR.nii.gz", "derivatives/x_T1w.nii.gz"]:
        touch(tmp_path / name)
    told = []
    items = find_items([tmp_path], told.append)
    assert told == [
        f"{tmp_path}: images left out: 1. It is in derivatives.",
        f"{tmp_path}: images left out: 1. {NO_T1}",
    ]
    assert [item.name for item in items] == names
    assert [item.folder for item in items] == ["sub-1/ses-1/anat", "sub-1/ses-2/anat"]
    assert items[0].path == tmp_path / names[0]
    # The same names without the tree: their results lie where the tree would have them.
    for flat in (
        [tmp_path / "sub-1" / "ses-1" / "anat"],
        [touch(tmp_path / "b" / "sub-2_T1w.nii")],
    ):
        (item, *_) = find_items(flat)
        assert item.folder in ("sub-1/ses-1/anat", "sub-2/anat")
        assert item.root(tmp_path / "out" / item.folder) == tmp_path / "out"


def test_scans_of_the_same_name_have_folders_of_their_own(tmp_path):
    paths = [touch(tmp_path / person / "T1.nii.gz") for person in ("anna", "bert")]
    lines = ["# two people", *map(str, paths), "", "anna/lesion_T1w.nii.gz\tanna/mask.nii.gz"]
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(lines))
    items = find_items([listed])
    assert len({item.folder for item in items}) == 3
    assert [item.path for item in items[:2]] == paths
    assert items[2].name == "lesion"
    assert items[2].mask == tmp_path / "anna" / "mask.nii.gz"
    assert find_items([paths[0], paths[0]])[0].name == "T1"
    # Folders name people.
    assert [item.name for item in find_items(paths)] == ["T1-1", "T1-2"]
    also = [touch(tmp_path / "carl" / "T1-1.nii.gz"), *paths]
    assert [item.folder for item in find_items(also)] == ["T1-1", "T1-2", "T1-3"]
    one = [touch(tmp_path / f"carl_{kind}.nii.gz") for kind in ("T1w", "T2w")]
    assert [item.name for item in find_items(one)] == [path.name for path in one]
    both = [touch(tmp_path / "d" / p) for p in ("sub-1_T1w.nii", "sub-1/anat/sub-1_T1w.nii")]
    assert len({item.folder for item in find_items([both[0].parent])}) == 2
    beside = [touch(tmp_path / "c" / name) for name in ("a.nii", "a.mgz")]
    assert len({item.folder for item in find_items([beside[0].parent])}) == 2


def test_lists_that_cannot_be_read_are_said_in_words(tmp_path):
    with pytest.raises(StyleGAN3DError, match="one path a line"):
        find_items([tmp_path / "none.txt"])
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(StyleGAN3DError, match="no scan to project"):
        find_items([tmp_path / "empty.txt"])


def test_a_list_is_read_as_spreadsheets_and_shells_write_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "list.CSV").write_text('"a b.nii.gz","mask.nii.gz"\n~/c.nii.gz,\n')
    (tmp_path / "list.txt").write_text("'a b.nii.gz'\tmask.nii.gz\n\n# no\n~/c.nii.gz\n")
    wanted = [(tmp_path / "a b.nii.gz", tmp_path / "mask.nii.gz"), (tmp_path / "c.nii.gz", None)]
    assert lines_of(tmp_path / "list.CSV") == lines_of(tmp_path / "list.txt") == wanted


def test_a_folder_without_nifti_is_a_dicom_series(tmp_path):
    touch(tmp_path / "dicom" / "IM0001")
    assert not holds_scans(tmp_path / "dicom")
    assert not holds_scans(tmp_path / "scan.nii.gz")
    touch(tmp_path / "dicom" / "x.nii.gz")
    assert holds_scans(tmp_path / "dicom")


def test_records_are_plain_json(bench):
    b = bench(sub_1="one")
    b.run()
    record = json.loads(next((b.out / ".cohort").glob("*.json")).read_text())
    assert record["files"] == {"sub-1/result.txt": 3}
    assert set(record["inputs"]) == {"scan", "person"}


def test_a_subjects_folder_keeps_its_place_in_the_dataset(tmp_path):
    anat = tmp_path / "sub-02" / "ses-1" / "anat"
    anat.mkdir(parents=True)
    (anat / "sub-02_ses-1_T1w.nii.gz").touch()
    for folder in (tmp_path, tmp_path / "sub-02", tmp_path / "sub-02" / "ses-1"):
        (item,) = find_items([folder])
        assert item.folder == "sub-02/ses-1/anat", folder
