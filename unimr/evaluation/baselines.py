"""What text search reaches without a model: character TF-IDF and BM25, over the same galleries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from unimr.data.text import lexical_terms, normalise
from unimr.evaluation.retrieval import FloatArray


class TfidfIndex:
    """Cosine of character n-gram TF-IDF vectors (1 to 4 characters within words), fitted on the gallery."""

    def __init__(self, gallery: Sequence[str]) -> None:
        self._vectorizer = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(1, 4), preprocessor=normalise, dtype=np.float32
        )
        self._gallery = self._vectorizer.fit_transform(gallery).T.tocsr()

    def scores(self, texts: Sequence[str]) -> FloatArray:
        """Scores `[texts, gallery]`."""
        return np.asarray((self._vectorizer.transform(texts) @ self._gallery).toarray())


class Bm25Index:
    """Okapi BM25 (Robertson and Zaragoza, 2009) over the words of a text, with Lucene's idf, never negative."""

    def __init__(self, gallery: Sequence[str], k1: float = 1.2, b: float = 0.75) -> None:
        self._vectorizer = CountVectorizer(analyzer=lexical_terms, dtype=np.float32)
        counts = self._vectorizer.fit_transform(gallery).tocoo()
        lengths = np.bincount(counts.row, weights=counts.data, minlength=len(gallery))
        documents = np.bincount(counts.col, minlength=counts.shape[1])
        idf = np.log1p((len(gallery) - documents + 0.5) / (documents + 0.5))
        damping = k1 * (1 - b + b * lengths / lengths.mean())
        weights = idf[counts.col] * counts.data * (k1 + 1) / (counts.data + damping[counts.row])
        self._gallery = sp.csr_array((weights.astype(np.float32), (counts.col, counts.row)), shape=counts.shape[::-1])

    def scores(self, texts: Sequence[str]) -> FloatArray:
        """Scores `[texts, gallery]`; a word that stands twice in the query counts twice."""
        return np.asarray((self._vectorizer.transform(texts) @ self._gallery).toarray())
