from __future__ import annotations

import numpy as np
import pytest

from unimr.search.encoding import TEXTS_AT_A_TIME, QueryEncoder

from ..model.conftest import model, model_params  # noqa: F401 (fixtures)

TEXTS = [
    "a red cat",
    "gato feliz",
    "赤い猫を見せて",
    "",
    "show me please a waving hand with dark skin tone",
    "!?",
    "a red cat",
]
MANY = [
    *TEXTS,
    *(f"{word} number {count}" for count in range(2 * TEXTS_AT_A_TIME) for word in ("cat", "grumpy old dog")),
]


@pytest.fixture
def encoder(model, tmp_path):  # noqa: F811
    model.save(tmp_path / "model", {}, {})
    return QueryEncoder(tmp_path / "model")


def test_it_understands_and_embeds_as_the_model_does(encoder, model):  # noqa: F811
    understood = encoder.understand(MANY)
    for one, other in zip(understood, model.understand(MANY), strict=True):
        assert (one.intent, [slot.label for slot in one.slots]) == (other.intent, [slot.label for slot in other.slots])
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)
    assert np.allclose(encoder.encode_texts(MANY), model.encode_texts(MANY), atol=1e-5)
    assert np.allclose(
        encoder.encode_texts(["other words", *TEXTS]), model.encode_texts(["other words", *TEXTS]), atol=1e-5
    )


def test_what_was_understood_is_not_encoded_again(encoder, monkeypatch):
    calls = []
    embed = encoder._model.embed_words
    monkeypatch.setattr(encoder._model, "embed_words", lambda batch: calls.append(len(batch.layout)) or embed(batch))
    encoder.understand(TEXTS)
    encoder.encode_texts([*TEXTS, "cat"])
    assert calls == [len(set(TEXTS)), 1]


def test_nothing_in_nothing_out(encoder):
    assert encoder.understand([]) == [] and encoder.encode_texts([]).shape == (0, encoder.dim)
