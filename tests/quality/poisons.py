"""Ways to spoil the small catalogue: each changes the tables in place."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import zlib

import pandas as pd
from PIL import Image

from .small_catalogue import Tables, encoded, image_row, text_row


def set_column(tables: Tables, table: str, column: str, value: object, rows: slice | pd.Index = slice(0, 20)) -> None:
    frame = tables[table]
    labels = frame.index[rows] if isinstance(rows, slice) else rows
    values = frame[column].astype(object).copy()
    for label in labels:
        values[label] = value
    frame[column] = values


def replace_pictures(tables: Tables, labels: pd.Index, data: bytes, *, restate: bool = True) -> None:
    images = tables["images"]
    for label in labels:
        images.at[label, "image"] = data
        if restate:
            images.at[label, "sha256"] = hashlib.sha256(data).hexdigest()


def rows_of(frame: pd.DataFrame, **values: str) -> pd.Index:
    chosen = pd.Series(True, index=frame.index)
    for column, value in values.items():
        chosen &= frame[column] == value
    return frame.index[chosen]


def reencode(data: bytes, kind: str = "JPEG", size: int = 64, **options: int) -> bytes:
    """The picture saved anew, over white."""
    with Image.open(io.BytesIO(data)) as picture:
        ground = Image.new("RGBA", picture.size, "white")
        ground.alpha_composite(picture.convert("RGBA"))
        return encoded(ground.convert("RGB").resize((size, size)), kind, **options)


def bomb(side: int) -> bytes:
    """A PNG whose header declares `side` x `side` pixels, in a few dozen bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def shuffle_texts(tables: Tables, role: str, lang: str) -> None:
    """The texts of one role and language are dealt out anew among train items."""
    texts = tables["texts"]
    labels = list(rows_of(texts, role=role, lang=lang, split="train"))
    shuffled = texts.loc[labels, "text"].tolist()
    random.Random(1).shuffle(shuffled)
    texts.loc[labels, "text"] = shuffled
    tables["texts"] = texts[~texts.assign(key=texts["text"].str.lower()).duplicated(["item_id", "lang", "role", "key"])]


def move_texts(tables: Tables, lang: str) -> None:
    """All train texts of a language move together to other items: each item still agrees with itself."""
    texts = tables["texts"]
    labels = rows_of(texts, lang=lang, split="train")
    items = sorted(texts.loc[labels, "item_id"].unique())
    random.Random(1).shuffle(shuffled := list(items))
    to = dict(zip(items, shuffled, strict=True))
    texts.loc[labels, "item_id"] = texts.loc[labels, "item_id"].map(to)
    texts.loc[labels, "text_id"] = [
        "/".join([item, *old.split("/")[1:]])
        for item, old in zip(texts.loc[labels, "item_id"], texts.loc[labels, "text_id"], strict=True)
    ]


def shuffle_pictures(tables: Tables, style: str) -> None:
    images = tables["images"]
    labels = list(rows_of(images, style=style, split="train"))
    random.Random(1).shuffle(shuffled := list(labels))
    columns = ["image", "sha256", "width", "height"]
    images.loc[labels, columns] = images.loc[shuffled, columns].to_numpy()


def leak_picture(tables: Tables, kind: str, **options: int) -> None:
    """A picture of a held-out item (or of the unseen style) becomes a train picture of another item."""
    images = tables["images"]
    split = "test_style" if options.pop("style_test", 0) else "test_item"
    source = images.loc[rows_of(images, split=split)[0]]
    data = source["image"] if kind == "same" else reencode(source["image"], kind, **options)
    target = rows_of(images, split="train")[40]
    old = images.loc[target]
    fresh = image_row(old["item_id"], old["style"], data, old["attributes"], "train")
    for column, value in fresh.items():
        images.at[target, column] = value


def add_text(tables: Tables, item: str, lang: str, text: str, split: str, number: int = 50) -> None:
    row = text_row(item, lang, "keyword", text, split, f"/{number}")
    tables["texts"] = pd.concat([tables["texts"], pd.DataFrame([row])], ignore_index=True)


def leak_text(tables: Tables, split: str, change: str = "same") -> None:
    """A held-out text becomes a keyword of a train item, perhaps in other case or another Unicode form."""
    texts = tables["texts"]
    held_out = texts.loc[rows_of(texts, split=split, lang="de")[-1]]
    item = texts.loc[rows_of(texts, split="train", lang=held_out["lang"])[0], "item_id"]
    text = held_out["text"].upper() if change == "case" else "\u3000".join(held_out["text"].split(" "))
    add_text(tables, item, held_out["lang"], text if change != "same" else held_out["text"], "train")


def leak_utterance(tables: Tables) -> None:
    utterances = tables["utterances"]
    source = utterances.loc[rows_of(utterances, split="test", lang="de")[1]]
    target = rows_of(utterances, split="train", lang="de")[3]
    for column in ("text", "intent", "slots", "item_id"):
        utterances.at[target, column] = source[column]


def set_slots(tables: Tables, change: dict[str, object], count: int = 20) -> None:
    """Change the first slot of some utterances."""
    utterances = tables["utterances"]
    for label in [label for label, slots in utterances["slots"].items() if slots][:count]:
        first, *others = utterances.at[label, "slots"]
        utterances.at[label, "slots"] = [{**first, **change}, *others]


def shift_slots(tables: Tables, start: int, end: int) -> None:
    """Move the edges of the first slot of some utterances."""
    utterances = tables["utterances"]
    for label in [label for label, slots in utterances["slots"].items() if slots][:20]:
        first, *others = utterances.at[label, "slots"]
        utterances.at[label, "slots"] = [{**first, "start": first["start"] + start, "end": first["end"] + end}, *others]


def drop(tables: Tables, table: str, labels: pd.Index) -> None:
    tables[table] = tables[table].drop(index=labels)


def repeat(tables: Tables, table: str, labels: pd.Index) -> None:
    tables[table] = pd.concat([tables[table], tables[table].loc[labels]], ignore_index=True)


def flood_texts(tables: Tables) -> None:
    """One keyword for every item of a language."""
    texts = tables["texts"]
    for number, item in enumerate(texts.loc[texts["lang"] == "sw", "item_id"].unique()):
        add_text(tables, item, "sw", "nunua sasa", "untrained", 50 + number)


def flood_utterances(tables: Tables) -> None:
    utterances = tables["utterances"]
    copies = utterances.loc[rows_of(utterances, split="train", lang="en")].copy()
    copies["utterance_id"] += "/again"
    tables["utterances"] = pd.concat([utterances, copies], ignore_index=True)


def flood_pictures(tables: Tables) -> None:
    images = tables["images"]
    labels = rows_of(images, style="google", split="train")[:20]
    replace_pictures(tables, labels, images.at[labels[0], "image"])


def shuffle_qrels(tables: Tables) -> None:
    qrels = tables["qrels"]
    qrels["item_id"] = qrels["item_id"].to_list()[1:] + qrels["item_id"].to_list()[:1]


def shuffle_utterance_items(tables: Tables) -> None:
    """Every subject gets the item of another utterance of its language."""
    utterances = tables["utterances"]
    for lang in utterances["lang"].unique():
        labels = utterances.index[(utterances["lang"] == lang) & utterances["item_id"].notna()]
        items = utterances.loc[labels, "item_id"].to_list()
        utterances.loc[labels, "item_id"] = items[7:] + items[:7]
