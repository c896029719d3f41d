from __future__ import annotations

import numpy as np
import pytest

from unimr.index.exact import ExactRows
from unimr.index.publish import collection_name, current_version, versions_folder
from unimr.index.schema import COLLECTIONS, Filter
from unimr.index.store import Store, store_path

FILTERS = [
    (),
    (Filter("category", "==", "Food & Drink"),),
    (Filter("category", "==", "Food & Drink"), Filter("category", "==", "Animals & Nature"), Filter("year", ">", 2014)),
    (Filter("skin_tone", "!=", "dark"), Filter("year", "<=", 2015)),
    (Filter("year", "!=", 2015),),
    (Filter("category", "==", "nothing"),),
]


@pytest.mark.parametrize("filters", FILTERS, ids=lambda filters: " and ".join(map(str, filters)) or "none")
@pytest.mark.parametrize("k", [1, 5, 100])
def test_the_same_rows_are_found_as_by_the_store(published, filters, k):
    version = current_version(published)
    queries = np.random.default_rng(3).normal(size=(7, 48))
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    with Store(store_path(versions_folder(published) / version)) as store:
        for spec in COLLECTIONS:
            name = collection_name(version, spec)
            store.load(name)
            rows = ExactRows(spec, store.read_all(name, spec))
            mine, its = rows.search(queries, k, filters), store.search(name, spec, queries, k, filters)
            assert [len(hits) for hits in mine] == [len(hits) for hits in its]
            for found, expected in zip(mine, its, strict=True):
                scores = [[hit.score for hit in hits] for hits in (found, expected)]
                assert scores[0] == pytest.approx(scores[1], abs=1e-5)
                assert {hit.key for hit in found} == {hit.key for hit in expected} or k == 5
        stored = store.fetch(name, spec, store.read_all(name, spec).ids(spec)[:3])
        assert {key: value.tolist() for key, value in rows.fetch([*stored, "no"]).items()} == {
            key: value.tolist() for key, value in stored.items()
        }
