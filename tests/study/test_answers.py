from __future__ import annotations

import pytest

from unimr.study.answers import answers

from .conftest import compared

SAVED = {
    "unified": {"parameters": 6e6, "bytes": 24e6, "ms_per_query": 2.0},
    "separate": {"parameters": 12e6, "bytes": 48e6, "ms_per_query": 4.0},
    "ratio": {"parameters": 0.5, "bytes": 0.5, "ms_per_query": 0.5},
}
FUSION = "Does fusion help intent-rich queries?"
SEPARATE = "Does one model match the separate ones on each task?"


def said(rows, question: str, saved=SAVED, together=()) -> str:
    return next(each.sentence for each in answers(rows, together, saved) if each.question == question)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("worse", "worse", "Fusing the NLU features helps on intent-rich queries."),
        ("worse", "not shown", "Fusing the NLU features helps in 1 of 2 measures on intent-rich queries."),
        ("not shown", "not shown", "Fusing the NLU features shows no effect on intent-rich queries."),
        ("better", "better", "Fusing the NLU features harms on intent-rich queries."),
        ("better", "worse", "Fusing the NLU features helps in 1 of 2 measures and harms in 1 on intent-rich queries."),
    ],
)
def test_fusion(first, second, words):
    rows = [
        compared("no_fusion", "intent_to_item.mrr", -0.1, first),
        compared("no_fusion", "intent_distractor_to_item.mrr", -0.1, second),
    ]
    assert said(rows, FUSION) == words


def test_fusion_where_the_data_has_no_intent_rich_queries():
    rows = [
        compared("no_fusion", "item_to_name.mrr", -0.1, "worse"),
        compared("no_nlu", "item_to_name.mrr", -0.1, "not shown"),
    ]
    assert said(rows, "Does fusion help?") == (
        "The data has no intent-rich queries; this is of all that was measured. Fusing the NLU features "
        "helps. The NLU module as a whole (its loss, its stage and the fusion) shows no effect."
    )


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (("worse", "not shown"), "Yes, as far as shown: with the budget of one of them, one model is ahead in 1 of 2"),
        (("better", "worse"), "Not on every task: with the budget of one of them, one model is ahead in 1 of 2"),
        (
            ("better", "better"),
            "No: with the budget of one of them, one model is ahead in 0 of 2 measures, behind in 2",
        ),
    ],
)
def test_one_model_and_the_separate_ones(verdicts, words):
    rows = [
        compared("text_only", "name_to_name.mrr", 0.1, verdicts[0]),
        compared("nlu_only", "nlu.slot_f1", 0.1, verdicts[1]),
    ]
    assert said(rows, SEPARATE).startswith(words)


def test_one_model_with_the_budget_of_all():
    rows = [compared("text_only", "name_to_name.mrr", 0.1, "better")]
    together = [compared("text_only", "name_to_name.mrr", -0.1, "worse")]
    assert said(rows, SEPARATE, together=together) == (
        "No: with the budget of one of them, one model is ahead in 0 of 1 measure, behind in 1, and in 0 nothing is "
        "shown. With the budget that the three spend together it is ahead in 1 of 1 measure, behind in 0, and in 0 "
        "nothing is shown."
    )


def test_details_give_the_gain_of_unified_with_its_interval():
    rows = [compared("text_only", "name_to_name.mrr", -0.05, "worse")]
    details = next(each.details for each in answers(rows, [], SAVED) if each.question == SEPARATE)
    assert details == ("Against texts alone: ahead: name to name (MRR) +0.050 (+0.040 to +0.060).",)


def test_stages():
    rows = [
        compared("no_stage_1", "name_to_name.mrr", -0.1, "worse"),
        compared("no_stage_1", "nlu.slot_f1", 0.1, "better"),
        compared("no_stage_2", "nlu.slot_f1", 0.0, "not shown"),
    ]
    assert said(rows, "What do the stages buy?") == (
        "Stage 1 (pre-training of the text encoder) helps in 1 of 2 measures, harms in 1, and in 0 nothing is shown; "
        "stage 2 (intents and slots) helps in 0 of 1 measure, harms in 0, and in 1 nothing is shown."
    )


def test_peers_are_held_against_one_budget_and_against_three():
    rows = [
        compared("clip", "name_to_image_trained.recall_at_10", 0.1, "better"),
        compared("minilm", "name_to_name.mrr", 0.0, "not shown"),
    ]
    together = [compared("clip", "name_to_image_trained.recall_at_10", -0.1, "worse")]
    assert said(rows, "Is it ahead of the field's own tools on their ground?", together=together) == (
        "Against clip one model is ahead in 0 of 1 measure, behind in 1, and in 0 nothing is shown; with three budgets "
        "it is ahead in 1 of 1 measure, behind in 0, and in 0 nothing is shown; against minilm one model is ahead in 0 "
        "of 1 measure, behind in 0, and in 1 nothing is shown."
    )


def test_what_is_saved_and_what_is_not():
    question = "What does one model save?"
    parts = "50% of the parameters, 50% of the bytes on disk and 50% of the time of a query"
    assert said([], question) == f"One model in place of three saves {parts}."
    slower = SAVED | {"ratio": {"parameters": 0.5, "bytes": 0.5, "ms_per_query": 1.25}}
    assert said([], question, slower).endswith("50% of the bytes on disk, and takes 25% more time of a query.")


def test_questions_that_no_run_answers_are_not_asked():
    assert [each.question for each in answers([], [], SAVED)] == ["What does one model save?"]
