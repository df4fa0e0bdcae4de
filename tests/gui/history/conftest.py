"""The history's tests keep their sessions apart."""

from __future__ import annotations

import os
from typing import Any

import pytest

from napari_stylegan3d.app.sessions import FOLDER_VARIABLE


@pytest.fixture(autouse=True, scope="module")
def sessions_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Sessions of these tests are kept apart from those of others."""
    folder = tmp_path_factory.mktemp("sessions")
    before = os.environ.get(FOLDER_VARIABLE)
    os.environ[FOLDER_VARIABLE] = str(folder)
    yield folder
    if before is None:
        del os.environ[FOLDER_VARIABLE]
    else:
        os.environ[FOLDER_VARIABLE] = before
