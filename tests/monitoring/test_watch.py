"""A look at the traffic: verdicts, and what bad input is answered with. Nothing unsure may ever pass for quiet."""

from __future__ import annotations

import shutil
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from unimr.files import read_json, write_json
from unimr.index.build import build
from unimr.index.embed import embed
from unimr.index.publish import current_version, rollback
from unimr.monitoring.outcome import Watch
from unimr.monitoring.reference import DEPTH, REFERENCES, Reference, results_of
from unimr.monitoring.traffic import QUERIES_AT_A_TIME
from unimr.monitoring.watch import watch
from unimr.search.engine import SearchEngine

from ..index.small_index import VERSION, WordEncoder, index_params, params, word_encoder, write_tables
from .conftest import ask, small_params, traffic_of, without_scores

OTHER_MODEL = "000000000002"


def look(root: Path, *, take_over: bool = False, now: float | None = None, **changes: object) -> Watch:
    return watch(small_params(**changes), root, word_encoder, now, take_over)


def publish_again(root: Path, changed_name: str, model: str = VERSION) -> str:
    write_tables(root, changed_name)
    embed(params(), root, WordEncoder(), model)
    return build(index_params(), root, WordEncoder(), model, word_encoder)


def test_traffic_like_the_reference_is_quiet(project):
    ask(project, traffic_of(project, "none"))
    seen = look(project)
    assert (seen.verdict, seen.problems) == ("quiet", [])
    assert seen.sentence.startswith("Nothing to do: 300 queries in ")
    assert seen.reference["source"] == "600 test queries"
    assert seen.auc == pytest.approx(0.5, abs=0.12)


def test_a_new_topic_is_drift_and_its_queries_are_shown(project):
    ask(project, traffic_of(project, "new-topic"))
    seen = look(project)
    assert seen.verdict == "drift"
    assert seen.sentence.startswith("Act: The traffic has changed: ")
    assert "letter sequences that the index lacks" in seen.sentence
    assert "at most 1% of windows raise an alarm" in seen.sentence
    shown = {query.text for group in seen.examples for query in group.queries}
    assert any(name in text for name in ("quartz", "malac", "azuri", "Turmalin", "lapis", "yrit") for text in shown)


def test_one_busy_client_is_quiet(project):
    ask(project, traffic_of(project, "chatty-client", 400))
    seen = look(project)
    assert seen.verdict == "quiet"
    assert "at most 20 of a session" in seen.notes[0]


# ---------------------------------------------------------------------------------------------------------------------
# Bad input: a clear word, never "nothing to do"


def assert_unsure(root: Path, *words: str, **changes: object) -> Watch:
    seen = look(root, **changes)
    assert seen.verdict == "unsure"
    assert seen.sentence.startswith("Not decided: ")
    assert [word for word in words if word not in seen.sentence] == []
    return seen


def test_no_log(project):
    assert_unsure(project, "There is no query log", "logs/queries.db")


def test_an_empty_window(project):
    ask(project, traffic_of(project, "none"))
    week = 8 * 86_400
    assert watch(small_params(), project, word_encoder, time.time() + week).sentence == (
        "Not decided: No query was logged in this time."
    )


def test_too_little_traffic(project):
    ask(project, traffic_of(project, "none", 60))
    assert_unsure(project, "Not enough data: 60 queries, 100 are needed (monitor.drift.min_queries).")


def test_queries_of_one_session(project):
    ask(project, [replace(each, session="one") for each in traffic_of(project, "none")])
    assert_unsure(project, "Not enough data: 20 queries, 100 are needed")
    assert_unsure(project, "Not enough data: 1 sessions, 30 are needed", max_queries_of_session=1000)


def test_pictures_alone(project):
    ask(project, traffic_of(project, "none"), kind="image")
    seen = assert_unsure(project, "No query of words was logged in this time.")
    assert seen.notes == ["300 queries with a picture were left out."]


def test_a_window_of_one_language(project):
    german = [each for each in traffic_of(project, "none", 900) if each.lang == "de"]
    ask(project, german)
    seen = look(project)
    assert seen.verdict == "drift"
    assert "languages" in [row.measure for row in seen.alarms]
    assert "All queries are in one language (de), the reference has 3" in seen.sentence


def test_scores_that_are_no_numbers(project):
    ask(project, traffic_of(project, "none"), without_scores)
    seen = assert_unsure(project, "300 of 300 answers have a score that is no number")
    assert seen.window["queries"] == 0


def test_a_part_of_the_scores_is_no_numbers(project):
    ask(project, traffic_of(project, "none"))
    ask(project, traffic_of(project, "none", 30, seed=5), without_scores)
    seen = assert_unsure(project, "30 of 330 answers have a score that is no number", "No drift in the")
    assert seen.window["queries"] == 300


def test_a_log_of_another_version(project):
    ask(project, traffic_of(project, "none"), lambda answer: replace(answer, index_version="0123456789ab"))
    assert_unsure(project, "300 queries were answered by other versions (0123456789ab)")


def test_the_part_of_the_live_version_is_measured(project):
    ask(project, traffic_of(project, "none"), lambda answer: replace(answer, index_version="0123456789ab"))
    ask(project, traffic_of(project, "none", seed=3))
    seen = look(project)
    assert seen.verdict == "quiet"
    assert "300 queries were answered by other versions" in seen.notes[0]


