"""The result of a validation as JSON and as one self-contained page; the same data gives the same bytes."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unimr.data.tables import SCHEMAS
from unimr.pages import page_template
from unimr.quality.catalogue import Catalogue
from unimr.quality.expectations import Outcome
from unimr.quality.quarantine import ID_COLUMNS, Quarantine

EXAMPLES = 3
_PICTURES_SHOWN = 12
_ROWS_SHOWN = 50
_MIME = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


@dataclass(frozen=True)
class Validation:
    """Everything one run found. `catalogue` is absent when the columns were wrong and no table was read."""

    outcomes: Sequence[Outcome]
    catalogue: Catalogue | None
    quarantine: Quarantine
    max_quarantined_share: float

    def size(self, table: str) -> int:
        """Number of rows of a table, 0 if it was not read."""
        return len(self.catalogue.tables[table]) if self.catalogue else 0

    def problems(self) -> list[str]:
        """What stops the stage, a sentence each, leaks first; empty if the data passes."""
        stopping = sorted((one for one in self.outcomes if one.stops), key=lambda one: not one.failing)
        return [self._why(one) for one in stopping] + [
            self._too_many(table)
            for table in SCHEMAS
            if self.quarantine.share(table, self.size(table)) > self.max_quarantined_share
        ]

    def _why(self, outcome: Outcome) -> str:
        if not outcome.failing:
            return f"Table `{outcome.table}`, {outcome.name}: {outcome.problem}."
        return (
            f"Table `{outcome.table}`, {outcome.name}: {len(outcome.failing)} of {self.size(outcome.table)} rows "
            f"fail, such as {self.examples(outcome)}."
        )

    def _too_many(self, table: str) -> str:
        failed = [one for one in self.outcomes if one.table == table and one.failing and not one.critical]
        causes = "; ".join(
            f"{one.name}: {len(one.failing)} rows, such as {self.examples(one)}"
            for one in sorted(failed, key=lambda one: -len(one.failing))
        )
        count, size = len(self.quarantine.reasons[table]), self.size(table)
        return (
            f"Table `{table}`: {count} of {size} rows ({count / size:.2%}) are in quarantine, more than "
            f"{self.max_quarantined_share:.2%}: {causes or 'they depend on quarantined rows of other tables'}."
        )

    def examples(self, outcome: Outcome) -> str:
        """Up to three failing rows in words."""
        rows = list(outcome.failing.items())[:EXAMPLES]
        return " · ".join(f"{self.row_id(outcome.table, row)} ({reason})" for row, reason in rows)

    def row_id(self, table: str, row: int) -> str:
        """What a person calls a row."""
        found = self.catalogue.tables[table].at[row, ID_COLUMNS[table]] if self.catalogue else None
        return found if isinstance(found, str) else f"row {row}"


def metrics(validation: Validation) -> dict[str, Any]:
    """The result as JSON values: no times, no ids of the run."""
    problems = validation.problems()
    tables = {
        table: {
            "rows": validation.size(table),
            "quarantined": len(validation.quarantine.reasons[table]),
            "expectations": {one.name: _numbers(one) for one in validation.outcomes if one.table == table},
        }
        for table in SCHEMAS
    }
    return {"success": not problems, "problems": problems, "tables": tables}


def _numbers(outcome: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = {"success": outcome.success, "failing_rows": len(outcome.failing)}
    if outcome.problem:
        found["problem"] = outcome.problem
    return found | ({"numbers": outcome.numbers} if outcome.numbers else {})


def page(validation: Validation) -> str:
    """The page `reports/validation/index.html`; everything in it is escaped and nothing is loaded from elsewhere."""
    return page_template("unimr.quality", "validation.html").render(
        problems=validation.problems(),
        read=validation.catalogue is not None,
        rows=sum(map(validation.size, SCHEMAS)),
        quarantined=sum(len(rows) for rows in validation.quarantine.reasons.values()),
        checks=len(validation.outcomes),
        tables=[_table(validation, table) for table in SCHEMAS],
        pictures=_sample(validation),
        rows_shown=_ROWS_SHOWN,
    )


def _table(validation: Validation, table: str) -> dict[str, Any]:
    taken_out = validation.quarantine.reasons[table]
    return {
        "name": table,
        "rows": validation.size(table),
        "quarantined": len(taken_out),
        "share": validation.quarantine.share(table, validation.size(table)),
        "outcomes": [
            {"one": one, "examples": validation.examples(one), "pictures": _suspects(validation, one)}
            for one in validation.outcomes
            if one.table == table
        ],
        "reasons": [(validation.row_id(table, row), why) for row, why in list(taken_out.items())[:_ROWS_SHOWN]],
    }


def _suspects(validation: Validation, outcome: Outcome) -> list[dict[str, str]]:
    """The pictures of the example rows of a failing expectation about pictures."""
    if outcome.table != "images" or validation.catalogue is None:
        return []
    return [shown for row in list(outcome.failing)[:EXAMPLES] if (shown := _shown(validation.catalogue, row))]


def _sample(validation: Validation) -> list[dict[str, str]]:
    """Some pictures from all over the table, evenly spaced."""
    if validation.catalogue is None:
        return []
    labels = list(validation.catalogue.tables["images"].index)
    chosen = labels[:: max(1, len(labels) // _PICTURES_SHOWN)][:_PICTURES_SHOWN]
    return [shown for row in chosen if (shown := _shown(validation.catalogue, row))]


def _shown(catalogue: Catalogue, row: int) -> dict[str, str] | None:
    """A picture as a data address with its id and split; nothing if it is not sound."""
    image = catalogue.tables["images"].loc[row]
    if catalogue.pictures[row].problem:
        return None
    mime = next(kind for start, kind in _MIME.items() if image["image"].startswith(start))
    source = f"data:{mime};base64,{base64.b64encode(image['image']).decode()}"
    return {"source": source, "id": str(image["image_id"]), "split": str(image["split"])}
