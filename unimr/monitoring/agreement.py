"""How far two lists of results agree: Jaccard@k and rank-biased overlap."""

from __future__ import annotations

from collections.abc import Sequence

PERSISTENCE = 0.9
"""Of RBO: the first ten results carry 86 % of the weight."""


def jaccard(left: Sequence[str], right: Sequence[str], k: int = 10) -> float:
    """Share of the items of both top-k lists that are in both; 1 where both are empty."""
    one, other = set(left[:k]), set(right[:k])
    return len(one & other) / len(one | other) if one | other else 1.0


def rank_biased_overlap(left: Sequence[str], right: Sequence[str], k: int = 10) -> float:
    """Agreement of two rankings down to rank k, earlier ranks weighing more; 1 where they are the same.

    Webber, Moffat and Zobel 2010, "A Similarity Measure for Indefinite Rankings", with the weights of the ranks
    that are looked at scaled to a sum of one.
    """
    depth = min(k, max(len(left), len(right)))
    if not depth:
        return 1.0
    weights = [PERSISTENCE**rank for rank in range(depth)]
    overlaps = [len(set(left[: rank + 1]) & set(right[: rank + 1])) / (rank + 1) for rank in range(depth)]
    return sum(weight * overlap for weight, overlap in zip(weights, overlaps, strict=True)) / sum(weights)
