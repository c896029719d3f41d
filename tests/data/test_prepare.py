from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image, ImageDraw

from unimr.data import prepare
from unimr.data.items import ItemText, Picture
from unimr.data.lookalikes import LIMITS
from unimr.data.prepare import images_table, texts_table
from unimr.data.splits import SplitText, item_split
from unimr.data.tables import read_table
from unimr.errors import UnimrError
from unimr.files import read_json

from .small_sources import PROJECT, item, params, png, prepare_params, write_raw

COUNTS = prepare_params().utterances_per_language.model_copy(update={"train": 40, "test": 20})
NOTHING_HELD_OUT = prepare_params().test_share.model_copy(update={"item": 0.0, "pair": 0.0, "keyword": 0.0})
SMALL = {
    "languages": ["en", "de"],
    "untrained_languages": [],
    "utterances_per_language": COUNTS,
    "test_share": NOTHING_HELD_OUT,
    "image_size": 32,
}


def drawing(shift: int = 0, kind: str = "PNG") -> bytes:
    picture = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(picture).ellipse((10 + shift, 10, 50 + shift, 50), fill="red")
    buffer = io.BytesIO()
    picture.save(buffer, kind)
    return buffer.getvalue()


def families(split: str, count: int) -> list[str]:
    return [name for name in map(str, range(500)) if item_split(prepare_params(), name) == split][:count]


def project(root):
    (root / "data/sources").mkdir(parents=True)
    shutil.copytree(PROJECT / "data/sources/emoji/grammar", root / "data/sources/emoji/grammar")
    write_raw(root / "data/raw/emoji")
    return root


def test_every_file_is_written_and_the_ids_agree(tmp_path):
    prepare.run(params(**SMALL), project(tmp_path))
    folder = tmp_path / "data/prepared"
    images, texts = read_table(folder, "images"), read_table(folder, "texts")
    assert images["image_id"].is_unique and len(images) == 12
    assert texts["text_id"].is_unique and set(texts["item_id"]) == set(images["item_id"])
    assert "winkende Hand: Hand, winken" in set(texts.loc[texts["role"] == "description", "text"])
    assert read_table(folder, "utterances").groupby(["lang", "split"]).ngroups == 4
    assert set(read_table(folder, "qrels")["query_id"]) == set(read_table(folder, "queries")["query_id"])
    assert read_json(folder / "slot_values.json")["de"]["skin_tone"]["dark"]
    pairs = {(row["base"], row["variant"]) for row in json.loads((folder / "compositions.json").read_text())}
    assert pairs <= {("1f44b", "1f44b-1f3ff")}
    assert "| test_style |" in (tmp_path / "data/README.md").read_text().replace("`", "")


def test_the_result_does_not_depend_on_the_process(tmp_path):
    """Sets of words are ordered by a seed of the process; nothing may follow that order."""
    root = project(tmp_path)
    code = (
        "from tests.data.test_prepare import SMALL, params; from pathlib import Path; from unimr.data import prepare\n"
    )
    found = []
    for seed in ("1", "2", "3"):
        command = [sys.executable, "-c", f"{code}prepare.run(params(**SMALL), Path({str(root)!r}))"]
        subprocess.run(command, cwd=PROJECT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True)
        found.append({path.name: path.read_bytes() for path in (root / "data/prepared").iterdir()})
    assert found[0] == found[1] == found[2]


def test_a_train_picture_that_test_shows_too_is_dropped():
    (test,), (same, alike, other) = families("test_item", 1), families("train", 3)
    items = [
        item(test, pictures=(Picture("google", drawing()),)),
        item(same, pictures=(Picture("google", drawing()), Picture("twitter", png("blue")))),
        item(alike, pictures=(Picture("google", drawing(kind="WEBP")),)),
        item(other, pictures=(Picture("google", drawing(shift=9)),)),
    ]
    left = images_table(prepare_params(), items)["image_id"].tolist()
    assert left == [f"{test}/google", f"{same}/twitter", f"{other}/google"]


