"""The search engine: read the query, plan what to search, search it, fuse what was found, present it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from unimr.data.images import open_picture
from unimr.errors import UnimrError
from unimr.index.build import SLOT_VALUES
from unimr.index.catalogue import Catalogue
from unimr.index.encoder import Encoder
from unimr.index.lexical import LexicalIndex
from unimr.index.publish import PUBLISHED, current_version, verify_version, versions_folder
from unimr.index.schema import IMAGES, Filter
from unimr.index.store import StoredHit, nearest_and_margin
from unimr.search.answer import Hit, SearchAnswer
from unimr.search.filters import SlotLexicon, parse_filter
from unimr.search.fusion import FusedItem, fuse
from unimr.search.overlay import Overlay
from unimr.search.planner import Planner
from unimr.search.query import Plan, Query, Request, check_query
from unimr.search.reader import Reader
from unimr.search.vectors import Vectors
from unimr.search.words import Words


def load_retriever(folder: Path) -> Encoder:
    """The trained model in a folder."""
    from unimr.search.encoding import QueryEncoder

    return QueryEncoder(folder)


class SearchEngine:
    """Searches one published version; later versions do not change it. Close it, or use it in a `with` block."""

    def __init__(self, version_folder: Path, place: Path, load: Callable[[Path], Encoder]) -> None:
        manifest = verify_version(version_folder)
        self.version: str = manifest["version"]
        self.model_version: str = manifest["model_version"]
        self.taken_in: dict[str, str] = manifest.get("live_changes", {})
        """Live changes that were built in: item → digest of its change."""
        self.catalogue = Catalogue(version_folder)
        self.lexical = LexicalIndex.load(version_folder)
        self.lexicon = SlotLexicon.load(version_folder / SLOT_VALUES)
        self.model = load(version_folder / "model")
        self._published = self.catalogue
        self._vectors = Vectors(version_folder, manifest, place)
        self.lay_over(Overlay())

    @classmethod
    def open(cls, root: Path, load: Callable[[Path], Encoder] = load_retriever) -> SearchEngine:
        """Open the live version under `root`.

        Raises:
            UnimrError: nothing is published, or it is damaged.
        """
        from threadpoolctl import threadpool_limits

        engine = cls(versions_folder(root) / current_version(root), root / PUBLISHED / "open", load)
        # One query is small: a second BLAS thread mostly spins (22 ms an answer became 64 ms on a busy machine).
        threadpool_limits(limits=1, user_api="blas")
        return engine

    def __enter__(self) -> SearchEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the store and remove this process's copy of it."""
        self._vectors.close()

    def hold_in_memory(self) -> None:
        """Read an embedded FLAT index into memory: the same rows are found, several times as fast."""
        self._vectors.hold_in_memory()

    def lay_over(self, overlay: Overlay) -> None:
        """Search these live changes together with the index from now on. Call it where `search_many` is called."""
        pictures = [picture for item in overlay.items.values() for picture in item.pictures]
        shown = {name: item.shown for name, item in overlay.items.items()}
        changed = self._published.changed(overlay.hidden, shown, pictures) if overlay.hidden else self._published
        words = Words(self.lexical, changed, overlay)
        self._vectors.lay_over(overlay)
        self._reader = Reader(self.model, self.lexical, self.lexicon, changed, words)
        self._planner = Planner(self.model, changed, self._vectors, words)
        self.values, self.catalogue, self.overlay = changed.values(), changed, overlay

    def parse_filters(self, texts: Sequence[str]) -> list[Filter]:
        """Typed filters of words such as `style=openmoji`.

        Raises:
            UnimrError: one of them is unknown; the message lists those allowed.
        """
        return [parse_filter(text, self.values) for text in texts]

    def search(
        self,
        text: str | None = None,
        image: bytes | None = None,
        filters: Sequence[Filter] = (),
        k: int | None = None,
        lang: str | None = None,
    ) -> SearchAnswer:
        """Answer a query of words, of a picture, or of a picture changed by words.

        Without `k` the number of results is the one the query names, else 10. Filters given here are always kept;
        one that was read from the query's words and would leave nothing is dropped, and a note says so.

        Raises:
            UnimrError: the query is empty or too long, the picture is none or too large, `k` is out of range, or the
                index has no such language.
        """
        query = Query(text, image, None, tuple(filters), k, lang)
        check_query(query)
        if image is not None:
            open_picture(image)
        answer = self.search_many([query])[0]
        if isinstance(answer, UnimrError):
            raise answer
        return answer

    def search_many(self, queries: Sequence[Query]) -> list[SearchAnswer | UnimrError]:
        """Answer queries together: the model and the store are asked once for all.

        `check_query`, and `open_picture` for a picture, must have passed each. A query that this index cannot answer
        (an unknown language or picture) gets its error and spoils no other.
        """
        started = time.perf_counter()
        answers: list[SearchAnswer | UnimrError | None] = [self._reader.refusal(query) for query in queries]
        open_ones = [number for number, refusal in enumerate(answers) if refusal is None]
        plans = self._planner.plan(self._reader.read([queries[number] for number in open_ones]))
        for number, plan, rows in zip(open_ones, plans, self._dense(plans), strict=True):
            answers[number] = self._answer(plan, rows, started)
        return [answer for answer in answers if answer is not None]

    def _dense(self, plans: Sequence[Plan]) -> list[list[list[StoredHit]]]:
        """The rows of every side of every plan."""
        rows = iter(self._vectors.search([side for plan in plans for side in plan.dense]))
        return [[next(rows) for _ in plan.dense] for plan in plans]

    def _answer(self, plan: Plan, rows: list[list[StoredHit]], started: float) -> SearchAnswer:
        request = plan.request
        understanding = request.understanding
        similarity, margin = nearest_and_margin(rows[0] if rows else [])
        return SearchAnswer(
            query=request.query.words,
            lang=request.lang,
            intent=request.intent,
            confidence=understanding.confidence if understanding else 1.0,
            slots=request.shown_slots(),
            filters=[str(each) for each in request.filters],
            notes=request.notes,
            hits=self._hits(plan, rows),
            similarity=similarity,
            margin=margin,
            model_version=self.model_version,
            index_version=self.version,
            milliseconds=(time.perf_counter() - started) * 1000,
        )

    def _hits(self, plan: Plan, rows: list[list[StoredHit]]) -> list[Hit]:
        request = plan.request
        allowed = self.catalogue.matching(request.filters)
        fused = [
            each
            for each in fuse(self._planner.rankings(plan, rows))
            if allowed[self.catalogue.number[each.item_id]] and self.catalogue.base(each.item_id) not in plan.excluded
        ]
        return [self._hit(each, request) for each in fused[: request.k]]

    def _hit(self, found: FusedItem, request: Request) -> Hit:
        item_id = found.item_id
        shown = found.rows.get(IMAGES.name) or next(iter(self.catalogue.images_of(item_id, request.filters)), None)
        return Hit(
            item_id=item_id,
            score=round(found.score, 6),
            kind="text" if request.intent == "find_text" else "image",
            title=self.catalogue.title(item_id, request.lang),
            english=self.catalogue.title(item_id, "en"),
            text=self.catalogue.description(item_id, request.lang),
            image_id=shown,
            style=self.catalogue.style(shown) if shown else None,
            picture=self.catalogue.picture(shown) if shown else None,
        )
