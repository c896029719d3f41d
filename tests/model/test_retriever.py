from __future__ import annotations

import io
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from unimr.errors import UnimrError
from unimr.model.manifest import MANIFEST, model_version, verify_manifest
from unimr.model.nlu import INTENTS, Labels
from unimr.model.retriever import UnifiedRetriever
from unimr.model_params import PhotographViews

TEXTS = [
    "a red cat",
    "gato feliz",
    "赤い猫を見せて",
    "ขอรูปแมวหน่อย",
    "",
    "show me please a waving hand with dark skin tone",
    "!?",
    "кот",
]


@pytest.fixture
def pictures(draw):
    return [draw((255, 0, 0, 255)), draw((0, 0, 255, 90), size=(50, 20)), draw((1, 2, 3), kind="JPEG", mode="RGB")]


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model", {"profile": "tiny"}, {"mrr": 0.5})
    return tmp_path / "model"


def lengths(vectors):
    return np.linalg.norm(vectors, axis=1)


def test_vectors_have_unit_length(model, pictures):
    texts, images = model.encode_texts(TEXTS), model.encode_images(pictures)
    composed = model.compose(images, texts[: len(images)])
    for vectors, count in ((texts, len(TEXTS)), (images, len(pictures)), (composed, len(pictures))):
        assert vectors.shape == (count, model.dim)
        assert vectors.dtype == np.float32
        assert np.allclose(lengths(vectors), 1, atol=1e-5)


def test_nothing_in_nothing_out(model):
    assert model.encode_texts([]).shape == model.encode_images([]).shape == (0, model.dim)
    assert model.understand([]) == []


def test_a_text_has_one_vector_whatever_stands_beside_it(model):
    together = model.encode_texts(TEXTS)
    alone = np.concatenate([model.encode_texts([text]) for text in TEXTS])
    backwards = model.encode_texts(TEXTS[::-1])[::-1]
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(together, backwards, atol=1e-5)


def test_texts_alike_are_the_same_bytes_whatever_stands_beside_them(model):
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{number}" for number in rng.integers(0, 300, rng.integers(1, 30))) for _ in range(300)]
    together = model.encode_texts_alike([*texts, *TEXTS])
    assert np.allclose(together, model.encode_texts([*texts, *TEXTS]), atol=1e-5)
    for size in (300, 120, 7, 1):
        some = rng.permutation(300)[:size]
        assert np.array_equal(model.encode_texts_alike([texts[place] for place in some]), together[some])
    assert model.encode_texts_alike([]).shape == (0, model.dim)


def test_a_picture_has_one_vector_whatever_stands_beside_it(model, pictures):
    alone = np.concatenate([model.encode_images([picture]) for picture in pictures])
    assert np.allclose(model.encode_images(pictures), alone, atol=1e-5)


def test_views_of_photographs_are_a_parameter_and_drawings_keep_theirs(model, model_params, draw):
    half = Image.new("RGB", (32, 32), (255, 255, 255))
    half.paste((200, 30, 30), (0, 0, 16, 32))
    photographs = [jpeg(half), jpeg(half.transpose(Image.Transpose.FLIP_LEFT_RIGHT))]
    drawing = draw((255, 0, 0, 255), size=(50, 20))
    apart, alike = (with_views(model, model_params, views) for views in ([1.0], [1.0, 1.0]))
    left, right = apart.encode_images(photographs)
    assert not np.allclose(left, right, atol=1e-3)
    left, right = alike.encode_images(photographs)
    assert np.allclose(left, right, atol=1e-3)
    assert np.array_equal(apart.encode_images([drawing]), alike.encode_images([drawing]))


def jpeg(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=100, subsampling=0)
    return buffer.getvalue()


def with_views(model, model_params, views):
    image = model_params.image.model_copy(update={"photograph_views": PhotographViews(whole=views)})
    changed = UnifiedRetriever(model_params.model_copy(update={"image": image})).eval()
    changed.load_state_dict(model.state_dict())
    return changed


def test_more_than_one_batch_keeps_the_order(model, monkeypatch, pictures):
    texts, images = model.encode_texts(TEXTS), model.encode_images(pictures)
    monkeypatch.setattr("unimr.model.retriever.TEXTS_AT_A_TIME", 3)
    monkeypatch.setattr("unimr.model.retriever.PICTURES_AT_A_TIME", 2)
    monkeypatch.setattr("unimr.model.retriever.REMEMBERED_WORDS", 2)
    assert np.allclose(model.encode_texts(TEXTS), texts, atol=1e-5)
    assert np.allclose(model.encode_images(pictures), images, atol=1e-5)
    assert [found.intent for found in model.understand(TEXTS)] == [model.understand([t])[0].intent for t in TEXTS]


def test_different_texts_differ(model):
    vectors = model.encode_texts(["red cat", "blue dog"])
    assert float(vectors[0] @ vectors[1]) < 0.999


def test_understanding_gives_places_in_the_text(model):
    for text, found in zip(TEXTS, model.understand(TEXTS), strict=True):
        assert found.intent in INTENTS
        assert 1 / len(INTENTS) <= found.confidence <= 1
        for slot in found.slots:
            assert text[slot.start : slot.end] == slot.text
            assert 0 < slot.confidence <= 1


def test_composing_uses_both_halves(model, pictures):
    images, texts = model.encode_images(pictures), model.encode_texts(["dark", "light", "red"])
    composed = model.compose(images, texts)
    assert not np.allclose(composed, model.compose(images, texts[::-1].copy()), atol=1e-3)
    assert not np.allclose(composed, model.compose(images[::-1].copy(), texts), atol=1e-3)


