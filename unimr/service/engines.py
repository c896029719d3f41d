"""The engine that answers: that of the published version, exchanged while the service runs.

A new version is opened beside the old one and takes its place in one assignment. A batch is answered by the engine
that it began with; the old one is closed between two batches. The model is loaded anew only if the new version has
another one.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from unimr.data.live import LiveChange
from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.index.encoder import Encoder
from unimr.index.publish import MANIFEST, current_version
from unimr.index.store import StoreUnavailableError
from unimr.search.answer import SearchAnswer
from unimr.search.engine import SearchEngine
from unimr.search.overlay import Overlay
from unimr.search.query import Query
from unimr.service.changes import LiveChanges

log = logging.getLogger(__name__)


class LiveEngine:
    """The engine of the live version under `root`; `load` gives the model in a folder.

    Raises:
        UnimrError: nothing is published, or it is damaged.
    """

    def __init__(self, root: Path, load: Callable[[Path], Encoder]) -> None:
        self._root, self._load = root, load
        self._refused = ""
        self.current = SearchEngine.open(root, load)
        self.current.hold_in_memory()
        self.changes = LiveChanges(root, self.current)
        _rest_collector()

    def answer(self, queries: list[Query]) -> Sequence[SearchAnswer | UnimrError]:
        """Answer a batch by the engine of this moment; a server that is away is asked once for all of it."""
        try:
            return self.current.search_many(queries)
        except StoreUnavailableError as error:
            log.error("%d queries are not answered: %s", len(queries), error)
            return [error] * len(queries)

    def opened(self) -> SearchEngine | None:
        """Open the engine of another live version beside this one, for `exchange`; None: there is none.

        A version that cannot be opened is noted once, and the old one goes on.
        """
        version = self.current.version
        try:
            version = current_version(self._root)
            if version == self.current.version:
                return None
            fresh = SearchEngine.open(self._root, self._model)
            fresh.hold_in_memory()
        except UnimrError as error:
            if self._refused != version:
                log.error("The index version %s cannot be opened, %s stays: %s", version, self.current.version, error)
            self._refused = version
            return None
        self._refused = ""
        return fresh

    def exchange(self, fresh: SearchEngine) -> None:
        """Let another engine answer from now on, with every live change, and close the old one.

        Call it in the worker thread: no batch is being answered then, and no change made.
        """
        old = self.current
        same = fresh.model_version == old.model_version
        self.changes.lay_over(fresh, old.overlay if same else Overlay())
        self.current = fresh
        log.warning("The index version %s answers now; before it was %s", fresh.version, old.version)
        old.close()
        del old
        _rest_collector()

    def change(self, change: LiveChange) -> None:
        """Make a live change; see `LiveChanges.apply`. Call it in the worker thread."""
        self.changes.apply(self.current, change)

    def close(self) -> None:
        """Close the engine and the journal."""
        self.changes.close()
        self.current.close()

    def _model(self, folder: Path) -> Encoder:
        """The model of a version: the one that is loaded already, if it is the same."""
        version = read_json(folder.parent / MANIFEST)["model_version"]
        return self.current.model if version == self.current.model_version else self._load(folder)


def _rest_collector() -> None:
    """Let the garbage collector pass over all that was loaded.

    A round over a whole catalogue stops every query for 0.2 s, and what an engine holds stays as long as the engine.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
