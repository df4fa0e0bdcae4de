"""The window is killed while it works; the next start offers what was done, and nothing is torn."""

from __future__ import annotations

import random

import doomed
import pytest
from doomed_window import kill, look

from stylegan3d.storage.files import host_tag


@pytest.mark.soak
def test_a_window_killed_while_it_exports_comes_back(tmp_path, qapp):
    doomed.make_inputs(tmp_path)
    survived = kill(tmp_path, "export", 8.0 + random.Random(0).uniform(0, 1))
    assert survived > 1
    half = tmp_path / "exports" / f".a.nii.gz.{host_tag()}-{2**22 + 1}-00000000.part"
    half.write_bytes(b"half")  # as if it had been killed in the middle of a write
    left = tmp_path / "temporary" / f"stylegan3d-{host_tag()}-{2**22 + 1}-00000000"
    left.mkdir()
    found = look(tmp_path)
    assert not half.exists()
    assert not left.exists()
    assert found["offered"]
    assert found["states"] >= survived
    assert found["message"] == ""
    for name in ("exports", "sessions", "settings", "temporary"):
        assert doomed.half_written(tmp_path / name) == []
    volumes = list((tmp_path / "exports").glob("*.nii.gz"))
    assert volumes
    for volume in volumes:
        assert volume.with_name(volume.name.replace(".nii.gz", ".json")).exists()
