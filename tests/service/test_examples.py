from unimr.index.catalogue import Catalogue
from unimr.service.examples import LONGEST, MOST, example_queries


def catalogue(names: dict[str, dict[str, str]], languages: list[str]) -> Catalogue:
    made = Catalogue.__new__(Catalogue)
    made.items = {item: {"names": of_item} for item, of_item in names.items()}
    made.item_ids, made.languages = sorted(names), languages
    return made


def test_each_language_offers_another_item():
    items = {str(number): {"de": f"Ding {number}", "en": f"thing {number}"} for number in range(18)}
    assert example_queries(catalogue(items, ["de", "en"])) == [
        {"lang": "de", "text": "Ding 1"},
        {"lang": "en", "text": "thing 11"},
    ]


def test_names_that_are_long_or_missing_are_passed_over():
    items = {"a": {"de": "x" * (LONGEST + 1)}, "b": {"de": "kurz"}, "c": {}}
    assert example_queries(catalogue(items, ["de", "en"])) == [{"lang": "de", "text": "kurz"}]
    assert example_queries(catalogue({}, ["de"])) == []


def test_of_many_languages_the_first_are_taken():
    languages = [f"l{number:02}" for number in range(20)]
    items = {"a": dict.fromkeys(languages, "name")}
    assert [each["lang"] for each in example_queries(catalogue(items, languages))] == languages[:MOST]
