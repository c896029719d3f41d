import csv
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from unimr.config import load_params
from unimr.data.tables import write_table
from unimr.errors import UnimrError
from unimr.evaluation.evaluate import embedded_pictures, write_evaluation
from unimr.evaluation.report import data_uri
from unimr.files import write_json
from unimr.index.embed import EMBEDDINGS, embed

VERSION = "000000000001"
HOSTILE = '<script>alert("x")</script>rot'


@pytest.fixture
def params():
    return load_params(Path(__file__).parents[2])


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_stage_writes_everything_it_promises(model, params, root):
    write_evaluation(model, VERSION, params, root)
    metrics = read(root / "metrics" / "evaluation.json")
    assert metrics["name_to_name"]["mrr"] == 0.625
    assert metrics["name_to_name"]["mrr_low"] <= 0.625 <= metrics["name_to_name"]["mrr_high"]
    assert metrics["name_to_name"]["leading_128"]["mrr"] == 0.625
    assert metrics["model"]["parameters"] == 7
    assert read(root / "metrics" / "latency.json")["calls"] >= 50
    with (root / "plots" / "languages.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert {"task", "lang", "value", "low", "high"} == set(rows[0])
    assert ("name_to_name.mrr", "fr", "0.2500") in {(row["task"], row["lang"], row["value"]) for row in rows}
    confusion = (root / "plots" / "nlu_confusion.csv").read_text(encoding="utf-8").splitlines()
    assert confusion[:2] == ["actual,predicted", "find_text,find_text"]
    for name in ("headline", "languages", "nlu_confusion"):
        with Image.open(root / "reports" / "evaluation" / f"{name}.png") as picture:
            assert min(picture.size) > 200


def add_queries_with_spread(root, tables):
    """Half of them found and half not, so that an interval depends on what was drawn."""
    more = pd.DataFrame(
        [{"query_id": f"more{n}", "task": "name_to_name", "lang": "de", "text": f"{'rot' if n % 2 else 'wort'} {n}",
          "image_id": None, "split": "test"} for n in range(61)]
    )  # fmt: skip
    answers = pd.DataFrame({"query_id": more["query_id"], "item_id": "red", "relevance": 1})
    write_table(root / "data" / "validated", "queries", pd.concat([tables.queries, more]))
    write_table(root / "data" / "validated", "qrels", pd.concat([tables.qrels, answers]))


def test_the_same_model_and_tables_give_the_same_bytes(model, params, root, tables):
    add_queries_with_spread(root, tables)
    write_evaluation(model, VERSION, params, root)
    files = [root / "metrics" / "evaluation.json", *sorted((root / "plots").iterdir())]
    first = [file.read_bytes() for file in files]
    write_evaluation(model, VERSION, params, root)
    assert [file.read_bytes() for file in files] == first


def test_the_page_is_self_contained_and_escapes_what_the_data_say(model, params, root, tables):
    queries = tables.queries.assign(text=tables.queries["text"].replace("rot", HOSTILE))
    write_table(root / "data" / "validated", "queries", queries)
    texts = tables.texts.assign(text=tables.texts["text"].replace("red", "<b>red</b>"))
    write_table(root / "data" / "validated", "texts", texts)
    write_evaluation(model, VERSION, params, root)
    page = (root / "reports" / "evaluation" / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>red" not in page
    assert "&lt;b&gt;red&lt;/b&gt;" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "url(" not in page
    assert "data:image/png;base64," in page


def test_the_page_says_what_was_lost_and_what_was_left_out(model, params, root):
    (root / "models" / "train_text").mkdir(parents=True)
    (root / "models" / "train_text" / "metrics.json").write_text('{"name_to_name_mrr": 0.9}', encoding="utf-8")
    write_evaluation(model, VERSION, params, root)
    page = (root / "reports" / "evaluation" / "index.html").read_text(encoding="utf-8")
    assert '<span class="missed">lost</span>' in page
    assert "1 queries are not scored" in page
    assert "not measured" in page
    assert read(root / "metrics" / "evaluation.json")["retained"]["name_to_name_mrr"]["change"] == -0.275


def test_without_utterances_the_rest_is_still_reported(model, params, root, tables):
    write_table(root / "data" / "validated", "utterances", tables.utterances.iloc[:0])
    write_evaluation(model, VERSION, params, root)
    assert "nlu" not in read(root / "metrics" / "evaluation.json")
    assert not (root / "reports" / "evaluation" / "nlu_confusion.png").exists()


def test_a_missing_table_is_named(model, params, root):
    (root / "data" / "validated" / "qrels.parquet").unlink()
    with pytest.raises(UnimrError, match="qrels"):
        write_evaluation(model, VERSION, params, root)
    assert not (root / "metrics").exists()


@pytest.fixture
def embedded(model, params, root):
    """The project folder after the stage `embed`; the model counts from there on."""
    write_json(root / "data" / "validated" / "slot_values.json", {})
    embed(params, root, model, VERSION)
    model.pictures = 0
    return root


def test_pictures_that_were_embedded_are_not_encoded_again_and_the_figures_are_the_same(model, params, embedded):
    write_evaluation(model, VERSION, params, embedded)
    timed = model.pictures
    with_vectors = (embedded / "metrics" / "evaluation.json").read_bytes()
    shutil.rmtree(embedded / EMBEDDINGS)
    write_evaluation(model, VERSION, params, embedded)
    assert model.pictures == 2 * timed + len(list_pictures(embedded))  # what is timed is encoded for that
    assert (embedded / "metrics" / "evaluation.json").read_bytes() == with_vectors


def list_pictures(root):
    return pd.concat(pd.read_parquet(file) for file in (root / "data" / "validated").glob("images-*.parquet"))


def test_vectors_of_another_model_or_of_other_tables_are_not_taken(embedded, tables):
    assert set(embedded_pictures(embedded, VERSION)) == set(tables.images["image_id"])
    assert embedded_pictures(embedded, "000000000002") == {}
    write_table(embedded / "data" / "validated", "images", tables.images.iloc[1:])
    assert embedded_pictures(embedded, VERSION) == {}


def test_damaged_vectors_are_refused(model, params, embedded):
    file = embedded / EMBEDDINGS / "images.parquet"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UnimrError, match=r"images\.parquet is missing or was changed"):
        write_evaluation(model, VERSION, params, embedded)


def test_only_pictures_become_data_uris():
    assert data_uri(b"\x89PNG....").startswith("data:image/png;base64,")
    assert data_uri(b"<svg onload=alert(1)>") == ""
