"""Stage, command and flow `monitor`: look at the traffic, and write down what was seen.

`reports/monitoring/`: `drift.json`, `index.html` and `history.jsonl`, a line a look; `metrics/monitor.json` for
`dvc metrics`. The stage makes the reference of a version that has just been published and never fails for want of
traffic.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unimr.files import write_json, write_text
from unimr.index.encoder import Encoder
from unimr.monitoring.outcome import Watch
from unimr.monitoring.page import write_page
from unimr.monitoring.watch import watch
from unimr.params import Params
from unimr.search.engine import load_retriever

log = logging.getLogger(__name__)

FOLDER = Path("reports/monitoring")
DRIFT, PAGE, HISTORY = FOLDER / "drift.json", FOLDER / "index.html", FOLDER / "history.jsonl"
LOOKED_AT = FOLDER / "looked_at.json"
METRICS = Path("metrics/monitor.json")
SHOWN_LOOKS = 30


def run(params: Params, root: Path) -> None:
    """Run the stage `monitor`, and note for DVC which version it was about."""
    seen = look(params, root)
    write_json(root / LOOKED_AT, {"version": seen.version})
    log.info("%s", seen.sentence)


def look(
    params: Params,
    root: Path,
    load: Callable[[Path], Encoder] = load_retriever,
    now: float | None = None,
    take_over: bool = False,
) -> Watch:
    """Look at the traffic and write the reports; see `watch` for the arguments."""
    seen = watch(params, root, load, now, take_over)
    write_json(root / DRIFT, seen.to_json())
    write_json(root / METRICS, seen.figures())
    looks = [*_history(root / HISTORY), seen.figures() | {"checked": seen.checked, "version": seen.version}]
    write_text(root / HISTORY, "".join(json.dumps(each) + "\n" for each in looks))
    detail = ""
    if seen.samples is not None:
        from unimr.monitoring.report import add_to_workspace, detail_page, make_report  # Evidently takes seconds

        report = make_report(seen)
        add_to_workspace(report, root / FOLDER / "workspace")
        detail = detail_page(report)
    write_page(root / PAGE, seen, looks[-SHOWN_LOOKS:], detail)
    return seen


def _history(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
