"""Retrieval metrics in NumPy: ranks, MRR, recall at k, and what pure chance would reach.

A query may have several relevant entries: the best-ranked one counts. So MRR is the mean of 1 / (rank of the first
relevant entry) and `recall_at_k` is the share of queries with a relevant entry among the first k (the hit rate).
A tie is lost: an entry that is not relevant and scores the same as the relevant one stands before it.
"""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]

CUTS = (1, 10)
"""The k of `recall_at_k`."""

MEASURES = ("mrr", *(f"recall_at_{k}" for k in CUTS))
"""The columns of `query_values`."""


def ranks(scores: FloatArray, relevance: BoolArray) -> IntArray:
    """Rank (from 1) of the best-ranked relevant entry of each query; ties are lost.

    Args:
        scores: `[queries, gallery]`, higher is better; -inf hides an entry.
        relevance: `[queries, gallery]`, true where the entry answers the query.

    Returns:
        `[queries]` whole numbers.

    Raises:
        ValueError: the shapes differ, a score is NaN, or a query has no relevant entry.
    """
    if scores.shape != relevance.shape:
        raise ValueError(f"scores {scores.shape} and relevance {relevance.shape} differ in shape")
    if np.isnan(scores).any():
        raise ValueError("a score is NaN")
    if not relevance.any(axis=1).all():
        raise ValueError("a query has no relevant entry in the gallery")
    best = np.where(relevance, scores, -np.inf).max(axis=1, keepdims=True)
    ahead: IntArray = ((scores >= best) & ~relevance).sum(axis=1)
    return ahead + 1


def mrr(rank: IntArray) -> float:
    """Mean reciprocal rank of `[queries]` ranks."""
    return float(np.mean(1.0 / rank))


def recall_at_k(rank: IntArray, k: int) -> float:
    """Share of queries whose best-ranked relevant entry is among the first k, from `[queries]` ranks."""
    return float(np.mean(rank <= k))


def query_values(rank: IntArray) -> FloatArray:
    """What each query adds to the means named in `MEASURES`: `[queries]` ranks → `[queries, measures]`."""
    return np.stack([1.0 / rank, *(rank <= k for k in CUTS)], axis=1).astype(np.float64)


def random_values(gallery: int, relevant: int) -> FloatArray:
    """Expected `query_values` of one query when the gallery is put in random order: `[measures]`.

    With R relevant among N entries the best-ranked one has rank r with probability C(N - r, R - 1) / C(N, R).
    """
    if relevant == 1:
        chances = np.full(gallery, 1.0 / gallery)
    else:
        whole = comb(gallery, relevant)
        chances = np.array([comb(gallery - rank, relevant - 1) / whole for rank in range(1, gallery + 1)])
    return np.asarray(chances @ query_values(np.arange(1, gallery + 1)))
