import pandas as pd

from unimr.evaluation.tasks import build_tasks, sample_by_language


def by_name(tables, **options):
    return {task.name: task for task in build_tasks(tables, **options)}


def test_text_tasks_search_the_english_names_of_base_items(tables):
    gallery = by_name(tables)["name_to_name"].parts[0].gallery
    assert gallery.keys == ("red", "green", "blue", "grey")


def test_trained_and_unseen_styles_are_apart(tables):
    tasks = by_name(tables)
    for name, styles in (("trained", {"google", "twitter"}), ("unseen_style", {"openmoji"})):
        parts = tasks[f"name_to_image_{name}"].parts
        assert {key.split("/")[1] for part in parts for key in part.gallery.keys} == styles


def test_only_composed_queries_search_variants(tables):
    tasks = by_name(tables)
    assert "red-dark" in tasks["composed_to_image"].parts[0].gallery.columns
    assert "red-dark" not in tasks["name_to_image_trained"].parts[0].gallery.columns


def test_same_language_keywords_search_names_of_their_language(tables):
    assert by_name(tables)["keyword_to_item_same_language"].parts[0].gallery.keys == ("rot", "grün", "blau", "grau")


def test_a_task_without_queries_is_left_out_with_a_word(tables, caplog):
    assert "item_to_name" not in by_name(tables)
    assert "item_to_name: left out" in caplog.text


def test_a_query_that_nothing_answers_is_left_out_and_counted(tables, caplog):
    task = by_name(tables)["intent_to_item"]
    assert list(task.queries["text"]) == ["show me red please"]
    assert task.left_out == 1
    assert "1 queries left out" in caplog.text


def test_relevance_follows_the_judgements(tables):
    task = by_name(tables)["name_to_name"]
    part = task.parts[0]
    assert task.relevance(part.gallery, part.rows).argmax(axis=1).tolist() == [0, 2, 3]


def test_a_query_is_asked_only_where_it_has_an_answer(tables):
    lost = tables.images[tables.images["image_id"] != "red/twitter"]
    task = by_name(type(tables)(lost, tables.texts, tables.queries, tables.qrels, tables.utterances))
    assert [set(part.gallery.keys) & {"red/google"} for part in task["name_to_image_trained"].parts] == [{"red/google"}]


def test_only_the_named_tasks_are_built(tables):
    assert list(by_name(tables, only=["name_to_name"])) == ["name_to_name"]


def test_a_sample_keeps_the_same_rows_of_every_language():
    frame = pd.DataFrame({"key": [f"q{number}" for number in range(20)], "lang": ["de", "fr"] * 10})
    sample = sample_by_language(frame, "key", 3)
    shuffled = sample_by_language(frame.sample(frac=1, random_state=1), "key", 3)
    assert sample["lang"].value_counts().to_dict() == {"de": 3, "fr": 3}
    assert set(sample["key"]) == set(shuffled["key"])
