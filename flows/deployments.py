"""The flows as the UI offers them: names, descriptions and schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prefect import Flow

from flows.guard import FAILURES, PAUSED_EVENT, guard
from flows.monitor import monitor
from flows.pipeline import pipeline
from flows.refresh import refresh
from flows.study import study


@dataclass(frozen=True)
class Deployment:
    """A flow as it is offered in the UI. `cron` is in UTC; an inactive schedule waits to be switched on.

    `alone`: one run at a time; another one waits, and asks every 30 seconds whether it is its turn.
    """

    name: str
    flow: Flow[..., Any]
    description: str
    cron: str | None = None
    active: bool = True
    alone: bool = True

    @property
    def full_name(self) -> str:
        """`flow/deployment`."""
        return f"{self.flow.name}/{self.name}"


RETRAIN = Deployment(
    "retrain",
    pipeline,
    "Brings everything up to date, from the data to the published index. DVC decides which stages run; those that "
    "need not are shown as `Cached`.\n\n"
    "- **Run → Custom run** asks for a profile, the last stage, other parameters for this run alone, and a reason.\n"
    "- A model that is worse than the published one is kept, not published; the run says why.\n"
    "- Cancel whenever you like: training saves a checkpoint, and the next run goes on from there.\n"
    f"- After {FAILURES} failures in a row the schedule is paused. Mend the cause, run once, then switch it on again.",
    cron="0 3 * * 0",
)
MONITOR = Deployment(
    "daily",
    monitor,
    "Checks the live index: whether every file and row is as published, how old it is, whether it finds what it "
    "should; and its traffic: whether it differs from the reference. The artifacts `health` and `drift` say first "
    "whether to act, and why.\n\n"
    "- Stale, or the traffic has drifted: raises the event `unimr.drift.detected`, and a retraining starts.\n"
    "- Broken: the run fails; its message says what to do.",
    cron="0 6 * * *",
)
REFRESH = Deployment(
    "nightly",
    refresh,
    "Takes new, changed and removed items live with the model as it is; nothing is trained, and only what is new is "
    "embedded. Its schedule is switched off: switch it on where the catalogue changes daily.",
    cron="0 1 * * *",
    active=False,
)
GUARD = Deployment(
    "failures",
    guard,
    f"Is started by an automation after each failed retraining. Pauses the schedule after {FAILURES} failures in a "
    f"row and raises the event `{PAUSED_EVENT}`: make an automation on it to be told.",
    alone=False,  # each looks at its own failure; in a row, the one that pauses would come a minute late
)
STUDY = Deployment(
    "claims",
    study,
    "Puts the claims to the test (docs/study.md): the unified model against variants of it and against peers, at the "
    "same budget, with several seeds. Hours; needs what `make study` installs.\n\n"
    "- The artifact `study` has the answers, and where the page is.\n"
    "- Cancel whenever you like: what was run is kept, and the next run goes on from there.",
)
DEPLOYMENTS = (RETRAIN, MONITOR, REFRESH, GUARD, STUDY)
