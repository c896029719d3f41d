"""NTREX-128 (Federmann et al. 2022): news translated by professionals, as sentences and as whole documents.

`newstest2019-src.eng.txt` and `newstest2019-ref.<language>.txt` are aligned line by line with `DOCUMENT_IDS.tsv`. A
fifth of the documents is `dev`, and the rest may be trained on.
"""

from __future__ import annotations

import re
from pathlib import Path

from unimr.data.published.languages import language_tag
from unimr.data.published.partition import dev_or_train
from unimr.data.published.reading import Reading
from unimr.data.published.records import Text

SENTENCES, DOCUMENTS = "ntrex-sentences", "ntrex-documents"

_FILE = re.compile(r"newstest2019-(?:src|ref)\.(?P<lang>[A-Za-z-]+)\.txt")


def read(reading: Reading) -> None:
    """Read every language: a text a line, and a text a document."""
    lists = reading.folder.find("DOCUMENT_IDS.tsv")
    documents = dict(reading.lines(lists[0])) if lists else {}
    for path in reading.folder.find("newstest2019-*.txt"):
        if file := _FILE.fullmatch(path.name):
            _read_file(reading, path, language_tag(file["lang"]), documents)


def _read_file(reading: Reading, path: Path, lang: str, documents: dict[int, str]) -> None:
    whole: dict[str, list[str]] = {}
    for number, sentence in reading.lines(path):
        document = documents.get(number, "").strip()
        if not document:
            reading.bad(path, number, f"line {number} of DOCUMENT_IDS.tsv names no document")
            continue
        split = dev_or_train("ntrex", document)
        text = Text(SENTENCES, f"ntrex:{document}.{number}", lang, "sentence", sentence, split)
        reading.text((path, number), text)
        whole.setdefault(document, []).append(sentence.strip())
    for document, sentences in whole.items():
        joined = " ".join(sentences)
        split = dev_or_train("ntrex", document)
        reading.text((path, 0), Text(DOCUMENTS, f"ntrex:{document}", lang, "document", joined, split))
