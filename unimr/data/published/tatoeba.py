"""Tatoeba pairs as LASER tests them (Artetxe and Schwenk 2019): `tatoeba.<language>-eng.<language>` beside `….eng`.

Line i of the one file is line i of the other. A fifth of the lines is `dev`, and the rest may be trained on.
"""

from __future__ import annotations

import re

from unimr.data.published.languages import language_tag
from unimr.data.published.partition import dev_or_train
from unimr.data.published.reading import Reading
from unimr.data.published.records import Text

COLLECTION = "tatoeba"

_FILE = re.compile(r"tatoeba\.(?P<pair>(?P<lang>[a-z]{3})-eng)\.(?P<side>[a-z]{3})")


def read(reading: Reading) -> None:
    """Read both sides of every pair; an English sentence that stands in several pairs is in one part in all of them."""
    for path in reading.folder.find("tatoeba.*-eng.eng"):
        found = _FILE.fullmatch(path.name)
        if not found:
            continue
        pair, english = found["pair"], dict(reading.lines(path))
        other = path.with_name(f"tatoeba.{pair}.{found['lang']}")
        if other not in reading.folder.find(other.name):
            reading.bad(path, 0, f"{other.name}, the other side of the pair, is missing")
            continue
        foreign = dict(reading.lines(other))
        for number in sorted(english.keys() ^ foreign.keys()):
            here, there = (path, other.name) if number in english else (other, path.name)
            reading.bad(here, number, f"{there} has no line {number}")
        for number in sorted(english.keys() & foreign.keys()):
            item, split = f"tatoeba:{pair}.{number}", dev_or_train(COLLECTION, english[number].strip())
            for side, lang, text in ((path, "en", english), (other, language_tag(found["lang"]), foreign)):
                reading.text((side, number), Text(COLLECTION, item, lang, "sentence", text[number], split))
