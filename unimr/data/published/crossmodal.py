"""Crossmodal-3600 (Thapliyal et al. 2022): `captions.jsonl`, an image a line, captions by language. It is all test."""

from __future__ import annotations

from unimr.data.published.languages import language_tag
from unimr.data.published.reading import Reading, string
from unimr.data.published.records import Photo, Text

COLLECTION = "crossmodal-3600"


def read(reading: Reading) -> None:
    """Read the captions; the photograph of an image is `<its key>.jpg`."""
    for path in reading.folder.find("captions.jsonl", "captions.jsonl.gz"):
        for number, image in reading.objects(path):
            try:
                (key,) = string(image, "image/key")
            except ValueError as error:
                reading.bad(path, number, str(error))
                continue
            item = f"xm3600:{key}"
            for lang, found in image.items():
                captions = found.get("caption") if isinstance(found, dict) else None
                for caption in captions if isinstance(captions, list) else ():
                    text = Text(COLLECTION, item, language_tag(lang), "caption", caption, "test")
                    reading.text((path, number), text)
            if photo := reading.folder.pictures.get(f"{key}.jpg"):
                reading.photo(Photo(item, photo, "test"))
