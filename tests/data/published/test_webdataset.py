"""Image-text sets in tar files: streamed, with known length."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from unimr.data.published.pictures import read_pictures
from unimr.data.published.sources import read_all
from unimr.data.published.webdataset import WebDataset

from .conftest import bad, jpeg, texts


def shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def sample(key: str, caption: str, colour: str = "red", **values: str) -> dict[str, bytes]:
    return {f"{key}.jpg": jpeg(colour), f"{key}.txt": caption.encode(), f"{key}.json": json.dumps(values).encode()}


def test_samples_become_captions_and_photographs(tmp_path):
    first = {**sample("0", "a red wall"), **sample("1", "eine grüne Wand", "green", lang="de", split="dev")}
    shard(tmp_path / "walls/00000.tar", first)
    shard(tmp_path / "walls/00001.tar", {"2.jpg": jpeg(), "2.json": b'{"caption": "from the json"}'})
    data = read_all(tmp_path)
    assert texts(data) == [
        ("webdataset-walls:0", "en", "caption", "a red wall", ""),
        ("webdataset-walls:1", "de", "caption", "eine grüne Wand", "dev"),
        ("webdataset-walls:2", "en", "caption", "from the json", ""),
    ]
    assert read_pictures(data, {"webdataset-walls:1"}) == {"webdataset-walls:1": jpeg("green")}


def test_unusable_samples_and_damaged_shards_are_noted(tmp_path):
    members = {**sample("0", "good"), "1.jpg": jpeg(), "2.txt": b"no picture", "3.jpg": jpeg(), "3.json": b"{"}
    shard(tmp_path / "set/0.tar", members)
    whole = shard(tmp_path / "set/1.tar", {**sample("4", "kept"), **sample("5", "lost")}).read_bytes()
    (tmp_path / "set/1.tar").write_bytes(whole[:3000])
    data = read_all(tmp_path)
    assert [text for _, _, _, text, _ in texts(data)] == ["good", "kept"]
    assert [(file, line) for file, line, _ in bad(data)] == [
        ("set/0.tar", 2),
        ("set/0.tar", 3),
        ("set/0.tar", 4),
        ("set/1.tar", 2),
    ]


def test_the_length_is_known_before_anything_is_read(tmp_path):
    shards = [
        shard(tmp_path / f"{part}.tar", {f"{part}{number}.txt": b"x" for number in range(size)})
        for part, size in (("a", 3), ("b", 2))
    ]
    dataset = WebDataset(shards)
    assert len(dataset) == 5
    assert [one.key for one in dataset] == ["a0", "a1", "a2", "b0", "b1"]
    (tmp_path / "sizes.json").write_text('{"a.tar": 30, "b.tar": 20}')
    assert len(WebDataset(shards)) == 50  # taken at its word, without opening a shard
