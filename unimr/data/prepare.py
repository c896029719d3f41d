"""Stage `prepare`: items of all sources → the four tables, the slot values and the data card."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from unimr.data.card import write_card, write_published_card
from unimr.data.emoji import read_emoji
from unimr.data.fetch import RAW_FOLDER
from unimr.data.images import open_picture
from unimr.data.items import KIND_OF_ROLE, Item
from unimr.data.live import with_live_changes
from unimr.data.lookalikes import GRID, average_colours, close_pairs
from unimr.data.mixture import write_labels, write_mixture
from unimr.data.own import read_own_items, read_own_utterances
from unimr.data.published.catalogue import read_catalogue
from unimr.data.queries import is_composed_for_test, make_queries, variant_pairs
from unimr.data.splits import SplitText, picture_split, split_texts
from unimr.data.tables import SCHEMAS, write_table
from unimr.data.text import normalise
from unimr.data.utterances import load_grammars, make_utterances, write_slot_values
from unimr.errors import UnimrError
from unimr.files import write_json
from unimr.params import Params, PrepareParams

log = logging.getLogger(__name__)

PREPARED_FOLDER = Path("data/prepared")

Reader = Callable[[PrepareParams, Path], list[Item]]


def _read_emoji_source(params: PrepareParams, root: Path) -> list[Item]:
    languages = [*params.languages, *params.untrained_languages]
    return read_emoji(root / RAW_FOLDER, languages, params.image_size, params.base_items)


SOURCES: dict[str, Reader] = {"emoji": _read_emoji_source, "import": read_own_items}
"""Name in `prepare.sources` → what reads it into items."""


def run(params: Params, root: Path) -> None:
    """Write `data/prepared` and `data/README.md`.

    Raises:
        UnimrError: a source is missing or malformed.
    """
    if params.prepare.sources == ["published"]:
        _run_published(params, root)
        return
    items = _read_items(params.prepare, root)
    own = read_own_utterances(root) if "import" in params.prepare.sources else []
    present = {item.item_id for item in items}
    own = [each for each in own if each.item_id is None or each.item_id in present]  # one may be removed live
    grammars = load_grammars(params.prepare, root, own)
    texts = split_texts(params.prepare, items)
    folder = root / PREPARED_FOLDER
    tables = {"images": images_table(params.prepare, items), "texts": texts_table(texts)}
    tables["utterances"] = make_utterances(params.prepare, grammars, items, texts, own)
    tables["queries"], tables["qrels"] = make_queries(items, texts, tables["images"], tables["utterances"])
    _write_tables(folder, tables)
    write_json(folder / "compositions.json", compositions(items, texts))
    write_slot_values(params.prepare, grammars, items, folder)
    write_card(root / "data" / "README.md", params.prepare, tables)


def _run_published(params: Params, root: Path) -> None:
    """The same for published data sets, whose splits are theirs and whose utterances no grammar makes."""
    found = read_catalogue(params, root)
    folder = root / PREPARED_FOLDER
    tables = {"images": images_table(params.prepare, found.items), "texts": texts_table(found.texts)}
    tables["utterances"] = found.utterances
    tables["queries"], tables["qrels"] = make_queries(found.items, found.texts, tables["images"], found.utterances)
    _write_tables(folder, tables)
    write_json(folder / "compositions.json", [])
    write_slot_values(params.prepare, {}, found.items, folder)
    write_labels(folder, found.utterances)
    write_mixture(folder, found.weights, params.data.language_temperature)
    write_json(folder / "left_out.json", [vars(record) for record in found.bad])
    write_published_card(root / "data" / "README.md", params.prepare, tables, found)


def _write_tables(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    for name, table in tables.items():
        write_table(folder, name, table)
        log.info("%s: %d rows", name, len(table))


def _read_items(params: PrepareParams, root: Path) -> list[Item]:
    """The items of all sources, with what was changed live since.

    Raises:
        UnimrError: a source is missing or malformed, or two of them have an item of the same id.
    """
    items = [item for source in dict.fromkeys(params.sources) for item in SOURCES[source](params, root)]
    twice = [item_id for item_id, count in Counter(item.item_id for item in items).items() if count > 1]
    if twice:
        raise UnimrError(
            f"Two sources of prepare.sources have an item {twice[0]!r} ({len(twice)} such ids in all). "
            "Rename it in your own file and run `unimr import` again."
        )
    languages = {*params.languages, *params.untrained_languages}
    return with_live_changes(items, root, languages)


def compositions(items: Sequence[Item], texts: Sequence[SplitText]) -> list[dict[str, Any]]:
    """Base, variant and the words for the difference, of the families that training may compose."""
    pairs = [pair for pair in variant_pairs(items, texts) if not is_composed_for_test(pair[0])]
    return [{"base": base, "variant": variant, "words": sorted(set(words.values()))} for base, variant, words in pairs]


def images_table(params: PrepareParams, items: Sequence[Item]) -> pd.DataFrame:
    """A row a picture, without the train pictures that a test split holds too."""
    rows = []
    numbers: Counter[str] = Counter()
    for item in items:
        for picture in item.pictures:
            width, height = Image.open(io.BytesIO(picture.data)).size
            image_id = f"{item.item_id}/{picture.style}"
            numbers[image_id] += 1
            rows.append(
                {
                    "image_id": image_id if numbers[image_id] == 1 else f"{image_id}/{numbers[image_id] - 1}",
                    "item_id": item.item_id,
                    "style": picture.style,
                    "image": picture.data,
                    "width": width,
                    "height": height,
                    "sha256": hashlib.sha256(picture.data).hexdigest(),
                    "attributes": item.attributes,
                    "split": item.split or picture_split(params, item.base_id, picture.style),
                }
            )
    return _without_shared_pictures(pd.DataFrame(rows, columns=SCHEMAS["images"].names))


def _without_shared_pictures(images: pd.DataFrame) -> pd.DataFrame:
    """Some flags and signs are drawn alike for two items: a train picture that a test split shows too is dropped."""
    is_train = images["split"] == "train"
    train, test = images[is_train], images[~is_train]
    same = train.index[train["sha256"].isin(set(test["sha256"]))]
    alike = [train.index[mine] for mine, _ in close_pairs(_looks(train["image"]), _looks(test["image"]))]
    return images.drop(index=[*same, *alike]).reset_index(drop=True)


def _looks(pictures: Iterable[bytes]) -> NDArray[np.float32]:
    """Perceptual hashes `[N, GRID * GRID, 3]` of encoded pictures."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda data: average_colours(open_picture(data)), pictures))
    return np.stack(found) if found else np.zeros((0, GRID * GRID, 3), dtype=np.float32)


