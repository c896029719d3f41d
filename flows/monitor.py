"""The flow `monitor`: looks after the live index and its traffic, and asks for a retraining when one has drifted."""

from __future__ import annotations

from pathlib import Path

from prefect import State, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.events import emit_event
from prefect.states import Completed, Failed

from flows.ending import end_with_worker
from unimr.config import load_params
from unimr.files import write_json
from unimr.monitoring.health import REPORT, check_health
from unimr.monitoring.monitor import PAGE, look

DRIFT_EVENT = "unimr.drift.detected"
RESOURCE = {"prefect.resource.id": "unimr.retrieval", "prefect.resource.name": "unimr retrieval"}


@flow(name="monitor")
def monitor() -> State:
    """Check the live index and its traffic. Stale or drifted: an event that starts a retraining. Broken: a failure."""
    end_with_worker()
    root = Path()
    params = load_params(root)
    health = check_health(params.monitor, root)
    write_json(root / REPORT, health.to_json())
    create_markdown_artifact(health.to_markdown(), key="health", description=health.sentence)
    if health.verdict == "broken":
        return Failed(message=health.sentence)
    seen = look(params, root)
    page = (root / PAGE).resolve()
    create_markdown_artifact(f"{seen.to_markdown()}\n\nReport: {page}", key="drift", description=seen.sentence)
    reason = " ".join(filter(None, [health.reason, seen.reason]))
    if reason:
        payload = {"reason": reason, "version": health.version}
        emit_event(event=DRIFT_EVENT, resource=RESOURCE, payload=payload)
        get_run_logger().warning("%s Raised the event %s", reason, DRIFT_EVENT)
    return Completed(message=f"Index. {health.sentence} Traffic. {seen.sentence}")