def test_an_untrained_composition_is_the_sum(model_params):
    model = UnifiedRetriever(model_params).eval()
    a, b = np.eye(32, dtype=np.float32)[:1], np.eye(32, dtype=np.float32)[1:2]
    assert np.allclose(model.compose(a, b), (a + b) / np.sqrt(2), atol=1e-6)


def test_leading_dimensions_can_stand_alone(model):
    short = model.encode_texts(TEXTS)[:, : model.params.matryoshka_dims[0]]
    assert (lengths(short) > 0.1).all()


def test_fusion_can_be_switched_off(model, model_params):
    plain = model_params.model_copy(update={"nlu": model_params.nlu.model_copy(update={"fusion": False})})
    other = UnifiedRetriever(plain).eval()
    other.load_state_dict(model.state_dict())
    assert not np.allclose(other.encode_texts(TEXTS), model.encode_texts(TEXTS), atol=1e-3)


def test_a_saved_model_gives_the_same_vectors_to_the_bit(model, folder, pictures):
    loaded = UnifiedRetriever.load(folder)
    assert not loaded.training
    assert np.array_equal(loaded.encode_texts(TEXTS), model.encode_texts(TEXTS))
    # Of one or two pictures the last bit depends on how weights lie in memory, which is the same after every loading.
    assert np.allclose(loaded.encode_images(pictures), model.encode_images(pictures), atol=1e-6)
    assert np.array_equal(loaded.encode_images(pictures), UnifiedRetriever.load(folder).encode_images(pictures))
    assert loaded.understand(TEXTS) == model.understand(TEXTS)


def test_a_saved_model_gives_the_same_vectors_in_another_process(model, folder):
    code = (
        "import sys, pathlib, hashlib; from unimr.model.retriever import UnifiedRetriever as R;"
        "v = R.load(pathlib.Path(sys.argv[1])).encode_texts(['gato feliz', '赤い猫']);"
        "sys.stdout.buffer.write(v.tobytes())"
    )
    said = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, check=True).stdout
    vectors = np.frombuffer(said, np.float32).reshape(2, -1)
    assert np.allclose(vectors, model.encode_texts(["gato feliz", "赤い猫"]), atol=1e-6)


def test_saving_twice_gives_the_same_bytes_and_version(model, folder, tmp_path):
    model.save(tmp_path / "again", {"profile": "tiny"}, {"mrr": 0.5})
    for name in verify_manifest(folder)["files"]:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert re.fullmatch(r"[0-9a-f]{12}", model_version(folder))
    assert model_version(folder) == model_version(tmp_path / "again")


def test_other_weights_have_another_version(model_params, folder, tmp_path):
    torch.manual_seed(5)
    UnifiedRetriever(model_params).save(tmp_path / "other", {})
    assert model_version(tmp_path / "other") != model_version(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "metrics.json"])
@pytest.mark.parametrize("place", [0, 0.5, 0.999])
def test_a_flipped_byte_is_a_named_error(folder, name, place):
    data = bytearray((folder / name).read_bytes())
    data[int(place * len(data))] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(UnimrError, match=rf"{re.escape(str(folder / name))} is damaged"):
        UnifiedRetriever.load(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "metrics.json"])
def test_a_missing_file_is_a_named_error(folder, name):
    (folder / name).unlink()
    with pytest.raises(UnimrError, match=rf"{re.escape(name)} is missing"):
        UnifiedRetriever.load(folder)


def test_a_folder_without_a_model_says_what_to_run(tmp_path):
    with pytest.raises(UnimrError, match=r"no model in .*dvc repro"):
        UnifiedRetriever.load(tmp_path)


def test_a_cut_manifest_is_a_named_error(folder):
    path = folder / MANIFEST
    path.write_text(path.read_text()[:60])
    with pytest.raises(UnimrError, match=r"manifest\.json is not valid JSON"):
        UnifiedRetriever.load(folder)


def test_weights_of_another_configuration_are_a_named_error(model_params, folder, tmp_path):
    from unimr.files import read_json, write_json
    from unimr.model.manifest import write_manifest

    config = read_json(folder / "config.json")
    write_json(folder / "config.json", {**config, "dim": 64})
    write_manifest(folder, {})
    with pytest.raises(UnimrError, match=r"do not fit its config\.json"):
        UnifiedRetriever.load(folder)


def test_what_is_no_picture_is_refused(model, pictures):
    with pytest.raises(UnimrError):
        model.encode_images([*pictures, b"not a picture"])


LABELS = Labels(("alarm_set", "play_music", "weather"), ("time", "artist"))


def test_labels_of_other_data_are_saved_with_the_model_and_come_back(model_params, tmp_path):
    other = UnifiedRetriever(model_params, LABELS).eval()
    other.save(tmp_path / "model", {})
    assert UnifiedRetriever.load(tmp_path / "model").nlu.labels == LABELS
    found = UnifiedRetriever.load(tmp_path / "model").understand(TEXTS)
    assert [one.intent for one in found] == [one.intent for one in other.understand(TEXTS)]
    assert {one.intent for one in found} <= set(LABELS.intents)
    assert {slot.label for one in found for slot in one.slots} <= set(LABELS.slots)


def test_the_default_labels_need_no_file(model, tmp_path):
    model.save(tmp_path / "model", {})
    assert not (tmp_path / "model" / "labels.json").exists()
    assert UnifiedRetriever.load(tmp_path / "model").nlu.labels == Labels()
