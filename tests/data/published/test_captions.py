"""Captions of photographs: every format as published, and what is left out of it."""

from __future__ import annotations

from unimr.data.published.pictures import read_pictures

from .conftest import bad, jpeg, texts

NAME = "1000268201_693b08cb0e.jpg"


def test_flickr8k_token_files_give_captions_photographs_and_official_splits(read):
    data = read(
        {
            "Flickr8k.token.txt": [f"{NAME}#0\tA child .", f"{NAME}#1\tStairs .", "22_ab.jpg#0\tA dog .", "nonsense"],
            "Flickr8k.arabic.full.txt": [f"{NAME}#0\tطفلة"],
            "Flickr8k-Hindi.Clean-1Sentences.txt": ["1000268201_693b08cb0e गुलाबी पोशाक"],
            "flickr8kzhc.caption.txt": [f"{NAME}#zhc#0 一个女孩。"],
            "flickr30k/captions.txt.gz": ["1000268201.jpg#1\tUma criança"],
            "Flickr_8k.devImages.txt": [NAME],
            "images/" + NAME: jpeg(),
        }
    )
    item = "flickr:1000268201"
    assert set(texts(data)) == {
        (item, "en", "caption", "A child .", "dev"),
        (item, "en", "caption", "Stairs .", "dev"),
        ("flickr:22", "en", "caption", "A dog .", "train"),
        (item, "ar", "caption", "طفلة", "dev"),
        (item, "hi", "caption", "गुलाबी पोशाक", "dev"),
        (item, "zh", "caption", "一个女孩。", "dev"),
        (item, "pt", "caption", "Uma criança", "dev"),
    }
    assert list(data.photos) == [item]
    assert [(file, line) for file, line, _ in bad(data)] == [("Flickr8k.token.txt", 4)]


def test_a_photograph_that_one_set_holds_out_is_held_out_in_all(read):
    data = read(
        {
            "Flickr8k.token.txt": ["1_ab.jpg#0\tA cat ."],
            "Flickr_8k.testImages.txt": ["1_ab.jpg"],
            "task1/image_splits/train.txt": ["1.jpg", "2.jpg"],
            "task1/raw/train.de.gz": ["Eine Katze.", "Ein Hund."],
            "task1/raw/train.en.gz": ["A cat.", "A dog."],
        }
    )
    found = texts(data)
    assert ("flickr:1", "de", "caption", "Eine Katze.", "test") in found
    assert ("flickr:2", "de", "caption", "Ein Hund.", "train") in found
    assert [text for _, lang, _, text, _ in found if lang == "en"] == ["A cat .", "A dog."]  # "A cat." is the same


def test_multi30k_lines_belong_to_their_split_list(read):
    data = read(
        {
            "task1/image_splits/val.txt": ["7.jpg", "8.jpg", "9.jpg"],
            "task1/raw/val.fr.gz": ["Un chat.", "Un chien."],
            "task1/raw/val.cs.gz": ["Kočka.", "Pes.", "Kůň.", "Nikdo."],
            "task1/raw/orphan.de.gz": ["Nichts."],
            "task2/image_splits/train_images.txt": ["7.jpg"],
            "task2/raw/train.1.de.gz": ["Eine Katze."],
        }
    )
    assert ("flickr:8", "fr", "caption", "Un chien.", "dev") in texts(data)
    assert ("flickr:7", "de", "caption", "Eine Katze.", "dev") in texts(data)
    reasons = {(file, line): reason for file, line, reason in bad(data)}
    assert "names no photograph" in reasons["task1/raw/val.cs.gz", 4]
    assert "has 3 lines, this file 2" in reasons["task1/raw/val.fr.gz", 2]
    assert "is missing" in reasons["task1/raw/orphan.de.gz", 0]


def test_karpathy_and_coco_json(read):
    data = read(
        {
            "dataset_flickr8k.json": {
                "images": [
                    {"filename": "1_a.jpg", "split": "val", "sentences": [{"raw": "A cat ."}, {"raw": "A pet ."}]},
                    {"filename": "2_a.jpg", "split": "somewhere", "sentences": []},
                    "not an image",
                ]
            },
            "dataset_coco.json": {
                "images": [
                    {"filename": "COCO_val2014_9.jpg", "cocoid": 9, "split": "restval", "sentences": [{"raw": "A bus"}]}
                ]
            },
            "captions_val2017.json": {
                "images": [{"id": 4, "file_name": "000004.jpg"}],
                "annotations": [
                    {"id": 1, "image_id": 4, "caption": "A tram\n"},
                    {"id": 2, "image_id": 5, "caption": "of no image"},
                    {"id": 3, "image_id": 4, "caption": None},
                ],
            },
            "000004.jpg": jpeg(),
        }
    )
    assert set(texts(data)) == {
        ("flickr:1", "en", "caption", "A cat .", "dev"),
        ("flickr:1", "en", "caption", "A pet .", "dev"),
        ("coco:9", "en", "caption", "A bus", "train"),
        ("coco:4", "en", "caption", "A tram", "dev"),
    }
    assert list(data.photos) == ["coco:4"]
    assert sorted((file, line) for file, line, _ in bad(data)) == [
        ("captions_val2017.json", 2),
        ("captions_val2017.json", 3),
        ("dataset_flickr8k.json", 2),
        ("dataset_flickr8k.json", 3),
    ]


def test_crossmodal_3600_is_all_test(read):
    line = '{"image/key": "ab12", "image/locale": "sw", "sw": {"caption": ["Simba"]}, "zh": {"caption": ["狮子", 5]}}'
    data = read({"captions.jsonl": [line, '{"sw": {"caption": ["none"]}}', "{"], "ab12.jpg": jpeg()})
    assert texts(data) == [
        ("xm3600:ab12", "sw", "caption", "Simba", "test"),
        ("xm3600:ab12", "zh", "caption", "狮子", "test"),
    ]
    assert [line for _, line, _ in bad(data)] == [1, 2, 3]
    assert data.photos["xm3600:ab12"].split == "test"


def test_xtd10_tells_the_photographs_of_coco_train_from_the_clean_ones(read):
    data = read(
        {
            "XTD10/test_image_names.txt": ["COCO_train2014_000000061844.jpg", "COCO_val2014_000000000042.jpg"],
            "XTD10/test_1kcaptions_en.txt": ["a game", "a cat"],
            "STAIR/test_1kcaptions_jp.txt": ["試合", "猫", "余り"],
        }
    )
    assert {("coco:42", "ja", "caption", "猫", "test"), ("coco:61844", "en", "caption", "a game", "test")} <= {
        *texts(data)
    }
    assert data.subsets["xtd10", "coco:61844"] == "800 of COCO train"
    assert data.subsets["xtd10", "coco:42"] == "clean 200"
    assert [(file, line) for file, line, _ in bad(data)] == [("STAIR/test_1kcaptions_jp.txt", 3)]


def test_pictures_that_cannot_be_decoded_are_noted_and_left_out(read):
    lines = [f"{number}_a.jpg#0\tcaption {number}" for number in (1, 2, 3)]
    files = {"1_a.jpg": jpeg(), "2_a.jpg": b"not a picture", "3_a.jpg": jpeg()[:300]}
    data = read({"Flickr8k.token.txt": lines, **files})
    found = read_pictures(data, {"flickr:1", "flickr:2", "flickr:3"})
    assert found == {"flickr:1": jpeg()}
    assert [(file, line) for file, line, _ in bad(data)] == [("2_a.jpg", 0), ("3_a.jpg", 0)]
