"""Reciprocal rank fusion of several rankings, grouped by item.

Cormack, Clarke and Büttcher 2009, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning methods".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

RANK_OFFSET = 60
"""The constant of the method: how little the very first ranks count more than those after them."""


@dataclass(frozen=True)
class Ranking:
    """Rows found by one side, best first, as (item, row of that side); several rows may belong to one item."""

    side: str
    weight: float
    rows: list[tuple[str, str]]


@dataclass
class FusedItem:
    """An item, its fused score, and its best row of every side that found it."""

    item_id: str
    score: float = 0.0
    rows: dict[str, str] = field(default_factory=dict)


def fuse(rankings: Sequence[Ranking]) -> list[FusedItem]:
    """Items by the sum of `weight / (60 + rank)` over the rankings, where a rank is that of the item's best row."""
    items: dict[str, FusedItem] = {}
    for ranking in rankings:
        seen: dict[str, str] = {}
        for item_id, row in ranking.rows:
            seen.setdefault(item_id, row)
        for rank, (item_id, row) in enumerate(seen.items(), start=1):
            item = items.setdefault(item_id, FusedItem(item_id))
            item.score += ranking.weight / (RANK_OFFSET + rank)
            item.rows[ranking.side] = row
    return sorted(items.values(), key=lambda item: (-item.score, item.item_id))
