"""Running the suites of `expectations/` with Great Expectations: the only file that knows it.

A suite is the JSON of a table: expectations of the library itself (`expect_column_values_to_be_in_set`, …) and three of
our own, which call the functions of `rows`, `leaks` and `statistics` by name. A failing row check of severity `warning`
puts its rows into quarantine; `critical` stops the stage, whatever the share.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.quality import leaks, rows, statistics
from unimr.quality.catalogue import Catalogue
from unimr.quality.rows import Failing, Limits

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read when the library is imported

import great_expectations as gx
from great_expectations.core import ExpectationValidationResult
from great_expectations.core.batch_definition import BatchDefinition
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import BatchExpectation
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

Result = dict[str, object]

ROW_CHECKS: dict[str, Callable[[Catalogue, Limits], Failing]] = {
    check.__name__: check
    for check in (
        rows.refers_to,
        rows.id_is_made_of,
        rows.text_is_clean,
        rows.kind_fits_role,
        rows.text_is_new_for_item,
        rows.attributes_are_known,
        rows.picture_is_readable,
        rows.picture_size_is_stated,
        rows.picture_sha256_is_stated,
        rows.slot_labels_are_known,
        rows.spans_are_sound,
        rows.same_text_same_annotation,
        leaks.no_text_in_train_and_test,
        leaks.no_utterance_in_train_and_test,
        leaks.query_is_no_train_utterance,
        leaks.query_is_no_train_text,
        leaks.item_is_in_one_split,
        leaks.item_text_is_in_one_split,
        leaks.train_utterance_gives_no_name_away,
        leaks.no_picture_in_train_and_test,
        leaks.no_lookalike_in_train_and_test,
    )
}
TABLE_CHECKS: dict[str, Callable[[Catalogue, Limits], statistics.Verdict]] = {
    check.__name__: check
    for check in (
        statistics.languages_are_filled,
        statistics.texts_are_not_flooded,
        statistics.utterances_are_not_flooded,
        statistics.pictures_are_not_flooded,
        statistics.names_fit_keywords,
        statistics.texts_fit_categories,
        statistics.texts_are_in_their_script,
        statistics.styles_agree,
        statistics.qrels_fit_texts,
        statistics.subjects_fit_items,
        statistics.labels_are_in_each_split,
    )
}
REFERENCE_CHECK = "refers_to"
_COLUMNS_CHECK = "expect_columns_to_be"
_catalogue: ContextVar[Catalogue] = ContextVar("catalogue")  # what the checks of a run look at


@dataclass(frozen=True)
class Outcome:
    """What one expectation found: the failing rows with their reasons, or, for a whole table, a problem in words."""

    table: str
    name: str
    critical: bool
    success: bool
    failing: Failing = field(default_factory=dict)
    problem: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def stops(self) -> bool:
        """Whether it stops the stage by itself: it failed, and it is critical or about the table as a whole."""
        return not self.success and (self.critical or not self.failing)


class ExpectColumnsToBe(BatchExpectation):  # type: ignore[misc]
    """The table has exactly these columns (name → Arrow type). The batch has a row a column of the file."""

    columns: dict[str, str]
    metric_dependencies: ClassVar[tuple[str, ...]] = ()
    success_keys: ClassVar[tuple[str, ...]] = ("columns",)

    def _validate(self, execution_engine: PandasExecutionEngine, **_context: object) -> Result:
        batch = execution_engine.dataframe
        found = dict(zip(batch["column"], batch["type"], strict=True))
        problems = [f"`{name}` is missing" for name in self.columns if name not in found]
        problems += [f"`{name}` is not expected" for name in found if name not in self.columns]
        problems += [
            f"`{name}` is {found[name]}, not {kind}"
            for name, kind in self.columns.items()
            if found.get(name, kind) != kind
        ]
        return {"success": not problems, "result": {"problem": "; ".join(problems)}}


class ExpectRowsToPass(BatchExpectation):  # type: ignore[misc]
    """Every row passes a check of `ROW_CHECKS`."""

    check: str
    limits: dict[str, Any]
    metric_dependencies: ClassVar[tuple[str, ...]] = ()
    success_keys: ClassVar[tuple[str, ...]] = ("check", "limits")

    def _validate(self, **_context: object) -> Result:
        failing = ROW_CHECKS[self.check](_catalogue.get(), self.limits)
        return {"success": not failing, "result": {"reasons": list(failing.items())}}


class ExpectTableToPass(BatchExpectation):  # type: ignore[misc]
    """The table as a whole passes a check of `TABLE_CHECKS`."""

    check: str
    limits: dict[str, Any]
    metric_dependencies: ClassVar[tuple[str, ...]] = ()
    success_keys: ClassVar[tuple[str, ...]] = ("check", "limits")

    def _validate(self, **_context: object) -> Result:
        verdict = TABLE_CHECKS[self.check](_catalogue.get(), self.limits)
        return {"success": verdict.success, "result": {"problem": verdict.problem, "numbers": verdict.numbers}}


def load_suite(folder: Path, table: str) -> list[dict[str, Any]]:
    """The expectations of one table, from `<folder>/<table>.json`.

    Raises:
        UnimrError: the file is missing, no JSON, or no suite.
    """
    path = folder / f"{table}.json"
    if not path.exists():
        raise UnimrError(f"The suite {path} is missing. It is part of the project: `git checkout {path}` restores it.")
    suite = read_json(path)
    if not isinstance(suite, dict) or not isinstance(suite.get("expectations"), list):
        raise UnimrError(f'The suite {path} must be an object with a list "expectations".')
    expectations: list[dict[str, Any]] = suite["expectations"]
    return expectations


def check_columns(suite: list[dict[str, Any]], table: str, types: dict[str, str]) -> list[Outcome]:
    """Compare the columns of a table (name → Arrow type) with its suite, before anything of it is read."""
    batch = pd.DataFrame({"column": list(types), "type": list(types.values())})
    return _run([entry for entry in suite if entry["type"] == _COLUMNS_CHECK], table, batch, {})


def check_table(suite: list[dict[str, Any]], table: str, catalogue: Catalogue) -> list[Outcome]:
    """Run everything else in the suite of one table.

    The configured languages are the suite parameters `trained` (`languages`) and `languages` (untrained ones as well).

    Raises:
        UnimrError: an expectation cannot be evaluated, for it is misspelt or its arguments do not fit.
    """
    parameters = {
        "trained": list(catalogue.languages),
        "languages": [*catalogue.languages, *catalogue.untrained_languages],
    }
    token = _catalogue.set(catalogue)
    try:
        suite = [entry for entry in suite if entry["type"] != _COLUMNS_CHECK]
        return _run(suite, table, catalogue.tables[table], parameters)
    finally:
        _catalogue.reset(token)


def broken_references(suite: list[dict[str, Any]], catalogue: Catalogue) -> Failing:
    """Rows that refer to nothing, by the reference checks of a suite alone: cheap enough to repeat."""
    failing: Failing = {}
    for entry in suite:
        if entry["kwargs"].get("check") == REFERENCE_CHECK:
            failing |= ROW_CHECKS[REFERENCE_CHECK](catalogue, entry["kwargs"]["limits"])
    return failing


def _run(suite: list[dict[str, Any]], table: str, batch: pd.DataFrame, parameters: dict[str, Any]) -> list[Outcome]:
    try:  # one by one: a suite given as JSON would leave out what does not fit, with no more than a log line
        expectations = [ExpectationConfiguration(**entry).to_domain_obj() for entry in suite]
    except Exception as error:  # the library raises many kinds
        raise UnimrError(f"The suite of `{table}` in expectations/ is wrong: {error}") from error
    result = (
        _batches()
        .get_batch({"dataframe": batch})
        .validate(
            gx.ExpectationSuite(name=table, expectations=expectations),
            result_format="COMPLETE",
            expectation_parameters=parameters,
        )
    )
    outcomes = [_outcome(table, batch, one) for one in result.results]
    order = {expectation_name(entry["type"], entry["kwargs"]): place for place, entry in enumerate(suite)}
    return sorted(outcomes, key=lambda outcome: order[outcome.name])


@lru_cache(maxsize=1)
def _batches() -> BatchDefinition:
    """What turns a frame into a batch, in a context that lives in memory only; making one takes a while."""
    for name in ("great_expectations", "great_expectations.data_context.types.base"):  # the latter has its own level
        logging.getLogger(name).setLevel(logging.WARNING)  # else it tells of folders that it does not make
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("tables").add_dataframe_asset("table")
    return source.add_batch_definition_whole_dataframe("whole")


def expectation_name(kind: str, arguments: Mapping[str, Any]) -> str:
    """How an expectation is called in messages and reports: its type with what it is about.

    That is the check of our own ones (with the column of a reference), else the column.
    """
    about = [str(arguments[key]) for key in ("check", "column") if key in arguments]
    if arguments.get("check") in (REFERENCE_CHECK, rows.id_is_made_of.__name__):
        about.append(str(arguments["limits"]["column"]))
    return f"{kind}({', '.join(about)})" if about else kind


def _outcome(table: str, batch: pd.DataFrame, one: ExpectationValidationResult) -> Outcome:
    config = one.expectation_config
    name = expectation_name(config.type, config.kwargs)
    trouble = _trouble(one.exception_info or {})
    if trouble:
        raise UnimrError(f"{name} in the suite of `{table}` in expectations/ cannot be evaluated: {trouble}")
    result = one.result
    failing = dict(result.get("reasons", ()))
    columns = [config.kwargs["column"]] if "column" in config.kwargs else config.kwargs.get("column_list", [])
    for label in result.get("unexpected_index_list") or ():
        failing[label] = f"{name}: {', '.join(_said(batch.at[label, column]) for column in columns)}"
    numbers = {key: result[key] for key in ("observed_value",) if key in result} | (result.get("numbers") or {})
    problem = result.get("problem") or ""
    if not one.success and not failing and not problem:
        problem = f"found {result.get('observed_value')!r}"
    critical = str(getattr(config.severity, "value", config.severity)) == "critical"
    return Outcome(table, name, critical, bool(one.success), failing, problem, numbers)


def _said(value: object) -> str:
    return "null" if value is None or value != value else repr(value)[:80]  # NaN alone differs from itself


def _trouble(information: Mapping[str, Any]) -> str:
    """The first exception in the library's record of an expectation, which may be nested a level."""
    for entry in [information, *(value for value in information.values() if isinstance(value, Mapping))]:
        if entry.get("raised_exception"):
            return str(entry.get("exception_message"))
    return ""
