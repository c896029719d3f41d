"""The health of the published index: integrity, answers, freshness.

Three verdicts: `broken` asks a person to act, since retraining does not mend a damaged index; `stale` asks for a run
of the pipeline; `healthy` asks for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unimr.data.text import MAX_QUERY_CHARACTERS
from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.index.copies import PrivateCopy
from unimr.index.embed import MODEL, TABLES, data_hash, digest
from unimr.index.encoder import Encoder
from unimr.index.publish import (
    MANIFEST,
    POINTER,
    PUBLISHED,
    collection_name,
    current_version,
    verify_version,
    versions,
    versions_folder,
)
from unimr.index.schema import COLLECTIONS
from unimr.index.store import Store, store_path
from unimr.index.verify import canary_rows
from unimr.model.manifest import model_version
from unimr.params import MonitorParams
from unimr.search.engine import SearchEngine, load_retriever
from unimr.search.query import Query

REPORT = Path("reports/monitoring/health.json")
SECONDS_A_DAY = 86_400
CANARY_DEPTH = 10

Verdict = Literal["healthy", "stale", "broken"]
_GRAVITY: dict[Verdict, int] = {"healthy": 0, "stale": 1, "broken": 2}


@dataclass(frozen=True)
class Finding:
    """What one check found; `text` is a sentence with the figures."""

    check: str
    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Health:
    """All findings about the live version (None: nothing is published), and when they were made (UTC, ISO 8601)."""

    version: str | None
    checked: str
    findings: list[Finding]

    @property
    def verdict(self) -> Verdict:
        """The gravest of all findings."""
        return max((finding.verdict for finding in self.findings), key=_GRAVITY.__getitem__)

    @property
    def reason(self) -> str:
        """What is wrong: the findings as grave as the verdict; empty when healthy."""
        if self.verdict == "healthy":
            return ""
        return " ".join(finding.text for finding in self.findings if finding.verdict == self.verdict)

    @property
    def sentence(self) -> str:
        """Whether to act, and why."""
        if self.verdict == "healthy":
            answers = self.findings[-1].text
            return f"Nothing to do: the live index {self.version} is whole and up to date. {answers}"
        if self.verdict == "stale":
            return f"Retrain: {self.reason}"
        return f"Act now: {self.reason}"

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self) | {"verdict": self.verdict, "sentence": self.sentence}

    def to_markdown(self) -> str:
        """The report: first whether to act and why, then a row a check."""
        rows = [f"| {finding.check} | {finding.verdict} | {finding.text} |" for finding in self.findings]
        table = ["| check | verdict | what was found |", "|---|---|---|", *rows]
        return "\n".join([f"**{self.sentence}**", "", *table, "", f"Checked at {self.checked}."])


def check_health(
    params: MonitorParams, root: Path, load: Callable[[Path], Encoder] = load_retriever, now: float | None = None
) -> Health:
    """Check the live index under `root`; whatever is wrong with it is a finding, not an exception.

    Args:
        params: what is asked of it.
        root: the project folder.
        load: gives the model in a folder.
        now: the present, in seconds since the epoch; None asks the clock.
    """
    now = time.time() if now is None else now
    checked = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    try:
        version = current_version(root)
    except UnimrError as error:
        return Health(None, checked, [Finding("index", "broken", str(error))])
    try:
        findings = [
            check_integrity(root, version),
            check_age(root, now, params.max_age_days),
            check_origin(root, version),
            check_answers(root, load, params.min_canary_recall_at_10),
        ]
    except UnimrError as error:
        findings = [Finding("index", "broken", str(error))]
    return Health(version, checked, findings)


def check_integrity(root: Path, version: str) -> Finding:
    """Every file against its hash, every row of the store against the checksum kept at publishing.

    The files of the model are checked where it is loaded, in `check_answers`.

    Raises:
        UnimrError: something is missing, damaged or other than what was published.
    """
    folder = versions_folder(root) / version
    manifest = verify_version(folder)
    if "digests" not in manifest:
        raise UnimrError(
            f"The index version {version} keeps no checksums of its rows. Run `dvc repro` to build it anew."
        )
    copy = None if manifest["uri"] else PrivateCopy(Path(store_path(folder)), root / PUBLISHED / "open")
    try:
        with Store(manifest["uri"] if copy is None else str(copy.path)) as store:
            for spec in COLLECTIONS:
                name = collection_name(version, spec)
                store.load(name)
                rows = store.fetch_all(name, spec)
                if len(rows) != manifest["rows"][spec.name]:
                    raise _changed(version, f"{len(rows)} {spec.name}, not {manifest['rows'][spec.name]}")
                if digest(list(rows), np.stack(list(rows.values()))) != manifest["digests"][spec.name]:
                    raise _changed(version, f"other {spec.name} than those that were published")
    finally:
        if copy is not None:
            copy.close()
    held = ", ".join(f"{count:,} {name}" for name, count in manifest["rows"].items())
    return Finding("integrity", "healthy", f"{len(manifest['files'])} files are as published, and so are {held}.")


def _changed(version: str, what: str) -> UnimrError:
    return UnimrError(
        f"The store of the index version {version} holds {what}. Run `unimr rollback` to return to the version before, "
        "or `dvc repro --force index` to build it anew."
    )


def check_age(root: Path, now: float, limit: float) -> Finding:
    """Days since the pipeline last published the live version or found it up to date."""
    days = (now - (root / PUBLISHED / POINTER).stat().st_mtime) / SECONDS_A_DAY
    since = f"It is {days:.1f} days since the pipeline last published the index or found it up to date"
    if days > limit:
        return Finding("age", "stale", f"{since}; at most {limit:g} are allowed (monitor.max_age_days).")
    return Finding("age", "healthy", f"{since}.")


def check_origin(root: Path, version: str) -> Finding:
    """Whether the tables and the model in the project folder are those that the live version was made from.

    A version made from them that stands but is not live was kept back or withdrawn: that was decided, so it is
    not stale.
    """
    live, present = _origin_of(root, version), _present_origin(root)
    if present is None:
        return Finding("data and model", "healthy", "There are no whole tables and model here to compare it with.")
    if present == live:
        return Finding("data and model", "healthy", "The data and the model are those that the index was made from.")
    other = {"data": "other data", "model": "another model"}
    held = " and ".join(words for name, words in other.items() if present[name] != live[name])
    text = f"The project folder holds {held} than the index was made from."
    decided = [each for each in versions(root) if _origin_of(root, each) == present]
    if decided:
        text += f" The version made from them, {decided[-1]}, was kept back or withdrawn."
        return Finding("data and model", "healthy", text)
    return Finding("data and model", "stale", text)


def _origin_of(root: Path, version: str) -> dict[str, str]:
    manifest = read_json(versions_folder(root) / version / MANIFEST)
    return {"data": manifest["data_hash"], "model": manifest["model_version"]}


def _present_origin(root: Path) -> dict[str, str] | None:
    """The tables and the model that stand; None where they do not, as while the pipeline makes them anew."""
    try:
        return {"data": data_hash(root / TABLES), "model": model_version(root / MODEL)}
    except UnimrError:
        return None


def check_answers(root: Path, load: Callable[[Path], Encoder], minimum: float) -> Finding:
    """Search for names drawn by a hash from all languages; each must find its item in the top 10.

    They are asked for as words: that a whole name comes first says nothing of the model and its vectors.

    Raises:
        UnimrError: the live version cannot be opened or searched.
    """
    with SearchEngine.open(root, load) as engine:
        names = {
            f"{item}/{lang}": (item, lang, name)
            for item, about in engine.catalogue.items.items()
            for lang, name in about["names"].items()
        }
        drawn = [list(names.values())[row] for row in canary_rows(list(names))]
        lost = [name for item, lang, name in drawn if not _found(engine, item, lang, name)]
    recall = 1 - len(lost) / len(drawn)
    text = f"{len(drawn) - len(lost)} of {len(drawn)} canary names find their item in the top {CANARY_DEPTH}"
    if recall < minimum:
        below = f"a recall of {recall:.2f}, below {minimum:g} (monitor.min_canary_recall_at_10)"
        return Finding("answers", "stale", f"Only {text}, {below}; one that does not is {lost[0]!r}.")
    return Finding("answers", "healthy", f"{text}.")


def _found(engine: SearchEngine, item: str, lang: str, name: str) -> bool:
    query = Query(name[:MAX_QUERY_CHARACTERS], k=CANARY_DEPTH, lang=lang, names_first=False)
    (answer,) = engine.search_many([query])
    if isinstance(answer, UnimrError):
        raise answer
    return any(hit.item_id == item for hit in answer.hits)
