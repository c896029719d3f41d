from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from unimr.data import prepare
from unimr.data.images import MAX_BYTES
from unimr.data.own import CATALOGUE_FOLDER, ImportSummary, import_file, read_own_items, read_own_utterances
from unimr.data.tables import read_table
from unimr.data.utterances import make_utterances
from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.quality import validate

from .small_sources import PROJECT, params, png, prepare_params, write_raw

EXAMPLE = PROJECT / "examples/own-data/catalogue.jsonl"
COUNTS = prepare_params().utterances_per_language.model_copy(update={"train": 500, "test": 150})
SMALL = {"languages": ["en", "de"], "untrained_languages": [], "utterances_per_language": COUNTS}


@pytest.fixture
def root(tmp_path) -> Path:
    """A project folder without raw data."""
    root = tmp_path / "project"
    shutil.copytree(PROJECT / "expectations", root / "expectations")
    shutil.copytree(PROJECT / "data/sources/emoji/grammar", root / "data/sources/emoji/grammar")
    return root


@pytest.fixture
def file(tmp_path):
    """Writes lines (objects or raw bytes) to a file beside two pictures, and returns its path."""
    folder = tmp_path / "own"
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures/cat.png").write_bytes(png("red"))
    (folder / "pictures/text.png").write_text("not a picture")
    (tmp_path / "outside.png").write_bytes(png("blue"))
    (folder / "pictures/link.png").symlink_to(tmp_path / "outside.png")

    def write(*lines: object) -> Path:
        raw = [line if isinstance(line, bytes) else json.dumps(line, ensure_ascii=False).encode() for line in lines]
        (folder / "catalogue.jsonl").write_bytes(b"\n".join(raw) + b"\n")
        return folder / "catalogue.jsonl"

    return write


def item(item_id: str = "cat", **changes: object) -> dict[str, object]:
    return {"item_id": item_id, "texts": [{"lang": "en", "role": "name", "text": item_id}]} | changes


def pictured(path: str, style: str = "photo") -> dict[str, object]:
    return item(pictures=[{"style": style, "path": path}])


def utterance(text: str = "a cat please", **changes: object) -> dict[str, object]:
    return {"utterance": {"lang": "en", "text": text, "intent": "find_image"} | changes}


def slots(*spans: tuple[int, int, str]) -> dict[str, object]:
    return utterance(slots=[{"start": start, "end": end, "label": label} for start, end, label in spans])


def name(text: object, lang: str = "en", role: str = "name") -> dict[str, object]:
    return item(texts=[{"lang": lang, "role": role, "text": text}])


