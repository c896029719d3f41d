"""The tables under validation, and what several checks derive from them once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from unimr.data.tables import SCHEMAS, read_table, table_files
from unimr.data.text import lexical_terms, normalise
from unimr.errors import UnimrError
from unimr.params import Params
from unimr.quality.pictures import Picture, examine_all


@dataclass(frozen=True)
class Catalogue:
    """The five tables (name → frame with one index label a row) and the configured languages."""

    tables: dict[str, pd.DataFrame]
    languages: tuple[str, ...]
    untrained_languages: tuple[str, ...]
    unseen_styles: tuple[str, ...]

    @cached_property
    def pictures(self) -> pd.Series:
        """A `Picture` a row of `images`: what decoding it showed."""
        images = self.tables["images"]
        found: list[Picture] = examine_all(images["image"].tolist())
        return pd.Series(found, index=images.index, dtype=object)

    @cached_property
    def forms(self) -> dict[str, pd.Series]:
        """Normalised text a row of `texts`, `queries` and `utterances`; empty where the text is null."""
        return {name: self.tables[name]["text"].fillna("").map(_form) for name in ("texts", "queries", "utterances")}

    @cached_property
    def terms(self) -> dict[tuple[str, str], dict[str, frozenset[str]]]:
        """(Language, role) → item → the different terms of its names or keywords."""
        texts = self.tables["texts"]
        columns = (texts["lang"], texts["role"], texts["item_id"], self.forms["texts"])
        found: dict[tuple[str, str], dict[str, frozenset[str]]] = defaultdict(dict)
        for lang, role, item, form in zip(*columns, strict=True):
            if role in ("name", "keyword"):
                of_role = found[lang, role]
                of_role[item] = of_role.get(item, frozenset()) | _terms_of(form)
        return found

    def without(self, rows: dict[str, set[int]]) -> Catalogue:
        """The catalogue without the rows of these index labels; what is left keeps its labels."""
        tables = {name: frame.drop(index=list(rows.get(name, ()))) for name, frame in self.tables.items()}
        return Catalogue(tables, self.languages, self.untrained_languages, self.unseen_styles)


@lru_cache(maxsize=500_000)
def _form(text: str) -> str:
    return normalise(text)


@lru_cache(maxsize=500_000)
def _terms_of(form: str) -> frozenset[str]:
    return frozenset(lexical_terms(form))


def read_column_types(folder: Path, table: str) -> dict[str, str]:
    """Column → Arrow type of a table, as its files state them; shards that differ are an error of their own.

    Raises:
        UnimrError: the table is missing or a file of it is no Parquet, or its shards differ.
    """
    files = table_files(folder, table)
    if not files:
        raise UnimrError(f"The table `{table}` is missing in {folder}. Run `dvc repro prepare` to make it.")
    try:
        schemas = [pq.read_schema(file) for file in files]
    except (pa.ArrowException, OSError) as error:
        raise UnimrError(f"The table `{table}` in {folder} is damaged: {error}. Run `dvc repro prepare`.") from error
    types = [{field.name: str(field.type) for field in schema} for schema in schemas]
    for file, of_file in zip(files, types, strict=True):
        if of_file != types[0]:
            raise UnimrError(f"The columns of {file} differ from those of {files[0]}. Run `dvc repro prepare`.")
    return types[0]


def load_catalogue(folder: Path, params: Params) -> Catalogue:
    """Read the five tables, whose columns are known to be right.

    Raises:
        UnimrError: a table cannot be read (damaged pages, text that is not UTF-8, a map with a key twice).
    """
    tables = {}
    for name in SCHEMAS:
        try:
            frame = read_table(folder, name)
        except (pa.ArrowException, ValueError, KeyError) as error:
            raise UnimrError(f"The table `{name}` in {folder} holds values that cannot be read: {error}.") from error
        texts = frame.select_dtypes("str").columns
        tables[name] = frame.astype(dict.fromkeys(texts, object))  # walking Arrow strings takes ten times as long
    prepare = params.prepare
    return Catalogue(tables, tuple(prepare.languages), tuple(prepare.untrained_languages), tuple(prepare.unseen_styles))
