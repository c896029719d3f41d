"""Stage `validate`: data/prepared is checked, bad rows are quarantined, what is clean becomes data/validated."""

from __future__ import annotations

import logging
from pathlib import Path

import pyarrow as pa

from unimr.data.tables import SCHEMAS
from unimr.errors import UnimrError
from unimr.files import atomic_folder, write_json, write_text
from unimr.params import Params
from unimr.quality import report
from unimr.quality.catalogue import load_catalogue, read_column_types
from unimr.quality.expectations import check_columns, check_table, load_suite
from unimr.quality.quarantine import (
    QUARANTINE_SCHEMA,
    Quarantine,
    collect,
    quarantine_table,
    write_quarantine,
    write_validated,
)
from unimr.quality.report import Validation

log = logging.getLogger(__name__)

PREPARED = Path("data/prepared")
VALIDATED = Path("data/validated")
SUITES = Path("expectations")
METRICS = Path("metrics/validation.json")
REPORT = Path("reports/validation")
_PROBLEMS_SAID = 3


def run(params: Params, root: Path) -> None:
    """Validate `data/prepared` and write `data/validated`; the reports are written whatever is found.

    Raises:
        UnimrError: a table is missing or unreadable, its columns are wrong, something of a test split is in train, an
            expectation about a whole table fails, or too many rows of a table are in quarantine.
    """
    validation = validate(params, root)
    table = quarantine_table(validation.catalogue, validation.quarantine) if validation.catalogue else None
    table = QUARANTINE_SCHEMA.empty_table() if table is None else table
    _write_reports(root, validation, table)
    if problems := validation.problems():
        raise UnimrError(_message(root, problems))
    write_validated(root / PREPARED, root / VALIDATED, validation.quarantine, table)
    log.info("validated %d rows, %d in quarantine", sum(map(validation.size, SCHEMAS)), len(table))


def validate(params: Params, root: Path) -> Validation:
    """Run all suites on `data/prepared` without writing anything.

    Raises:
        UnimrError: a table is missing or unreadable, or a suite is wrong.
    """
    folder, share = root / PREPARED, params.validate_.max_quarantined_share
    suites = {table: load_suite(_suites(root, params, table), table) for table in SCHEMAS}
    types = {table: read_column_types(folder, table) for table in SCHEMAS}
    columns = [outcome for table in SCHEMAS for outcome in check_columns(suites[table], table, types[table])]
    if not all(outcome.success for outcome in columns):
        return Validation(columns, None, Quarantine({table: {} for table in SCHEMAS}), share)
    catalogue = load_catalogue(folder, params)
    found = [outcome for table in SCHEMAS for outcome in check_table(suites[table], table, catalogue)]
    return Validation([*columns, *found], catalogue, collect(catalogue, found, suites), share)


def _suites(root: Path, params: Params, table: str) -> Path:
    """The folder of a table's suite: that of the parameters where it has one, else the default one."""
    own = root / params.validate_.suites
    return own if (own / f"{table}.json").exists() else root / SUITES


def _write_reports(root: Path, validation: Validation, table: pa.Table) -> None:
    write_json(root / METRICS, report.metrics(validation))
    with atomic_folder(root / REPORT) as folder:
        write_quarantine(folder, table)
        write_text(folder / "index.html", report.page(validation))


def _message(root: Path, problems: list[str]) -> str:
    more = len(problems) - _PROBLEMS_SAID
    said = " ".join(problems[:_PROBLEMS_SAID]) + (f" And {more} more." if more > 0 else "")
    return (
        f"The prepared data did not pass validation. {said} Look at {root / REPORT / 'index.html'} (all expectations) "
        f"and {root / REPORT / 'quarantine.parquet'} (the rows and why), correct the source and run `dvc repro` again. "
        f"{root / VALIDATED} was not changed."
    )
