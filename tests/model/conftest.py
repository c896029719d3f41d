from __future__ import annotations

import io

import pytest
import torch
from PIL import Image

from unimr.model.retriever import UnifiedRetriever
from unimr.model_params import ImageEncoderParams, ModelParams, NluParams, TextEncoderParams


@pytest.fixture(scope="session")
def model_params() -> ModelParams:
    return ModelParams(
        dim=32,
        matryoshka_dims=[16, 32],
        text=TextEncoderParams(kind="ngram", buckets=1024, ngram_max=4, layers=1, heads=2, max_words=12),
        nlu=NluParams(layers=1, heads=2, fusion=True),
        image=ImageEncoderParams(kind="convnet", channels=[8, 16, 16], image_size=32),
    )


@pytest.fixture(scope="session")
def model(model_params) -> UnifiedRetriever:
    """An untrained model; do not change it."""
    torch.manual_seed(0)
    model = UnifiedRetriever(model_params).eval()
    with torch.no_grad():
        model.text_encoder.idf.uniform_(0.5, 3.0)
        model.composition.weight.normal_(0, 0.1)
    return model


@pytest.fixture(scope="session")
def draw():
    """Encoded pictures of one colour."""

    def encoded(colour, size=(32, 32), kind="PNG", mode="RGBA") -> bytes:
        buffer = io.BytesIO()
        Image.new(mode, size, colour).save(buffer, kind)
        return buffer.getvalue()

    return encoded
