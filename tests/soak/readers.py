"""Every reader of the program with a small valid sample of its files, for `fuzz.py`.

A reader's `read(folder)` opens the sample that lies in a folder and uses what comes out as the
program would; `words` are the command line that does the same, if there is one.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from mutations import (
    FOLDER,
    PIPE,
    Files,
    Link,
    Mutator,
    gzip_bomb,
    mask_bomb,
    spoil_bytes,
    spoil_gzip,
    spoil_json,
    spoil_nifti,
    spoil_safetensors,
    spoil_table,
    spoil_text,
    spoil_zip,
    zip_bomb,
)

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS)]
import dicoms  # noqa: E402  (beside the tests that use it)

SHAPE = (20, 24, 22)
WEIGHTS = "model.safetensors"
AFFINE = np.array([[8.0, 0, 0, -76], [0, 8, 0, -92], [0, 0, 8, -84], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Reader:
    """One kind of file.

    Attributes
    ----------
    name : of the kind.
    make : the files of a valid sample.
    read : opens the sample in a folder.
    spoil : what to do to a file, by the ending of its name.
    special : further samples, each the same every time: bombs, absurd claims, pipes.
    words : the command line, given folder and model; None if no verb reads such a file.
    always : whether a spoiled file may pass for one that is not there (caches).
    """

    name: str
    make: Callable[[], Files]
    read: Callable[[Path], object]
    spoil: dict[str, Mutator] = field(default_factory=dict)
    special: Callable[[Files], list[Files]] = lambda files: []
    words: Callable[[Path, Path], list[str]] | None = None
    chosen: str = ""

    def mutant(self, number: int) -> Files:
        """The sample, spoiled in the way of this number."""
        sample, special = sample_of(self), _specials(self.name)
        if number < len(special):
            return self.mended(special[number])
        rng = random.Random(f"{self.name} {number}")
        files = dict(sample)
        for _ in range(rng.choice((1, 1, 1, 2))):
            name = rng.choice(list(files))
            if self.chosen and rng.random() < 0.8:
                name = self.chosen
            content = files[name]
            way = rng.random()
            if way < 0.02:
                files[name] = b""
            elif way < 0.04:
                files[name] = sample_of(rng.choice(readers()), first=True)
            elif way < 0.06 and len(files) > 1:
                other = rng.choice(list(files))
                files[name], files[other] = files[other], files[name]
            elif way < 0.07 and len(files) > 1:
                del files[name]
                break
            elif isinstance(content, bytes):
                spoil = self.spoil.get(name.rpartition(".")[2], spoil_bytes)
                try:
                    files[name] = spoil(rng, content)
                except Exception:  # spoiled before, so that it is no such file any more
                    files[name] = spoil_bytes(rng, content)
        return self.mended(files)

    def mended(self, files: Files) -> Files:
        """Checksums in it renewed, so that what they protect is read, too."""
        return files


class Folder(Reader):
    """A model's folder, whose card names the hash of its weights."""

    def mended(self, files: Files) -> Files:
        weights, card = files.get("model.safetensors"), files.get("card.json")
        if not isinstance(weights, bytes) or not isinstance(card, bytes):
            return files
        before = hashlib.sha256(sample_of(self)["model.safetensors"]).hexdigest()
        after = hashlib.sha256(weights).hexdigest()
        return {**files, "card.json": card.replace(before.encode(), after.encode())}


@cache
def _specials(name: str) -> list[Files]:
    reader = next(one for one in (*readers(), *readers_of_training()) if one.name == name)
    sample = sample_of(reader)
    return [*reader.special(dict(sample)), *_common(sample)]


@cache
def _samples() -> dict[str, Files]:
    return {}


def sample_of(reader: Reader, first: bool = False) -> Any:
    """The files of a reader's sample, made once; or the first one's content."""
    kept = _samples()
    if reader.name not in kept:
        kept[reader.name] = reader.make()
    return next(iter(kept[reader.name].values())) if first else kept[reader.name]


