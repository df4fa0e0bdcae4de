"""The scans of this session, for recipes that show a scan's own detail."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from stylegan3d.errors import ScanError

if TYPE_CHECKING:
    from napari_stylegan3d.core.session import Session
    from stylegan3d.recipe.recipe import Source
    from stylegan3d.render.editable import Original
    from stylegan3d.scans import AlignedScan

NOT_OPEN = (
    "The scan {name} is not open, so its detail cannot be shown: open the scan and project it, or "
    "choose Model's brain."
)
ELSEWHERE = (
    "The scan {name} was projected with other axes or another voxel size, so its detail cannot be "
    "shown: reset them, or choose Model's brain."
)


class Originals:
    """Finds the scan behind a projection; called in threads that render."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # What is said of a scan takes a moment to put together, and is the same for every frame.
        self._known: weakref.WeakKeyDictionary[AlignedScan, Original] = weakref.WeakKeyDictionary()

    def __call__(self, source: Source) -> Original:
        """The scan of a projection.

        Raises
        ------
        ScanError
            If it is not open in this session, or not yet.
        """
        from stylegan3d.render.editable import Original

        case = self._session.find_projected(source)
        if case is None or case.aligned is None:
            known = self._session.case_of(source)
            elsewhere = known is not None and known.aligned is not None
            words = ELSEWHERE if elsewhere else NOT_OPEN
            raise ScanError(words.format(name="" if known is None else known.name))
        if case.aligned not in self._known:
            self._known[case.aligned] = Original.of(case.aligned)
        return self._known[case.aligned]
