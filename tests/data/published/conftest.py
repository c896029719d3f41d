"""Small folders in the published formats."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from unimr.data.published.records import Dataset
from unimr.data.published.sources import read_all

SHARED = Path(os.environ.get("UNIMR_DATA", Path(__file__).parents[4] / "shared/data"))


def jpeg(colour: str = "red", side: int = 20) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def read(tmp_path: Path) -> Callable[[dict[str, object]], Dataset]:
    """Writes files (name → text, bytes, lines or a JSON value) below a folder and reads all of it."""

    def write_and_read(files: dict[str, object]) -> Dataset:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, list):
                content = "".join(f"{line}\n" for line in content)
            elif isinstance(content, dict):
                content = json.dumps(content, ensure_ascii=False)
            data = content.encode() if isinstance(content, str) else content
            assert isinstance(data, bytes)
            path.write_bytes(gzip.compress(data) if name.endswith(".gz") and data[:2] != b"\x1f\x8b" else data)
        return read_all(tmp_path)

    return write_and_read


def texts(data: Dataset) -> list[tuple[str, str, str, str, str]]:
    """What matters of every text: item, language, role, text, split."""
    return [(row.item_id, row.lang, row.role, row.text, row.split) for row in data.texts]


def bad(data: Dataset) -> list[tuple[str, int, str]]:
    """File, line and the beginning of the reason of every record left out."""
    return [(record.file, record.line, record.reason) for record in data.bad]
