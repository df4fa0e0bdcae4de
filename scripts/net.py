"""A net under a change of the code: everything the program writes, before and after.

    python scripts/net.py record SCANS OUT.json [--only NAME ...]
    python scripts/net.py compare BEFORE.json AFTER.json

`record` runs every command below and notes what it wrote; `compare` says what differs, with status
1 if anything does. `SCANS` is a folder with `brains-2mm/` and `scans/`, the data that the models
were made from. Numbers are the same only on one machine, so both commits are recorded on it and no
record is kept. Volumes, tensors and pictures are compared by a hash, text, JSON and DICOM entry by
entry; times, versions, identifiers and folders are masked.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PROGRAM = [sys.executable, "-c", "from stylegan3d.cli import main; main()"]
#: What is run, by name: `{out}` is its folder, `{NAME}` that of an earlier one; see `record`.
# ruff: noqa: E501
COMMANDS = {
    "seeds": "generate --seeds 0-2 --table {out}/volumes.csv --out {out} --json",
    "truncation": "generate --seeds 5 --truncation 0.5 --truncation-layers 4 --out {out} --json",
    "noise": "generate --seeds 5 --noise 7 --out {out} --json",
    "no-noise": "generate --seeds 6 --noise none --out {out} --json",
    "label": "generate --seeds 7 --label age=70,sex=F --out {out} --json",
    "mix": "mix --a 1 --b 2 --strength 0.3 --out {out} --json",
    "layers": "mix --a 1 --b 2 --layers 4-7 --out {out} --json",
    "edit": "edit --seed 3 --edit Age=1.5 --edit 'PC 1=-1' --out {out} --json",
    "ageing": "edit --seed 3 --age-by 10 --out {out} --json",
    "vae": "generate --seeds 1 --model vae-t1-2mm --out {out} --json",
    "diffusion": "generate --seeds 1 --model diffusion-t1-2mm --out {out} --json",
    "project-head": "project {head} --budget draft --out {out} --json",
    "project-brain": "project {brain} --budget draft --out {out} --json",
    "segment": "segment {brain} --age 52 --sex f --out {out}/tissues.nii.gz --table {out}/volumes.csv --json",
    "regions": "segment {brain} --regions --out {out}/regions.nii.gz --table {out}/volumes.csv --json",
    "edited-scan": "edit --latent {projected}_latent.safetensors --scan {brain} --edit Age=1 --out {out} --json",
    "picture": "render picture --seeds 1,2 --out {out} --json",
    "report": "render report {projected}_T1w.json --out {out} --json",
    "dicom": "render dicom {seeds}/seed-0000_desc-synthetic_T1w.nii.gz --out {out} --json",
    "labels": "synthesize {segment}/tissues.nii.gz --out {out}/painted.nii.gz --json",
    "directions": "directions --components 3 --samples 32 --save {out}/pca.safetensors --json",
    "info": "info --json",
    "prepare": "prepare {few} --out {out}/pack --json",
    "train-anatomy": "train anatomy {prepare}/pack {trained}",
    "train-stylegan": "train stylegan {prepare}/pack --preset stylegan-2mm --steps 10 --batch 2 {trained}",
    "train-vae": "train vae {prepare}/pack --steps 10 {trained}",
    "train-diffusion": "train diffusion {prepare}/pack --autoencoder vae-t1-2mm --steps 10 {trained}",
    "train-flow": "train flow {weights}/brain-t1-2mm {prepare}/pack --steps 10 {trained}",
    "train-match": "train fit-statistics {weights}/brain-t1-2mm {prepare}/pack --rounds 1 {trained}",
    "train-segmentation": "train segmentation {prepare}/pack --maps {few} --steps 10 {trained}",
    "train-lesions": "train segmentation {prepare}/pack --scheme lesions --steps 10 {trained}",
    "train-translation": "train translation {prepare}/pack --maps {few} --steps 10 {trained}",
    "evaluate": "evaluate {prepare}/pack --samples 8 --privacy-samples 8 --budget draft --limit-validation 1 --out {out} --json",
}
#: What differs from run to run.
MASKED = (
    (r"\d{4}-?\d\d-?\d\d[T ]?\d\d:?\d\d(:?\d\d)?(\.\d+)?(Z|[+-]\d\d:\d\d)?", "TIME"),
    (r"\b\d{4}-\d\d-\d\d\b|\b20\d{6}\b", "DATE"),
    (r"\b\d+\.\d+\.\d+(\.dev\d+)?(\+\w+)?\b", "VERSION"),
    (r"\b2\.25\.\d+\b|\b1\.2\.826\.[\d.]+", "UID"),
)
TIMES = re.compile(r"seconds|_per_s|took|time|peak|memory", re.IGNORECASE)


def few(data: Path, folder: Path) -> Path:
    """Ten people of the 2 mm brains, eight with label maps, as a folder for `prepare`."""
    folder.mkdir()
    lines = (data / "brains-2mm" / "participants.tsv").read_text().splitlines()
    labelled = [
        n for n in lines[1:] if (data / "brains-2mm" / f"{n.split()[0]}_dseg.nii.gz").exists()
    ]
    train = [n for n in labelled if "\ttrain\t" in n][:8]
    chosen = [*train, *[n for n in labelled if "\tvalidation\t" in n][:2]]
    for name in (line.split("\t")[0] for line in chosen):
        for kind in ("T1w", "dseg"):
            shutil.copy(data / "brains-2mm" / f"{name}_{kind}.nii.gz", folder)
    names = (data / "brains-2mm" / "labels.tsv").read_text().rstrip()
    (folder / "labels.tsv").write_text(f"{names}\n1\tunnamed\tbackground\n")
    (folder / "participants.tsv").write_text("\n".join([lines[0], *chosen]) + "\n")
    return folder


def masked(text: str, folder: Path) -> str:
    """Text without what differs from run to run."""
    text = text.replace(str(folder), "WORK")
    for pattern, name in MASKED:
        text = re.sub(pattern, name, text)
    return text


def entries(value: Any, folder: Path, key: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested JSON: key, value; texts are masked."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not TIMES.search(str(name)):
                yield from entries(inner, folder, f"{key}.{masked(str(name), folder)}")
    elif isinstance(value, list):
        yield f"{key}.length", len(value)
        for i, inner in enumerate(value):
            yield from entries(inner, folder, f"{key}[{i}]")
    else:
        yield key, masked(value, folder) if isinstance(value, str) else value


def digest(content: bytes) -> str:
    """A short hash."""
    return hashlib.sha256(content).hexdigest()[:16]


def hashed(array: np.ndarray) -> str:
    """Shape, type and content of an array in a word."""
    return f"{array.dtype} {array.shape} {digest(np.ascontiguousarray(array).tobytes())}"


def content_of(path: Path, folder: Path) -> dict[str, Any]:
    """What a file holds, by entry."""
    name = path.name
    if name.endswith((".nii", ".nii.gz")):
        import nibabel as nib

        image = nib.load(path)
        header = {"descrip": masked(image.header["descrip"].item().decode(), folder)}
        return header | {"affine": hashed(image.affine), "data": hashed(np.asarray(image.dataobj))}
    if name.endswith(".safetensors"):
        from safetensors import deserialize, safe_open

        with safe_open(path, "np") as file:
            about = {
                f"about.{k}": masked(v, folder)[:2000] for k, v in (file.metadata() or {}).items()
            }
        tensors = deserialize(path.read_bytes())
        return about | {
            k: f"{t['dtype']} {t['shape']} {digest(bytes(t['data']))}" for k, t in tensors
        }
    if name.endswith(".json"):
        return dict(entries(json.loads(path.read_text("utf8")), folder))
    if name.endswith((".npy", ".npz")):
        read = np.load(path, allow_pickle=False)
        return (
            {k: hashed(read[k]) for k in read.files}
            if name.endswith("z")
            else {"data": hashed(read)}
        )
    if name.endswith((".png", ".gif")):
        from PIL import Image

        return {"picture": hashed(np.asarray(Image.open(path).convert("RGB")))}
    if name.endswith(".dcm"):
        import pydicom

        read = pydicom.dcmread(path)
        lines = [
            line for line in str(read).splitlines() if " UI: " not in line and " TM: " not in line
        ]
        return {line[:12] + str(i): masked(line, folder) for i, line in enumerate(lines)}
    if name.endswith((".csv", ".tsv", ".html", ".md", ".txt")):
        return {
            f"line {i}": s
            for i, s in enumerate(masked(path.read_text("utf8"), folder).splitlines())
        }
    return {"there": True}


def ran(name: str, command: str, places: dict[str, str], folder: Path) -> dict[str, Any]:
    """Run one command: what it said and wrote, by file and entry."""
    out = folder / name
    out.mkdir()
    text = command.replace("{trained}", "--out {out}/run --export {out}/model --json")
    words = [word.format(out=out, **places) for word in shlex.split(text)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    done = subprocess.run(
        [*PROGRAM, *words], capture_output=True, text=True, env=environment, check=False
    )
    found: dict[str, Any] = {"status": done.returncode}
    try:
        found |= {f"stdout{key}": value for key, value in entries(json.loads(done.stdout), folder)}
    except ValueError:
        found["stdout"] = masked(done.stdout, folder)[-2000:]
    if done.returncode:
        found["stderr"] = masked(done.stderr, folder)[-2000:]
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        relative = path.relative_to(out).as_posix()
        if not (relative.startswith("run/") or path.suffix in (".log", ".jsonl", ".lock")):
            found |= {f"{relative}: {k}": v for k, v in content_of(path, folder).items()}
    return found


def record(data: Path, out: Path, only: list[str]) -> None:
    """Run the commands and write down what each left."""
    results: dict[str, Any] = json.loads(out.read_text()) if only and out.exists() else {}
    folder = Path(os.environ.get("NET_FOLDER") or tempfile.mkdtemp(prefix="net-"))
    folder.mkdir(exist_ok=True)
    projected = folder / "project-brain" / "novosibirsk-sub-09_desc-projected"
    places = {
        "head": str(data / "scans/ucla-sub-04_T1w.nii.gz"),
        "brain": str(data / "scans/novosibirsk-sub-09_T1w.nii.gz"),
        "few": str(folder / "few"),
        "weights": str(Path("weights").resolve()),
        "projected": str(projected),
    }
    if not (folder / "few").exists():
        few(data, folder / "few")
    for name, command in COMMANDS.items():
        if only and name not in only:
            places[name] = str(folder / name)
            continue
        shutil.rmtree(folder / name, ignore_errors=True)
        results[name] = ran(name, command, places, folder)
        places[name] = str(folder / name)
        print(name, results[name]["status"], len(results[name]), "entries", flush=True)
        out.write_text(json.dumps(results, indent=1))


def compare(before: dict[str, Any], after: dict[str, Any], most: int) -> int:
    """Print what differs; how many commands do."""
    differing = 0
    for name in before.keys() | after.keys():
        a, b = before.get(name, {}), after.get(name, {})
        keys = [k for k in [*a, *(k for k in b if k not in a)] if a.get(k) != b.get(k)]
        differing += bool(keys)
        print(f"{name}: {len(keys)} of {len(a)} differ" if keys else f"{name}: the same")
        for key in keys[:most]:
            was, now = (str(one.get(key, "missing"))[:110] for one in (a, b))
            print(f"    {key}: {was} -> {now}")
    return differing


def main() -> None:
    """Record or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="these commands alone")
    parser.add_argument("--most", type=int, default=12, help="differences shown of each command")
    given = parser.parse_args()
    if given.what == "record":
        record(given.first.resolve(), given.second, given.only)
        return
    read = [json.loads(path.read_text()) for path in (given.first, given.second)]
    sys.exit(min(1, compare(*read, given.most)))


if __name__ == "__main__":
    main()
