from __future__ import annotations

import io
import logging
import shutil
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from unimr.config import load_params
from unimr.data.tables import write_table
from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.index.embed import EMBEDDINGS, _attribute_columns, data_hash, digest, embed, read_manifest, read_rows
from unimr.index.embedding_cache import CACHE, last_counts
from unimr.index.schema import IMAGES, TEXTS, UNKNOWN_NUMBER
from unimr.model.retriever import UnifiedRetriever

from .small_index import DIM, PROJECT, VERSION, WordEncoder, params, write_tables


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
        embed(params(), root, Broken(), "000000000002")
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


class CountingEncoder(WordEncoder):
    """Notes what it is asked to encode."""

    def __init__(self):
        super().__init__()
        self.texts, self.images = [], set()

    def encode_texts(self, texts):
        self.texts += texts
        return super().encode_texts(texts)

    def encode_images(self, images):
        self.images |= set(images)
        return WordEncoder().encode_images(images)


def embed_again(root, version=VERSION, **changes):
    shutil.rmtree(root / EMBEDDINGS)  # as DVC does before it runs a stage
    encoder = CountingEncoder()
    embed(params(**changes), root, encoder, version)
    return encoder


def test_what_was_embedded_before_is_not_encoded_again(root, caplog):
    before = read_manifest(root / EMBEDDINGS)
    with caplog.at_level(logging.INFO, logger="unimr"):
        encoder = embed_again(root)
    assert (encoder.texts, encoder.images) == ([], set())
    assert read_manifest(root / EMBEDDINGS) == before
    assert "images: 0 encoded, 28 reused, 28 rows" in caplog.text


def test_only_a_changed_text_is_encoded(root):
    write_tables(root, changed_name="moggy")
    assert embed_again(root).texts == ["moggy", "moggy: Animals & Nature, thing"]
    assert last_counts(root) == {"images": {"encoded": 0, "reused": 28}, "texts": {"encoded": 2, "reused": 26}}


def test_another_model_or_batch_size_encodes_everything_and_its_predecessor_is_forgotten(root):
    encoder = embed_again(root, version="000000000002")
    assert (len(encoder.texts), len(encoder.images)) == (28, 28)
    assert len(embed_again(root, version=VERSION).texts) == 28
    other = params().model_copy(update={"embed": params().embed.model_copy(update={"batch_size": 7})})
    embed(other, root, encoder := CountingEncoder(), VERSION)
    assert (len(encoder.texts), len(encoder.images)) == (28, 28)


@pytest.mark.parametrize("name", ["images.safetensors", "texts.safetensors"])
def test_a_damaged_cache_is_ignored_with_a_warning_and_made_anew(root, caplog, name):
    before = read_manifest(root / EMBEDDINGS)
    data = bytearray((root / CACHE / name).read_bytes())
    data[len(data) // 2] ^= 1
    (root / CACHE / name).write_bytes(data)
    encoder = embed_again(root)
    assert "embedding cache" in caplog.text and "damaged" in caplog.text
    assert (len(encoder.texts), len(encoder.images)) == (28, 28)
    assert read_manifest(root / EMBEDDINGS) == before
    assert embed_again(root).texts == []


@pytest.mark.parametrize("content", ["", "[]", '{"made_by": 1}', '{"files": []}'])
def test_a_cache_without_a_sound_manifest_is_made_anew(root, content):
    (root / CACHE / "manifest.json").write_text(content)
    assert len(embed_again(root).texts) == 28


def write_random_tables(root, items):
    """Tables of the given items: for each a random picture, a name and a longer text, none like another."""
    images, texts = [], []
    for item in items:
        rng = np.random.default_rng(item)
        data = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(data, format="PNG")
        name, picture = f"i{item}", data.getvalue()
        images.append((f"{name}/a", name, "a", picture, 16, 16, sha256(picture).hexdigest(), {"base": name}, "train"))
        words = [f"word{number}" for number in rng.integers(0, 500, rng.integers(1, 30))]
        for role, kind, text in (("name", "short", " ".join(words[:3])), ("description", "long", " ".join(words))):
            texts.append((f"{name}/en/{role}", name, "en", kind, role, f"{text} {item}", "train"))
    columns = ["image_id", "item_id", "style", "image", "width", "height", "sha256", "attributes", "split"]
    write_table(root / "data/validated", "images", pd.DataFrame(images, columns=columns))
    columns = ["text_id", "item_id", "lang", "kind", "role", "text", "split"]
    write_table(root / "data/validated", "texts", pd.DataFrame(texts, columns=columns))
    (root / "data/validated/slot_values.json").write_text("{}")


def test_a_real_model_gives_the_same_bytes_step_by_step_as_at_once(tmp_path):
    small = params().model_copy(update={"embed": params().embed.model_copy(update={"batch_size": 16})})
    torch.manual_seed(0)
    model = UnifiedRetriever(load_params(PROJECT).model).eval()
    grown, fresh = tmp_path / "grown", tmp_path / "fresh"
    for items in (range(90), range(40, 97), [*range(30, 60), *range(200, 203), *range(70, 120)]):
        write_random_tables(grown, items)
        embed(small, grown, model, VERSION)
    assert last_counts(grown)["images"] == {"encoded": 10 + 3 + 23, "reused": 20 + 27}
    write_random_tables(fresh, items)
    embed(small, fresh, model, VERSION)
    assert last_counts(fresh)["images"]["reused"] == 0
    for name in ("images.parquet", "texts.parquet", "manifest.json"):
        assert (grown / EMBEDDINGS / name).read_bytes() == (fresh / EMBEDDINGS / name).read_bytes()
