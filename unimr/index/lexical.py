"""The lexical side of hybrid search: BM25 over names and keywords in every language.

A document is everything short that is said about one item in one language; an item's score is that of its best
document. Terms come from `unimr.data.text.lexical_terms`, which cuts Chinese, Japanese and Thai into characters and
bigrams. A whole name or keyword is a term of its own as well: it says which items are asked for word for word.
The index is a few arrays in memory: a query takes well under a millisecond and nothing has to be built on opening.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from unimr.data.text import lexical_terms, normalise
from unimr.errors import UnimrError
from unimr.files import read_json, write_json

ARRAYS, VOCABULARY = "lexical.safetensors", "lexical.json"
K1, B = 1.2, 0.75  # the usual constants (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework")
NAME_COUNT = 2
"""A name, and a word of it, counts as much as this many keywords."""


@dataclass(frozen=True)
class LexicalHit:
    """An item that was found by its words, and the language of the document that matched."""

    item_id: str
    score: float
    lang: str


class LexicalIndex:
    """Postings `term → (document, BM25 weight)`; documents are sorted by item."""

    def __init__(
        self, items: list[str], languages: list[str], vocabulary: dict[str, int], arrays: dict[str, np.ndarray]
    ) -> None:
        self.items, self.languages, self.vocabulary, self.arrays = items, languages, vocabulary, arrays
        self._first_of_item = np.searchsorted(arrays["item"], np.arange(len(items)))
        self._of_language = np.maximum(np.bincount(arrays["lang"], minlength=len(languages)), 1)

    @classmethod
    def build(cls, texts: pd.DataFrame) -> LexicalIndex:
        """Index the rows `item_id, lang, role, text`: names and keywords, a description where there is neither.

        Raises:
            UnimrError: there are no texts.
        """
        documents = documents_of(texts)
        if not documents:
            raise UnimrError("There are no texts to build the lexical index from. Look at data/validated.")
        keys = sorted(documents)
        items, languages = sorted({key[0] for key in keys}), sorted({key[1] for key in keys})
        terms = sorted({term for counts in documents.values() for term in counts})
        vocabulary = {term: number for number, term in enumerate(terms)}
        item_number = {item: number for number, item in enumerate(items)}
        postings = [
            (vocabulary[term], row, count) for row, key in enumerate(keys) for term, count in documents[key].items()
        ]
        term, row, count = np.array(postings, np.int64).T
        order = np.lexsort((row, term))
        term, row, count = term[order], row[order], count[order].astype(np.float64)
        arrays = {
            "item": np.array([item_number[item] for item, _ in keys], np.int32),
            "lang": np.array([languages.index(lang) for _, lang in keys], np.int32),
            "offset": np.searchsorted(term, np.arange(len(terms) + 1)).astype(np.int64),
            "document": row.astype(np.int32),
            "weight": _bm25(term, row, count, len(terms), len(keys)),
        }
        return cls(items, languages, vocabulary, arrays)

    def save(self, folder: Path) -> None:
        """Write the vocabulary (JSON) and the arrays (safetensors) into a folder."""
        from safetensors.numpy import save

        (folder / ARRAYS).write_bytes(save(self.arrays))
        terms = list(self.vocabulary)
        write_json(folder / VOCABULARY, {"items": self.items, "languages": self.languages, "terms": terms})

    @classmethod
    def load(cls, folder: Path) -> LexicalIndex:
        """Read an index written by `save`.

        Raises:
            UnimrError: a file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        words = read_json(folder / VOCABULARY)
        try:
            arrays = load_file(folder / ARRAYS)
        except (OSError, SafetensorError) as error:
            raise UnimrError(f"{folder / ARRAYS} cannot be read ({error}). Run `dvc repro`.") from error
        vocabulary = {term: number for number, term in enumerate(words["terms"])}
        return cls(words["items"], words["languages"], vocabulary, arrays)

    def search(self, text: str, k: int, allowed: np.ndarray | None = None) -> list[LexicalHit]:
        """The `k` best items for a text; `allowed` is a boolean mask over `items`."""
        scores = np.zeros(len(self.arrays["item"]), np.float32)
        for number in self._term_numbers(text):
            part = slice(*self.arrays["offset"][number : number + 2])
            scores[self.arrays["document"][part]] += self.arrays["weight"][part]
        best = np.maximum.reduceat(scores, self._first_of_item)
        if allowed is not None:
            best = np.where(allowed, best, 0)
        top = np.argsort(-best, kind="stable")[:k]
        return [self._hit(int(item), scores) for item in top if best[item] > 0]

    def exact(self, text: str, allowed: np.ndarray | None = None) -> list[LexicalHit]:
        """The items of which the text is a name (score 2) or a keyword (score 1)."""
        hits: dict[int, LexicalHit] = {}
        for score, term in _whole(text):
            for document in self._documents(term):
                item, lang = int(self.arrays["item"][document]), self.languages[self.arrays["lang"][document]]
                if allowed is None or allowed[item]:
                    hits.setdefault(item, LexicalHit(self.items[item], score, lang))
        return list(hits.values())

    def score(self, text: str, document: Counter[str]) -> float:
        """What a document that is not in the index would score: by the index's frequencies, as one of mean length."""
        total = 0.0
        rows = len(self.arrays["item"])
        for term in _asked(text):
            number, count = self.vocabulary.get(term), document.get(term, 0)
            frequency = 0 if number is None else int(np.diff(self.arrays["offset"][number : number + 2])[0])
            total += np.log1p((rows - frequency + 0.5) / (frequency + 0.5)) * count * (K1 + 1) / (count + K1)
        return float(total)

    def language(self, text: str) -> str | None:
        """The language whose documents use the words of a text most; None where no word is known."""
        votes = np.zeros(len(self.languages))
        for number in self._term_numbers(text):
            part = slice(*self.arrays["offset"][number : number + 2])
            langs = self.arrays["lang"][self.arrays["document"][part]]
            shares = np.bincount(langs, minlength=len(votes)) / self._of_language
            votes += shares / shares.sum() * float(self.arrays["weight"][part].max())
        return self.languages[int(votes.argmax())] if votes.any() else None

    def _documents(self, term: str) -> np.ndarray:
        """The documents that have a term."""
        number = self.vocabulary.get(term)
        part = slice(0) if number is None else slice(*self.arrays["offset"][number : number + 2])
        documents: np.ndarray = self.arrays["document"][part]
        return documents

    def _term_numbers(self, text: str) -> list[int]:
        return [self.vocabulary[term] for term in _asked(text) if term in self.vocabulary]

    def _hit(self, item: int, scores: np.ndarray) -> LexicalHit:
        first = int(self._first_of_item[item])
        end = int(self._first_of_item[item + 1]) if item + 1 < len(self.items) else len(scores)
        best = first + int(scores[first:end].argmax())
        return LexicalHit(self.items[item], float(scores[best]), self.languages[self.arrays["lang"][best]])


