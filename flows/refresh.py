"""The flow `refresh`: new, changed and removed items go live with the model as it is, without any training.

It runs the stages from the data to the index that train nothing. Only what this model has not embedded before is
encoded, and the same stage `index` with the same gate publishes. Whether to train on the new items is another
decision: that is the flow `pipeline`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prefect import State, flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field

from flows.artifacts import Published
from flows.dvc import StageRun, only_writer
from flows.ending import end_with_worker
from flows.overrides import overridden
from flows.pipeline import final_state, run_as_task, run_name
from unimr.config import load_params
from unimr.data.own import ImportSummary, import_file
from unimr.errors import UnimrError
from unimr.index.changes import ItemChanges, item_changes, item_digests
from unimr.index.embed import MODEL, TABLES
from unimr.index.embedding_cache import last_counts

STAGES = ("prepare", "validate", "embed", "index")
NAMED_ITEMS = 10
"""Of each kind of change, in the artifact."""


class RefreshParameters(BaseModel):
    """What a refresh can be asked for."""

    model_config = ConfigDict(extra="forbid")

    file: str = Field(
        default="",
        description="Your whole catalogue as JSON Lines (docs/own-data.md), imported first in place of the one before. "
        "Empty: take in what was imported already.",
    )
    reason: str = Field(default="", description="Why this run is made; it becomes part of the run's name.")


@flow(name="refresh", flow_run_name=run_name)
def refresh(parameters: RefreshParameters = RefreshParameters()) -> State:  # noqa: B008 (never changed)
    """Take in new, changed and removed items, embed only what is new, and publish; nothing is trained."""
    end_with_worker()
    log, root = get_run_logger().info, Path()
    with only_writer(runtime.flow_run.name, log, root), overridden({}, log, root):
        if not (root / MODEL).exists():
            raise UnimrError(f"There is no model in {MODEL} to refresh the index with. Run the flow `pipeline` first.")
        if parameters.file:
            import_items(parameters.file)
        before, published = item_digests(root / TABLES), Published.read(root).version
        runs = [run_as_task(stage, force=False) for stage in STAGES]
        changes, done = item_changes(before, item_digests(root / TABLES)), final_state(root, runs)
        said = f"{changes}. {done.message}"
        create_markdown_artifact(report(root, changes, runs, said, published), key="refresh", description=said)
    return Completed(name=done.name, message=said)


@task(name="import", task_run_name="import {file}", cache_policy=NO_CACHE)
def import_items(file: str) -> ImportSummary:
    """Import a catalogue as `unimr import` does.

    Raises:
        UnimrError: the file breaks the format, or `prepare.sources` has no `import`. Nothing is written.
    """
    root = Path()
    if "import" not in load_params(root).prepare.sources:
        raise UnimrError("prepare.sources in params.yaml has no `import`: imported items would not be used. Add it.")
    summary = import_file(root / file, root)
    get_run_logger().info("Imported %s: %s", file, summary)
    return summary


def report(root: Path, changes: ItemChanges, runs: Sequence[StageRun], said: str, published: str) -> str:
    """The artifact: what the run came to, what was taken in, what was encoded, how long it took.

    Args:
        root: the project folder.
        changes: of the validated tables.
        runs: of the stages.
        said: the message of the final state.
        published: the version that was live before.
    """
    rows = [f"| items {name} | {len(items):,} | {_names(items)} |" for name, items in vars(changes).items()]
    embedding = next(run for run in runs if run.stage == "embed")
    if embedding.outcome == "ran":
        for collection, counts in last_counts(root).items():
            rows.append(f"| {collection} encoded | {counts['encoded']:,} | {counts['reused']:,} reused |")
    else:
        rows.append(f"| encoded | 0 | the stage `embed` is {embedding.outcome} |")
    rows += [f"| seconds of `{run.stage}` | {run.seconds:.1f} | {run.outcome} |" for run in runs]
    rows.append(f"| seconds in all | {sum(run.seconds for run in runs):.1f} | |")
    head = [f"**{said}**", "", "| what | number | |", "|---|---:|---|"]
    return "\n".join([*head, *rows, "", f"- published before this run: {published or 'nothing'}"])


def _names(items: Sequence[str]) -> str:
    more = f" and {len(items) - NAMED_ITEMS:,} more" if len(items) > NAMED_ITEMS else ""
    return ", ".join(f"`{item}`" for item in items[:NAMED_ITEMS]) + more
