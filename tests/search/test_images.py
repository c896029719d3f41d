from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image

from unimr.errors import UnimrError
from unimr.search.images import read_query_image


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


BOMB = (
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"x")
)


def test_a_picture_is_returned_as_it_is(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(buffer, "JPEG")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert read_query_image(tmp_path / "a.jpg") == buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GIF89a" + bytes(50), "only PNG, JPEG and WebP"),
        (b"", "only PNG, JPEG and WebP"),
        (BOMB, "50000 x 50000|more than 16,000,000 pixels"),
    ],
    ids=["gif", "empty", "bomb"],
)
def test_what_is_no_sound_picture_is_named(tmp_path, data, message):
    path = tmp_path / "query.png"
    path.write_bytes(data)
    with pytest.raises(UnimrError, match=rf"query.png: .*({message})"):
        read_query_image(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnimrError, match=r"There is no file .*gone.png"):
        read_query_image(tmp_path / "gone.png")
