"""The stage as a whole: reports on success and failure, the quarantine table, the limit, what the message says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from unimr.data.tables import read_table, table_files
from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.params import Params
from unimr.quality import expectations
from unimr.quality.validate import run

from . import poisons as p
from .small_catalogue import Tables

REPORTS = ("metrics/validation.json", "reports/validation/index.html", "reports/validation/quarantine.parquet")


def with_share(params: Params, share: float) -> Params:
    return params.model_copy(update={"validate_": params.validate_.model_copy(update={"max_quarantined_share": share})})


def test_same_data_gives_the_same_bytes(tables: Tables, params: Params, prepared: Callable[[Tables], Path]) -> None:
    p.set_slots(tables, {"end": 400}, 2)
    root = prepared(tables)
    files = [*REPORTS, "data/validated/quarantine.parquet", "data/validated/utterances.parquet"]
    run(params, root)
    first = [(root / file).read_bytes() for file in files]
    run(params, root)
    assert [(root / file).read_bytes() for file in files] == first


def test_the_library_tells_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    expectations._batches.cache_clear()
    with caplog.at_level("INFO"):
        expectations._batches()
    assert caplog.messages == []


def test_the_limit_decides(tables: Tables, params: Params, prepared: Callable[[Tables], Path]) -> None:
    p.set_slots(tables, {"end": 400}, 10)  # of 360
    root = prepared(tables)
    with pytest.raises(UnimrError, match=r"Table `utterances`: 10 of 360 rows \(2\.78%\) are in quarantine"):
        run(params, root)
    run(with_share(params, 0.03), root)
    assert len(pd.read_parquet(root / "data" / "validated" / "utterances.parquet")) == 350


def test_a_leak_is_fatal_whatever_the_share(tables: Tables, params: Params, prepared: Callable[[Tables], Path]) -> None:
    p.leak_utterance(tables)
    root = prepared(tables)
    with pytest.raises(UnimrError, match=r"no_utterance_in_train_and_test\): 1 of 360 rows fail"):
        run(with_share(params, 1.0), root)


def test_failure_says_what_to_look_at_and_keeps_older_data(
    tables: Tables, params: Params, prepared: Callable[[Tables], Path]
) -> None:
    root = prepared(tables)
    run(params, root)
    before = {file.name: file.read_bytes() for file in (root / "data" / "validated").iterdir()}
    p.set_column(tables, "texts", "lang", "xx", slice(0, 60))
    prepared(tables)
    with pytest.raises(UnimrError) as caught:
        run(params, root)
    message = str(caught.value)
    for file in REPORTS[1:]:
        assert str(root / file) in message
    assert message.count("expect_column_values_to_be_in_set(lang): 'xx'") == 3  # examples
    assert {file.name: file.read_bytes() for file in (root / "data" / "validated").iterdir()} == before
    assert read_json(root / REPORTS[0])["success"] is False
    assert not list(root.rglob("*.tmp-*"))


def test_quarantine_table_holds_rows_and_reasons(
    tables: Tables, params: Params, prepared: Callable[[Tables], Path]
) -> None:
    label = p.rows_of(tables["images"], style="openmoji")[0]
    p.replace_pictures(tables, pd.Index([label]), b"GIF89a")
    p.set_slots(tables, {"label": "shape"}, 1)
    root = prepared(tables)
    run(params, root)
    rows = pd.read_parquet(root / "data" / "validated" / "quarantine.parquet").set_index("table")
    assert rows.at["images", "row_id"] == tables["images"].at[label, "image_id"]
    assert rows.at["images", "row"] == label
    content = json.loads(rows.at["images", "content"])
    assert content["item_id"] == tables["images"].at[label, "item_id"] and "image" not in content
    assert "slot_labels_are_known" in rows.at["utterances", "reasons"][0]
    assert json.loads(rows.at["utterances", "content"])["slots"][0]["label"] == "shape"


class _Page(HTMLParser):
    """Collects tags and the addresses that a page would load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def test_page_is_self_contained_and_escapes_what_it_shows(
    tables: Tables, params: Params, prepared: Callable[[Tables], Path]
) -> None:
    p.set_column(tables, "texts", "text", "<script>alert(1)</script>\x07", slice(0, 40))
    root = prepared(tables)
    with pytest.raises(UnimrError):
        run(params, root)
    text = (root / "reports" / "validation" / "index.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert "script" not in page.tags and "&lt;script&gt;" in text
    assert page.addresses and all(re.match(r"#|data:image/png;base64,", address) for address in page.addresses)
    assert text.index("must not be used") < text.index("<h2")


def test_page_of_sound_data_says_so(tables: Tables, params: Params, prepared: Callable[[Tables], Path]) -> None:
    root = prepared(tables)
    run(params, root)
    text = (root / "reports" / "validation" / "index.html").read_text(encoding="utf-8")
    assert "The data can be used: 3,288 rows meet" in text
    assert text.count("<figure>") == 12


def test_a_suite_that_is_wrong_is_named(
    tables: Tables, params: Params, prepared: Callable[[Tables], Path], project: Path
) -> None:
    root = prepared(tables)
    suites = project / "expectations"
    committed = {file.name: file.read_text(encoding="utf-8") for file in suites.glob("*.json")}
    suites.unlink()
    suites.mkdir()
    for name, content in committed.items():
        (suites / name).write_text(content.replace("spans_are_sound", "spans_are_round"), encoding="utf-8")
    with pytest.raises(UnimrError, match=r"spans_are_round\) in the suite of `utterances` .* cannot be evaluated"):
        run(params, root)
    (suites / "images.json").write_text('{"expectations": [{"type": "expect_magic", "kwargs": {}}]}', encoding="utf-8")
    with pytest.raises(UnimrError, match="The suite of `images` in expectations/ is wrong"):
        run(params, root)
    (suites / "qrels.json").unlink()
    with pytest.raises(UnimrError, match=r"The suite .*qrels\.json is missing"):
        run(params, root)


def test_foreign_files_are_copied(tables: Tables, params: Params, prepared: Callable[[Tables], Path]) -> None:
    root = prepared(tables)
    run(params, root)
    assert read_json(root / "data" / "validated" / "slot_values.json") == {"en": {"gender": {"woman": ["woman"]}}}


def test_rows_are_taken_out_of_the_right_shard(
    tables: Tables, params: Params, prepared: Callable[[Tables], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unimr.data.tables.SHARD_BYTES", 20_000)
    label = p.rows_of(tables["images"], style="openmoji")[-1]
    p.replace_pictures(tables, pd.Index([label]), b"GIF89a")
    root = prepared(tables)
    run(params, root)
    shards = table_files(root / "data" / "prepared", "images")
    assert len(shards) > 2
    changed = [file.name for file in shards if (root / "data/validated" / file.name).read_bytes() != file.read_bytes()]
    assert changed == [shards[-1].name]
    clean = read_table(root / "data" / "validated", "images")
    assert clean["image_id"].to_list() == tables["images"]["image_id"].drop(label).to_list()
