"""Schemathesis makes requests from the service's own OpenAPI document: fitting ones, and ones that break it."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from unimr.service.service import Service

from .conftest import serve_params
from .test_hostile import AnyPicture
from .visitor import served

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

CASES = 5_000
EXAMPLES = 600
"""Of a route, fitting or not; some take no more than a few different ones."""
SECONDS = 20


@pytest.mark.slow
def test_no_request_that_the_document_allows_or_forbids_is_a_fault(small_root, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(small_root, root, ignore=shutil.ignore_patterns("open"))
    seen: Counter[int] = Counter()
    faults = []
    with served(Service(serve_params(tmp_path), root, {}, lambda folder: AnyPicture())) as address:
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        operations = [result.ok() for result in schema.get_all_operations()]
        modes = list(schemathesis.GenerationMode)

        def ask_all(operation, mode) -> None:
            @settings(
                max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case) -> None:
                answer = case.call(timeout=SECONDS)
                seen[answer.status_code] += 1
                if answer.status_code >= 500:
                    faults.append(f"{answer.status_code} {case.as_curl_command()}")

            ask()

        for operation in operations:
            for mode in modes:
                with suppress(Unsatisfiable):  # what takes nothing cannot be asked wrongly
                    ask_all(operation, mode)
        assert schemathesis.openapi.from_url(f"{address}/openapi.json").get_all_operations()
    assert faults == []
    assert seen.total() >= CASES and seen[200] and seen[404] and seen[422], seen