def test_hashed_texts(project):
    ask(project, traffic_of(project, "none"), store_text=False)
    seen = assert_unsure(project, "hashes in the place of texts", "serve.query_log.store_text", "No drift in the ")
    assert seen.auc is None


def test_hashed_texts_do_not_hide_a_drift(project):
    def other_language(answer):
        return replace(answer, lang="fi")

    ask(project, traffic_of(project, "none"), other_language, store_text=False)
    assert look(project).verdict == "drift"


def test_a_damaged_log(project):
    (project / "logs").mkdir()
    (project / "logs/queries.db").write_bytes(b"this is no database" * 100)
    assert_unsure(project, "cannot be read", "Move it away")


def test_a_log_with_damaged_rows(project):
    ask(project, traffic_of(project, "none"))
    with sqlite3.connect(project / "logs/queries.db") as connection:
        connection.execute("UPDATE queries SET results = 'no list' WHERE id = 5")
    assert_unsure(project, "cannot be read")


def test_nothing_is_published(project):
    shutil.rmtree(project / "published")
    assert_unsure(project, "There is no index in")


def test_a_reference_of_another_version(project):
    look(project)
    notes = project / REFERENCES / current_version(project) / "manifest.json"
    write_json(notes, read_json(notes) | {"version": "0123456789ab"})
    ask(project, traffic_of(project, "none"))
    assert_unsure(project, "is that of version 0123456789ab", "Remove")


def test_a_reference_of_another_model(project):
    look(project)
    notes = project / REFERENCES / current_version(project) / "manifest.json"
    write_json(notes, read_json(notes) | {"model": OTHER_MODEL})
    assert_unsure(project, f"is of model {OTHER_MODEL}", "Remove")


def test_a_damaged_reference(project):
    look(project)
    folder = project / REFERENCES / current_version(project)
    (folder / "traffic.parquet").write_bytes(b"torn")
    assert_unsure(project, "traffic.parquet cannot be read", "Remove its folder")


def test_tables_that_the_index_was_not_made_from(project):
    write_tables(project, "tabby")
    assert_unsure(project, "has no reference, and data/validated holds other tables", "dvc repro")


# ---------------------------------------------------------------------------------------------------------------------
# References


def test_a_window_that_is_accepted_becomes_the_reference(project):
    ask(project, traffic_of(project, "new-topic"))
    assert look(project, take_over=True).verdict == "drift"
    assert_unsure(project, "No query was logged in this time.")  # what made the reference is not compared with it
    ask(project, traffic_of(project, "new-topic", seed=2))
    seen = look(project)
    assert seen.verdict == "quiet"
    assert "accepted by hand" in seen.reference["source"]


def test_too_small_a_window_cannot_be_accepted(project):
    ask(project, traffic_of(project, "none", 40))
    seen = look(project, take_over=True)
    assert "This window cannot become the reference: 40 queries, 100 are needed" in seen.sentence
    assert not Reference.load(project, current_version(project)).notes.from_log


def test_a_new_version_takes_over_the_traffic_that_it_answers_as_well(project):
    look(project)
    ask(project, traffic_of(project, "none"))
    publish_again(project, "tabby", OTHER_MODEL)
    seen = look(project)
    assert seen.reference["source"].startswith("300 queries of the query log up to ")
    assert seen.reference["queries"] == 300
    assert seen.canaries.before is not None and seen.canaries.jaccard_before > 0.8


def test_a_new_version_does_not_take_over_what_it_answers_worse(project, caplog):
    look(project)
    ask(project, traffic_of(project, "new-topic", share=0.6))
    publish_again(project, "tabby", OTHER_MODEL)
    seen = look(project)
    assert seen.reference["source"] == "600 test queries, answered anew"
    assert "is not taken as the reference: similarity" in caplog.text


def test_a_rollback_finds_the_reference_of_its_version(project):
    first = look(project)
    publish_again(project, "tabby", OTHER_MODEL)
    assert look(project).version != first.version
    rollback(project)
    ask(project, traffic_of(project, "none"))
    seen = look(project)
    assert (seen.version, seen.verdict) == (first.version, "quiet")


def test_canaries_that_are_lost_are_a_reason_to_act(project):
    look(project)
    path = project / REFERENCES / current_version(project) / "canaries.json"
    write_json(path, [canary | {"relevant": ["gone"], "results": ["gone"]} for canary in read_json(path)])
    seen = look(project)
    assert seen.verdict == "drift"
    assert "R@10 of the labelled canaries fell from 1.000 to 0.000" in seen.sentence
    assert seen.canaries.jaccard == 0


def test_canaries_are_answered_together_as_each_is_alone(project):
    texts = list(dict.fromkeys(each.text for each in traffic_of(project, "none", 400)))
    assert len(texts) > QUERIES_AT_A_TIME
    with SearchEngine.open(project, word_encoder) as engine:
        engine.hold_in_memory()
        together = results_of(engine, texts)
        assert together == [results_of(engine, [text])[0] for text in texts]
    assert max(map(len, together)) == DEPTH
