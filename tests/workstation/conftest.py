"""A drawn study, the process that classifies, and the peers of a node, for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from benchmarks.ports import free_port
from tests.workstation.peers import DEADLY, Archive, Process, WrittenStudy, write_study

import falx
from falx.workstation.node.worker import Worker


@pytest.fixture
def study(tmp_path: Path) -> WrittenStudy:
    return write_study(tmp_path / "study")


@pytest.fixture(scope="session")
def classifier() -> falx.Classifier:
    return falx.load()


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    made = Worker(command=DEADLY)
    yield made
    made.stop()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path / "archive", free_port())
    made.start()
    yield made
    made.stop()


@pytest.fixture
def listen(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start `falx listen`; it is killed when the test ends."""
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        common = ["--spool", str(tmp_path / "spool"), "--port", "0", "--health-port", "0", "--quiet", "0.5"]
        node = Process([*common, *arguments], tmp_path / "listen.log")
        started.append(node)
        return node.start()

    yield start
    for node in started:
        if node.process.poll() is None:
            node.kill()
