from __future__ import annotations

import logging

import httpx
import pytest
from prefect.logging import disable_run_logger

from flows import artifacts
from flows.artifacts import PROGRESS, Published, TrainingProgress, figures
from unimr.files import write_json
from unimr.training.progress import Progress

GATE = {"champion": None, "measures": {}, "notes": [], "reasons": []}


def write(root, figures, gate=GATE):
    write_json(root / "metrics/evaluation.json", figures)
    write_json(root / "metrics/index.json", {"gate": GATE | gate})


def row(text: str, measure: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| {measure} "))


def test_the_lines_of_training_are_its_progress(caplog):
    with caplog.at_level(logging.INFO), Progress("train_text", 40, 0) as progress:
        for step in range(4):
            progress.update(step, {"text": 1.5, "image": 2.0}, 8, 0.0, 1e-3)
    found = PROGRESS.match(caplog.messages[-1])
    assert found and found.groups() == ("train_text", "4", "40")
    assert not PROGRESS.match("index: done in 4.3 s (profile ci)")


def test_a_server_that_stays_away_does_not_end_the_training(monkeypatch):
    asked = []

    def no_answer(*arguments):
        asked.append(arguments)
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(artifacts, "create_progress_artifact", no_answer)
    with disable_run_logger():
        progress = TrainingProgress()
        for step in (1, 2):
            progress(f"train_text text 1.0  step {step}/40  8 samples/s")
    assert asked == [(2.5, "train-text", "train_text text 1.0  step 1/40  8 samples/s")]


def test_before_anything_was_published_there_is_no_difference(tmp_path):
    write(tmp_path, {"name_to_name": {"mrr": 0.5}})
    text = figures(tmp_path, Published.read(tmp_path))
    assert row(text, "name_to_name_mrr") == "| name_to_name_mrr | 0.500 |  |  |  |"
    assert row(text, "nlu_slot_f1") == "| nlu_slot_f1 | not measured | | | |"
    assert "published before this run: nothing" in text


@pytest.mark.parametrize(("tables", "shown"), [("a", "| 0.500 | 0.470 | +0.030 |"), ("b", "| 0.500 |  |  |")])
def test_figures_of_the_same_tables_are_compared_and_of_others_not(tmp_path, tables, shown):
    write(tmp_path, {"name_to_name": {"mrr": 0.5}, "measured_on": "a"})
    before = Published("v1", {"name_to_name": {"mrr": 0.47}, "measured_on": tables})
    assert shown in row(figures(tmp_path, before), "name_to_name_mrr")


def test_where_the_gate_compared_its_figures_are_shown(tmp_path):
    compared = {"nlu_slot_f1": {"champion": 0.8, "challenger": 0.7, "tolerance": 0.02}}
    write(tmp_path, {"nlu": {"slot_f1": 0.75}}, {"champion": "v1", "measures": compared, "notes": ["measured anew"]})
    text = figures(tmp_path, Published("v1", {}))
    assert row(text, "nlu_slot_f1") == "| nlu_slot_f1 | 0.700 | 0.800 | **-0.100** | 0.02 |"
    assert "- measured anew" in text
    later = figures(tmp_path, Published("v2", {}))  # what the gate said was of an earlier run
    assert row(later, "nlu_slot_f1") == "| nlu_slot_f1 | 0.750 |  |  |  |"
    assert "measured anew" not in later
