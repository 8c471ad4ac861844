"""The engines of a classifier, which threads take one at a time, and work shared out to threads."""

from __future__ import annotations

import functools
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from falx import engines
from falx.debug import debug
from falx.engines import Engine, Inference, OnnxOptions
from falx.errors import GraphError

if TYPE_CHECKING:
    from concurrent.futures import Future

    import numpy as np
    import numpy.typing as npt

    from falx.model.file import ModelFile

T = TypeVar("T")
R = TypeVar("R")

LOOK_AHEAD: Final = 2
"""The most items that each thread works on before the caller takes the results."""


def cores() -> int:
    """Returns how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool:
    """The engines that run one model. Any number of threads may use the pool.

    An engine serves one thread at a time. A thread takes an idle engine; where all are busy it starts
    another, or waits where there are `limit` of them. A process that was forked starts engines of its own.
    """

    def __init__(
        self, model: ModelFile, engine: str, *, threads: int, limit: int, onnx: OnnxOptions | None = None
    ) -> None:
        """Starts the first engine. An inference uses `threads`; there are at most `limit` engines."""
        self._model = model
        self._engine = engine
        self._threads = threads
        self._limit = limit
        self._onnx = onnx
        self._forget()
        self._idle.append(self._start())
        _watch_forks()
        _pools.add(self)

    def _forget(self) -> None:
        self._free = threading.Semaphore(self._limit)
        self._idle: deque[Engine] = deque()
        self._started: list[Engine] = []

    def __len__(self) -> int:
        """Returns how many engines were started in this process."""
        return len(self._started)

    def run(self, tensor: npt.NDArray[np.uint8]) -> Inference:
        """Runs the graph on one prepared slice, `(224, 224)` uint8; see `Classifier.infer`."""
        with self._free:
            # The one that ran last: its memory is still in the processor's caches.
            engine = self._idle.pop() if self._idle else self._start()
            try:
                outputs = engine.run(tensor)
            finally:
                self._idle.append(engine)
        return Inference(
            probabilities=self._probable("probabilities", outputs["probabilities"]),
            heatmap=outputs.get("heatmap"),
            familiarity=self._share(outputs, "familiarity"),
            no_brain=self._share(outputs, "no_brain"),
        )

    def _start(self) -> Engine:
        started = time.perf_counter()
        engine = engines.start(
            self._engine, self._model.data, self._model.card, threads=self._threads, onnx=self._onnx
        )
        self._started.append(engine)
        debug(
            "engine %s (%d of at most %d) started in %.1f ms, threads: %d",
            self._engine,
            len(self._started),
            self._limit,
            (time.perf_counter() - started) * 1000,
            self._threads,
        )
        return engine

    def _share(self, outputs: Mapping[str, npt.NDArray[np.float32]], name: str) -> float | None:
        return self._probable(name, outputs[name])[0] if name in outputs else None

    def _probable(self, output: str, values: npt.NDArray[np.float32]) -> list[float]:
        numbers = [float(p) for p in values]
        if not all(0 <= p <= 1 for p in numbers):
            raise GraphError(
                f"{self._model.path}: the graph answered {output} {numbers} on engine {self._engine}, "
                "expected probabilities in 0..1; try another engine, or export the model again"
            )
        return numbers


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
"""The pools of this process."""


@functools.cache
def _watch_forks() -> None:
    """Registers `_after_fork` with the first pool: a program without a pool has nothing to watch."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)


def _after_fork() -> None:
    """Lets every pool start engines of its own in a process that was forked.

    Only the forking thread lives on there: an engine that another thread was using stays half-way, locks that
    were held stay locked, and nobody waits for the threads of an engine. So the parent's engines are never
    destroyed either, not even when this process ends.
    """
    import ctypes

    for pool in list(_pools):
        left = (pool._free, pool._idle, pool._started)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(left))
        pool._forget()


def map_in_order(function: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Calls a function for every item in threads, and yields the results in the order of the items.

    Items are read no further ahead than `LOOK_AHEAD` a thread. One thread is the caller's own.
    """
    if threads == 1:
        yield from map(function, items)
        return
    # Here: it brings logging and more, which most who load a model never need.
    from concurrent.futures import ThreadPoolExecutor

    waiting: deque[Future[R]] = deque()
    executor = ThreadPoolExecutor(threads, thread_name_prefix="falx")
    try:
        for item in items:
            waiting.append(executor.submit(function, item))
            if len(waiting) >= LOOK_AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        # Also where the caller stops early: what has not begun is not begun.
        executor.shutdown(cancel_futures=True)
