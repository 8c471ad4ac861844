"""Measures `falx serve` over loopback: requests a second and p99, with one process and with two.

    python -m benchmarks.service --out benchmarks/results/service-DATE.json

Clients keep their connections and send slices of 512 x 512 pixels, one after the other; the ways take
turns. The bare loop calls `predict` on the same bytes in one thread. `times_bare` is the median over the
turns of the requests a second against those of the bare loop.
"""

from __future__ import annotations

import http.client
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import numpy as np
from benchmarks import figures, turns
from benchmarks.ports import served

import falx

PACKAGES: Final = ("falx", "numpy", "pillow", "ai-edge-litert", "starlette", "uvicorn", "python-multipart")

Way = Callable[[], list[float]]
"""Answers all slices of a turn; returns the seconds of each."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns the exit status."""
    parser = figures.parser("benchmarks.service", __doc__)
    parser.add_argument("--requests", type=int, default=400, help="a turn (400)")
    parser.add_argument("--turns", type=int, default=5, help="of each way (5)")
    parser.add_argument("--clients", type=int, default=4, help="that ask at a time (4)")
    parser.add_argument("--seed", type=int, default=7, help="of the noise in the slices (7)")
    options = parser.parse_args(arguments)
    classifier = falx.load()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        slices = [path.read_bytes() for path in turns.slices(Path(folder), options.seed, 16)]
        ways: dict[str, Way] = {
            "the bare loop": lambda: [
                _timed(partial(classifier.predict, data)) for data in islice(cycle(slices), options.requests)
            ]
        }
        for processes in (1, 2):
            port = stack.enter_context(
                served("serve", f"--processes={processes}", "--max-waiting=100", well="/healthz")
            )
            name = f"falx serve, processes: {processes}"
            ways[name] = partial(_asked, port, slices, options.requests, options.clients)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(-1, options.turns):
            for name, way in ways.items():
                started = time.perf_counter()
                found = way()
                if turn >= 0:  # the first warms up
                    rates[name].append(len(found) / (time.perf_counter() - started))
                    times[name] += found
    bare = np.array(rates["the bare loop"])
    rows = [
        {
            "name": name,
            "times_bare": round(float(np.median(np.array(rate) / bare)), 2),
            "requests_a_second": round(float(np.median(rate)), 1),
            "p50_ms": round(float(np.percentile(times[name], 50)) * 1000, 1),
            "p99_ms": round(float(np.percentile(times[name], 99)) * 1000, 1),
        }
        for name, rate in rates.items()
    ]
    setting = {**figures.machine(PACKAGES), "model": classifier.model.name}
    setting |= {"requests": options.requests * options.turns, "clients": options.clients}
    figures.tell(setting, rows, options.out)
    return 0


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _asked(port: int, slices: Sequence[bytes], requests: int, clients: int) -> list[float]:
    """Lets clients ask for all slices; each has a share of them, and one connection."""
    times: list[float] = []

    def ask(number: int) -> None:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for data in islice(cycle(slices), number, requests, clients):
            started = time.perf_counter()
            link.request("POST", "/v1/predict", data)
            answer = link.getresponse()
            answer.read()
            if answer.status != 200:
                raise RuntimeError(f"the service answered {answer.status}")
            times.append(time.perf_counter() - started)
        link.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(times) != requests:
        raise RuntimeError(f"{requests - len(times)} of {requests} requests were not answered")
    return times


if __name__ == "__main__":
    sys.exit(main())
