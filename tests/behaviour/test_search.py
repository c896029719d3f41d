"""What people may expect of the trained model, asked through the search engine."""

from __future__ import annotations

from unimr.search.engine import SearchEngine

POLITE = "Hello, could you please show me a picture of {}, thank you so much"


SMALL = 2000
"""A catalogue with fewer items is that of profile `ci`, whose model was trained for seconds."""


def share(engine: SearchEngine, full: float, small: float) -> float:
    """What may be expected of the default model, and of the small one."""
    return full if len(engine.catalogue.item_ids) > SMALL else small


def base_names(engine: SearchEngine, limit: int) -> dict[str, str]:
    """English names of base items that no other item shares, evenly spread."""
    items = [item for item in engine.catalogue.item_ids if engine.catalogue.base(item) == item]
    names = {item: engine.catalogue.title(item, "en") for item in items}
    unique = {item: name for item, name in names.items() if list(names.values()).count(name) == 1}
    return dict(list(unique.items())[:: max(1, len(unique) // limit)])


def found(engine: SearchEngine, text: str, k: int = 10) -> list[str]:
    return [hit.item_id for hit in engine.search(text, k=k, lang="en").hits]


def test_every_item_is_found_by_its_own_name(engine: SearchEngine) -> None:
    names = base_names(engine, 2000)
    missed = [name for item, name in names.items() if item not in found(engine, name)]
    assert len(missed) <= (1 - share(engine, 0.98, 0.95)) * len(names), missed[:20]


def test_the_first_result_for_a_whole_name_has_that_name(engine: SearchEngine) -> None:
    items = engine.catalogue.item_ids[:: max(1, len(engine.catalogue.item_ids) // 60)]
    names = [engine.catalogue.title(item, lang) for item in items for lang in ("en", "de", "es", "zh", "ar")]
    other = [name for name in names if name not in names_of(engine, engine.search(name, k=1).hits[0].item_id)]
    assert len(other) <= 0.01 * len(names), other


def names_of(engine: SearchEngine, item: str) -> list[str]:
    return list(engine.catalogue.items[item]["names"].values())


def test_politeness_does_not_change_the_top_result(engine: SearchEngine) -> None:
    names = base_names(engine, 60)
    same = [found(engine, name)[:1] == found(engine, POLITE.format(name))[:1] for name in names.values()]
    assert sum(same) >= share(engine, 0.9, 0.7) * len(same)


def test_a_skin_tone_moves_the_right_variant_up(engine: SearchEngine) -> None:
    catalogue = engine.catalogue
    variants = [item for item in catalogue.item_ids if item.endswith("-1f3ff") and item.count("-") == 1][:30]
    assert variants
    higher = 0
    for item in variants:
        name = catalogue.title(catalogue.base(item), "en")
        plain, asked = found(engine, name, 50), found(engine, f"{name} with dark skin tone", 50)
        higher += item in asked and (item not in plain or asked.index(item) <= plain.index(item))
    assert higher >= share(engine, 0.85, 0.3) * len(variants), higher


def test_a_language_does_not_matter_for_an_exact_name(engine: SearchEngine) -> None:
    items = list(base_names(engine, 60))
    names = {item: engine.catalogue.title(item, "de") for item in items}
    hits = [item in [hit.item_id for hit in engine.search(name, lang="de").hits] for item, name in names.items()]
    assert sum(hits) >= share(engine, 0.95, 0.9) * len(hits)