WHOLE = {"name": "\n", "keyword": "\t"}
"""How the term of a whole text begins, by its role; no word begins so."""


def exactness(text: str, document: Counter[str]) -> int:
    """2 where a text is a name of a document, 1 where it is a keyword, else 0."""
    return next((score for score, term in _whole(text) if term in document), 0)


def _whole(text: str) -> list[tuple[int, str]]:
    whole = normalise(text)
    return [(NAME_COUNT, WHOLE["name"] + whole), (1, WHOLE["keyword"] + whole)]


def _asked(text: str) -> dict[str, None]:
    """The terms of a query."""
    return dict.fromkeys([*lexical_terms(text), *(term for _, term in _whole(text))])


def documents_of(texts: pd.DataFrame) -> dict[tuple[str, str], Counter[str]]:
    """The terms of the document of every (item, language), and how often each counts."""
    documents: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    descriptions: dict[tuple[str, str], str] = {}
    columns = (texts[column] for column in ("item_id", "lang", "role", "text"))
    for item, lang, role, text in zip(*columns, strict=True):
        if role == "description":
            descriptions[item, lang] = text
            continue
        count = NAME_COUNT if role == "name" else 1
        for term in lexical_terms(text):
            documents[item, lang][term] += count
        documents[item, lang][WHOLE[role] + normalise(text)] = 1
    for key, text in descriptions.items():
        if key not in documents:
            documents[key].update(lexical_terms(text))
    return {key: counts for key, counts in documents.items() if counts}


def _bm25(term: np.ndarray, row: np.ndarray, count: np.ndarray, terms: int, rows: int) -> np.ndarray:
    """BM25 weights of postings (term, row, count): what each adds to the score of its document."""
    frequency = np.bincount(term, minlength=terms)
    idf = np.log1p((rows - frequency + 0.5) / (frequency + 0.5))
    length = np.bincount(row, weights=count, minlength=rows)
    saturation = count + K1 * (1 - B + B * length[row] / length.mean())
    weights: np.ndarray = (idf[term] * count * (K1 + 1) / saturation).astype(np.float32)
    return weights
