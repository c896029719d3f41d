"""The data card `data/README.md`: what the tables mean and what is in them, written by stage `prepare`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd

from unimr.data.published.catalogue import PublishedCatalogue
from unimr.files import write_text
from unimr.params import PrepareParams

_HEAD = """# The data

Written by the stage `prepare`; the figures are counts of what it made. Tables are Parquet files, validated into
`data/validated`; their schemas stand in `unimr/data/tables.py`.

| table | a row is | columns |
|---|---|---|
| `images` | one picture | `image_id, item_id, style, image` (encoded bytes), `width, height, sha256, attributes` (map), `split` |
| `texts` | one text that names or describes an item | `text_id, item_id, lang` (BCP-47), `kind` (short, long), `role` (name, keyword, description), `text, split` |
| `queries` + `qrels` | an evaluation query, and what is relevant to it | `query_id, task, lang, text, image_id, split` · `query_id, item_id, relevance` |
| `utterances` | an annotated query | `utterance_id, lang, text, intent, slots` [start, end, label] in characters, `item_id` or null, `split` |

`item_id` is the thing that is searched for. Everything that shares an item is a positive.

## Splits

A split is decided by a hash of the item, the (item, language) pair or the keyword, before anything else
(`unimr/data/splits.py`), for an emoji and all its skin tones at once.

| split | of | what was never seen in training |
|---|---|---|
| `test_item` | texts, images | the item itself: no picture, no text of it |
| `test_pair` | texts | every text of the item in this language |
| `test_keyword` | texts | this keyword in this language, for any item |
| `test_style` | images | the style: {unseen_styles} |
| `untrained` | texts | the language: {untrained} |
| `test` | utterances | the phrasing: no production of it occurs in training |

Nothing of a test split is in train: the same text in the same language after normalisation, the same picture by
SHA-256 and by perceptual hash. The expectations in `expectations/` prove it at every run. Intent-rich utterances are
written by one grammar a language (`data/sources/emoji/grammar/`): they are made sentences, not queries of real users.
"""


_PUBLISHED = """
## Splits

The official ones of the published sets: `test_item` is their development part, `untrained` (here: {untrained}) the
languages that are never trained, and their test part is in no table. Nothing of `test_item` is in train: the same text
in the same language after normalisation, the same picture by SHA-256 and by perceptual hash.

## Records

"""


def write_card(path: Path, params: PrepareParams, tables: dict[str, pd.DataFrame]) -> None:
    """Write the card from the tables."""
    head = _HEAD.replace("{unseen_styles}", ", ".join(params.unseen_styles) or "none")
    head = head.replace("{untrained}", ", ".join(params.untrained_languages) or "none")
    write_text(path, "\n".join([head, *_sections(tables)]))


def write_published_card(
    path: Path, params: PrepareParams, tables: dict[str, pd.DataFrame], found: PublishedCatalogue
) -> None:
    """Write the card of published data sets, with the records that were left out and why."""
    bad = Counter(record.source for record in found.bad)
    records = ["| source | records | broken |", "|---|---:|---:|"]
    records += [f"| {source} | {count:,} | {bad[source]:,} |" for source, count in found.counts.items()]
    reasons = ["", "| sound, but not used | records |", "|---|---:|"]
    reasons += [f"| {reason} | {count:,} |" for reason, count in sorted(found.left_out.items())]
    head = _HEAD.partition("\n## Splits")[0] + _PUBLISHED
    head = head.replace("{untrained}", ", ".join(params.untrained_languages) or "none")
    write_text(path, "\n".join([head + "\n".join([*records, *reasons]) + "\n", *_sections(tables)]))


def _sections(tables: dict[str, pd.DataFrame]) -> list[str]:
    return [
        "## Pictures\n\n" + _counts(tables["images"], "style", "split"),
        "## Texts\n\n" + _counts(tables["texts"], "lang", "split"),
        "## Texts in train, by role\n\n" + _counts(tables["texts"].query("split == 'train'"), "lang", "role"),
        "## Queries\n\n" + _counts(tables["queries"], "task", "lang"),
        "## Utterances\n\n" + _counts(tables["utterances"], "lang", "split"),
        "## Utterances, by intent\n\n" + _counts(tables["utterances"], "intent", "split"),
    ]


def _counts(frame: pd.DataFrame, row: str, column: str) -> str:
    """A Markdown table of counts with totals."""
    counts = pd.crosstab(frame[row], frame[column], margins=True, margins_name="all")
    lines = [f"| {row} | " + " | ".join(counts.columns) + " |", "|---|" + "---:|" * len(counts.columns)]
    lines += [
        f"| {name} | " + " | ".join(f"{value:,}" for value in values) + " |" for name, values in counts.iterrows()
    ]
    return "\n".join(lines) + "\n"
