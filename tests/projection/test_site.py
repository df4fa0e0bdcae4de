"""A calibrated site: its offsets are learned, few scans are refused, another model is refused."""

import json

import numpy as np
import pytest
from phantoms import head, write_people
from tiny import tiny_generator

from stylegan3d.base import OutputError, StyleGAN3DError
from stylegan3d.geometry.space import Space
from stylegan3d.measures.attributes import FRAME_CENTER_MM
from stylegan3d.projection import calibration as site
from stylegan3d.projection.assessment import FILE, Yardstick, residual_z
from stylegan3d.projection.calibration import calibrate
from stylegan3d.storage import places
from stylegan3d.storage.encoding import pack, to_json, unpack


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    generator = tiny_generator()
    affine = np.diag([8.0, 8.0, 8.0, 1.0])
    affine[:3, 3] = FRAME_CENTER_MM - 4 * (np.array(generator.shape) - 1)
    generator = generator.with_space(Space(generator.shape, affine))
    folder = tmp_path_factory.mktemp("model")
    pack = write_people(folder / "people", generator.space, count=36)
    generator.__dict__["template"] = pack.template
    entry, maps = calibrate(generator, pack)
    (folder / FILE).write_bytes(maps)
    generator.folder = folder
    generator.card = {**generator.card, "trust": entry}
    return generator


@pytest.fixture(scope="module")
def scans(generator):
    """Of a scanner that shows the back of the head darker."""
    draw = np.random.RandomState(3)
    found = []
    for _ in range(6):
        volume = head(generator.space, 1 + 0.02 * draw.randn())
        mask = volume > 0.05
        volume[:, : volume.shape[1] // 2] *= 0.75
        noise = 0.02 * draw.randn(*volume.shape)
        found.append((np.where(mask, np.clip(volume + noise, 0.06, 1), 0).astype(np.float32), mask))
    return found


def test_a_site_is_learned_kept_and_used(generator, scans, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "sites_folder", lambda: tmp_path / "sites")
    people = site.measure_scans(generator, scans)
    path = site.save_site(generator, "ward 3", people[:5])
    assert places.site_names() == ["ward 3"]
    with pytest.raises(OutputError, match="exists"):
        site.save_site(generator, "ward 3", people[:5])
    at_site, general = site.open_site(generator, "ward 3"), Yardstick.of(generator)
    assert at_site.site == "ward 3"
    assert at_site.known["people"] == 5
    new = people[5]  # it had no part in the calibration
    usual, own = general.known["scanner"]["shading"], at_site.known["scanner"]["shading"]
    value = new.scanner["shading"]
    assert abs(value - own["middle"]) < 0.5 * abs(value - usual["middle"])
    before, after = (np.abs(residual_z(new.seen, y.usual)).mean() for y in (general, at_site))
    assert after < before
    with pytest.raises(StyleGAN3DError, match="at least 5 healthy people"):
        site.save_site(generator, "few", people[:4])
    with pytest.raises(StyleGAN3DError, match="cannot be the name"):
        site.save_site(generator, "../ward", people)
    with pytest.raises(StyleGAN3DError, match=r"no calibrated site 'ward 4' \(known: ward 3\)"):
        site.open_site(generator, "ward 4")
    data = path.read_bytes()
    assert generator.hash.encode() in data
    path.write_bytes(data.replace(generator.hash.encode(), b"0" * len(generator.hash)))
    with pytest.raises(StyleGAN3DError, match="another model"):
        site.open_site(generator, "ward 3")
    tensors, metadata = unpack(data, kind=site.KIND, path=path, error=StyleGAN3DError)
    about = json.loads(metadata["about"])
    for maps, told in (
        (tensors, "[]"),
        (tensors, metadata["about"][:-9]),
        (tensors, to_json({**about, "trust": {**about["trust"], "people": "many"}})),
        (tensors, to_json({**about, "trust": {**about["trust"], "signs": {}}})),
        (tensors, to_json(about).replace('"spread":', '"spread":-', 1)),
        ({"mean": tensors["mean"]}, metadata["about"]),
        ({**tensors, "spread": 0 * tensors["spread"]}, metadata["about"]),
        ({**tensors, "mean": tensors["mean"][1:]}, metadata["about"]),
    ):
        path.write_bytes(pack(maps, {**metadata, "about": told}))
        with pytest.raises(StyleGAN3DError, match="site 'ward 3' is damaged"):
            site.open_site(generator, "ward 3")
