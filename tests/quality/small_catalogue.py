"""A small catalogue in the shape of the real one: 72 items, two trained styles and an unseen one, five scripts."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator

import pandas as pd
from PIL import Image, ImageDraw

from unimr.data.tables import SCHEMAS

Tables = dict[str, pd.DataFrame]

TRAINED = ["en", "de", "ru", "ja"]
UNTRAINED = ["sw"]
COLOURS = [
    (220, 40, 40),
    (40, 160, 60),
    (50, 90, 220),
    (240, 200, 40),
    (30, 30, 30),
    (150, 60, 180),
    (240, 140, 30),
    (240, 150, 180),
    (120, 80, 40),
    (130, 130, 130),
    (60, 200, 210),
    (190, 220, 120),
]
CATEGORIES = ["Animals & Nature", "Food & Drink", "Travel & Places", "Objects", "Activities", "Symbols"]
WORDS = {
    "en": {
        "colours": "red green blue yellow black violet orange pink brown grey turquoise lime",
        "nouns": "cat apple train lamp ball star",
        "groups": "animal food vehicle furniture sport sign",
        "open": {"train": "please show me", "test": "could I see"},
        "extra": "dark woman emoji objects 2015 3",
    },
    "de": {
        "colours": "rote grüne blaue gelbe schwarze violette orangene rosa braune graue türkise limonengrüne",
        "nouns": "Katze Birne Bahn Lampe Kugel Sonne",
        "groups": "Tier Essen Fahrzeug Möbel Sport Zeichen",
        "open": {"train": "zeig mir bitte", "test": "ich suche gerade"},
        "extra": "dunkel Frau Emoji Objekte 2016 4",
    },
    "ru": {
        "colours": "красная зелёная синяя жёлтая чёрная лиловая оранжевая розовая бурая серая бирюзовая салатная",
        "nouns": "кошка груша машина лампа игра звезда",
        "groups": "животное еда транспорт мебель спорт знак",
        "open": {"train": "покажи мне", "test": "хочу увидеть"},
        "extra": "тёмный женщина эмодзи предметы 2017 5",
    },
    "ja": {
        "colours": "赤い 緑の 青い 黄色い 黒い 紫の 橙の 桃色の 茶色い 灰色の 水色の 黄緑の",
        "nouns": "猫 林檎 電車 電灯 球 星",
        "groups": "動物 食物 乗物 家具 運動 記号",
        "open": {"train": "見せて ください", "test": "探して います"},
        "extra": "濃い 女性 絵文字 物品 2018 6",
    },
    "sw": {
        "colours": "nyekundu kijani buluu njano nyeusi zambarau chungwa waridi kahawia kijivu feruzi ndimu",
        "nouns": "paka tofaa treni taa mpira nyota",
        "groups": "mnyama chakula gari samani mchezo ishara",
    },
}
INTENTS = ["find_image", "find_text", "filter_set", "find_similar", "out_of_scope"]
EXTRA_LABELS = ["skin_tone", "gender", "style", "category", "time", "count"]
ITEMS = [(noun, colour) for noun in range(6) for colour in range(12)]


def item_id(noun: int, colour: int) -> str:
    return f"1f{noun}{colour:02x}"


def is_test_item(noun: int, colour: int) -> bool:
    return (noun * 12 + colour) % 20 == 7


def draw(noun: int, colour: int, style: str) -> bytes:
    """The noun is the shape, the colour fills it; styles differ in outline, size and shade."""
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)
    shade = {"google": 0, "twitter": 25, "openmoji": -25}[style]
    fill = tuple(min(255, max(0, channel + shade)) for channel in COLOURS[colour])
    edge = {"google": 6, "twitter": 10, "openmoji": 3}[style]
    box = (edge, edge + 2 * noun, 63 - edge - noun, 63 - edge)
    line = {"outline": "black", "width": 3} if style == "openmoji" else {}
    if noun % 3 == 0:
        pen.ellipse(box, fill=fill, **line)
    elif noun % 3 == 1:
        pen.rectangle(box, fill=fill, **line)
    else:
        pen.polygon([(32, edge), (63 - edge, 60 - noun), (edge, 60 - noun)], fill=fill, **line)
    pen.line((edge, colour * 5 + 2, 63 - edge, 60 - colour * 4), fill="white", width=2 + noun // 3)
    return encoded(picture)


def encoded(picture: Image.Image, kind: str = "PNG", **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def image_row(item: str, style: str, data: bytes, attributes: dict[str, str], split: str) -> dict[str, object]:
    with Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
    return {
        "image_id": f"{item}/{style}",
        "item_id": item,
        "style": style,
        "image": data,
        "width": width,
        "height": height,
        "sha256": hashlib.sha256(data).hexdigest(),
        "attributes": attributes,
        "split": split,
    }


def _images() -> Iterator[dict[str, object]]:
    for noun, colour in ITEMS:
        item = item_id(noun, colour)
        attributes = {
            "category": CATEGORIES[noun],
            "subcategory": CATEGORIES[noun].lower(),
            "year": "2015",
            "base": item,
        }
        split = "test_item" if is_test_item(noun, colour) else "train"
        for style in ("google", "twitter", "openmoji"):
            data = draw(noun, colour, style)
            yield image_row(item, style, data, attributes, "test_style" if style == "openmoji" else split)


def words_of(lang: str, kind: str) -> list[str]:
    return WORDS[lang][kind].split()


def name_of(lang: str, noun: int, colour: int) -> str:
    joint = "" if lang == "ja" else " "
    return f"{words_of(lang, 'colours')[colour]}{joint}{words_of(lang, 'nouns')[noun]}"


def text_row(item: str, lang: str, role: str, text: str, split: str, number: str = "") -> dict[str, str]:
    kind = "long" if role == "description" else "short"
    return {
        "text_id": f"{item}/{lang}/{role}{number}",
        "item_id": item,
        "lang": lang,
        "kind": kind,
        "role": role,
        "text": text,
        "split": split,
    }


def _texts() -> Iterator[dict[str, str]]:
    for place, lang in enumerate([*TRAINED, *UNTRAINED]):
        for number, (noun, colour) in enumerate(ITEMS):
            item, name = item_id(noun, colour), name_of(lang, noun, colour)
            held_out = is_test_item(noun, colour) or (lang != "en" and (number + place) % 12 == 3)
            split = "test_item" if is_test_item(noun, colour) else "test_pair" if held_out else "train"
            if lang in UNTRAINED:
                split, held_out = "untrained", False
            yield text_row(item, lang, "name", name, split)
            if held_out:
                continue
            group, tint = words_of(lang, "groups")[noun], words_of(lang, "colours")[colour]
            keywords = [words_of(lang, "nouns")[noun], tint, group]
            for index, keyword in enumerate(keywords):
                yield text_row(item, lang, "keyword", keyword, split, f"/{index}")
            yield text_row(item, lang, "description", f"{name}: {', '.join(keywords)}", split)
            if number % 6 == 2 and lang not in UNTRAINED:
                yield text_row(item, lang, "keyword", f"{tint} {group}", "test_keyword", "/9")


def _utterances() -> Iterator[dict[str, object]]:
    trained = {(row["item_id"], row["lang"]) for row in _texts() if row["role"] == "name" and row["split"] == "train"}
    for lang in TRAINED:
        known = [pair for pair in ITEMS if (item_id(*pair), lang) in trained]
        for split, count in (("train", 60), ("test", 30)):
            for number in range(count):
                yield _utterance(lang, split, number, known[number % len(known)])


def _utterance(lang: str, split: str, number: int, pair: tuple[int, int]) -> dict[str, object]:
    intent, label = INTENTS[number % 5], EXTRA_LABELS[number % 6]
    extra = words_of(lang, "extra")[number % 6]
    opening, name = WORDS[lang]["open"][split], name_of(lang, *pair)
    text = f"{opening} {name} {extra}"
    start = len(opening) + 1
    end = start + len(name)
    slots = [{"start": start, "end": end, "label": "subject"}, {"start": end + 1, "end": len(text), "label": label}]
    outside = intent == "out_of_scope"
    return {
        "utterance_id": f"{lang}/{split}/plain/{number}",
        "lang": lang,
        "text": text,
        "intent": intent,
        "slots": [] if outside else slots,
        "item_id": None if outside else item_id(*pair),
        "split": split,
    }


def _queries(tables: Tables) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, qrels = [], []

    def ask(task: str, lang: str, text: str, item: str, image: str | None = None) -> None:
        query_id = f"{task}/{lang}/{len(rows)}"
        rows.append([query_id, task, lang, text, image, "test"])
        qrels.append([query_id, item, 1])

    tasks = {
        "train": "name_to_image",
        "test_pair": "name_to_name",
        "test_item": "item_to_name",
        "untrained": "untrained_name_to_name",
    }
    texts = tables["texts"]
    for row in texts[texts["role"] == "name"].itertuples():
        ask(tasks[row.split], row.lang, row.text, row.item_id)
    for row in texts[texts["split"] == "test_keyword"].itertuples():
        ask("keyword_to_item", row.lang, row.text, row.item_id)
    utterances = tables["utterances"]
    for row in utterances[(utterances["split"] == "test") & utterances["item_id"].notna()].itertuples():
        ask("intent_to_item", row.lang, row.text, row.item_id)
    for noun, colour in ITEMS[:5]:
        ask("composed_to_image", "en", "dark", item_id(noun, colour + 1), f"{item_id(noun, colour)}/google")
    columns = SCHEMAS["queries"].names
    return pd.DataFrame(rows, columns=columns), pd.DataFrame(qrels, columns=SCHEMAS["qrels"].names)


def small_catalogue() -> Tables:
    """All five tables, clean."""
    tables = {
        "images": pd.DataFrame(_images()),
        "texts": pd.DataFrame(_texts()),
        "utterances": pd.DataFrame(_utterances()),
    }
    tables["queries"], tables["qrels"] = _queries(tables)
    return tables
