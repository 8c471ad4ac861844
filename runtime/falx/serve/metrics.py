"""Counts of the service as Prometheus reads them; of a request only path, status and time are kept."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The text format (https://prometheus.io/docs/instrumenting/exposition_formats/)."""

BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends of the histogram of times, in seconds."""


class Metrics:
    """Requests by endpoint and status, their times, and decisions."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, int]] = Counter()
        self._decisions: Counter[str] = Counter()
        self._times: Counter[int] = Counter()
        self._sum_s = 0.0

    def request(self, endpoint: str, status: int, seconds: float) -> None:
        """Counts a request that was answered."""
        self._requests[endpoint, status] += 1
        self._times[bisect_left(BUCKETS_S, seconds)] += 1
        self._sum_s += seconds

    def decision(self, decision: str) -> None:
        """Counts a decision about a slice or a study."""
        self._decisions[decision] += 1

    def text(self, *, running: int, waiting: int) -> str:
        """Returns everything in Prometheus's text format, and how many requests are there now."""
        lines = [
            "# HELP falx_requests_total Requests that were answered.",
            "# TYPE falx_requests_total counter",
        ]
        for (endpoint, status), count in sorted(self._requests.items()):
            lines.append(f'falx_requests_total{{endpoint="{endpoint}",status="{status}"}} {count}')
        lines += [
            "# HELP falx_decisions_total Decisions, by what was decided.",
            "# TYPE falx_decisions_total counter",
        ]
        for decision, count in sorted(self._decisions.items()):
            lines.append(f'falx_decisions_total{{decision="{decision}"}} {count}')
        lines += [
            "# HELP falx_request_seconds From the first byte of a request to its answer.",
            "# TYPE falx_request_seconds histogram",
        ]
        total = 0
        for index, end in enumerate((*BUCKETS_S, "+Inf")):
            total += self._times[index]
            lines.append(f'falx_request_seconds_bucket{{le="{end}"}} {total}')
        lines += [f"falx_request_seconds_sum {self._sum_s:.6f}", f"falx_request_seconds_count {total}"]
        for name, value, told in (
            ("running", running, "Requests that are worked on."),
            ("waiting", waiting, "Requests that wait for their turn."),
        ):
            lines += [f"# HELP falx_{name} {told}", f"# TYPE falx_{name} gauge", f"falx_{name} {value}"]
        return "\n".join(lines) + "\n"
