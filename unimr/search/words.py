"""Search by words, in the index and in the live changes that lie over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from unimr.index.catalogue import Catalogue
from unimr.index.lexical import LexicalHit, LexicalIndex, exactness
from unimr.index.schema import Filter
from unimr.search.overlay import Overlay


class Words:
    """The lexical index of a version together with an overlay; `catalogue` has the items of both."""

    def __init__(self, index: LexicalIndex, catalogue: Catalogue, overlay: Overlay) -> None:
        self._index, self._catalogue, self._overlay = index, catalogue, overlay
        # The last place of a mask, one behind the items, is that of rows that no longer count: always False.
        places = [-1 if item in overlay.hidden else catalogue.number[item] for item in index.items]
        self._places = np.array(places, np.int64)

    def search(self, text: str, filters: Sequence[Filter], k: int) -> list[LexicalHit]:
        """The `k` best items for the words of a text, best first."""
        allowed = self._catalogue.matching(filters)
        found = self._index.search(text, k, np.append(allowed, False)[self._places])
        found += self._live(lambda document: self._index.score(text, document), allowed)
        return sorted(found, key=lambda hit: -hit.score)[:k]

    def exact(self, text: str, filters: Sequence[Filter]) -> list[LexicalHit]:
        """The items of which the whole text is a name (score 2) or a keyword (score 1)."""
        allowed = self._catalogue.matching(filters)
        found = self._index.exact(text, np.append(allowed, False)[self._places])
        return found + self._live(lambda document: exactness(text, document), allowed)

    def named(self, text: str, filters: Sequence[Filter]) -> np.ndarray:
        """`[items]`: of which the whole text is a name or a keyword."""
        mask = np.zeros(len(self._catalogue.item_ids), bool)
        mask[[self._catalogue.number[hit.item_id] for hit in self.exact(text, filters)]] = True
        return mask

    def _live(self, score: Callable[[Counter[str]], float], allowed: np.ndarray) -> list[LexicalHit]:
        hits = []
        for name, item in self._overlay.items.items():
            scores = {lang: score(document) for lang, document in item.documents.items()}
            lang = max(scores, key=scores.__getitem__, default="")
            if scores.get(lang) and allowed[self._catalogue.number[name]]:
                hits.append(LexicalHit(name, scores[lang], lang))
        return hits
