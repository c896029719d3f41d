"""The search engine: understand the query, turn slots into filters, search by intent, fuse, present."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unimr.data.images import open_picture
from unimr.errors import UnimrError
from unimr.index.build import SLOT_VALUES
from unimr.index.catalogue import Catalogue
from unimr.index.copies import PrivateCopy
from unimr.index.encoder import Encoder
from unimr.index.exact import ExactRows
from unimr.index.lexical import LexicalIndex
from unimr.index.publish import PUBLISHED, collection_name, current_version, verify_version, versions_folder
from unimr.index.schema import COLLECTIONS, IMAGES, TEXTS, CollectionSpec, Filter
from unimr.index.store import Store, StoredHit, nearest_and_margin, store_path
from unimr.search.answer import Hit, SearchAnswer
from unimr.search.filters import SlotLexicon, parse_filter, read_slots
from unimr.search.fusion import FusedItem, Ranking, fuse
from unimr.search.overlay import Overlay
from unimr.search.query import DenseSide, Plan, Query, Request, check_query
from unimr.search.words import Words

if TYPE_CHECKING:
    from unimr.model.nlu import Understanding

SUBJECT_WEIGHT = 1.0
"""Weight of the subject's embedding beside that of the whole query."""
SPARE_ROWS, MAX_SPARE_ROWS = 8, 200
"""Rows asked of the store beyond those needed, for every item that live changes hide, and at most."""
WEIGHTS = {
    "find_image": {"images": 1.0, "texts": 1.0, "lexical": 1.0},
    "find_text": {"texts": 1.0, "lexical": 1.0},
    "filter_set": {"images": 1.0},
    "find_similar": {"images": 1.0},
    "out_of_scope": {"images": 1.0, "texts": 1.0, "lexical": 1.0},
}
"""What an intent searches, and how much each side counts in the fusion."""


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
        self.lay_over(Overlay())
        self._exact: dict[str, ExactRows] = {}
        self._is_exact = manifest["index_type"] == "FLAT" and not manifest["uri"]
        self._copy = None if manifest["uri"] else PrivateCopy(Path(store_path(version_folder)), place)
        try:
            self._store = Store(manifest["uri"] if self._copy is None else str(self._copy.path))
            for spec in COLLECTIONS:
                self._store.load(collection_name(self.version, spec))
        except UnimrError:
            if self._copy is not None:
                self._copy.close()
            raise

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
        self._store.close()
        if self._copy is not None:
            self._copy.close()

    def hold_in_memory(self) -> None:
        """Read an embedded FLAT index into memory: the same rows are found, several times as fast."""
        if self._is_exact:
            for spec in COLLECTIONS:
                rows = self._store.read_all(collection_name(self.version, spec), spec)
                self._exact[spec.name] = ExactRows(spec, rows)

    def lay_over(self, overlay: Overlay) -> None:
        """Search these live changes together with the index from now on. Call it where `search_many` is called."""
        pictures = [picture for item in overlay.items.values() for picture in item.pictures]
        shown = {name: item.shown for name, item in overlay.items.items()}
        changed = self._published.changed(overlay.hidden, shown, pictures) if overlay.hidden else self._published
        self._words = Words(self.lexical, changed, overlay)
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
        answers: list[SearchAnswer | UnimrError | None] = [self._refusal(query) for query in queries]
        open_ones = [number for number, refusal in enumerate(answers) if refusal is None]
        requests = self._understand([queries[number] for number in open_ones])
        plans = self._plan(requests)
        for number, plan, rows in zip(open_ones, plans, self._dense(plans), strict=True):
            answers[number] = self._answer(plan, rows, started)
        return [answer for answer in answers if answer is not None]

    def _refusal(self, query: Query) -> UnimrError | None:
        lang, known = query.lang, self.catalogue.languages
        if lang is not None and lang not in known:
            return UnimrError(f"The index has no language {lang[:40]!r}. Known: {', '.join(known)}.")
        if query.image_id is not None and not self.catalogue.has_picture(query.image_id):
            return UnimrError(f"There is no picture {query.image_id[:100]!r} in the index.")
        return None

    def _understand(self, queries: Sequence[Query]) -> list[Request]:
        texts = list(dict.fromkeys(query.words for query in queries if query.words))
        understood = dict(zip(texts, self.model.understand(texts), strict=True)) if texts else {}
        return [self._request(query, understood.get(query.words or "")) for query in queries]

    def _request(self, query: Query, understanding: Understanding | None) -> Request:
        spoken = query.lang or (self.lexical.language(query.words) if query.words else None) or "en"
        slots = [slot for slot in (understanding.slots if understanding else ()) if slot.label not in query.ignored]
        reading = read_slots(slots, self.lexicon, spoken)
        notes = [f"“{words}” was not understood as a filter." for words in reading.unread]
        named = self._words.named(query.name, query.filters)
        if understanding and understanding.intent == "out_of_scope" and not named.any():
            notes.append("This does not look like a search for pictures or their meaning; here is what comes closest.")
        kept = self._usable(list(query.filters), reading.filters, named, notes)
        if not self.catalogue.matching(query.filters).any():
            notes.append("Nothing in the index satisfies the filters that were given.")
        wanted = query.k or reading.count or query.usual_k
        return Request(query, spoken, understanding, reading, kept, notes, wanted, bool(named.any()))

    def _usable(self, given: list[Filter], read: list[Filter], named: np.ndarray, notes: list[str]) -> list[Filter]:
        """The given filters, and of those read from words all that together leave something, and what is named."""
        kept = list(given)
        for each in dict.fromkeys(read):
            if any(other.field == each.field for other in given):
                continue  # what was asked for explicitly wins
            left = self.catalogue.matching([*kept, each])
            if left.any() and (not named.any() or left[named].any()):
                kept.append(each)
            else:
                of_that_name = " of that name" if left.any() else ""
                notes.append(f"The filter {each} leaves nothing{of_that_name} and was dropped.")
        return kept

    def _has_hits(self, request: Request) -> bool:
        return not request.query.understand_only and bool(self.catalogue.matching(request.filters).any())

    def _plan(self, requests: Sequence[Request]) -> list[Plan]:
        """What to search for each request; every text and every picture is embedded here, in one call each."""
        searched = [request for request in requests if self._has_hits(request)]
        strings = list(dict.fromkeys(string for request in searched for string in request.strings()))
        texts = dict(zip(strings, self.model.encode_texts(strings), strict=True)) if strings else {}
        images = list(dict.fromkeys(request.query.image for request in searched if request.query.image is not None))
        known = list(dict.fromkeys(request.query.image_id for request in searched if request.query.image_id))
        pictures: dict[bytes | str | None, np.ndarray] = dict(self._stored(known).items())
        if images:
            pictures.update(zip(images, self.model.encode_images(images), strict=True))
        return [self._plan_one(request, texts, pictures) for request in requests]

    def _plan_one(
        self, request: Request, texts: dict[str, np.ndarray], pictures: dict[bytes | str | None, np.ndarray]
    ) -> Plan:
        query = request.query
        if not self._has_hits(request):
            return Plan(request, [])
        if not query.has_picture:
            about = self._plan_similar(request, texts) if request.intent == "find_similar" else None
            return about or self._plan_words(request, texts)
        vector = pictures[query.image_id if query.image is None else query.image]
        if query.words:
            vector = self.model.compose(vector[None], texts[query.words][None])[0]
        elif query.image_id is not None:  # more like this, and not this again
            own = self.catalogue.base(self.catalogue.item_of(query.image_id))
            return Plan(request, [self._images(vector, request)], excluded=frozenset({own}))
        return Plan(request, [self._images(vector, request)])

    def _plan_words(self, request: Request, texts: dict[str, np.ndarray]) -> Plan:
        text = request.query.words or ""
        pictures_first = WEIGHTS["find_image"]  # an intent of published data says nothing about what to search
        weights = pictures_first if request.intent == "find_similar" else WEIGHTS.get(request.intent, pictures_first)
        if request.intent == "filter_set" and (request.subject or not request.filters):
            weights = pictures_first  # no listing of attributes after all
        vector = texts[text]
        if request.subject not in (None, text):  # a subject that is only a part of the query adds its own
            vector = _unit(vector + SUBJECT_WEIGHT * texts[request.subject or ""])
        sides = []
        if "images" in weights:
            sides.append(self._images(vector, request, weights["images"]))
        if "texts" in weights:
            sides.append(self._texts(vector, request, weights["texts"]))
        lexical = (request.subject or text, weights["lexical"]) if "lexical" in weights else None
        exact = request.subject or text if request.query.names_first else None
        return Plan(request, sides, lexical, exact)

    def _plan_similar(self, request: Request, texts: dict[str, np.ndarray]) -> Plan | None:
        """Neighbours of the pictures of the item that the words name, without that item; None where it has none."""
        unfiltered = replace(request, filters=[])
        subject = request.subject or request.query.words or ""
        search = Plan(unfiltered, [self._texts(texts[subject], unfiltered)], (subject, 1.0), subject)
        named = fuse(self._rankings(search, self._dense([search])[0]))
        stored = self._stored([image for each in named[:1] for image in self.catalogue.images_of(each.item_id)])
        if not stored:
            return None
        vector = _unit(np.stack(list(stored.values())).mean(axis=0))
        return Plan(
            request, [self._images(vector, request)], excluded=frozenset({self.catalogue.base(named[0].item_id)})
        )

    def _stored(self, images: Sequence[str]) -> dict[str, np.ndarray]:
        live = self.overlay.vectors(images)
        rest = [image for image in images if image not in live]
        if IMAGES.name in self._exact:
            return live | self._exact[IMAGES.name].fetch(rest)
        return live | (self._store.fetch(collection_name(self.version, IMAGES), IMAGES, rest) if rest else {})

    def _images(self, vector: np.ndarray, request: Request, weight: float = 1.0) -> DenseSide:
        filters = tuple(each for each in request.filters if each.field != "lang")
        return DenseSide(IMAGES, weight, vector, filters, request.depth)

    def _texts(self, vector: np.ndarray, request: Request, weight: float = 1.0) -> DenseSide:
        filters = tuple(each for each in request.filters if each.field != "style")
        return DenseSide(TEXTS, weight, vector, filters, request.depth)

    def _dense(self, plans: Sequence[Plan]) -> list[list[list[StoredHit]]]:
        """The rows of every side of every plan; sides with the same filters are searched together."""
        sides = [side for plan in plans for side in plan.dense]
        groups: dict[object, list[int]] = defaultdict(list)
        for number, side in enumerate(sides):
            groups[side.spec, side.filters].append(number)
        found: dict[int, list[StoredHit]] = {}
        for members in groups.values():
            spec, filters = sides[members[0]].spec, sides[members[0]].filters
            members_of = [sides[each] for each in members]
            vectors, depth = np.stack([side.vector for side in members_of]), max(side.depth for side in members_of)
            spare = min(len(self.overlay.hidden) * SPARE_ROWS, MAX_SPARE_ROWS)
            rows = self._nearest(spec, vectors, depth + spare, filters)
            found |= {each: self._merged(sides[each], hits) for each, hits in zip(members, rows, strict=True)}
        numbers = iter(range(len(sides)))
        return [[found[next(numbers)] for _ in plan.dense] for plan in plans]

    def _nearest(
        self, spec: CollectionSpec, vectors: np.ndarray, depth: int, filters: Sequence[Filter]
    ) -> list[list[StoredHit]]:
        if spec.name in self._exact:
            return self._exact[spec.name].search(vectors, depth, filters)
        return self._store.search(collection_name(self.version, spec), spec, vectors, depth, filters)

    def _merged(self, side: DenseSide, hits: list[StoredHit]) -> list[StoredHit]:
        """Rows of the store that still count, and those of the live changes, best first."""
        if self.overlay.hidden:
            hits = [hit for hit in hits if hit.item_id not in self.overlay.hidden]
            hits += self.overlay.search(side.spec.name, side.vector, side.filters)
            hits.sort(key=lambda hit: -hit.score)
        return hits[: side.depth]

    def _rankings(self, plan: Plan, rows: list[list[StoredHit]]) -> list[Ranking]:
        rankings = [
            Ranking(side.spec.name, side.weight, [(hit.item_id, hit.key) for hit in hits])
            for side, hits in zip(plan.dense, rows, strict=True)
        ]
        if plan.lexical is not None:
            text, weight = plan.lexical
            hits = self._words.search(text, plan.request.filters, plan.request.depth)
            rankings.append(Ranking("lexical", weight, [(hit.item_id, hit.lang) for hit in hits]))
        # Who asks for something word for word wants it first: it counts as much as all the rest, a name twice.
        everything = sum(ranking.weight for ranking in rankings)
        exact = self._words.exact(plan.exact, plan.request.filters) if plan.exact else []
        rankings += [Ranking("exact", everything * hit.score, [(hit.item_id, hit.lang)]) for hit in exact]
        return rankings

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
            for each in fuse(self._rankings(plan, rows))
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


def _unit(vector: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = vector / np.linalg.norm(vector)
    return scaled.astype(np.float32)