def _common(sample: Files) -> list[Files]:
    """What can lie in the place of any file."""
    made = []
    for name in list(sample)[:2]:
        for odd in (
            b"",
            PIPE,
            FOLDER,
            Link("/dev/zero"),
            Link(name),
            Link("/nowhere"),
            b"\0" * 10**6,
        ):
            made.append({**sample, name: odd})
    return made


# --- samples ------------------------------------------------------------------------------------


def volume() -> np.ndarray:
    """int16 (20, 24, 22): a blob with texture."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
    inside = (grid**2).sum(axis=0) < 0.6
    texture = np.random.RandomState(0).randint(300, 900, SHAPE)
    return np.where(inside, texture, 0).astype(np.int16)


def nifti(kind: Any = nib.Nifti1Image, suffix: str = ".nii") -> Files:
    image = kind(volume(), AFFINE)
    image.set_qform(AFFINE, 1)
    image.set_sform(AFFINE, 1)
    if suffix == ".hdr":
        with tempfile.TemporaryDirectory() as folder:
            nib.save(nib.Nifti1Pair(volume(), AFFINE), f"{folder}/scan.hdr")
            return {p.name: p.read_bytes() for p in sorted(Path(folder).iterdir())}
    data = image.to_bytes()
    return {f"scan{suffix}": gzip.compress(data, mtime=0) if suffix.endswith("gz") else data}


def mgh(suffix: str) -> Files:
    data = nib.MGHImage(volume(), AFFINE).to_bytes()
    return {f"scan{suffix}": gzip.compress(data, mtime=0) if suffix == ".mgz" else data}


def dicom_series() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        dicoms.write_series(Path(folder), volume()[:, :, :18], AFFINE)
        return {f"series/{p.name}": p.read_bytes() for p in sorted(Path(folder).iterdir())}


def dicom_frames() -> Files:
    with tempfile.TemporaryDirectory() as folder:
        path = dicoms.write_enhanced(Path(folder) / "scan.dcm", volume()[:, :, :18], AFFINE)
        return {"scan.dcm": path.read_bytes()}


@cache
def generator() -> Any:
    from tiny import tiny_generator

    return tiny_generator(seed=0)


def model_folder() -> Files:
    from stylegan3d.checkpoints.folder import write_folder
    from stylegan3d.model.generator import load
    from stylegan3d.model.random_latents import pca_directions
    from stylegan3d.recipe.latents import save_directions

    made = generator()
    tensors = {"w_avg": made.w_avg}
    for part in ("mapping", "synthesis"):
        state = getattr(made, part).state_dict()
        tensors |= {f"{part}.{key}": value for key, value in state.items()}
    space = {"shape": list(made.shape), "affine": made.affine.tolist(), "axes": "RAS"}
    card = {
        **made.card,
        "modality": "T1-weighted MR",
        "space": {**space, "description": "Anywhere."},
        "training_data": [{"source": "x", "people": 1, "licence": "CC0"}],
        "training": {"people": 1, "images_seen": 1, "warm_start_images": 0},
        "intended_use": "Tests.",
        "licence": "CC0",
    }
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder) / "m", card, tensors)
        save_directions(
            Path(folder) / "m/directions.safetensors",
            pca_directions(load(Path(folder) / "m"), samples=500),
        )
        files = {p.name: p.read_bytes() for p in sorted((Path(folder) / "m").iterdir())}
    card_text, template = files.pop("card.json"), np.ones(made.shape, np.uint8)
    image = nib.Nifti1Image(template, made.affine).to_bytes()
    return {"card.json": card_text, **files, "template.nii.gz": gzip.compress(image, mtime=0)}


@cache
def model_on_disk() -> Path:
    """A valid model folder that mutants of other kinds are used with."""
    folder = Path(tempfile.mkdtemp(prefix="stylegan3d-fuzz-model-"))
    for name, content in model_folder().items():
        (folder / name).write_bytes(content)  # type: ignore[arg-type]
    return folder


@cache
def model() -> Any:
    from stylegan3d.model.generator import load

    return load(model_on_disk())


def latent() -> Files:
    from stylegan3d.recipe.latents import Delta, Latent, latent_bytes
    from stylegan3d.scans.resampling import pack_mask

    made = model()
    w = made.map(__import__("torch").zeros(1, made.z_dim))[0]
    mask = np.zeros(made.shape, bool)
    mask[4:12, 4:20, 4:18] = True
    scan = {
        "path": "scan.nii.gz",
        "sha256": "0" * 64,
        "shape": list(SHAPE),
        "affine": AFFINE.tolist(),
        "geometry": {"sform": AFFINE.tolist(), "sform_code": 1, "qform": None, "qform_code": 0},
        "rigid": np.eye(4).tolist(),
        "model_affine": made.affine.tolist(),
        "intensity_scale": 700.0,
        "quality": 0.9,
        "brain_mask": pack_mask(mask),
        "steps": ["done"],
        "notes": [],
    }
    name = next(k for k in dict(made.synthesis.named_parameters()) if k.endswith("bias"))
    shape = dict(made.synthesis.named_parameters())[name].shape
    delta = Delta({name: np.full(shape, 0.01)})
    return {"a.safetensors": latent_bytes(Latent.of(made, w, scan=scan, delta=delta))}


def latent_bombs(sample: Files) -> list[Files]:
    import base64

    from stylegan3d.storage.encoding import pack, unpack

    tensors, about = unpack(
        sample["a.safetensors"],  # type: ignore[arg-type]
        kind="latent",
        path=Path("a"),
        error=Exception,  # type: ignore[arg-type]
        versions=("1", "2"),
    )
    made = []
    for change in (
        {"shape": [100_000] * 3},
        {"shape": [1, 1, 1]},
        {"shape": [-5, 20, 20]},
        {"brain_mask": base64.b64encode(mask_bomb(300)).decode()},
        {"rigid": [[0] * 4] * 4},
        {"affine": [[1e300] * 4] * 4},
        {"geometry": {"sform": [[1e30] * 4] * 4, "sform_code": 10**9}},
    ):
        scan = json.dumps({**json.loads(about["scan"]), **change})
        made.append({"a.safetensors": pack(tensors, {**about, "scan": scan})})
    huge = {k: np.full(v.shape, 6e4) for k, v in tensors.items() if k.startswith("delta.")}
    made.append({"a.safetensors": pack({**tensors, **huge}, about)})
    made.append({"a.safetensors": pack({**tensors, "w": tensors["w"] * np.float32(1e30)}, about)})
    return made


def read_latent(folder: Path) -> None:
    from stylegan3d.recipe.latents import load_latent
    from stylegan3d.recipe.recipe import Recipe, Source
    from stylegan3d.render.renderer import Renderer
    from stylegan3d.scans.resampling import native_image

    found = load_latent(folder / "a.safetensors", model())
    recipe = Recipe(Source.from_file(folder / "a.safetensors"))
    made = Renderer(model()).render(recipe.latent(model()), delta=recipe.delta(model()))
    if found.scan is not None:
        native_image(made.volume, made.space, found.scan)


def directions() -> Files:
    return {"d.safetensors": (model_on_disk() / "directions.safetensors").read_bytes()}


def read_directions(folder: Path) -> None:
    from stylegan3d.recipe.latents import load_directions
    from stylegan3d.recipe.recipe import Edit, Recipe

    found = load_directions(folder / "d.safetensors", model())
    for name in found.names[:2]:
        found.summary(name)
    Recipe(edits=(Edit(f"{folder}/d.safetensors#{found.names[0]}", 1.0),)).latent(model())


def recipe_text() -> bytes:
    made = {
        "version": 3,
        "source": {"kind": "latent", "path": "a.safetensors"},
        "truncation": {"psi": 0.7, "cutoff": 3},
        "mix": {"source": {"kind": "seed", "seed": 3}, "strength": [0.5] * model().num_layers},
        "edits": [{"direction": "PC 1", "strength": 1.5, "layers": [0, 2]}],
        "noise": "fixed",
        "channel": 0,
        "model": {"sha256": model().hash, "name": model().name},
    }
    return json.dumps(made).encode()


def recipe() -> Files:
    return {"r.json": recipe_text(), **latent()}


def sidecar() -> Files:
    about = {"SyntheticImage": True, "Recipe": json.loads(recipe_text()), "Model": {"Name": "tiny"}}
    return {"r.json": json.dumps(about).encode(), **latent()}


def read_recipe_file(folder: Path) -> None:
    from stylegan3d.recipe.description import read_recipe

    read_recipe(folder / "r.json").latent(model())


def texts() -> Files:
    from stylegan3d.recipe.description import to_link
    from stylegan3d.recipe.recipe import Recipe

    made = Recipe.from_json(recipe_text().decode())
    return {
        "link.txt": to_link(made).encode(),
        "command.txt": made.command().encode(),
        "json.txt": recipe_text(),
    }


def read_texts(folder: Path) -> None:
    from stylegan3d.base import StyleGAN3DError
    from stylegan3d.recipe.description import from_text

    refused = None
    for path in sorted(folder.glob("*.txt")):
        if not path.is_file() or path.stat().st_size > 10**8:
            continue
        try:
            from_text(path.read_bytes().decode("utf-8", "replace"))
        except StyleGAN3DError as error:
            refused = error
    if refused is not None:
        raise refused


def session() -> Files:
    from stylegan3d.recipe.recipe import Recipe, Source
    from stylegan3d.session.file import Favourite, SessionState, encode

    made = Recipe.from_json(recipe_text().decode())
    states = (Recipe(), made, Recipe(Source("seed", 9)))
    kept = {model().hash: (Favourite(made, "fine"),)}
    state = SessionState(states, favourites=kept, view={"page": {"open": "browse"}}, scan="s.nii")
    return {"session.json": encode(state.stamped(), Path("/none")), **latent()}


def archive() -> Files:
    from stylegan3d.session.file import pack, read_session

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for inner, content in session().items():
            (folder / inner).write_bytes(content)  # type: ignore[arg-type]
        return {"s.sg3d": pack(read_session(folder), folder)}


def archive_bombs(sample: Files) -> list[Files]:
    return [
        {"s.sg3d": zip_bomb("session.json", b"{", 200)},
        {"s.sg3d": zip_bomb("x.safetensors", b"", 200)},
    ]


def read_archive(folder: Path) -> None:
    from stylegan3d.session.file import unpack

    inside = folder / "unpacked"
    state, files = unpack(folder / "s.sg3d", inside)
    for path in files:
        if path.parent != inside or path.name in ("", ".", ".."):
            raise AssertionError(f"{path} would be written outside of the folder")
    for one in state.states:
        for part in (one.source, *one.edits):
            name = part.path if hasattr(part, "path") else part.file
            if name is not None and Path(name).parent != inside:
                raise AssertionError(f"{name} would be read outside of the folder")
    state.worth_keeping, state.age_s  # noqa: B018


def read_session_folder(folder: Path) -> None:
    from stylegan3d.session.file import encode, read_session

    encode(read_session(folder), folder)


def table() -> Files:
    rows = [f"{seed},{30 + seed},{'FM'[seed % 2]},{seed / 7:.2f}" for seed in range(30)]
    rows[3] = "a.safetensors,50,F,n/a"
    return {"t.csv": "\n".join(["brain,age,sex,score", *rows]).encode(), **latent()}


def read_table(folder: Path) -> None:
    from stylegan3d.directions.people import read_value_table

    found = read_value_table(folder / "t.csv")
    found.sources()
    refused = None
    from stylegan3d.base import StyleGAN3DError

    for column in found.columns:
        try:
            found.values(column)
        except StyleGAN3DError as error:
            refused = error
    if refused is not None:
        raise refused


def table_words(folder: Path, model: Path) -> list[str]:
    words = ["directions", "--values", f"{folder}/t.csv", "--column", "age", "--name", "Age"]
    return [*words, "--save", f"{folder}/out/d.safetensors", "--model", f"{model}"]


def notes() -> Files:
    from stylegan3d.directions.catalogue import DirectionNotes, write_notes

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "n.json"
        made = DirectionNotes({"PC 1": "Size"}, ("PC 1",), ("/x/d.safetensors",))
        write_notes(path, "hash", made)
        return {"n.json": path.read_bytes()}


def read_notes(folder: Path) -> None:
    from stylegan3d.directions.catalogue import read_notes

    read_notes(folder / "n.json", "hash")


def read_model(folder: Path) -> None:
    from stylegan3d.model.generator import check_page, load
    from stylegan3d.recipe.model import seed_latents
    from stylegan3d.render.renderer import Renderer

    found = load(folder)
    Renderer(found).render(seed_latents(found, [1], 0.7)[0])
    found.template, found.directions, found.name, found.frame_doubt  # noqa: B018
    check_page(found)


def model_claims(sample: Files) -> list[Files]:
    card = json.loads(sample["card.json"])  # type: ignore[arg-type]
    plan = card["architecture"]["generator"]
    made = []
    for change in (
        {"base": [100_000] * 3},
        {"channels": [65_000, 65_000]},
        {"channels": [2] * 40},
        {"mapping_layers": 10**9},
        {"z_dim": 60_000, "w_dim": 60_000, "mapping_width": 60_000},
        {"label_dim": 10**9},
        {"resample_kernel": [1.0] * 10**6},
        {"resample_kernel": []},
        {"upsample_gain": float("nan")},
        {"image_basis": 10**9, "w_dim": 10**9},
    ):
        spoiled = {**card, "architecture": {"generator": {**plan, **change}}}
        made.append({**sample, "card.json": json.dumps(spoiled).encode()})
    for files in ({"../../x": "0"}, {"/etc/passwd": "0" * 64}, {"": "0"}, ["x"], "x"):
        made.append({**sample, "card.json": json.dumps({**card, "files": files}).encode()})
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_bytes()
    return [*made, {**sample, "template.nii.gz": gzip_bomb(image, 4000)}]


@cache
def tissue_folder_files() -> Files:
    import torch

    from stylegan3d.segmentation.inference import write_model
    from stylegan3d.segmentation.network import TissueNetwork
    from stylegan3d.storage.places import bundled_model_path

    card = json.loads((bundled_model_path("regions-t1-2mm") / "card.json").read_text())
    for own in ("files", "architecture", "format", "format_version", "classes"):
        card.pop(own)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        write_model(Path(folder) / "t", TissueNetwork((8, 8)), card)
        files = {p.name: p.read_bytes() for p in sorted((Path(folder) / "t").iterdir())}
    return {"card.json": files.pop("card.json"), "model.safetensors": files["model.safetensors"]}


def read_tissues(folder: Path) -> None:
    from stylegan3d.geometry.space import Space
    from stylegan3d.segmentation.inference import load_segmenter

    found = load_segmenter(folder, "cpu")
    space = Space((16, 16, 16), np.diag([2.0, 2, 2, 1]))
    if found.fits(space):
        found.segment(np.ones((16, 16, 16), np.float32), space)


def privacy() -> Files:
    from stylegan3d.evaluation.privacy_index import index_of
    from stylegan3d.geometry.space import Space

    rows = np.random.RandomState(0).rand(12, 448)
    index = index_of(rows, rows[::-1], rows[:3] + 0.1, Space(SHAPE, AFFINE), "hash")
    return {"privacy.safetensors": index.to_bytes()}


def read_privacy(folder: Path) -> None:
    from stylegan3d.evaluation.privacy_index import load_index
    from stylegan3d.geometry.space import Space

    load_index(folder / "privacy.safetensors").space.same_as(Space(SHAPE, AFFINE))


def pack_folder() -> Files:
    from stylegan3d.dataset.pack import write_pack
    from stylegan3d.geometry.space import Space

    rows = [
        {
            "name": f"p{k}",
            "person": f"p{k}",
            "split": "validation" if k == 2 else "train",
            "age": 30,
        }
        for k in range(4)
    ]
    with tempfile.TemporaryDirectory() as name:
        unit = (volume() // 4).astype(np.uint8)
        write_pack(Path(name), rows, lambda row: unit, Space(SHAPE, AFFINE), {"settings": {}})
        files = {p.name: p.read_bytes() for p in sorted(Path(name).iterdir())}
    return {"dataset.json": files.pop("dataset.json"), **files}


def read_pack(folder: Path) -> None:
    from stylegan3d.dataset.pack import load_pack

    found = load_pack(folder)
    found.indices("train"), found.column("age"), np.asarray(found.volumes[:1])


def pickle() -> Files:
    return {"n.pkl": (TESTS / "checkpoints/data/official_tiny.pkl").read_bytes()}


def read_pickle(folder: Path) -> None:
    from stylegan3d.model.generator import load
    from stylegan3d.recipe.model import seed_latents
    from stylegan3d.render.renderer import Renderer

    found = load(folder / "n.pkl")
    Renderer(found).render(seed_latents(found, [1], 0.7)[0])


def read_scan(name: str) -> Callable[[Path], object]:
    def read(folder: Path) -> None:
        from stylegan3d.scans import SeveralSeries, SeveralVolumes, read_scan

        try:
            read_scan(folder / name)
        except SeveralVolumes as several:
            if several.count < 10**6:
                read_scan(folder / name, volume=several.count - 1)
        except SeveralSeries:
            read_scan(folder / name, series=1)

    return read


def scan_words(name: str) -> Callable[[Path, Path], list[str]]:
    return lambda folder, model: ["info", str(folder / name), "--json"]


def nifti_claims(suffix: str) -> Callable[[Files], list[Files]]:
    def claims(sample: Files) -> list[Files]:
        name = next(iter(sample))
        data = sample[name]
        assert isinstance(data, bytes)
        plain = gzip.decompress(data) if suffix.endswith("gz") else data
        made = []
        for dims in ([100_000] * 3, [32_767] * 3, [20_000, 2, 2], [736] * 3, [700, 700, 700]):
            table = np.frombuffer(plain[:348], nib.Nifti1Header.template_dtype).copy()
            table["dim"][0, 1:4] = np.clip(dims, 0, 32_767)
            changed = table.tobytes() + plain[348:]
            made.append(gzip.compress(changed, mtime=0) if suffix.endswith("gz") else changed)
            if suffix.endswith("gz"):
                made.append(gzip_bomb(changed, 3000))
        if suffix.endswith("gz"):
            made.append(gzip_bomb(plain, 20_000))
            table = np.frombuffer(plain[:348], nib.Nifti1Header.template_dtype).copy()
            table["vox_offset"] = 2e9
            made.append(gzip_bomb(table.tobytes() + b"\1\0\0\0" + b"\0\0\0\x70\6\0\0\0", 4000))
        return [{**sample, name: content} for content in made]

    return claims


def mgh_claims(suffix: str) -> Callable[[Files], list[Files]]:
    def claims(sample: Files) -> list[Files]:
        name = next(iter(sample))
        data = sample[name]
        assert isinstance(data, bytes)
        plain = gzip.decompress(data) if suffix == ".mgz" else data
        made = []
        for dims in ([100_000] * 3 + [1], [2**31 - 1] * 4, [700, 700, 700, 1], [-1, 20, 20, 1]):
            changed = plain[:4] + np.array(dims, ">i4").tobytes() + plain[20:]
            made.append(gzip.compress(changed, mtime=0) if suffix == ".mgz" else changed)
            if suffix == ".mgz":
                made.append(gzip_bomb(changed, 3000))
        return [{**sample, name: content} for content in made]

    return claims


def dicom_claims(sample: Files) -> list[Files]:
    frames = sample["scan.dcm"]
    assert isinstance(frames, bytes)
    at = frames.find(b"\x28\0\x08\0IS")
    made = []
    for text in (b"1000000000  ", b"-5", b"1e300 ", b"nan ", b"99999999999999999999"):
        old = int.from_bytes(frames[at + 6 : at + 8], "little")
        new = frames[: at + 6] + len(text).to_bytes(2, "little") + text + frames[at + 8 + old :]
        made.append({"scan.dcm": new})
    return made


def step_cache() -> Files:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, mask=np.ones(100, np.uint8), rigid=np.eye(4), text=np.array("x"))
    return {"k.step.npz": buffer.getvalue()}


def npz_claims(sample: Files) -> list[Files]:
    lie = np.lib.format
    head = io.BytesIO()
    lie.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (100_000, 100_000, 100_000)}
    )
    buffer = io.BytesIO()
    import zipfile

    with zipfile.ZipFile(buffer, "w") as made:
        for name in ("mask", "rigid", "text"):
            made.writestr(f"{name}.npy", head.getvalue())
    bomb = zip_bomb("mask.npy", head.getvalue(), 200)
    return [{"k.step.npz": buffer.getvalue()}, {"k.step.npz": bomb}]


def read_cache(folder: Path) -> None:
    from stylegan3d.evaluation.material import Store, digest_of
    from stylegan3d.scans.scan import StepCache

    StepCache(folder).get("k", {"mask": (100,), "rigid": (4, 4), "text": ()})
    (folder / f"mask-{digest_of(1)}.npz").symlink_to(folder / "k.step.npz")
    try:
        Store(folder).array("mask", 1, _stop)
    except _Made:
        pass
    finally:
        (folder / f"mask-{digest_of(1)}.npz").unlink()


class _Made(Exception):
    pass


def _stop() -> np.ndarray:
    raise _Made


def mask() -> Files:
    data = np.zeros(SHAPE, np.uint8)
    data[8:12, 8:12, 8:12] = 1
    return {"m.nii.gz": gzip.compress(nib.Nifti1Image(data, AFFINE).to_bytes(), mtime=0)}


def read_mask(folder: Path) -> None:
    from stylegan3d.projection.forward import Mask

    Mask(folder / "m.nii.gz")._of_scan()  # what `on` carries to the model's grid


def template() -> Files:
    data = (volume() // 4).astype(np.uint8)
    return {"template.nii.gz": gzip.compress(nib.Nifti1Image(data, AFFINE).to_bytes(), mtime=0)}


def read_template(folder: Path) -> None:
    from stylegan3d.scans import load_template

    load_template(folder / "template.nii.gz")


def participants() -> Files:
    rows = [
        f"sub-{k:02}\t{30 + k}\t{'FM'[k % 2]}\t{'validation' if k == 3 else ''}" for k in range(9)
    ]
    text = "\n".join(["participant_id\tage\tsex\tsplit", *rows])
    tissues = ("background", "grey", "white", "ventricle")
    labels = "index\tname\ttissue\n" + "".join(f"{k}\tx\t{t}\n" for k, t in enumerate(tissues))
    return {"participants.tsv": text.encode(), "labels.tsv": labels.encode()}


def read_participants(folder: Path) -> None:
    from stylegan3d.base import StyleGAN3DError
    from stylegan3d.scans.label_maps import read_tissues
    from stylegan3d.scans.sources import read_participants

    refused = None
    for read in (read_participants, read_tissues):
        try:
            read(folder)
        except StyleGAN3DError as error:
            refused = error
    if refused is not None:
        raise refused


def label_map() -> Files:
    data = np.zeros(SHAPE, np.int16)
    data[6:14, 6:16, 6:14], data[8:10, 8:10, 8:10] = 1, 2
    image = nib.Nifti1Image(data, AFFINE).to_bytes()
    scan = gzip.compress(nib.Nifti1Image(volume(), AFFINE).to_bytes(), mtime=0)
    return {"sub-01_dseg.nii.gz": gzip.compress(image, mtime=0), "sub-01_T1w.nii.gz": scan}


def read_label_map(folder: Path) -> None:
    from stylegan3d.scans.label_maps import measure_tissues

    measure_tissues(folder / "sub-01_T1w.nii.gz", {1: "grey", 2: "white"})


def generate_words(folder: Path, model: Path) -> list[str]:
    words = ["generate", "--recipe", str(folder / "r.json"), "--out", str(folder / "out")]
    return [*words, "--model", str(model), "--json"]


@cache
def readers() -> tuple[Reader, ...]:
    """All of them."""
    tensors = {"safetensors": spoil_safetensors, "json": spoil_json}
    packed = {"gz": spoil_gzip(spoil_nifti)}
    inner = {"json": spoil_json, "safetensors": spoil_safetensors, "npy": spoil_bytes}
    scans = [
        Reader(
            f"NIfTI-1 {suffix}",
            lambda suffix=suffix: nifti(suffix=suffix),
            read_scan(f"scan{suffix}"),
            {"nii": spoil_nifti, "hdr": spoil_nifti, **packed},
            nifti_claims(suffix) if suffix != ".hdr" else lambda files: [],
            scan_words(f"scan{suffix}"),
        )
        for suffix in (".nii", ".nii.gz", ".hdr")
    ]
    return (
        *scans,
        replace(scans[0], name="NIfTI-2 .nii", make=lambda: nifti(nib.Nifti2Image), special=_none),
        *(
            Reader(
                f"MGH {suffix}",
                lambda suffix=suffix: mgh(suffix),
                read_scan(f"scan{suffix}"),
                {"mgz": spoil_gzip(spoil_bytes)},
                mgh_claims(suffix),
                scan_words(f"scan{suffix}"),
            )
            for suffix in (".mgh", ".mgz")
        ),
        Reader("DICOM folder", dicom_series, read_scan("series"), words=scan_words("series")),
        Reader(
            "DICOM frames",
            dicom_frames,
            read_scan("scan.dcm"),
            special=dicom_claims,
            words=scan_words("scan.dcm"),
        ),
        Reader("mask", mask, read_mask, packed, lambda f: nifti_claims(".nii.gz")(f)),
        Reader("template", template, read_template, packed, nifti_claims(".nii.gz")),
        Reader(
            "latent",
            latent,
            read_latent,
            tensors,
            latent_bombs,
            lambda folder, model: ["info", str(folder / "a.safetensors")],
        ),
        Reader(
            "directions",
            directions,
            read_directions,
            tensors,
            words=lambda folder, model: ["info", str(folder / "d.safetensors")],
        ),
        Reader("privacy index", privacy, read_privacy, tensors),
        Reader("recipe", recipe, read_recipe_file, tensors, words=generate_words, chosen="r.json"),
        Reader(
            "sidecar", sidecar, read_recipe_file, tensors, words=generate_words, chosen="r.json"
        ),
        Reader("recipe text", texts, read_texts, {"txt": spoil_text}),
        Reader("session archive", archive, read_archive, {"sg3d": spoil_zip(inner)}, archive_bombs),
        Reader("session folder", session, read_session_folder, tensors, chosen="session.json"),
        Reader(
            "value table",
            table,
            read_table,
            {"csv": spoil_table},
            words=table_words,
            chosen="t.csv",
        ),
        Reader("direction notes", notes, read_notes, tensors),
        Folder(
            "model card",
            model_folder,
            read_model,
            {**tensors, **packed},
            model_claims,
            lambda folder, model: ["info", str(folder), "--json"],
            chosen="card.json",
        ),
        Folder(
            "model weights",
            model_folder,
            read_model,
            {**tensors, **packed},
            chosen="model.safetensors",
        ),
        Folder("tissue network", tissue_folder_files, read_tissues, tensors),
        Reader(
            "network pickle",
            pickle,
            read_pickle,
            words=lambda folder, model: ["info", str(folder / "n.pkl"), "--json"],
        ),
        Reader("npz caches", step_cache, read_cache, {"npz": spoil_zip(inner)}, npz_claims),
    )


@cache
def readers_of_training() -> tuple[Reader, ...]:
    """Those of prepared data and of what lies beside scans to prepare."""
    packed = {"gz": spoil_gzip(spoil_nifti)}
    return (
        Reader("label map", label_map, read_label_map, packed, nifti_claims(".nii.gz")),
        Reader("participants", participants, read_participants, {"tsv": spoil_table}),
        Reader(
            "pack", pack_folder, read_pack, {"json": spoil_json, **packed}, chosen="dataset.json"
        ),
    )


def _none(_files: Files) -> list[Files]:
    return []
