import numpy as np
import pytest

from unimr.evaluation.nlu import MEASURES, Frame, confusion_matrix, utterance_values


def frame(intent, *slots):
    return Frame(intent, frozenset(slots))


ACTUAL = [frame("a", (0, 3, "subject"), (4, 7, "style")), frame("b", (0, 2, "subject")), frame("b")]
PREDICTED = [frame("a", (0, 3, "subject"), (4, 8, "style")), frame("a", (0, 2, "subject")), frame("b", (1, 2, "time"))]


def measures(actual, predicted):
    means = utterance_values(actual, predicted).mean(axis=0)
    return {name: float(statistic(means)) for name, statistic in MEASURES.items()}


def test_scores_of_a_case_done_by_hand():
    found = measures(ACTUAL, PREDICTED)
    assert found["intent_accuracy"] == pytest.approx(2 / 3)
    assert found["slot_precision"] == pytest.approx(2 / 4)
    assert found["slot_recall"] == pytest.approx(2 / 3)
    assert found["slot_f1"] == pytest.approx(4 / 7)
    assert found["exact_match"] == 0


@pytest.mark.parametrize("wrong", [(1, 3, "subject"), (0, 4, "subject"), (0, 3, "style")])
def test_start_end_and_label_must_all_be_right(wrong):
    assert measures([frame("a", (0, 3, "subject"))], [frame("a", wrong)])["slot_f1"] == 0


def test_no_slots_anywhere_counts_as_zero_and_not_as_nan():
    found = measures([frame("a")], [frame("a")])
    assert (found["slot_f1"], found["exact_match"]) == (0, 1)


def test_statistics_take_many_draws_at_once():
    draws = np.array([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], dtype=float)
    assert MEASURES["slot_f1"](draws).tolist() == [1, 0]


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        utterance_values(ACTUAL, PREDICTED[:1])


def test_confusion_has_the_actual_intent_in_rows():
    assert confusion_matrix(["a", "a", "b"], ["a", "b", "b"], ["a", "b"]).tolist() == [[1, 1], [0, 1]]
