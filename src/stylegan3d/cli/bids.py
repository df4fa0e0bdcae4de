"""`stylegan3d-bids`: a BIDS App (https://bids-apps.neuroimaging.io).

Participants may be worked on by many machines at once; their results are put together afterwards.
"""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from stylegan3d.base import Json, JsonView, StyleGAN3DError
from stylegan3d.cli import main as run_program
from stylegan3d.cli.common import emit, log, progress, read_object
from stylegan3d.cli.many import tell
from stylegan3d.cohort import Item, find_items
from stylegan3d.cohort.run import FAILED, row_of, run_cohort, write_table
from stylegan3d.outputs.results import provenance
from stylegan3d.pages.page import distributions, page, plain
from stylegan3d.storage.about import version
from stylegan3d.storage.bids import DESCRIPTION, describe, participant_of
from stylegan3d.storage.files import atomic_write_text
from stylegan3d.storage.formats import without_suffix

#: What a scan takes, in GB.
SCAN_GB = 3.0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise StyleGAN3DError(f"{message}; see `stylegan3d-bids --help`.")


def parser() -> argparse.ArgumentParser:
    """The arguments that BIDS Apps have in common, some with lists that typer has not."""
    made = _Parser("stylegan3d-bids", description="Project and measure T1w scans of a dataset.")
    add = made.add_argument
    add("bids_dir", type=Path, help="the BIDS dataset")
    add("output_dir", type=Path, help="output folder, such as BIDS_DIR/derivatives/stylegan3d")
    add("analysis_level", choices=("participant", "group"), help="each scan, or a summary of all")
    add("--participant-label", "--participant_label", nargs="+", metavar="LABEL", help="only these")
    add("--session-label", "--session_label", nargs="+", metavar="LABEL", help="only these")
    text = 'JSON such as {"t1w": {"acquisition": "mprage", "run": [1, 2]}}, to select scans'
    add("--bids-filter-file", type=Path, metavar="FILE", help=text)
    add("--nprocs", type=int, default=1, metavar="N", help="scans at a time")
    add("--mem", type=float, metavar="GB", help=f"memory to use; a scan takes {SCAN_GB:g} GB")
    add("--device", default="auto", help="auto, cpu, cuda or mps")
    add("--overwrite", action="store_true", help="replace results of other settings")
    add("--debug", action="store_true", help="show the traceback of an unexpected error")
    add("--version", action="version", version=f"stylegan3d {version()}")
    return made


def main() -> None:
    """Run the app; exits with status 0, 2 for wrong input or a failed scan, 1 for bugs."""
    run_program(run=run)


def run(args: Sequence[str], **_: Any) -> int:
    """Work on the level that is asked for; the exit status."""
    given = parser().parse_args(args)
    log.setLevel("INFO")
    jobs = given.nprocs if given.mem is None else min(given.mem / SCAN_GB, given.nprocs)
    if not jobs >= 1:
        raise StyleGAN3DError(f"Give --nprocs 1 and --mem {SCAN_GB:g}, or more.")
    every, items = scans_of(given)
    if given.analysis_level == "group":
        return group(items, given.output_dir)
    from stylegan3d.cohort.work import EXAMINATIONS, examine_item
    from stylegan3d.devices import DEVICE, choose_device
    from stylegan3d.model.generator import load
    from stylegan3d.projection.settings import Choices
    from stylegan3d.segmentation.inference import load_segmenter
    from stylegan3d.segmentation.scans import made_by

    if given.device != "auto":
        os.environ[DEVICE] = str(choose_device(given.device))
    generator, segmenter, out = load(None), load_segmenter(None), given.output_dir
    by = [*provenance(generator)["GeneratedBy"], *made_by(segmenter)["GeneratedBy"]]
    describe(out, {"GeneratedBy": by})
    if not (out / "README").exists():
        atomic_write_text(out / "README", plain("derivatives.md"), overwrite=True)
    how = {"choices": Choices().to_dict(), "model": generator.hash, "network": segmenter.hash}
    table, more = replace(EXAMINATIONS, file=""), {"jobs": int(jobs), "overwrite": given.overwrite}
    with progress("Examining") as told:
        outcome = run_cohort(items, out, examine_item, how, table=table, progress=told, **more)
    tell(outcome.rows)
    rows = dict(zip(items, outcome.rows, strict=True))
    whose = {item: participant_of(item.path) for item in every}
    for name in dict.fromkeys(whose[item] for item in items):
        scans = [rows.get(i) or row_of(out, i, table) for i in every if whose[i] == name]
        begun = [row for row in scans if row.get("status") != "missing"]
        emit({}, [str(_page(out, name, begun))], as_json=False)
    return 2 if outcome.count(FAILED) else 0


