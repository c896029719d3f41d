from __future__ import annotations

import asyncio

import pytest

from unimr.files import read_json

from .load import Load, Sample, closed_load, open_load
from .report import table
from .service import METRICS, PROJECT, for_seconds, recovered_after


def test_the_table_in_the_docs_is_the_one_that_the_committed_figures_print():
    assert table(read_json(PROJECT / METRICS)) in (PROJECT / "docs/service.md").read_text(encoding="utf-8")


def test_quantiles_and_rates_count_what_they_say():
    load = Load(2.0, [Sample(0.0, 200, 0.010 * number) for number in range(1, 101)] + [Sample(0.0, 429, 0.001)] * 4)
    assert (load.rate(200), load.rate(429), load.statuses()) == (50.0, 2.0, {200: 100, 429: 4})
    assert (load.milliseconds(0.5, 200), load.milliseconds(0.99, 200), load.milliseconds(1, 200)) == (510, 1000, 1000)


@pytest.mark.parametrize(
    ("slow", "wanted"), [([], 0), ([0.5], 1), ([0.5, 2.5], 3), ([4.5], None)], ids=["at once", "1 s", "3 s", "never"]
)
def test_recovered_is_the_second_from_which_on_all_is_well(slow, wanted):
    good = [Sample(number / 10, 200, 0.01) for number in range(50)]
    load = Load(5.0, good + [Sample(due, 429, 0.01) for due in slow])
    assert recovered_after(load) == wanted


def test_a_service_that_is_not_there_is_counted_as_no_answer():
    load = asyncio.run(open_load(9, [b"{}"], rate=100, seconds=0.1))
    assert load.statuses() == {0: 10}
    assert asyncio.run(closed_load(9, [b"{}"], 2, for_seconds(0.1))).statuses().keys() == {0}
