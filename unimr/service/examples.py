"""What a page may offer to search for, taken from what there is."""

from __future__ import annotations

from unimr.index.catalogue import Catalogue

MOST = 9
LONGEST = 60
"""Characters that an offered query has at most."""


def example_queries(catalogue: Catalogue) -> list[dict[str, str]]:
    """A name in each of the first languages (`lang`, `text`), each of another item; none where no name is short."""
    items, found = catalogue.item_ids, []
    for place, lang in enumerate(catalogue.languages[:MOST]):
        start = len(items) * (2 * place + 1) // (2 * MOST)
        names = (catalogue.items[item]["names"].get(lang, "") for item in items[start:] + items[:start])
        if text := next((name for name in names if 0 < len(name) <= LONGEST), ""):
            found.append({"lang": lang, "text": text})
    return found
