from __future__ import annotations

import pandas as pd

from unimr.data.card import write_card

from .small_sources import prepare_params


def test_counts_by_language_and_split_with_totals(tmp_path):
    texts = [("en", "name", "train")] * 3 + [("de", "name", "train"), ("de", "keyword", "test_pair")]
    tables = {
        "images": pd.DataFrame([("photo", "train")] * 1200, columns=["style", "split"]),
        "texts": pd.DataFrame(texts, columns=["lang", "role", "split"]),
        "queries": pd.DataFrame([("name_to_name", "de")], columns=["task", "lang"]),
        "utterances": pd.DataFrame([("en", "find_image", "test")], columns=["lang", "intent", "split"]),
    }
    write_card(tmp_path / "README.md", prepare_params(unseen_styles=["ink"], untrained_languages=[]), tables)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| photo | 1,200 | 1,200 |" in card
    assert "| de | 1 | 1 | 2 |\n| en | 0 | 3 | 3 |\n| all | 1 | 4 | 5 |" in card
    assert "the style: ink" in card and "the language: none" in card
