"""The search engine: understand the query, turn slots into filters, search by intent, fuse, present."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unimr.data.images import open_picture
from unimr.data.text import MAX_QUERY_CHARACTERS
from unimr.errors import UnimrError
from unimr.index.build import SLOT_VALUES
from unimr.index.catalogue import Catalogue
from unimr.index.copies import PrivateCopy
from unimr.index.encoder import Encoder
from unimr.index.lexical import LexicalIndex
from unimr.index.publish import PUBLISHED, collection_name, current_version, verify_version, versions_folder
from unimr.index.schema import COLLECTIONS, IMAGES, TEXTS, CollectionSpec, Filter
from unimr.index.store import Store, StoredHit, store_path
from unimr.search.answer import Hit, SearchAnswer, SlotShown
from unimr.search.filters import MAX_RESULTS, SlotLexicon, SlotReading, parse_filter, read_slots
from unimr.search.fusion import FusedItem, Ranking, fuse

if TYPE_CHECKING:
    from unimr.model.nlu import Understanding

DEFAULT_RESULTS = 10
MIN_CONFIDENCE = 0.6
"""An intent the model is less sure of is not acted on: other intents leave results out."""
SUBJECT_WEIGHT = 1.0
"""Weight of the subject's embedding beside that of the whole query."""
WEIGHTS = {
    "find_image": {"images": 1.0, "texts": 1.0, "lexical": 1.0},
    "find_text": {"texts": 1.0, "lexical": 1.0},
    "filter_set": {"images": 1.0},
    "find_similar": {"images": 1.0},
    "out_of_scope": {"images": 1.0, "texts": 1.0, "lexical": 1.0},
}
"""What an intent searches, and how much each side counts in the fusion."""


@dataclass(frozen=True)
class Request:
    """A checked and understood query."""

    text: str | None
    image: bytes | None
    lang: str
    understanding: Understanding | None
    reading: SlotReading
    filters: list[Filter]
    notes: list[str]
    k: int

    @property
    def subject(self) -> str | None:
        """The words of the subject slot the model is surest of."""
        slots = [slot for slot in self.understanding.slots if slot.label == "subject"] if self.understanding else []
        return max(slots, key=lambda slot: slot.confidence).text if slots else None

    @property
    def intent(self) -> str:
        """What is asked for.

        A picture asks for pictures, and so do a bare name and a sentence that is hardly understood.
        """
        if self.image is not None or self.understanding is None:
            return "find_image" if self.text else "find_similar"
        bare = self.understanding.confidence < MIN_CONFIDENCE or self.subject == self.text
        return "find_image" if bare else self.understanding.intent

    @property
    def depth(self) -> int:
        """Rows asked of each side, so that after grouping by item enough are left."""
        return min(200, max(30, 3 * self.k))


def load_retriever(folder: Path) -> Encoder:
    """The trained model in a folder, on one thread: a single query is too small to be shared between several."""
    import torch

    from unimr.model.retriever import UnifiedRetriever

    torch.set_num_threads(1)
    return UnifiedRetriever.load(folder)


