"""What to search for a request, and what of it was found: by vector and by words, each side with its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unimr.index.catalogue import Catalogue
from unimr.index.encoder import Encoder
from unimr.index.schema import IMAGES, TEXTS
from unimr.index.store import StoredHit
from unimr.search.fusion import Ranking, fuse
from unimr.search.query import DenseSide, Plan, Request
from unimr.search.vectors import Vectors
from unimr.search.words import Words

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


class Planner:
    """Makes plans of requests, and rankings of what the plans found."""

    def __init__(self, model: Encoder, catalogue: Catalogue, vectors: Vectors, words: Words) -> None:
        self._model, self._catalogue, self._vectors, self._words = model, catalogue, vectors, words

    def plan(self, requests: Sequence[Request]) -> list[Plan]:
        """What to search for each request; every text and every picture is embedded here, in one call each."""
        searched = [request for request in requests if self._has_hits(request)]
        strings = list(dict.fromkeys(string for request in searched for string in request.strings()))
        texts = dict(zip(strings, self._model.encode_texts(strings), strict=True)) if strings else {}
        images = list(dict.fromkeys(request.query.image for request in searched if request.query.image is not None))
        known = list(dict.fromkeys(request.query.image_id for request in searched if request.query.image_id))
        pictures: dict[bytes | str | None, np.ndarray] = dict(self._vectors.of_pictures(known).items())
        if images:
            pictures.update(zip(images, self._model.encode_images(images), strict=True))
        return [self._plan_one(request, texts, pictures) for request in requests]

    def rankings(self, plan: Plan, rows: list[list[StoredHit]]) -> list[Ranking]:
        """The items of every side of a plan, best first: by vector, whose rows are given, and by words."""
        rankings = [
            Ranking(side.spec.name, side.weight, [(hit.item_id, hit.key) for hit in hits])
            for side, hits in zip(plan.dense, rows, strict=True)
        ]
        if plan.lexical is not None:
            text, weight = plan.lexical
            hits = self._words.search(text, plan.request.filters, plan.request.depth)
            rankings.append(Ranking("lexical", weight, [(hit.item_id, hit.lang) for hit in hits]))
        # Who asks for something word for word wants it first: it counts as much as all the rest, a name twice.
        everything = sum(ranking.weight for ranking in rankings)
        exact = self._words.exact(plan.exact, plan.request.filters) if plan.exact else []
        rankings += [Ranking("exact", everything * hit.score, [(hit.item_id, hit.lang)]) for hit in exact]
        return rankings

    def _has_hits(self, request: Request) -> bool:
        return not request.query.understand_only and bool(self._catalogue.matching(request.filters).any())

    def _plan_one(
        self, request: Request, texts: dict[str, np.ndarray], pictures: dict[bytes | str | None, np.ndarray]
    ) -> Plan:
        query = request.query
        if not self._has_hits(request):
            return Plan(request, [])
        if not query.has_picture:
            about = self._plan_similar(request, texts) if request.intent == "find_similar" else None
            return about or self._plan_words(request, texts)
        vector = pictures[query.image_id if query.image is None else query.image]
        if query.words:
            vector = self._model.compose(vector[None], texts[query.words][None])[0]
        elif query.image_id is not None:  # more like this, and not this again
            own = self._catalogue.base(self._catalogue.item_of(query.image_id))
            return Plan(request, [_images(vector, request)], excluded=frozenset({own}))
        return Plan(request, [_images(vector, request)])

    def _plan_words(self, request: Request, texts: dict[str, np.ndarray]) -> Plan:
        text = request.query.words or ""
        pictures_first = WEIGHTS["find_image"]  # an intent of published data says nothing about what to search
        weights = pictures_first if request.intent == "find_similar" else WEIGHTS.get(request.intent, pictures_first)
        if request.intent == "filter_set" and (request.subject or not request.filters):
            weights = pictures_first  # no listing of attributes after all
        vector = texts[text]
        if request.subject not in (None, text):  # a subject that is only a part of the query adds its own
            vector = _unit(vector + SUBJECT_WEIGHT * texts[request.subject or ""])
        sides = []
        if "images" in weights:
            sides.append(_images(vector, request, weights["images"]))
        if "texts" in weights:
            sides.append(_texts(vector, request, weights["texts"]))
        lexical = (request.subject or text, weights["lexical"]) if "lexical" in weights else None
        exact = request.subject or text if request.query.names_first else None
        return Plan(request, sides, lexical, exact)

    def _plan_similar(self, request: Request, texts: dict[str, np.ndarray]) -> Plan | None:
        """Neighbours of the pictures of the item that the words name, without that item; None where it has none."""
        unfiltered = replace(request, filters=[])
        subject = request.subject or request.query.words or ""
        search = Plan(unfiltered, [_texts(texts[subject], unfiltered)], (subject, 1.0), subject)
        named = fuse(self.rankings(search, self._vectors.search(search.dense)))
        found = self._vectors.of_pictures(
            [image for each in named[:1] for image in self._catalogue.images_of(each.item_id)]
        )
        if not found:
            return None
        vector = _unit(np.stack(list(found.values())).mean(axis=0))
        return Plan(request, [_images(vector, request)], excluded=frozenset({self._catalogue.base(named[0].item_id)}))


def _images(vector: np.ndarray, request: Request, weight: float = 1.0) -> DenseSide:
    filters = tuple(each for each in request.filters if each.field != "lang")
    return DenseSide(IMAGES, weight, vector, filters, request.depth)


def _texts(vector: np.ndarray, request: Request, weight: float = 1.0) -> DenseSide:
    filters = tuple(each for each in request.filters if each.field != "style")
    return DenseSide(TEXTS, weight, vector, filters, request.depth)


def _unit(vector: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = vector / np.linalg.norm(vector)
    return scaled.astype(np.float32)
