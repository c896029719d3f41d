"""A small catalogue and a model that knows words by their letters and pictures by their colour."""

import io
import zlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from unimr.data.tables import write_table
from unimr.evaluation.tasks import Tables

COLOURS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250), "grey": (120, 120, 120)}
GERMAN = {"red": "rot", "green": "grün", "blue": "blau", "grey": "grau"}
SHADE = 60


def png(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


class ColourModel:
    """Knows the four colours in English and German: a word and a picture of a colour share their vector."""

    dim = 8

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.pictures = 0

    def encode_texts(self, texts):
        self.encoded += texts
        return unit(np.stack([self._word(text) for text in texts]))

    def encode_texts_alike(self, texts):
        return self.encode_texts(texts)

    def _word(self, text):
        vector = np.zeros(8)
        for english, colour in COLOURS.items():
            if english in text or GERMAN[english] in text:
                vector[:3] += colour
        if not vector.any():
            vector[3 + zlib.crc32(text.encode()) % 4] = 1
        return vector

    def encode_images(self, images):
        self.pictures += len(images)
        pixels = [np.asarray(Image.open(io.BytesIO(image)))[0, 0] for image in images]
        return unit(np.stack([np.concatenate([pixel, [0, 0, 0, 0, 1]]) for pixel in pixels]).astype(float))

    def compose(self, image_vectors, text_vectors):
        return unit(image_vectors + text_vectors)

    def understand(self, texts):
        slot = SimpleNamespace(start=0, end=3, label="subject")
        intents = ["find_text" if "what" in text else "find_image" for text in texts]
        return [SimpleNamespace(intent=intent, slots=(slot,)) for intent in intents]

    def parameters(self):
        return [np_parameter(3), np_parameter(4)]


def np_parameter(size: int) -> SimpleNamespace:
    return SimpleNamespace(numel=lambda: size)


def query(task, lang, text, item, image_id=None):
    return {"task": task, "lang": lang, "text": text, "image_id": image_id, "item": item}


QUERIES = [
    query("name_to_name", "de", "rot", "red"),
    query("name_to_name", "de", "blau", "blue"),
    query("name_to_name", "fr", "gris", "grey"),
    query("keyword_to_item", "de", "grünlich", "green"),
    query("name_to_image", "en", "red", "red"),
    query("composed_to_image", "en", "blue", "red-dark", "red/google"),
    query("intent_to_item", "en", "show me nothing we have", "no-such-item"),
    query("intent_to_item", "en", "show me red please", "red"),
]


@pytest.fixture
def model() -> ColourModel:
    return ColourModel()


@pytest.fixture
def tables() -> Tables:
    images = [
        (item, style, tuple(max(0, part - shift) for part in colour), item)
        for style, shift in (("google", 0), ("twitter", 5), ("openmoji", 9))
        for item, colour in COLOURS.items()
    ] + [("red-dark", style, (250 - SHADE, 10, 90), "red") for style in ("google", "twitter")]
    queries = [{**row, "query_id": f"q{number}", "split": "test"} for number, row in enumerate(QUERIES)]
    names = [(item, "en", item) for item in COLOURS] + [(item, "de", GERMAN[item]) for item in COLOURS]
    utterances = [("what is red", "find_text", 0), ("red", "find_image", 0), ("a red one", "find_image", 2)]
    return Tables(
        images=pd.DataFrame(
            [
                {
                    "image_id": f"{item}/{style}",
                    "item_id": item,
                    "style": style,
                    "image": png(colour),
                    "width": 8,
                    "height": 8,
                    "sha256": "",
                    "attributes": {"base": base},
                    "split": "test_style" if style == "openmoji" else "train",
                }
                for item, style, colour, base in images
            ]
        ),
        texts=pd.DataFrame(
            [
                {
                    "text_id": f"{item}/{lang}/name",
                    "item_id": item,
                    "lang": lang,
                    "kind": "short",
                    "role": "name",
                    "text": text,
                    "split": "train",
                }
                for item, lang, text in [*names, ("red-dark", "en", "dark red")]
            ]
        ),
        queries=pd.DataFrame(queries),
        qrels=pd.DataFrame([{"query_id": row["query_id"], "item_id": row["item"], "relevance": 1} for row in queries]),
        utterances=pd.DataFrame(
            [
                {
                    "utterance_id": f"u{number}",
                    "lang": "en",
                    "text": text,
                    "intent": intent,
                    "slots": [{"start": start, "end": start + 3, "label": "subject"}],
                    "item_id": "red",
                    "split": "test",
                }
                for number, (text, intent, start) in enumerate(utterances)
            ]
        ),
    )


@pytest.fixture
def root(tmp_path, tables):
    for name in ("images", "texts", "queries", "qrels", "utterances"):
        write_table(tmp_path / "data" / "validated", name, getattr(tables, name))
    return tmp_path
