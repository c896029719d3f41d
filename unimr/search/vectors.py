"""Search by vector, in the index and in the live changes that lie over it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unimr.errors import UnimrError
from unimr.index.copies import PrivateCopy
from unimr.index.exact import ExactRows
from unimr.index.publish import collection_name
from unimr.index.schema import COLLECTIONS, IMAGES, CollectionSpec, Filter
from unimr.index.store import Store, StoredHit, store_path
from unimr.search.overlay import Overlay
from unimr.search.query import DenseSide

SPARE_ROWS, MAX_SPARE_ROWS = 8, 200
"""Rows asked of the store beyond those needed, for every item that live changes hide, and at most."""


class Vectors:
    """The collections of a published version together with an overlay. Close them.

    Raises:
        UnimrError: the store cannot be opened.
    """

    def __init__(self, version_folder: Path, manifest: Mapping[str, Any], place: Path) -> None:
        uri: str = manifest["uri"]
        self._version: str = manifest["version"]
        self._overlay = Overlay()
        self._exact: dict[str, ExactRows] = {}
        self._is_exact = manifest["index_type"] == "FLAT" and not uri
        self._copy = None if uri else PrivateCopy(Path(store_path(version_folder)), place)
        try:
            self._store = Store(uri if self._copy is None else str(self._copy.path))
            for spec in COLLECTIONS:
                self._store.load(collection_name(self._version, spec))
        except UnimrError:
            if self._copy is not None:
                self._copy.close()
            raise

    def close(self) -> None:
        """Close the store and remove this process's copy of it."""
        self._store.close()
        if self._copy is not None:
            self._copy.close()

    def hold_in_memory(self) -> None:
        """Read an embedded FLAT index into memory: the same rows are found, several times as fast."""
        if self._is_exact:
            for spec in COLLECTIONS:
                rows = self._store.read_all(collection_name(self._version, spec), spec)
                self._exact[spec.name] = ExactRows(spec, rows)

    def lay_over(self, overlay: Overlay) -> None:
        """Search these live changes together with the index from now on."""
        self._overlay = overlay

    def of_pictures(self, images: Sequence[str]) -> dict[str, np.ndarray]:
        """Vectors `[dim]` by the id of a picture; one that is not stored is left out."""
        live = self._overlay.vectors(images)
        rest = [image for image in images if image not in live]
        if IMAGES.name in self._exact:
            return live | self._exact[IMAGES.name].fetch(rest)
        return live | (self._store.fetch(collection_name(self._version, IMAGES), IMAGES, rest) if rest else {})

    def search(self, sides: Sequence[DenseSide]) -> list[list[StoredHit]]:
        """The rows of every side, best first; sides with the same filters are searched together."""
        groups: dict[object, list[int]] = defaultdict(list)
        for number, side in enumerate(sides):
            groups[side.spec, side.filters].append(number)
        found: dict[int, list[StoredHit]] = {}
        for members in groups.values():
            rows = self._nearest([sides[each] for each in members])
            found |= {each: self._merged(sides[each], hits) for each, hits in zip(members, rows, strict=True)}
        return [found[number] for number in range(len(sides))]

    def _nearest(self, sides: Sequence[DenseSide]) -> list[list[StoredHit]]:
        """What the index has for sides of one collection and the same filters; more of it where changes hide rows."""
        spare = min(len(self._overlay.hidden) * SPARE_ROWS, MAX_SPARE_ROWS)
        depth = max(side.depth for side in sides) + spare
        return self._stored(sides[0].spec, np.stack([side.vector for side in sides]), depth, sides[0].filters)

    def _stored(
        self, spec: CollectionSpec, vectors: np.ndarray, depth: int, filters: Sequence[Filter]
    ) -> list[list[StoredHit]]:
        if spec.name in self._exact:
            return self._exact[spec.name].search(vectors, depth, filters)
        return self._store.search(collection_name(self._version, spec), spec, vectors, depth, filters)

    def _merged(self, side: DenseSide, hits: list[StoredHit]) -> list[StoredHit]:
        """Rows of the store that still count, and those of the live changes, best first."""
        if self._overlay.hidden:
            hits = [hit for hit in hits if hit.item_id not in self._overlay.hidden]
            hits += self._overlay.search(side.spec.name, side.vector, side.filters)
            hits.sort(key=lambda hit: -hit.score)
        return hits[: side.depth]
