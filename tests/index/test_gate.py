from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unimr.data.tables import write_table
from unimr.errors import UnimrError
from unimr.evaluation.measure import measured_on
from unimr.files import read_json, write_json
from unimr.index.build import build
from unimr.index.embed import embed
from unimr.index.gate import _measures
from unimr.index.publish import current_version, history, promote, rollback, versions, versions_folder
from unimr.params import GateTolerance

from .small_index import WordEncoder, all_items, index_params, params, write_tables

FIGURES = {"name_to_name": {"mrr": 0.5}, "nlu": {"intent_accuracy": 0.9, "slot_f1": 0.8}}
WORSE = FIGURES | {"name_to_name": {"mrr": 0.4}}


class DeafEncoder(WordEncoder):
    """Hears another word in every language: no name finds its translation."""

    def encode_texts(self, texts):
        return super().encode_texts(
            [f"{text}{len(text)}{text[:2]}" if text in self.english else text for text in texts]
        )

    def _word(self, word: str) -> np.ndarray:
        return super()._word(word[::-1])


ENCODERS = {"good": WordEncoder(), "deaf": DeafEncoder()}


def load(folder: Path) -> WordEncoder:
    """The model of a version: its name is in the version's manifest."""
    return ENCODERS[read_json(folder.parent / "manifest.json")["model_version"].partition("-")[0]]


def never(folder: Path) -> WordEncoder:
    raise AssertionError(f"{folder} was loaded")


def challenge(root: Path, model: str, figures: dict, on: str | None = None, load=never, **changes) -> str:
    """Build a version of this model, whose figures were measured on the tables as they are, or on something else."""
    encoder = ENCODERS[model.partition("-")[0]]
    embed(params(), root, encoder, model)
    origin = {"measured_on": on or measured_on(root / "data/validated"), "model": {"version": model}}
    write_json(root / "metrics/evaluation.json", figures | origin)
    return build(index_params(**changes), root, encoder, model, load)


def said(root: Path) -> dict:
    return read_json(root / "metrics/index.json")


def add_queries(root: Path) -> None:
    """Every German name asks for its English one."""
    items = all_items()
    rows = [(f"q/{item}", "name_to_name", "de", of["de"].lower(), None, "test") for item, of in items.items()]
    columns = ["query_id", "task", "lang", "text", "image_id", "split"]
    write_table(root / "data/validated", "queries", pd.DataFrame(rows, columns=columns))
    answers = pd.DataFrame({"query_id": [f"q/{item}" for item in items], "item_id": list(items), "relevance": 1})
    write_table(root / "data/validated", "qrels", answers)
    row = ("u", "en", "show the cat", "find_image", [{"start": 9, "end": 12, "label": "subject"}], "cat", "test")
    columns = ["utterance_id", "lang", "text", "intent", "slots", "item_id", "split"]
    write_table(root / "data/validated", "utterances", pd.DataFrame([row], columns=columns))


def test_the_gate_has_a_tolerance_for_each_measure_of_the_headline():
    assert list(_measures()) == list(GateTolerance.model_fields)


def test_the_first_version_is_published(root):
    version = challenge(root, "good", FIGURES)
    assert current_version(root) == version
    assert said(root)["published"] is True
    assert said(root)["gate"]["champion"] is None
    assert read_json(versions_folder(root) / version / "evaluation.json")["nlu"] == FIGURES["nlu"]


def test_a_worse_model_is_built_and_kept_but_not_published(root, caplog):
    champion = challenge(root, "good", FIGURES)
    challenger = challenge(root, "good-2", WORSE)
    reason = "name_to_name_mrr fell from 0.500 to 0.400 (tolerance 0.02)"
    assert challenger != champion == current_version(root)
    assert (versions_folder(root) / challenger / "manifest.json").exists()
    assert said(root)["published"] is False
    assert said(root)["version"] == challenger
    assert said(root)["gate"]["reasons"] == [reason]
    assert said(root)["gate"]["measures"]["nlu_slot_f1"] == {"champion": 0.8, "challenger": 0.8, "tolerance": 0.02}
    assert f"Kept, not published: {reason}. {champion} stays live" in caplog.text


@pytest.mark.parametrize(("figure", "published"), [(0.48, True), (0.4799, False), (0.6, True)])
def test_a_model_is_published_down_to_the_tolerance(root, figure, published):
    challenge(root, "good", FIGURES)
    version = challenge(root, "good-2", FIGURES | {"name_to_name": {"mrr": figure}})
    assert (current_version(root) == version) == published == said(root)["published"]


