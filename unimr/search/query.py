"""A query, its checks, and what it asks for once it is understood."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from unimr.data.text import MAX_QUERY_CHARACTERS
from unimr.errors import UnimrError
from unimr.index.schema import CollectionSpec, Filter
from unimr.search.answer import SlotShown
from unimr.search.filters import MAX_RESULTS, SlotReading

if TYPE_CHECKING:
    from unimr.model.nlu import PredictedSlot, Understanding

MIN_CONFIDENCE = 0.6
"""An intent the model is less sure of is not acted on: other intents leave results out."""
INTENT = "intent"
"""Among the ignored slots: what the model took for the intent is not acted on."""


@dataclass(frozen=True)
class Query:
    """What is searched for: words, a picture (its bytes, or the id of one in the index), or a picture and words.

    Without `k` the number of results is the one the words name, else `usual_k`. `ignored` names slots whose reading a
    person took back; `understand_only` asks for no results; without `names_first` a whole name is words as any other.
    """

    text: str | None = None
    image: bytes | None = field(default=None, repr=False)
    image_id: str | None = None
    filters: tuple[Filter, ...] = ()
    k: int | None = None
    lang: str | None = None
    ignored: frozenset[str] = frozenset()
    understand_only: bool = False
    names_first: bool = True
    usual_k: int = 10

    @property
    def words(self) -> str | None:
        """The text without white space at its edges; None where nothing is left."""
        return (self.text or "").strip() or None

    @property
    def name(self) -> str:
        """What may be, as a whole, the name of something; words beside a picture are not."""
        return self.words if self.words and self.names_first and not self.has_picture else ""

    @property
    def has_picture(self) -> bool:
        """Whether a picture is searched with."""
        return self.image is not None or self.image_id is not None


def check_query(query: Query) -> None:
    """Check the words and numbers of a query before anything else looks at it; its picture is for `open_picture`.

    Raises:
        UnimrError: it is empty or too long, it has two pictures, or `k` is out of range.
    """
    if query.text is not None and len(query.text) > MAX_QUERY_CHARACTERS:
        raise UnimrError(
            f"The query has {len(query.text):,} characters; at most {MAX_QUERY_CHARACTERS:,} are accepted."
        )
    if not query.has_picture and query.words is None:
        raise UnimrError("The query is empty. Give some words in any language, or a picture.")
    if query.image is not None and query.image_id is not None:
        raise UnimrError("The query has two pictures: give one of your own, or the id of one in the index.")
    if query.k is not None and not 1 <= query.k <= MAX_RESULTS:
        raise UnimrError(f"The number of results must be between 1 and {MAX_RESULTS}; it is {query.k}.")


@dataclass(frozen=True)
class Request:
    """A checked and understood query.

    Attributes:
        filters: those that are kept of the given and of those read from words.
        named: the query is as a whole a name or a keyword of something.
    """

    query: Query
    lang: str
    understanding: Understanding | None
    reading: SlotReading
    filters: list[Filter]
    notes: list[str]
    k: int
    named: bool

    @property
    def slots(self) -> Sequence[PredictedSlot]:
        """Every slot the model found."""
        return self.understanding.slots if self.understanding else ()

    @property
    def subject(self) -> str | None:
        """What is asked for: the whole query where it is a name, else the subject slot the model is surest of."""
        if self.named:
            return self.query.words
        ignored = "subject" in self.query.ignored
        slots = [slot for slot in self.slots if slot.label == "subject" and not ignored]
        return max(slots, key=lambda slot: slot.confidence).text if slots else None

    @property
    def intent(self) -> str:
        """What is asked for.

        A picture asks for pictures, and so do a bare name and a sentence that is hardly understood.
        """
        if self.query.has_picture or self.understanding is None:
            return "find_image" if self.query.words else "find_similar"
        bare = self.understanding.confidence < MIN_CONFIDENCE or self.subject == self.query.words
        return "find_image" if bare or INTENT in self.query.ignored else self.understanding.intent

    @property
    def depth(self) -> int:
        """Rows asked of each side, so that after grouping by item enough are left."""
        return min(200, max(30, 3 * self.k))

    def shown_slots(self) -> list[SlotShown]:
        """Every slot with what it was read as; one that was taken back was read as nothing."""
        return [SlotShown(slot.label, slot.text, self._value(slot)) for slot in self.slots]

    def _value(self, slot: PredictedSlot) -> str | None:
        if slot.label in self.query.ignored:
            return None
        return slot.text if slot.label == "subject" else self.reading.values.get(slot.text)

    def strings(self) -> list[str]:
        """Every string whose embedding the answer may need."""
        return [each for each in (self.query.words, self.subject) if each]


@dataclass(frozen=True)
class DenseSide:
    """One search by vector: `vector [dim]` against a collection, its rows bounded by filters and a depth."""

    spec: CollectionSpec
    weight: float
    vector: np.ndarray
    filters: tuple[Filter, ...]
    depth: int


@dataclass(frozen=True)
class Plan:
    """What an answer is put together from: searches by vector, by words, by a whole name, and items to leave out."""

    request: Request
    dense: list[DenseSide]
    lexical: tuple[str, float] | None = None
    exact: str | None = None
    excluded: frozenset[str] = frozenset()