def texts_table(texts: Sequence[SplitText]) -> pd.DataFrame:
    """A row a text: names, keywords, and a description composed of them for every item and language."""
    rows = []
    numbers: dict[tuple[str, str, str], int] = defaultdict(int)
    seen: set[tuple[str, str, str, str]] = set()
    for row in [*texts, *_descriptions(texts)]:
        text, role = row.text.text, row.text.role
        key = (row.item_id, row.text.lang, role, normalise(text))
        if key in seen:
            continue
        seen.add(key)
        place = (row.item_id, row.text.lang, role)
        suffix = f"/{numbers[place]}" if role == "keyword" else ""
        numbers[place] += 1
        rows.append(
            {
                "text_id": f"{row.item_id}/{row.text.lang}/{role}{suffix}",
                "item_id": row.item_id,
                "lang": row.text.lang,
                "kind": KIND_OF_ROLE[role],
                "role": role,
                "text": text,
                "split": row.split,
            }
        )
    return pd.DataFrame(rows)


def _descriptions(texts: Sequence[SplitText]) -> Iterable[SplitText]:
    """Name and keywords as one long text, made only of texts of the same split: nothing held out slips in.

    An item that came with a description keeps that one.
    """
    given = {(row.item_id, row.text.lang) for row in texts if row.text.role == "description"}
    parts: dict[tuple[str, str, str], dict[str, list[Any]]] = defaultdict(lambda: {"name": [], "keyword": []})
    for row in texts:
        if row.text.role in ("name", "keyword"):
            parts[row.item_id, row.text.lang, row.split][row.text.role].append(row.text)
    for (item_id, lang, split), found in parts.items():
        if found["name"] and found["keyword"] and (item_id, lang) not in given:
            words = ", ".join(dict.fromkeys(text.text for text in found["keyword"]))
            text = type(found["name"][0])(lang, "description", f"{found['name'][0].text}: {words}")
            yield SplitText(item_id, text, split)