def test_a_tolerance_is_a_parameter(root):
    challenge(root, "good", FIGURES)
    gate = index_params().gate
    wider = gate.model_copy(update={"tolerance": gate.tolerance.model_copy(update={"name_to_name_mrr": 0.1})})
    assert challenge(root, "good-2", WORSE, gate=wider) == current_version(root)


def test_a_measure_that_only_one_model_was_measured_in_is_not_compared(root):
    challenge(root, "good", FIGURES)
    version = challenge(root, "good-2", {"name_to_name": {"mrr": 0.5}})
    assert current_version(root) == version
    assert list(said(root)["gate"]["measures"]) == ["name_to_name_mrr"]
    assert any(note.startswith("nlu_slot_f1 was not compared") for note in said(root)["gate"]["notes"])


def test_the_model_that_is_live_needs_no_comparison(root):
    challenge(root, "good", FIGURES)
    write_tables(root, changed_name="moggy")
    assert challenge(root, "good", WORSE) == current_version(root)


@pytest.mark.parametrize(("challenger", "published"), [("deaf", False), ("good-2", True)])
def test_other_tables_mean_that_both_models_are_measured_anew(root, challenger, published):
    add_queries(root)
    challenge(root, "good", WORSE, on="other tables")
    version = challenge(root, challenger, FIGURES, load=load)
    assert (current_version(root) == version) == published
    gate = said(root)["gate"]
    assert "both models were measured anew" in gate["notes"][0]
    assert gate["measures"]["name_to_name_mrr"]["champion"] > 0.9
    assert (gate["measures"]["name_to_name_mrr"]["challenger"] > 0.9) == published


def test_figures_of_another_model_do_not_count(root):
    add_queries(root)
    challenge(root, "good", FIGURES)
    embed(params(), root, ENCODERS["deaf"], "deaf")  # and no evaluation after it
    build(index_params(), root, ENCODERS["deaf"], "deaf", load)
    assert said(root)["published"] is False
    assert said(root)["gate"]["measures"]["name_to_name_mrr"]["challenger"] < 0.5


@pytest.mark.parametrize("damage", ["manifest.json", "evaluation.json"])
def test_a_published_version_that_cannot_be_measured_is_replaced(root, damage):
    champion = versions_folder(root) / challenge(root, "good", FIGURES)
    (champion / damage).unlink()
    version = challenge(root, "good-2", WORSE)
    assert current_version(root) == version
    assert "can no longer be measured" in said(root)["gate"]["notes"][0]


def test_kept_versions_count_and_the_live_one_is_never_removed(root):
    champion = challenge(root, "good", FIGURES)
    kept = [challenge(root, f"good-{number}", WORSE) for number in range(4)]
    assert versions(root) == [champion, *kept[-2:]]
    assert {path.name for path in versions_folder(root).iterdir()} == {champion, *kept[-2:]}
    assert history(root) == [champion]


def test_a_kept_version_can_be_made_live_and_rolled_back(root):
    champion = challenge(root, "good", FIGURES)
    kept = challenge(root, "good-2", WORSE)
    done = promote(root, kept)
    assert (done.before, done.after, current_version(root)) == (champion, kept, kept)
    assert rollback(root).after == champion
    assert versions(root) == [champion, kept]


def test_an_unknown_version_cannot_be_made_live(root):
    champion = challenge(root, "good", FIGURES)
    kept = challenge(root, "good-2", WORSE)
    with pytest.raises(UnimrError, match=rf"no index version 'x' .* There are: {champion} \(live\), {kept}\."):
        promote(root, "x")


def test_what_a_person_withdrew_is_not_published_again_on_its_own(root):
    champion = challenge(root, "good", FIGURES)
    better = challenge(root, "good-2", FIGURES | {"name_to_name": {"mrr": 0.7}})
    rollback(root)
    assert challenge(root, "good-2", FIGURES | {"name_to_name": {"mrr": 0.7}}) == better
    assert current_version(root) == champion
    assert "withdrawn by a rollback" in said(root)["gate"]["reasons"][0]
    write_tables(root, changed_name="moggy")  # another version, with the model that was withdrawn
    again = challenge(root, "good-2", FIGURES)
    assert current_version(root) == champion
    promote(root, again)
    write_tables(root, changed_name="puss")
    assert challenge(root, "good-2", FIGURES) == current_version(root)


def test_a_damaged_version_can_be_rolled_back(root):
    champion = challenge(root, "good", FIGURES)
    damaged = challenge(root, "good-2", FIGURES)
    shutil.rmtree(versions_folder(root) / damaged)
    assert rollback(root).after == champion == current_version(root)
