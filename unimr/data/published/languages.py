"""Language codes of published data sets as the BCP-47 tags of the tables."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml


def language_tag(code: str) -> str:
    """The BCP-47 tag of `deu`, `zho-TW`, `de-DE` or `jp`; a region that only says where it was written is dropped."""
    codes = _codes()
    language, _, rest = code.partition("-")
    language = codes["short"].get(language, language)
    tag = f"{language}-{rest}" if rest else language
    if tag in codes["chinese"]:
        return str(codes["chinese"][tag])
    return str(language if tag in codes["regions"] else tag)


@lru_cache(maxsize=1)
def _codes() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
    return found
