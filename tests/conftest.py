"""For all tests: tiny models with a known answer, a head, a browser, and Hypothesis's settings."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from benchmarks import chromium
from hypothesis import settings
from PIL import Image
from tests import browsing, cards, tiny
from tests.said import Command, runner

import falx
from falx import engines, phantom
from falx.command.main import main
from falx.model import file as model_file
from falx.model.card import Card, Format

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# TensorFlow adds up in another order without oneDNN. The export, which turns it off, is run in this process
# too, and what is started afterwards would inherit that: half of the tests would compare unlike with like.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# What is printed for people is as wide as their terminal; pytest-xdist gives each of its processes one of 80.
os.environ["COLUMNS"] = "100"

# A busy machine makes an example slow, not wrong. In CI the same examples run every time, so that a failure
# belongs to the change and can be repeated; `.ci/slow` takes `--hypothesis-profile thorough`.
settings.register_profile("everyday", deadline=None, max_examples=30, derandomize="CI" in os.environ)
settings.register_profile("thorough", deadline=None, max_examples=300)
settings.load_profile("everyday")

Outputs = dict[str, npt.NDArray[np.float32]]
Change = Callable[[Outputs], Outputs]


def write_model(folder: Path, card: Card, kind: Format, name: str = "tiny") -> Path:
    path = folder / f"{name}.{kind}"
    path.write_bytes(model_file.embed(tiny.graph(kind), card, format=kind))
    return path


@cache
def works(engine: str) -> bool:
    """Says whether an engine runs in this environment."""
    kind, package = engines.ENGINES[engine]
    if importlib.util.find_spec(package) is None:
        return False
    try:
        engines.start(engine, tiny.graph(kind), cards.card(), threads=1)  # type: ignore[arg-type] # a format
    except falx.FalxError:
        return False
    return True


@pytest.fixture
def card() -> Card:
    return cards.card()


@pytest.fixture(params=list(engines.ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn; those that do not run here are skipped."""
    name = str(request.param)
    if not works(name):
        pytest.skip(f"engine {name} does not run in this environment")
    return name


@pytest.fixture
def any_engine() -> str:
    for name in engines.ENGINES:
        if works(name):
            return name
    pytest.skip("no engine runs in this environment")


@pytest.fixture
def model_of(tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny model for an engine, with fields of its card replaced."""

    def write(engine: str, **changes: Any) -> Path:
        kind: Format = "onnx" if engines.ENGINES[engine][0] == "onnx" else "tflite"
        return write_model(tmp_path, cards.card(**changes), kind)

    return write


@pytest.fixture
def model(any_engine: str, model_of: Callable[..., Path]) -> Path:
    return model_of(any_engine)


@pytest.fixture
def classifier(any_engine: str, model: Path) -> falx.Classifier:
    return falx.load(model, engine=any_engine)


@pytest.fixture
def head() -> npt.NDArray[np.uint8]:
    return phantom.lesion()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `falx` in this process."""
    return runner(main, capsys)


@pytest.fixture
def predict(command: Command, model: Path) -> Command:
    """Runs `falx predict` with the tiny model in this process."""
    return lambda *arguments: command("predict", *arguments, "--model", model)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A picture of the drawn head with a lesion."""
    path = tmp_path / "scan.png"
    Image.fromarray(phantom.lesion()).save(path)
    return path


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of MRI data; the test is skipped without it."""
    folder = Path(os.environ.get("FALX_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"needs the MRI data: no manifest.csv in {folder} (set FALX_DATA)")
    return folder


@pytest.fixture
def falx_process() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run `python -m falx` in a process of its own, with variables of the environment by name."""

    def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "falx", *map(str, arguments)]
        # The suite makes warnings errors; the command line must not need that.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=environment | variables
        )

    return run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that run an engine; puts trainings and exports first, since they are the longest."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "engines" in item.path.parts or {"engine", "any_engine"} & {*fixtures}:
            item.add_marker("engine")
        if {"trainer", "export"} & {*item.path.parts}:
            # Keras's TensorFlow backend and h5py warn of this themselves; everything else is an error.
            item.add_marker(pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"))
    items.sort(key=lambda item: not {"trainer", "export"} & {*item.path.parts})


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, one for all tests; each opens a context of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    playwright.expect.set_options(timeout=browsing.TIMEOUT_MS)
    found = chromium.found()
    if found is None:
        pytest.skip(f"no Chromium is installed: none of {', '.join(chromium.NAMES)}")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found)
        yield started
        started.close()


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], None]:
    """Makes engines that start from now on answer something else: what a function makes of their outputs."""
    start = engines.start

    def change(made_of: Change) -> None:
        def changed(name: str, payload: bytes, card: Card, **settings: Any) -> engines.Engine:
            return Changed(start(name, payload, card, **settings), made_of)

        monkeypatch.setattr(engines, "start", changed)

    return change


class Changed:
    """An engine whose outputs are changed."""

    def __init__(self, engine: engines.Engine, change: Change) -> None:
        self.name = engine.name
        self._engine = engine
        self._change = change

    def run(self, tensor: npt.NDArray[np.uint8]) -> Outputs:
        return self._change(self._engine.run(tensor))
