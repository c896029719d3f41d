"""The figures of `metrics/service.json` as the table of docs/service.md."""

from __future__ import annotations

from typing import Any

P99_MS = 150.0
Row = tuple[str, str, str]


def table(found: dict[str, Any]) -> str:
    """Measure, figure, aim; then where and on what it was measured."""
    rows = [*_steady(found["sustained"]), *_over(found["overload"]), *_end(found["ending"]), *_swaps(found["swaps"])]
    its, mix = found["machine"], ", ".join(f"{share:.0%} {kind}" for kind, share in found["queries"].items())
    return "\n".join(
        [
            "| measure | figure | aim |",
            "|---|---:|---:|",
            *(f"| {name} | {figure} | {aim} |" for name, figure, aim in rows),
            "",
            f"{its['day']}, {its['cores']} cores of {its['processor']}, Python {its['python']}; the load comes from "
            f"{its['load_from']}.",
            f"Queries: {mix}.",
        ]
    )


def _steady(found: dict[str, Any]) -> list[Row]:
    name = f"{found['clients']} clients that wait for their answers: requests a second"
    times = f"{found['p50_ms']:.0f} ms, **{found['p99_ms']:.0f} ms**"
    return [(name, f"**{found['per_second']:.0f}**", ""), ("p50, p99 of them", times, f"p99 < {P99_MS:.0f} ms")]


def _over(found: dict[str, Any]) -> list[Row]:
    offered = f"{found['offered_per_second']:,.0f} requests a second offered for {found['seconds']:.0f} s"
    refused = f"**{found['refused_p99_ms']:.0f} ms**, {found['refused_max_ms']:.0f} ms"
    memory = found["memory_after_mb"] / found["memory_before_mb"] - 1
    lost, after = found["statuses"].get("0", 0), found["recovered_after_seconds"]
    return [
        (f"{offered}: answered, of the sustained rate", f"**{found['goodput']:.2f}**", "≥ 0.8"),
        ("p99 of those that were answered", f"**{found['p99_ms']:.0f} ms**", "< 1,000 ms"),
        ("p99, longest of those that were refused with 429", refused, "p99 < 50 ms"),
        ("connections that broke", f"**{lost:,}**", "0"),
        ("memory afterwards", f"**{memory:+.1%}** of {found['memory_before_mb']:.0f} MB", "within 10 %"),
        ("seconds until all is as before", f"**{'not in 10' if after is None else after}**", "≤ 5"),
    ]


def _end(found: dict[str, Any]) -> list[Row]:
    entries = f"{found['log_written']:,}, **{found['log_dropped']}**"
    return [
        ("entries of the query log written, dropped", entries, "0 dropped"),
        ("seconds from SIGTERM to the end", f"**{found['seconds_to_end']:.1f}**", "≤ 10"),
    ]


def _swaps(found: dict[str, Any]) -> list[Row]:
    answers, statuses = sum(found["answers"].values()), found["statuses"]
    faults = sum(count for status, count in statuses.items() if status != "200")
    times = f"{found['p99_ms']:.0f} ms, {found['seconds_a_swap_max']:.1f} s"
    return [
        (f"{found['swaps']} index swaps under fire: answers", f"**{answers:,}**", "≥ 10,000"),
        ("failed requests", f"**{faults}**", "0"),
        ("answers other than the exact one of the version they state", f"**{found['other_than_exact']}**", "0"),
        ("p99 meanwhile; longest until a new version answers", times, ""),
    ]
