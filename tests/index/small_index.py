"""A small catalogue on disk and a small encoder that needs no training."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from unimr.config import load_params
from unimr.data.images import open_picture
from unimr.data.tables import write_table
from unimr.files import write_json
from unimr.params import IndexParams, Params

PROJECT = Path(__file__).parents[2]
DIM = 48
VERSION = "000000000001"
NAMES = {
    "cat": ("Katze", "猫", "Animals & Nature"), "dog": ("Hund", "犬", "Animals & Nature"),
    "horse": ("Pferd", "馬", "Animals & Nature"), "fox": ("Fuchs", "狐", "Animals & Nature"),
    "rocket": ("Rakete", "火箭", "Travel & Places"), "volcano": ("Vulkan", "火山", "Travel & Places"),
    "train": ("Zug", "電車", "Travel & Places"), "castle": ("Schloss", "城", "Travel & Places"),
    "bread": ("Brot", "食パン", "Food & Drink"), "cheese": ("Käse", "乾酪", "Food & Drink"),
    "apple": ("Apfel", "林檎", "Food & Drink"), "hand": ("Faust", "手", "People & Body"),
}  # fmt: skip
TONES = {"light": "helle Hautfarbe", "dark": "dunkle Hautfarbe"}
STYLES = ("google", "openmoji")
SLOT_VALUES = {
    "en": {
        "skin_tone": {"light": ["light", "pale"], "dark": ["dark", "black"]},
        "style": {"google": ["google", "noto"], "openmoji": ["openmoji", "open moji"]},
        "category": {"Food & Drink": ["food", "things to eat"], "Animals & Nature": ["animals"], "Flags": ["flags"]},
        "time": {"2015": ["2015", "twenty fifteen"]},
        "count": {"3": ["3", "three"]},
    },
    "de": {"skin_tone": {"dark": ["dunkel", "dunkle"]}, "category": {"Food & Drink": ["Essen"]}},
}
SLOT_WORDS = {
    "skin_tone": ("dark", "light", "dunkel"), "style": ("openmoji", "google"), "category": ("food", "animals", "flags"),
    "time": ("2015", "2019"), "count": ("three",), "subject": tuple(NAMES) + tuple(name[0] for name in NAMES.values()),
}  # fmt: skip


def picture(number: int, style: str) -> bytes:
    """A picture that tells the encoder which item and style it shows."""
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (number, STYLES.index(style), 7)).save(data, format="PNG")
    return data.getvalue()


def all_items() -> dict[str, dict[str, str]]:
    """item_id → English name, German name, Japanese name and attributes."""
    items = {}
    for number, (name, (german, japanese, category)) in enumerate(NAMES.items()):
        common = {"category": category, "subcategory": name, "year": str(2012 + number)}
        items[name] = {"en": name, "de": german, "ja": japanese, "base": name, **common}
    for tone, german in TONES.items():
        of_hand = {"category": "People & Body", "subcategory": "hand", "year": "2015", "skin_tone": tone}
        names = {"en": f"hand: {tone} skin tone", "de": f"Faust: {german}", "ja": f"手: {tone}"}
        items[f"hand-{tone}"] = names | {"base": "hand"} | of_hand
    return items


def write_tables(root: Path, changed_name: str | None = None) -> None:
    """Write the validated tables; `changed_name` renames an item, so that other content is built."""
    folder = root / "data/validated"
    images, texts = [], []
    for number, (item, values) in enumerate(all_items().items()):
        attributes = {name: value for name, value in values.items() if name not in ("en", "de", "ja")}
        for style in STYLES:
            data = picture(number, style)
            images.append((f"{item}/{style}", item, style, data, 8, 8, sha256(data).hexdigest(), attributes, "train"))
        for lang in ("en", "de", "ja"):
            name = changed_name if changed_name and item == "cat" and lang == "en" else values[lang]
            texts.append((f"{item}/{lang}/name", item, lang, "short", "name", name, "train"))
            long = f"{name}: {values['category']}, thing"
            texts.append((f"{item}/{lang}/description", item, lang, "long", "description", long, "train"))
    columns = ["image_id", "item_id", "style", "image", "width", "height", "sha256", "attributes", "split"]
    write_table(folder, "images", pd.DataFrame(images, columns=columns))
    columns = ["text_id", "item_id", "lang", "kind", "role", "text", "split"]
    write_table(folder, "texts", pd.DataFrame(texts, columns=columns))
    write_json(folder / "slot_values.json", SLOT_VALUES)


def write_root(root: Path) -> None:
    """A project folder: validated tables and a model folder whose content the encoder does not need."""
    write_tables(root)
    write_json(root / "models/train_joint/config.json", {"dim": DIM})
    write_json(root / "metrics/evaluation.json", {})


def index_params(**changes: object) -> IndexParams:
    return load_params(PROJECT).index.model_copy(update={"text_languages": ["en"], **changes})


def params(**changes: object) -> Params:
    return load_params(PROJECT).model_copy(update={"index": index_params(**changes)})


def word_encoder(folder: Path) -> WordEncoder:
    """The model in any folder."""
    return WordEncoder()


@dataclass(frozen=True)
class FoundSlot:
    start: int
    end: int
    label: str
    text: str
    confidence: float = 0.9


@dataclass(frozen=True)
class Understood:
    intent: str
    confidence: float
    slots: tuple[FoundSlot, ...]


class WordEncoder:
    """Sums a fixed random vector a word; German words mean the same as English ones; pictures mean their name."""

    def __init__(self, dim: int = DIM) -> None:
        self.dim = dim
        self.items = list(all_items().values())
        self.english = {values["de"].lower(): values["en"] for values in self.items}

    def _word(self, word: str) -> np.ndarray:
        seed = int.from_bytes(sha256(word.encode()).digest()[:4])
        return np.random.default_rng(seed).normal(size=self.dim)

    def _unit(self, rows: list[np.ndarray]) -> np.ndarray:
        vectors = np.stack(rows)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def encode_texts(self, texts):
        rows = []
        for text in texts:
            words = re.findall(r"\w+", text.lower()) or [""]
            rows.append(np.sum([self._word(self.english.get(word, word)) for word in words], axis=0))
        return self._unit(rows)

    def encode_texts_alike(self, texts):
        return self.encode_texts(texts)

    def encode_images(self, images):
        rows = []
        for data in images:
            number, style, _ = open_picture(data).convert("RGB").getpixel((0, 0))
            name = self.encode_texts([self.items[number]["en"]])[0]
            rows.append(name + 0.05 * self.encode_texts([f"style{style}"])[0])
        return self._unit(rows)

    def compose(self, image_vectors, text_vectors):
        return self._unit(list(image_vectors + text_vectors))

    def understand(self, texts):
        return [self._understand(text) for text in texts]

    def _understand(self, text: str) -> Understood:
        slots = []
        for match in re.finditer(r"\w+", text):
            labels = [label for label, words in SLOT_WORDS.items() if match.group(0) in words]
            slots += [FoundSlot(*match.span(), label, match.group(0)) for label in labels]
        starts = {"what": "find_text", "all": "filter_set", "like": "find_similar", "weather": "out_of_scope"}
        return Understood(starts.get(text.split()[0], "find_image"), 0.9, tuple(slots))
