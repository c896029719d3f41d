"""The flow `monitor`: looks after the live index, says whether to act, and asks for a retraining when it is stale."""

from __future__ import annotations

from pathlib import Path

from prefect import State, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.states import Completed, Failed

from unimr.config import load_params
from unimr.files import write_json
from unimr.monitoring.health import REPORT, check_health
from unimr.processes import die_with_parent

DRIFT_EVENT = "unimr.drift.detected"
RESOURCE = {"prefect.resource.id": "unimr.retrieval", "prefect.resource.name": "unimr retrieval"}


@flow(name="monitor")
def monitor() -> State:
    """Check the live index. Stale: an event that starts a retraining. Broken: the run fails and says what to do."""
    die_with_parent()
    root = Path()
    health = check_health(load_params(root).monitor, root)
    write_json(root / REPORT, health.to_json())
    create_markdown_artifact(health.to_markdown(), key="health", description=health.sentence)
    if health.verdict == "broken":
        return Failed(message=health.sentence)
    if health.verdict == "stale":
        payload = {"reason": health.reason, "version": health.version}
        emit_event(event=DRIFT_EVENT, resource=RESOURCE, payload=payload)
        get_run_logger().warning("%s Raised the event %s", health.sentence, DRIFT_EVENT)
    return Completed(message=health.sentence)
