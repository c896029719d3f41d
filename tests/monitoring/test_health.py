from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from unimr.config import load_params
from unimr.files import read_json, write_json
from unimr.index.build import build
from unimr.index.embed import embed
from unimr.index.publish import (
    collection_name,
    confirm,
    current_version,
    history,
    publishing,
    rollback,
    versions_folder,
)
from unimr.index.schema import IMAGES
from unimr.index.store import Store, store_path
from unimr.monitoring.health import Health, check_health
from unimr.search.engine import load_retriever

from ..index.small_index import (
    PROJECT,
    VERSION,
    FoundSlot,
    Understood,
    WordEncoder,
    index_params,
    params,
    word_encoder,
    write_root,
    write_tables,
)

OTHER_MODEL = "000000000002"
DAY = 86_400


def train(root: Path, version: str) -> None:
    write_json(root / "models/train_joint/manifest.json", {"files": {"model.safetensors": version}})


def publish(root: Path, version: str = VERSION) -> str:
    embed(params(), root, WordEncoder(), version)
    return build(index_params(), root, WordEncoder(), version, word_encoder)


@pytest.fixture(scope="module")
def published_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("published")
    write_root(root)
    train(root, VERSION)
    publish(root)
    return root


@pytest.fixture
def root(published_root, tmp_path) -> Path:
    shutil.copytree(published_root, tmp_path / "project")
    return tmp_path / "project"


def health(root: Path, load=word_encoder, **asked: float) -> Health:
    limits = load_params(PROJECT).monitor.model_copy(update=asked)
    return check_health(limits, root, load)


def live_folder(root: Path) -> Path:
    return versions_folder(root) / current_version(root)


class HungryEncoder(WordEncoder):
    """Understands every query as one for food."""

    def understand(self, texts):
        return [Understood("find_image", 0.9, (FoundSlot(0, 4, "category", "food"),)) for _ in texts]


def test_a_whole_fresh_index_asks_for_nothing(root):
    found = health(root)
    assert found.verdict == "healthy"
    assert found.sentence.startswith(f"Nothing to do: the live index {current_version(root)} is whole and up to date.")
    assert found.reason == ""
    assert [finding.check for finding in found.findings] == ["integrity", "age", "data and model", "answers"]
    assert list((root / "published/open").iterdir()) == []


def test_nothing_published_asks_a_person_to_act(tmp_path):
    found = health(tmp_path)
    assert found.verdict == "broken"
    assert found.sentence.startswith("Act now: There is no index in ")


@pytest.mark.parametrize("name", ["items.json", "pictures.arrow", "lexical.safetensors", "slot_values.json"])
def test_a_damaged_file_is_named(root, name):
    path = live_folder(root) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = health(root)
    assert found.verdict == "broken"
    assert name in found.sentence and "unimr rollback" in found.sentence


def test_rows_missing_from_the_store_are_counted(root):
    change_store(root, lambda store, name: store._client.delete(name, ids=["cat/google"]))
    assert health(root).sentence.startswith(
        f"Act now: The store of the index version {current_version(root)} holds 27 images, not 28."
    )


def test_a_changed_row_of_the_store_is_noticed(root):
    def swap(store: Store, name: str) -> None:
        row, other = (
            store._client.get(name, ids=[f"{item}/google"], output_fields=["*"])[0] for item in ("cat", "dog")
        )
        store._client.upsert(name, [row | {"vector": other["vector"]}])
        store._client.flush(name)

    change_store(root, swap)
    assert "other images than those that were published" in health(root).sentence


def change_store(root: Path, change) -> None:
    """Change the store behind the back of its version, as a client of a shared server could."""
    folder = live_folder(root)
    with Store(store_path(folder)) as store:
        name = collection_name(folder.name, IMAGES)
        store.load(name)
        change(store, name)
    manifest = read_json(folder / "manifest.json")
    kept = {name: value for name, value in manifest["files"].items() if not name.startswith("milvus.db")}
    write_json(folder / "manifest.json", manifest | {"files": kept})


def test_a_model_that_cannot_be_loaded_is_an_alarm(root):
    found = health(root, load_retriever)
    assert found.verdict == "broken"
    assert f"{live_folder(root) / 'model'}" in found.sentence


def test_an_old_index_is_stale_until_the_pipeline_confirms_it(root):
    pointer = root / "published/current.json"
    os.utime(pointer, (time.time() - 40 * DAY,) * 2)
    found = health(root)
    assert found.verdict == "stale"
    assert found.sentence == (
        "Retrain: It is 40.0 days since the pipeline last published the index or found it up to date; "
        "at most 30 are allowed (monitor.max_age_days)."
    )
    assert health(root, max_age_days=41.0).verdict == "healthy"
    confirm(root)
    assert health(root).verdict == "healthy"


def test_changed_data_make_the_index_stale_until_they_are_published(root):
    write_tables(root, changed_name="moggy")
    found = health(root)
    assert found.sentence == "Retrain: The project folder holds other data than the index was made from."
    publish(root)
    assert health(root).verdict == "healthy"


def test_another_model_makes_the_index_stale(root):
    train(root, OTHER_MODEL)
    assert health(root).reason == "The project folder holds another model than the index was made from."


def test_a_version_that_was_withdrawn_is_no_reason_to_retrain(root):
    write_tables(root, changed_name="moggy")
    withdrawn = publish(root)
    rollback(root)
    assert withdrawn != history(root)[-1]
    found = health(root)
    assert found.verdict == "healthy"
    assert f"The version made from them, {withdrawn}, was kept back or withdrawn." in found.findings[2].text


def test_tables_that_are_just_being_made_are_not_compared(root):
    shutil.rmtree(root / "data/validated")
    found = health(root)
    assert found.verdict == "healthy"
    assert "no whole tables" in found.findings[2].text


def test_canaries_that_are_not_found_make_the_index_stale(root):
    found = health(root, lambda folder: HungryEncoder(), min_canary_recall_at_10=0.99)
    assert found.verdict == "stale"
    assert "canary names find their item in the top 10, a recall of 0." in found.reason
    assert "below 0.99 (monitor.min_canary_recall_at_10)" in found.reason


def test_a_broken_index_is_graver_than_an_old_one(root):
    os.utime(root / "published/current.json", (0, 0))
    (live_folder(root) / "items.json").unlink()
    assert health(root).verdict == "broken"


def test_the_report_says_first_whether_to_act(root):
    found = health(root)
    lines = found.to_markdown().splitlines()
    assert lines[0] == f"**{found.sentence}**"
    assert sum(line.startswith("| ") for line in lines) == 5
    assert found.to_json()["verdict"] == "healthy"
    assert found.to_json()["findings"][0]["check"] == "integrity"


def test_checking_waits_for_nobody(root):
    """A build may take long; what is live can be checked meanwhile."""
    with publishing(root):
        assert health(root).verdict == "healthy"
