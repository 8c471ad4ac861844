from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from tests.said import python

import falx
from falx import engines
from falx.engines.pool import Pool, cores, map_in_order
from falx.errors import EngineUnavailable
from falx.model import file as model_file
from falx.slices.preprocessing import prepare

Head = npt.NDArray[np.uint8]


@pytest.fixture
def tensor(head: Head) -> Head:
    return prepare(head)[0]


def pool(model: Path, limit: int) -> Pool:
    file = model_file.load(model)
    return Pool(file, engines.choose(None, file.format), threads=1, limit=limit)


def test_one_thread_needs_one_engine(model: Path, tensor: Head) -> None:
    own = pool(model, 3)
    answers = [own.run(tensor).probabilities for _ in range(3)]
    assert answers[1:] == answers[:2]
    assert len(own) == 1


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_threads_use_as_many_engines_as_they_may(
    model: Path, tensor: Head, answering: Callable[..., None], limit: int
) -> None:
    # Each run waits until as many as may are under way: it ends only where they really run at a time.
    meeting = threading.Barrier(limit)

    def met(outputs: dict[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
        meeting.wait(timeout=30)
        return outputs

    expected = pool(model, 1).run(tensor).probabilities
    answering(met)
    own = pool(model, limit)
    with ThreadPoolExecutor(2 * limit) as threads:
        answers = list(threads.map(lambda _: own.run(tensor).probabilities, range(6 * limit)))
    assert answers == [expected] * (6 * limit)
    assert len(own) == limit


def test_a_classifier_has_an_engine_a_core_unless_it_is_told(model: Path, head: Head) -> None:
    limits = []

    class Recorded(Pool):
        def __init__(self, *arguments: object, limit: int, **settings: object) -> None:
            limits.append(limit)
            super().__init__(*arguments, limit=limit, **settings)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("falx.classifier.Pool", Recorded)
        falx.load(model)
        falx.load(model, engines=7)
    assert limits == [cores(), 7]
    assert cores() >= 1


class Waiting:
    """An engine that says when it is running, and goes on when it may."""

    name = "litert"

    def __init__(self) -> None:
        self.running, self.may_end = threading.Event(), threading.Event()

    def run(self, _: Head) -> dict[str, npt.NDArray[np.float32]]:
        self.running.set()
        assert self.may_end.wait(30)
        return {"probabilities": np.array([1, 0, 0, 0], np.float32)}


def test_an_engine_that_fails_to_start_holds_nobody_up(
    model: Path, tensor: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Waiting(), Waiting()
    second.may_end.set()
    starts: list[Waiting | Exception] = [first, EngineUnavailable("no memory left"), second]

    def start(*_: object, **__: object) -> Waiting:
        started = starts.pop(0)
        if isinstance(started, Exception):
            raise started
        return started

    monkeypatch.setattr(engines, "start", start)
    own = pool(model, 2)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(own.run, tensor)
        assert first.running.wait(30)
        with pytest.raises(EngineUnavailable, match="no memory left"):
            own.run(tensor)
        assert own.run(tensor).probabilities == [1, 0, 0, 0]
        first.may_end.set()
        assert waiting.result(30).probabilities == [1, 0, 0, 0]
    assert len(own) == 2


def test_importing_falx_watches_no_forks_and_the_first_pool_does(model: Path) -> None:
    code = (
        "import os, sys, logging, threading, random, concurrent.futures.thread, numpy, PIL.Image\n"
        "seen = []\n"
        "os.register_at_fork = lambda **handlers: seen.append(sorted(handlers))\n"
        "import falx, falx.engines.pool, falx.command.main, falx.study\n"
        "assert seen == [], seen\n"
        "falx.load(sys.argv[1]); falx.load(sys.argv[1])\n"
        "assert seen == [['after_in_child']], seen\n"
    )
    assert python("-c", code, model).status == 0


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_work_shared_out_keeps_its_order(threads: int) -> None:
    names = set()

    def square(number: int) -> int:
        names.add(threading.current_thread().name.partition("_")[0])
        return number * number

    assert list(map_in_order(square, range(20), threads)) == [i * i for i in range(20)]
    assert names == {"MainThread" if threads == 1 else "falx"}