def test_the_limits_of_looking_alike_are_those_of_the_leak_proof():
    suite = read_json(PROJECT / "expectations/images.json")["expectations"]
    checks = {entry["kwargs"].get("check"): entry["kwargs"].get("limits") for entry in suite}
    assert checks["no_lookalike_in_train_and_test"] == LIMITS


def test_several_pictures_of_one_style_are_numbered():
    (name,) = families("train", 1)
    pictures = tuple(Picture("photo", png(colour)) for colour in ("red", "green", "blue"))
    table = images_table(prepare_params(), [item(name, pictures=pictures)])
    assert table["image_id"].tolist() == [f"{name}/photo", f"{name}/photo/1", f"{name}/photo/2"]


def test_a_description_holds_texts_of_one_split_only():
    rows = [("name", "cat", "train"), ("keyword", "pet", "train"), ("keyword", "secret", "test_keyword")]
    table = texts_table([SplitText("cat", ItemText("en", role, text), split) for role, text, split in rows])
    assert table.loc[table["role"] == "description", ["text", "split", "kind"]].values.tolist() == [
        ["cat: pet", "train", "long"]
    ]


def test_an_item_keeps_the_description_it_came_with():
    rows = [("name", "cat"), ("keyword", "pet"), ("description", "A small animal.")]
    table = texts_table([SplitText("cat", ItemText("en", role, text), "train") for role, text in rows])
    assert table.loc[table["role"] == "description", "text"].tolist() == ["A small animal."]


def test_a_text_that_an_item_has_twice_is_one_row():
    rows = [("name", "cat"), ("keyword", "Cat"), ("keyword", "cat")]
    table = texts_table([SplitText("cat", ItemText("en", role, text), "train") for role, text in rows])
    assert table["text_id"].tolist() == ["cat/en/name", "cat/en/keyword/0", "cat/en/description"]


def test_a_language_without_a_grammar_is_named(tmp_path):
    with pytest.raises(UnimrError, match=r"there is no grammar for the language 'sw'.*Known: ar, de"):
        prepare.run(params(**SMALL | {"languages": ["sw"], "sources": ["import"]}), imported(project(tmp_path)))


def imported(root):
    from unimr.data.own import import_file

    shutil.copytree(PROJECT / "expectations", root / "expectations")
    line = {"item_id": "1f44b", "texts": [{"lang": "sw", "role": "name", "text": "mkono"}]}
    (root / "own.jsonl").write_text(json.dumps(line), encoding="utf-8")
    import_file(root / "own.jsonl", root)
    return root


def test_two_sources_may_not_have_an_item_of_one_id(tmp_path):
    root = imported(project(tmp_path))
    with pytest.raises(UnimrError, match=r"Two sources .* an item '1f44b'"):
        prepare.run(params(**SMALL | {"sources": ["emoji", "import"], "languages": ["en", "sw"]}), root)


@pytest.mark.skipif(
    not (PROJECT / "data/raw/emoji/google.tar").exists(), reason="data/raw is not there: run `dvc repro fetch`"
)
@pytest.mark.parametrize("seed", [20, 3])
def test_a_slice_of_the_real_catalogue_passes_the_leak_proofs(tmp_path, seed):
    from unimr.quality import leaks
    from unimr.quality.catalogue import load_catalogue

    root = project(tmp_path)
    shutil.rmtree(root / "data/raw")
    (root / "data/raw").symlink_to(PROJECT / "data/raw")
    share = NOTHING_HELD_OUT.model_copy(update={"item": 0.2, "pair": 0.1, "keyword": 0.1})
    chosen = params(**SMALL | {"base_items": 150, "split_seed": seed, "test_share": share})
    prepare.run(chosen, root)
    catalogue = load_catalogue(root / "data/prepared", chosen)
    assert set(catalogue.tables["images"]["split"]) == {"train", "test_item", "test_style"}
    assert not leaks.no_text_in_train_and_test(catalogue, {})
    assert not leaks.no_utterance_in_train_and_test(catalogue, {})
    assert not leaks.item_is_in_one_split(catalogue, {})
    assert not leaks.no_picture_in_train_and_test(catalogue, {})
    assert not leaks.no_lookalike_in_train_and_test(catalogue, LIMITS)
