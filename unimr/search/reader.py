"""What a query asks for: the model's understanding of its words, read against what the index has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unimr.errors import UnimrError
from unimr.index.catalogue import Catalogue
from unimr.index.encoder import Encoder
from unimr.index.lexical import LexicalIndex
from unimr.index.schema import Filter
from unimr.search.filters import SlotLexicon, read_slots
from unimr.search.query import Query, Request
from unimr.search.words import Words

if TYPE_CHECKING:
    from unimr.model.nlu import Understanding


class Reader:
    """Makes a request of a query."""

    def __init__(
        self, model: Encoder, lexical: LexicalIndex, lexicon: SlotLexicon, catalogue: Catalogue, words: Words
    ) -> None:
        self._model, self._lexical, self._lexicon = model, lexical, lexicon
        self._catalogue, self._words = catalogue, words

    def refusal(self, query: Query) -> UnimrError | None:
        """What this index cannot answer, or None."""
        lang, known = query.lang, self._catalogue.languages
        if lang is not None and lang not in known:
            return UnimrError(f"The index has no language {lang[:40]!r}. Known: {', '.join(known)}.")
        if query.image_id is not None and not self._catalogue.has_picture(query.image_id):
            return UnimrError(f"There is no picture {query.image_id[:100]!r} in the index.")
        return None

    def read(self, queries: Sequence[Query]) -> list[Request]:
        """A request for each query; the model is asked once for all."""
        texts = list(dict.fromkeys(query.words for query in queries if query.words))
        understood = dict(zip(texts, self._model.understand(texts), strict=True)) if texts else {}
        return [self._request(query, understood.get(query.words or "")) for query in queries]

    def _request(self, query: Query, understanding: Understanding | None) -> Request:
        spoken = query.lang or (self._lexical.language(query.words) if query.words else None) or "en"
        slots = [slot for slot in (understanding.slots if understanding else ()) if slot.label not in query.ignored]
        reading = read_slots(slots, self._lexicon, spoken)
        notes = [f"“{words}” was not understood as a filter." for words in reading.unread]
        named = self._words.named(query.name, query.filters)
        if understanding and understanding.intent == "out_of_scope" and not named.any():
            notes.append("This does not look like a search for pictures or their meaning; here is what comes closest.")
        kept = self._usable(list(query.filters), reading.filters, named, notes)
        if not self._catalogue.matching(query.filters).any():
            notes.append("Nothing in the index satisfies the filters that were given.")
        wanted = query.k or reading.count or query.usual_k
        return Request(query, spoken, understanding, reading, kept, notes, wanted, bool(named.any()))

    def _usable(self, given: list[Filter], read: list[Filter], named: np.ndarray, notes: list[str]) -> list[Filter]:
        """The given filters, and of those read from words all that together leave something, and what is named."""
        kept = list(given)
        for each in dict.fromkeys(read):
            if any(other.field == each.field for other in given):
                continue  # what was asked for explicitly wins
            left = self._catalogue.matching([*kept, each])
            if left.any() and (not named.any() or left[named].any()):
                kept.append(each)
            else:
                of_that_name = " of that name" if left.any() else ""
                notes.append(f"The filter {each} leaves nothing{of_that_name} and was dropped.")
        return kept