class SearchEngine:
    """Searches one published version; later versions do not change it. Close it, or use it in a `with` block."""

    def __init__(self, version_folder: Path, place: Path, load: Callable[[Path], Encoder]) -> None:
        manifest = verify_version(version_folder)
        self.version: str = manifest["version"]
        self.model_version: str = manifest["model_version"]
        self.catalogue = Catalogue(version_folder)
        self.lexical = LexicalIndex.load(version_folder)
        self.lexicon = SlotLexicon.load(version_folder / SLOT_VALUES)
        self.values = self.catalogue.values()
        self.model = load(version_folder / "model")
        self._number = {item: number for number, item in enumerate(self.catalogue.item_ids)}
        self._of_lexical = np.array([self._number[item] for item in self.lexical.items])
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
        started = time.perf_counter()
        check_query(text, image, k)
        self._check_language(lang)
        request = self._understand(text.strip() if text else None, image, filters, k, lang)
        hits = self._hits(request) if self.catalogue.matching(request.filters).any() else []
        understanding = request.understanding
        return SearchAnswer(
            query=request.text,
            lang=request.lang,
            intent=request.intent,
            confidence=understanding.confidence if understanding else 1.0,
            slots=_shown_slots(request),
            filters=[str(each) for each in request.filters],
            notes=request.notes,
            hits=hits,
            model_version=self.model_version,
            index_version=self.version,
            milliseconds=(time.perf_counter() - started) * 1000,
        )

    def _check_language(self, lang: str | None) -> None:
        if lang is not None and lang not in self.catalogue.languages:
            raise UnimrError(f"The index has no language {lang[:40]!r}. Known: {', '.join(self.catalogue.languages)}.")

    def _understand(
        self, text: str | None, image: bytes | None, filters: Sequence[Filter], k: int | None, lang: str | None
    ) -> Request:
        understanding = self.model.understand([text])[0] if text else None
        spoken = lang or (self.lexical.language(text) if text else None) or "en"
        slots = understanding.slots if understanding else ()
        reading = read_slots(slots, self.lexicon, spoken)
        notes = [f"“{words}” was not understood as a filter." for words in reading.unread]
        if understanding and understanding.intent == "out_of_scope":
            notes.append("This does not look like a search for pictures or their meaning; here is what comes closest.")
        kept = self._usable(list(filters), reading.filters, notes)
        if not self.catalogue.matching(filters).any():
            notes.append("Nothing in the index satisfies the filters that were given.")
        wanted = k or reading.count or DEFAULT_RESULTS
        return Request(text, image, spoken, understanding, reading, kept, notes, wanted)

    def _usable(self, given: list[Filter], read: list[Filter], notes: list[str]) -> list[Filter]:
        """The given filters, and of those read from words all that together leave something."""
        kept = list(given)
        for each in dict.fromkeys(read):
            if any(other.field == each.field for other in given):
                continue  # what was asked for explicitly wins
            if self.catalogue.matching([*kept, each]).any():
                kept.append(each)
            else:
                notes.append(f"The filter {each} leaves nothing and was dropped.")
        return kept

    def _hits(self, request: Request) -> list[Hit]:
        if request.intent == "find_similar":
            rankings, excluded = self._similar(request)
        elif request.image is not None:
            rankings, excluded = [self._images(self._picture_vector(request), request)], set()
        else:
            rankings, excluded = self._by_text(request), set()
        allowed = self.catalogue.matching(request.filters)
        fused = [
            each
            for each in fuse(rankings)
            if allowed[self._number[each.item_id]] and self.catalogue.base(each.item_id) not in excluded
        ]
        return [self._hit(each, request) for each in fused[: request.k]]

    def _by_text(self, request: Request) -> list[Ranking]:
        text = request.text or ""
        weights = WEIGHTS[request.intent]
        if request.intent == "filter_set" and (request.subject or not request.filters):
            weights = WEIGHTS["find_image"]  # no listing of attributes after all
        vector = self._text_vector(text, request.subject)
        rankings = []
        if "images" in weights:
            rankings.append(self._images(vector, request, weights["images"]))
        if "texts" in weights:
            rankings.append(self._texts(vector, request, weights["texts"]))
        if "lexical" in weights:
            rankings.append(self._lexical(request.subject or text, request, weights["lexical"]))
        return rankings

    def _similar(self, request: Request) -> tuple[list[Ranking], set[str]]:
        """Neighbours of a picture, or of the pictures of the item that the words name, without the item itself."""
        if request.image is not None:
            return [self._images(self.model.encode_images([request.image]), request)], set()
        unfiltered = replace(request, filters=[])
        subject = request.subject or request.text or ""
        vector = self._text_vector(subject, None)
        named = fuse([self._texts(vector, unfiltered), self._lexical(subject, unfiltered)])
        images = [image for each in named[:1] for image in self.catalogue.images_of(each.item_id)]
        stored = self._store.fetch(collection_name(self.version, IMAGES), IMAGES, images)
        if not stored:
            return self._by_text(replace(request, understanding=None)), set()
        base = self.catalogue.base(named[0].item_id)
        return [self._images(_unit(np.stack(list(stored.values())).mean(axis=0, keepdims=True)), request)], {base}

    def _text_vector(self, text: str, subject: str | None) -> np.ndarray:
        """The query's embedding `[1, dim]`; a subject that is only a part of the query adds its own."""
        if subject is None or subject == text:
            return self.model.encode_texts([text])
        whole, about = self.model.encode_texts([text, subject])
        return _unit((whole + SUBJECT_WEIGHT * about)[None])

    def _picture_vector(self, request: Request) -> np.ndarray:
        picture = self.model.encode_images([request.image or b""])
        return self.model.compose(picture, self.model.encode_texts([request.text])) if request.text else picture

    def _images(self, vector: np.ndarray, request: Request, weight: float = 1.0) -> Ranking:
        filters = [each for each in request.filters if each.field != "lang"]
        return Ranking(IMAGES.name, weight, self._dense(IMAGES, vector, request.depth, filters))

    def _texts(self, vector: np.ndarray, request: Request, weight: float = 1.0) -> Ranking:
        filters = [each for each in request.filters if each.field != "style"]
        return Ranking(TEXTS.name, weight, self._dense(TEXTS, vector, request.depth, filters))

    def _dense(
        self, spec: CollectionSpec, vector: np.ndarray, depth: int, filters: list[Filter]
    ) -> list[tuple[str, str]]:
        found: list[StoredHit] = self._store.search(collection_name(self.version, spec), spec, vector, depth, filters)[
            0
        ]
        return [(hit.item_id, hit.key) for hit in found]

    def _lexical(self, text: str, request: Request, weight: float = 1.0) -> Ranking:
        allowed = self.catalogue.matching(request.filters)[self._of_lexical]
        found = self.lexical.search(text, request.depth, allowed)
        return Ranking("lexical", weight, [(hit.item_id, hit.lang) for hit in found])

    def _hit(self, found: FusedItem, request: Request) -> Hit:
        item_id = found.item_id
        images = self.catalogue.images_of(item_id, request.filters)
        shown = found.rows.get(IMAGES.name) or (images[0] if images else None)
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


def check_query(text: str | None, image: bytes | None, k: int | None) -> None:
    """Check a query before anything else looks at it.

    Raises:
        UnimrError: it is empty or too long, the picture is none or too large, or `k` is out of range.
    """
    if text is not None and len(text) > MAX_QUERY_CHARACTERS:
        raise UnimrError(f"The query has {len(text):,} characters; at most {MAX_QUERY_CHARACTERS:,} are accepted.")
    if image is None and not (text and text.strip()):
        raise UnimrError("The query is empty. Give some words in any language, or a picture with --image.")
    if k is not None and not 1 <= k <= MAX_RESULTS:
        raise UnimrError(f"The number of results must be between 1 and {MAX_RESULTS}; it is {k}.")
    if image is not None:
        open_picture(image)


def _shown_slots(request: Request) -> list[SlotShown]:
    slots = request.understanding.slots if request.understanding else ()
    read = request.reading.values
    return [
        SlotShown(slot.label, slot.text, slot.text if slot.label == "subject" else read.get(slot.text))
        for slot in slots
    ]


def _unit(vectors: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled.astype(np.float32)
