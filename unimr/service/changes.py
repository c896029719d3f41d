"""Live changes of items: checked, embedded, on the disk, searchable; only then acknowledged.

All of it happens in the worker thread, between two batches, so that a change is whole for every query. At the start
the journal is read again: nothing that was acknowledged is lost. The next build takes the journal in by itself.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from unimr.data.images import open_picture
from unimr.data.live import Journal, LiveChange
from unimr.data.own import SIDES
from unimr.data.own_lines import ItemLine
from unimr.errors import UnimrError
from unimr.search.engine import SearchEngine
from unimr.search.overlay import Overlay
from unimr.service.errors import ApiError
from unimr.service.schemas import ItemChange

MAX_LIVE_ITEMS = 2_000
"""Items that may differ from the index: they are searched one by one, and a build takes them in."""


class LiveChanges:
    """The changes under `root`. All methods but the first belong to the worker thread.

    Raises:
        UnimrError: the journal is damaged.
    """

    def __init__(self, root: Path, engine: SearchEngine) -> None:
        self._journal = Journal(root)
        self._laid: dict[str, LiveChange] = {}
        self.lay_over(engine, Overlay())

    def lay_over(self, engine: SearchEngine, overlay: Overlay) -> None:
        """Bring an engine, and an overlay of its model, up to the journal; what was built in is laid over no more."""
        waiting = {
            item_id: change
            for item_id, change in self._journal.changes.items()
            if engine.taken_in.get(item_id) != change.digest()
        }
        overlay = overlay.only(waiting)
        for item_id, change in waiting.items():
            if self._laid.get(item_id) is not change or item_id not in overlay.hidden:
                overlay = overlay.with_change(change, engine.model)
        engine.lay_over(overlay)
        self._laid = waiting

    def apply(self, engine: SearchEngine, change: LiveChange) -> None:
        """Make a change durable and searchable.

        Raises:
            ApiError: it does not fit to the other items, or cannot be written.
        """
        _check_fit(engine, change)
        if len(self._laid) >= MAX_LIVE_ITEMS and change.item_id not in self._laid:
            raise ApiError(503, f"{MAX_LIVE_ITEMS:,} items wait for the next build. Run `dvc repro`, then go on.")
        overlay = engine.overlay.with_change(change, engine.model)
        try:
            self._journal.append(change)
        except OSError as error:
            raise ApiError(503, f"The change cannot be written to the disk ({error.strerror}).") from error
        engine.lay_over(overlay)
        self._laid[change.item_id] = change

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()


def change_of(item_id: str, asked: ItemChange, engine: SearchEngine) -> LiveChange:
    """The change that a request is, checked by the rules of `unimr import`.

    Raises:
        ApiError: it breaks one of them.
    """
    pictures = [(each.style, each.bytes()) for each in asked.pictures]
    values = asked.model_dump(exclude_none=True, exclude={"pictures"}) | {
        "item_id": item_id,
        "pictures": [{"style": style, "path": str(number)} for number, (style, _) in enumerate(pictures)],
    }
    try:
        line = ItemLine.model_validate(values)
        for _, data in pictures:
            size = open_picture(data).size
            if not all(side in SIDES for side in size):
                raise ValueError(f"{size[0]} x {size[1]} pixels; a side has {SIDES[0]} to {SIDES[-1]}")
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(map(str, each['loc']))}: {each['msg'].removeprefix('Value error, ')}" for each in error.errors()
        )
        raise ApiError(422, said[:1000]) from error
    except (ValueError, UnimrError) as error:
        raise ApiError(422, f"pictures: {error}") from error
    _check_known("language", {text.lang for text in line.texts}, engine.catalogue.languages)
    _check_known("style", {style for style, _ in pictures}, engine.values["style"])
    return LiveChange(item_id, line, tuple(data for _, data in pictures))


def _check_known(what: str, given: set[str], known: list[str]) -> None:
    unknown = sorted(given - set(known))
    if unknown:
        raise ApiError(422, f"The index has no {what} {unknown[0]!r}. Known: {', '.join(known)}.")


def _check_fit(engine: SearchEngine, change: LiveChange) -> None:
    """An item that others are variants of stays what it is; the base of a variant is an item and no variant."""
    items = engine.catalogue.items
    if change.line is None and change.item_id not in items:
        raise ApiError(404, f"There is no item {change.item_id[:100]!r} in the index.")
    base = change.item_id if change.line is None else (change.line.base_id or change.item_id)
    if base != change.item_id and (base not in items or engine.catalogue.base(base) != base):
        raise ApiError(422, f"base_id: {base!r} is no item of the index, or is a variant itself.")
    if change.line is None or base != change.item_id:
        variants = (item for item in items if item != change.item_id and engine.catalogue.base(item) == change.item_id)
        variant = next(variants, None)
        if variant is not None:
            raise ApiError(422, f"{change.item_id!r} is the base of {variant!r} and others. Change those first.")
