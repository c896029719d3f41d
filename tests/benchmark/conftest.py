"""A model that knows texts by a table of vectors and pictures by their colour."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from unimr.data.published.records import Dataset, Photo, Text, Utterance


class TableModel:
    """Gives every text the vector it is told, and every picture that of its colour."""

    def __init__(self, texts, colours, frames=None) -> None:
        self.vectors, self.colours, self.frames = texts, colours, frames or {}

    def encode_texts(self, texts):
        return np.stack([self.vectors[text] for text in texts]).astype(np.float32)

    def encode_images(self, images):
        pixels = [tuple(np.asarray(Image.open(io.BytesIO(image)))[0, 0]) for image in images]
        return np.stack([self.colours[tuple(map(int, pixel))] for pixel in pixels]).astype(np.float32)

    def understand(self, texts):
        return [self.frames[text] for text in texts]


def png(colour) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


def frame(intent, *slots):
    return SimpleNamespace(intent=intent, slots=[SimpleNamespace(start=a, end=b, label=label) for a, b, label in slots])


def caption(item, lang, text, split="dev", collection="flickr", role="caption"):
    return Text(collection, item, lang, role, text, split)


def utterance(number, text, intent, *slots, lang="en"):
    return Utterance("massive", f"massive:{lang}.{number}", lang, text, intent, tuple(slots), "dev")


@pytest.fixture
def photographs(tmp_path):
    """Three photographs, red, green and blue, each with an English and a German caption; blue is for training."""
    colours = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    data = Dataset()
    for place, (name, colour) in enumerate(colours.items()):
        split = "train" if name == "blue" else "dev"
        (tmp_path / f"{name}.png").write_bytes(png(colour))
        data.photos[f"flickr:{place}"] = Photo(f"flickr:{place}", tmp_path / f"{name}.png", split)
        for lang, text in (("en", name), ("de", f"{name} (de)")):
            data.texts.append(caption(f"flickr:{place}", lang, text, split))
    data.texts.append(caption("flickr:99", "en", "of no photograph"))
    return data