def scans_of(given: argparse.Namespace) -> tuple[list[Item], list[Item]]:
    """All T1-weighted scans of the dataset, and those that are asked for.

    Raises
    ------
    StyleGAN3DError
        If it is no dataset, or has no such scan.
    """

    folder: Path = given.bids_dir
    if not (folder / DESCRIPTION).is_file():
        raise StyleGAN3DError(f"{folder} is not a BIDS dataset: it lacks {DESCRIPTION}.")
    if folder.resolve() == given.output_dir.resolve():
        raise StyleGAN3DError(f"Give another output folder than {folder}, such as its derivatives.")
    every = found = find_items([folder], log.warning)
    for kind, key, labels, of in (
        ("participant", "sub", given.participant_label, lambda i: participant_of(i.path)),
        ("session", "ses", given.session_label, lambda i: i.session),
    ):
        known = {of(item).removeprefix(f"{key}-") for item in found}
        wanted = {label.removeprefix(f"{key}-") for label in labels or known}
        if strange := sorted(wanted - known):
            listed = ", ".join(sorted(known - {""})) or "none"
            raise StyleGAN3DError(
                f"{folder} has no T1-weighted scan of {kind} {strange[0]}, only of: {listed}."
            )
        found = [i for i in found if of(i).removeprefix(f"{key}-") in wanted]
    if given.bids_filter_file is not None:
        wished = read_object(given.bids_filter_file).get("t1w")
        if not isinstance(wished, dict):
            raise StyleGAN3DError(
                f'{given.bids_filter_file} has no "t1w": write which entities such scans have.'
            )
        found = [item for item in found if fits(item.path, wished)]
    if not found:
        raise StyleGAN3DError(f"No scan in {folder} matches {given.bids_filter_file}.")
    return every, found


def fits(path: Path, wished: JsonView) -> bool:
    """Whether a BIDS name has the values of a filter: one, one of several, or null for none."""
    stem = without_suffix(path.name)
    facts = dict(re.findall(r"([a-zA-Z]+)-([a-zA-Z0-9]+)", stem)) | {
        "suffix": stem.rpartition("_")[2],
        "datatype": path.parent.name,
        "extension": path.name.removeprefix(stem),
    }
    for name, value in wished.items():
        # Of an index the zeros before it do not count.
        zeros = "0" if name in ("run", "echo", "inversion", "flip") else ""
        allowed = [
            str(one).lstrip(zeros) for one in (value if isinstance(value, list) else [value])
        ]
        # PyBIDS names entities in full: acquisition is acq, ceagent ce.
        has = next((facts[key] for key in (name, name[:3], name[:2]) if key in facts), None)
        if str(has).lstrip(zeros) not in allowed:
            return False
    return True


def _page(out: Path, participant: str, rows: Sequence[Json]) -> Path:
    """Write the page of a participant, with a part for each scan."""
    from markupsafe import Markup

    from stylegan3d.outputs.report_page import html_reports

    lost = Markup('<h1>{}</h1><p class="alarm">{}</p>')
    parts = [
        Markup((out / row["page"]).read_text("utf-8"))
        if "page" in row
        else lost.format(row["name"], row["error"])
        for row in rows
    ]
    path = out / f"{participant}.html"
    atomic_write_text(path, html_reports(participant, parts), overwrite=True)
    return path


def group(items: Sequence[Item], out: Path) -> int:
    """Write one table and one page of what is recorded of all scans; the exit status."""
    from stylegan3d.cohort.work import EXAMINATIONS
    from stylegan3d.outputs.report import DRAWN
    from stylegan3d.segmentation.classes import HEAD, title_of

    rows = [row_of(out, item, EXAMINATIONS) for item in items]
    done = [row for row in rows if "page" in row]
    tell([row for row in rows if done or "seconds" in row])
    if not done:
        raise StyleGAN3DError(f"{out} has no results of these: run the participant level first.")
    plots = [
        distributions(f"{title_of(key)}, ml", [], [row[key] for row in done if key in row])
        for key in (HEAD, *DRAWN)
    ]
    path = out / "group_T1w.html"
    write_table(out, EXAMINATIONS, rows)
    atomic_write_text(path, page("group", rows=rows, done=len(done), plots=plots), overwrite=True)
    emit({}, map(str, (out / EXAMINATIONS.file, path)), as_json=False)
    return 0
