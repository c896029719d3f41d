from __future__ import annotations

import numpy as np
import pytest

from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.index.embed import EMBEDDINGS, _attribute_columns, data_hash, digest, embed, read_manifest, read_rows
from unimr.index.schema import IMAGES, TEXTS, UNKNOWN_NUMBER

from .small_index import DIM, VERSION, WordEncoder, params


def test_rows_carry_ids_attributes_and_unit_vectors(embedded_root):
    images = read_rows(embedded_root / EMBEDDINGS / "images.parquet", IMAGES)
    row = images.fields["image_id"].index("hand-dark/openmoji")
    assert {name: images.fields[name][row] for name in ("item_id", "style", "skin_tone", "year", "base", "gender")} == {
        "item_id": "hand-dark", "style": "openmoji", "skin_tone": "dark", "year": 2015, "base": "hand", "gender": "",
    }  # fmt: skip
    assert images.vectors.shape == (28, DIM) and images.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(images.vectors, axis=1), 1, atol=1e-5)


def test_only_names_and_descriptions_in_the_index_languages_are_embedded(embedded_root):
    texts = read_rows(embedded_root / EMBEDDINGS / "texts.parquet", TEXTS)
    assert set(texts.fields["lang"]) == {"en"}
    assert sorted(set(texts.fields["kind"])) == ["long", "short"]
    assert len(texts.vectors) == 28


def test_manifest_names_model_data_and_rows(embedded_root):
    manifest = read_json(embedded_root / EMBEDDINGS / "manifest.json")
    assert manifest["model_version"] == VERSION
    assert manifest["data_hash"] == data_hash(embedded_root / "data/validated")
    assert manifest["rows"] == {"images": 28, "texts": 28}


def test_a_language_without_texts_is_an_error_that_names_the_others(root):
    with pytest.raises(UnimrError, match=r"text_languages.*xx.*de, en, ja"):
        embed(params(text_languages=["xx"]), root, WordEncoder(), VERSION)


def test_a_model_that_gives_nan_is_refused_and_the_old_embeddings_stay(root):
    class Broken(WordEncoder):
        def encode_images(self, images):
            vectors = super().encode_images(images)
            vectors[1, 3] = np.nan
            return vectors

    before = read_manifest(root / EMBEDDINGS)
    with pytest.raises(UnimrError, match="NaN"):
        embed(params(), root, Broken(), VERSION)
    assert read_manifest(root / EMBEDDINGS) == before


def test_a_changed_file_is_named(root):
    path = root / EMBEDDINGS / "texts.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(UnimrError, match=r"texts\.parquet"):
        read_manifest(root / EMBEDDINGS)


def test_digest_depends_on_who_has_which_vector_and_not_on_the_order():
    vectors = np.eye(3, dtype=np.float32)
    assert digest(["a", "b", "c"], vectors) == digest(["c", "a", "b"], vectors[[2, 0, 1]])
    assert digest(["a", "b", "c"], vectors) != digest(["b", "a", "c"], vectors)


def test_an_item_without_a_year_has_none_in_the_index(root):
    columns = _attribute_columns([{"year": "soon"}, {}, {"year": "2019"}])
    assert columns["year"] == [UNKNOWN_NUMBER, UNKNOWN_NUMBER, 2019]