BAD_LINES = {
    "not JSON": (b"{item_id: cat}", "expected|key must be"),
    "not UTF-8": (b'{"item_id": "\xff"}', "utf-8|UTF-8|unicode"),
    "a list": ([1, 2], "dictionary"),
    "deeply nested": (b"[" * 100_000, "recursion"),
    "too long": (b'{"item_id": "' + b"x" * 2**20 + b'"}', "longer than"),
    "unknown key": (item(colour="red"), "colour: Extra inputs"),
    "unknown key in a text": (item(texts=[{"lang": "en", "role": "name", "text": "cat", "n": 1}]), "texts.0.n: Extra"),
    "no texts": (item(texts=[]), "texts: List should have at least 1"),
    "wrong type": (name(7), "texts.0.text: Input should be a valid string"),
    "bad id": (item("a/b"), "item_id: String should match"),
    "bad language": (name("cat", lang="english"), "'english' is not a language tag"),
    "unknown role": (name("cat", role="title"), "'name', 'keyword' or 'description'"),
    "edges": (name(" cat"), "white space at its edge"),
    "control character": (name("c\u0000at"), "control character"),
    "long name": (name("x" * 201), "a name has at most 200"),
    "two names": (item(texts=[{"lang": "en", "role": "name", "text": text} for text in "ab"]), "2 texts are the name"),
    "bad year": (item(attributes={"year": "last"}), "'last' is not a year"),
    "unknown tone": (item(attributes={"skin_tone": "green"}), "skin_tone: 'green' is not one of light"),
    "base as attribute": (item(attributes={"base": "dog"}), "made of base_id"),
    "number as attribute": (item(attributes={"year": 2020}), "valid string"),
    "unknown base": (item(base_id="dog"), "there is no item 'dog'"),
    "missing picture": (pictured("pictures/dog.png"), "There is no file .*dog.png"),
    "folder as picture": (pictured("pictures"), "pictures is not a file"),
    "no picture at all": (pictured("pictures/text.png"), "not a picture"),
    "absolute path": (pictured("/etc/hostname"), "leads out of"),
    "escaping path": (pictured("../outside.png"), "leads out of"),
    "escaping link": (pictured("pictures/link.png"), "leads out of"),
    "unknown style": (pictured("pictures/cat.png", "studio"), "'studio' is not one of .*photo.*images.json"),
    "unknown intent": (utterance(intent="buy"), "'buy' is not one of find_image"),
    "unknown label": (slots((2, 5, "colour")), "'colour' is not one of subject"),
    "span outside": (slots((2, 50, "subject")), "2:50 .* is not within the 12 characters"),
    "span backwards": (slots((5, 2, "subject")), "5:2"),
    "spans overlap": (slots((0, 5, "subject"), (2, 12, "category")), "overlaps"),
    "half a word": (slots((3, 5, "subject")), "begin and end with a word"),
    "span of strings": (slots(("0", 5, "subject")), "valid integer"),
    "utterance about nothing": (utterance(item_id="dog"), "there is no item 'dog'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_line_is_named_and_nothing_is_written(root, file, kind):
    line, message = BAD_LINES[kind]
    path = file(item("first"), line)
    with pytest.raises(UnimrError, match=rf"(?is)catalogue.jsonl was not imported: line 2: .*({message})") as raised:
        import_file(path, root)
    assert "docs/own-data.md" in str(raised.value) and len(str(raised.value)) < 1500
    assert list((root / "data/import").iterdir()) == []


def test_items_and_utterances_are_in_the_file_once(root, file):
    path = file(item("cat"), item("cat"), utterance("A cat"), utterance("a  CAT"))
    with pytest.raises(UnimrError, match=r"line 2: the item 'cat' stands already in line 1; line 4: .* in line 3"):
        import_file(path, root)


def test_a_variant_of_a_variant_is_refused(root, file):
    with pytest.raises(UnimrError, match="line 3: the base item 'b' is itself a variant"):
        import_file(file(item("a"), item("b", base_id="a"), item("c", base_id="b")), root)


def test_at_most_ten_problems_are_named(root, file):
    with pytest.raises(UnimrError, match=r"line 10: .*; and perhaps more") as raised:
        import_file(file(*[name("x", lang="?")] * 30), root)
    assert "line 11" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_is_refused(root, file, content):
    with pytest.raises(UnimrError, match="it holds no item"):
        import_file(file(content), root)


def test_a_picture_that_is_too_large_is_not_read(root, file):
    path = file(pictured("pictures/big.png"))
    with (path.parent / "pictures/big.png").open("wb") as handle:
        handle.truncate(MAX_BYTES + 1)
    with pytest.raises(UnimrError, match="10,485,761 bytes"):
        import_file(path, root)


def test_a_picture_of_a_few_pixels_is_refused(root, file):
    path = file(pictured("pictures/tiny.png"))
    (path.parent / "pictures/tiny.png").write_bytes(png("red", side=8))
    with pytest.raises(UnimrError, match="8 x 8 pixels; a side has 16 to 4096"):
        import_file(path, root)


def test_a_missing_file_is_named(root, tmp_path):
    with pytest.raises(UnimrError, match=r"There is no file .*nothing.jsonl"):
        import_file(tmp_path / "nothing.jsonl", root)


def test_a_failed_import_leaves_the_earlier_one(root, file):
    import_file(file(item("cat")), root)
    with pytest.raises(UnimrError):
        import_file(file(item("dog"), b"broken"), root)
    assert [each.item_id for each in read_own_items(prepare_params(**SMALL), root)] == ["cat"]


def test_what_was_imported_is_read_back(root, file):
    texts = [
        {"lang": "en", "role": "name", "text": "cat"}, {"lang": "de", "role": "name", "text": "Katze"},
        {"lang": "fr", "role": "name", "text": "chat"},
    ]  # fmt: skip
    attributes, pictures = {"category": "Animals"}, [{"style": "photo", "path": "pictures/cat.png"}]
    lines = [item("cat"), item("kitten", base_id="cat", attributes=attributes, texts=texts, pictures=pictures)]
    marked = b"\xef\xbb\xbf" + json.dumps(lines[0]).encode()
    assert import_file(file(marked, lines[1], slots((2, 5, "subject"))), root) == ImportSummary(2, 4, 1, 1)
    cat, kitten = read_own_items(prepare_params(**SMALL), root)
    assert (cat.base_id, kitten.base_id) == ("cat", "cat")
    assert kitten.attributes == {"category": "Animals", "base": "cat"}
    assert [text.text for text in kitten.texts] == ["cat", "Katze"]
    assert [(picture.style, picture.data) for picture in kitten.pictures] == [("photo", png("red"))]
    assert [each.text for each in read_own_utterances(root)] == ["a cat please"]


def test_no_text_in_a_configured_language_is_an_error(root, file):
    import_file(file(item("cat")), root)
    with pytest.raises(UnimrError, match=r"they have en. Change prepare.languages"):
        read_own_items(prepare_params(languages=["fr"], untrained_languages=[]), root)


def test_preparing_before_importing_says_what_to_do(root):
    with pytest.raises(UnimrError, match="Run `unimr import FILE` first"):
        prepare.run(params(**SMALL, sources=["import"]), root)


@pytest.mark.parametrize("sources", [["import"], ["emoji", "import"]])
def test_the_example_goes_through_prepare_and_validate(root, sources):
    write_raw(root / "data/raw/emoji")
    assert import_file(EXAMPLE, root) == ImportSummary(12, 101, 13, 7)
    prepare.run(params(**SMALL, sources=sources), root)
    validate.run(params(**SMALL, sources=sources), root)
    folder = root / "data/validated"
    images, utterances = read_table(folder, "images"), read_table(folder, "utterances")
    assert len(images) == 13 + 12 * (len(sources) - 1)
    assert {"red-mug/drawing", "red-mug/drawing/1"} <= set(images["image_id"])
    own = utterances[utterances["utterance_id"].str.contains("/own/")]
    assert len(own) == 7 and set(own["split"]) <= {"train", "test"}
    assert {"find_image", "out_of_scope"} <= set(own["intent"])
    assert "red-mug" in set(utterances.loc[~utterances["utterance_id"].str.contains("/own/"), "item_id"])
    texts = read_table(folder, "texts")
    of_mug = texts[(texts["item_id"] == "red-mug") & (texts["lang"] == "en") & (texts["role"] == "description")]
    assert of_mug["text"].tolist() == ["A red coffee mug with a wide handle, dishwasher safe."]
    lexicon = read_json(folder / "slot_values.json")["de"]
    assert lexicon["category"]["Kitchen"] == ["Kitchen"] and lexicon["style"]["drawing"] == ["drawing"]


def test_an_own_utterance_about_a_held_out_item_is_for_test(root, file):
    everything = prepare_params().test_share.model_copy(update={"item": 1.0})
    lines = [utterance(f"show me number {n}", item_id="cat") for n in range(20)]
    import_file(file(item("cat"), *lines), root)
    chosen = prepare_params(**SMALL | {"languages": ["en"], "test_share": everything})
    items = read_own_items(chosen, root)
    table = make_utterances(chosen, {}, items, [], read_own_utterances(root))
    assert set(table["split"]) == {"test"} and len(table) == 20
    chosen = prepare_params(**SMALL | {"languages": ["en"]})
    assert set(make_utterances(chosen, {}, items, [], read_own_utterances(root))["split"]) == {"train", "test"}


def test_importing_twice_gives_the_same_bytes(root):
    found = []
    for _ in range(2):
        import_file(EXAMPLE, root)
        found.append({path.name: path.read_bytes() for path in (root / CATALOGUE_FOLDER).iterdir()})
    assert found[0] == found[1] and len(found[0]) == 2
