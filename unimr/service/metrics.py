"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "unimr_requests", "Answers by route and status.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "unimr_request_seconds", "Time to an answer.", ["route"], buckets=SECONDS, registry=self.registry
        )
        self.refused = Counter(
            "unimr_refused", "Requests refused at the gate: key, rate, overload.", ["reason"], registry=self.registry
        )
        self.batch = Histogram(
            "unimr_batch_queries", "Queries answered together.", buckets=BATCHES, registry=self.registry
        )
        self.waiting = Gauge("unimr_waiting_queries", "Queries that wait.", registry=self.registry)
        self.swaps = Counter("unimr_index_swaps", "Index versions picked up while running.", registry=self.registry)
        self.live = Info("unimr_live", "Versions that answer.", registry=self.registry)
        self.log_dropped = Counter(
            "unimr_log_dropped", "Queries that the query log had no room for or could not write.",
            registry=self.registry,
        )  # fmt: skip
        self.log_written = Counter("unimr_log_written", "Queries in the query log.", registry=self.registry)
        self.changes = Counter("unimr_live_changes", "Live changes of items.", ["kind"], registry=self.registry)

    def show_versions(self, model: str, index: str) -> None:
        """Name the versions that answer."""
        self.live.info({"model": model, "index": index})

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count an answer, and how long it took."""
        self.requests.labels(route, status).inc()
        self.seconds.labels(route).observe(seconds)

    def refuse(self, reason: str) -> None:
        """Count a refusal at the gate."""
        self.refused.labels(reason).inc()
